"""The processes of a study: several jobs side by side, several ranks in one of them. No torch in this process.

A job's ranks are processes of this machine that meet at a port of it; rank 0 writes the job's files.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import ForkServerContext
from types import ModuleType
from typing import Any

from openflan import files
from openflan.errors import OpenFlanError, RunError
from openflan.study.job import Job, rank, work

POLL_SECONDS = 0.2


def run_jobs(jobs: Sequence[Job], num_jobs: int, on_poll: Callable[[], None]) -> None:
    """Run every job, `num_jobs` at a time. Nothing is left running behind it."""
    # The fork server imports torch once, before any job; every process is a fork of it and starts in no time.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["openflan.study.run_one"])
    waiting = list(jobs)
    running: list[_Running] = []
    try:
        if waiting:
            with starting_deaf():
                forkserver.ensure_running()
        while waiting or running:
            while waiting and len(running) < num_jobs:
                running.append(_Running(waiting.pop(0), context))
            time.sleep(POLL_SECONDS)
            running = [one for one in running if not one.is_done()]
            on_poll()
    finally:
        for one in running:
            one.end()


class _Running:
    """One job and the processes at work on it."""

    def __init__(self, job: Job, context: ForkServerContext) -> None:
        self.job = job
        self.told, sender = context.Pipe(duplex=False)
        self.processes = [
            context.Process(target=work, args=(job, sender, place), daemon=True) for place in places(job.num_processes)
        ]
        with starting_without_main():
            for process in self.processes:
                process.start()
        sender.close()

    def is_done(self) -> bool:
        """Whether all processes have ended well. Where one did not, the others are ended and its error is raised."""
        codes = [process.exitcode for process in self.processes]
        failed = [code for code in codes if code]
        if failed:
            for process in self.processes:
                process.kill()  # not asked to save: they wait for the one that failed
            raise_failure(self.job, failed, self.told)
        return all(code == 0 for code in codes)

    def end(self) -> None:
        """Ask all processes to save and stop, and wait until they have."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.join()
        self.told.close()


def raise_failure(job: Job, exit_codes: Sequence[int], told: Any) -> None:
    """Raise what ended a job. Of several processes the first to fail is told: the others lost a partner."""
    do = "Repeat the command: it continues."
    killed = [code for code in exit_codes if code < 0]  # could tell nothing: killed, for want of memory perhaps
    try:
        kind, message = told.recv() if told.poll() and not killed else ("", "")
    except EOFError:  # all have closed their ends
        kind, message = "", ""
    kinds = {kind.__name__: kind for kind in OpenFlanError.__subclasses__()}
    if kind in kinds:
        raise kinds[kind].told(message)
    if message:
        print(message, file=sys.stderr, end="")
    code = (killed or list(exit_codes))[0]
    raise RunError(job.folder, f"a job that ended with exit code {code}", "0", do)


def places(num_processes: int) -> list[dict[str, str]]:
    """The environment variables that each of several processes on this machine needs to find the others."""
    if num_processes == 1:
        return [{}]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {"WORLD_SIZE": num_processes, "LOCAL_WORLD_SIZE": num_processes, "MASTER_ADDR": "127.0.0.1"}
    shared |= {"MASTER_PORT": port, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    own = [{"RANK": number, "LOCAL_RANK": number} for number in range(num_processes)]
    return [{name: str(value) for name, value in {**shared, **each}.items()} for each in own]


def train_together(
    jobs: Sequence[Job], prepared: Callable[[], AbstractContextManager[Any]], on_update: Callable[[], None]
) -> None:
    """What each process that a launcher started does: one job after the other, together with the other processes.

    Rank 0 prepares the directory, and holds it, before any of them goes on.
    """
    from openflan.study.run_one import run_one
    from openflan.training.ranks import join

    state = join()
    shown = 0.0

    def show() -> None:
        nonlocal shown
        if rank() == 0 and time.monotonic() - shown > POLL_SECONDS:
            on_update()
            shown = time.monotonic()

    with ExitStack() as stack:
        if rank() == 0:
            stack.enter_context(prepared())
        state.wait_for_everyone()
        for job in jobs:
            with files.exclusive(job.folder) if rank() == 0 else nullcontext():
                run_one(job, show)


@contextmanager
def starting_without_main() -> Iterator[None]:
    """Processes started within do not run the caller's script again, as multiprocessing would: all they need can be
    imported. So a plain script needs no `if __name__ == "__main__"`, and standard input and notebooks work, too."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextmanager
def starting_deaf() -> Iterator[None]:
    """What is started meanwhile is deaf to Ctrl-C from its first moment on.

    Ctrl-C reaches the whole process group: this process learns of it when the block ends, and ends the others.
    """
    resource_tracker.ensure_running()  # first, because it unblocks the signal
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
