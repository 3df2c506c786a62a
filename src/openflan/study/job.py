"""What one process of a study does, and its entry. No torch until it has started."""

from __future__ import annotations

import os
import signal
import traceback
from contextlib import nullcontext
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from openflan import files
from openflan.config import RunConfig
from openflan.environment import RANK_VARIABLES, launched_as
from openflan.errors import OpenFlanError
from openflan.finished import is_finished, record_of

UNTUNED_JOB, TUNED_JOB, SHUFFLED_JOB = "untuned", "tuned", "shuffled"
TOTALS = "totals.json"


@dataclass(frozen=True, slots=True)
class Job:
    """What one process does, in `folder`: `kind` is untuned, tuned or shuffled. One job of a study `tells` how its
    model is read: all load the same."""

    config: RunConfig
    held_out: str
    kind: str
    folder: Path
    evaluates: bool = True
    tells: bool = False

    @property
    def num_processes(self) -> int:
        """How many processes share the job."""
        return 1 if self.kind == UNTUNED_JOB else self.config.train.num_processes

    @property
    def stores(self) -> dict[str, Path]:
        """Prediction files by whether the prompts show the options."""
        formats = ("options", "no-options") if self.kind == UNTUNED_JOB else ("options",)
        return {name: self.folder / files.PREDICTIONS / f"{name}.jsonl" for name in formats}


def is_done(job: Job, made_from: str) -> bool:
    """Whether nothing is left of a job to do: its predictions and its model are there, as they were made.

    RunError, naming the file, where one of a finished step has changed.
    """
    if not is_finished(job.folder, made_from):
        return False
    record = record_of(job.folder) or {}
    return job.kind == UNTUNED_JOB or is_finished(job.folder / files.MODEL, record["facts"].get("model", ""))


def rank() -> int:
    """Which process of a training this is; 0, which writes its files, where there is but one."""
    return launched_as()[0]


def is_launched() -> bool:
    """Whether `torchrun` or `accelerate launch` started this process as one of several."""
    return launched_as()[1] > 1


def work(job: Job, parent: Connection, place: dict[str, str]) -> None:
    """Entry of the process: a user's mistake is handed to the parent, by name and message; all else is a traceback.

    `place` are the environment variables that make it one of several, none where it works alone.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends this process
    for name in RANK_VARIABLES:
        os.environ.pop(name, None)
    os.environ.update(place)
    try:
        from openflan.study.run_one import run_one

        with files.exclusive(job.folder) if rank() == 0 else nullcontext():
            run_one(job)
    except OpenFlanError as exc:
        parent.send((type(exc).__name__, str(exc)))  # not as a file: the disk may be what is full
        raise SystemExit(2) from exc
    except Exception:
        if not place:
            raise
        parent.send(("", traceback.format_exc()))  # when one fails all do, the others for want of it
        raise SystemExit(1) from None
