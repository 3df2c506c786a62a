"""The directory of a run: whose it is, what made it, and the plans in it. A directory that is not free is refused."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from openflan import __version__, files
from openflan.config import RunConfig
from openflan.errors import RunError
from openflan.finished import check_file, checked, is_finished, signed
from openflan.mixture.plan import PlanRow
from openflan.models.folder import model_fingerprint
from openflan.streams import file_fingerprint, fingerprint
from openflan.study.compare import StudyResults
from openflan.study.prepare import Prepared
from openflan.tasks.catalog import load_catalog

UNREADABLE = "Put it back, or choose another --out."
PACKAGES = ("accelerate", "torch", "transformers", "tokenizers", "safetensors", "numpy", "pydantic", "jinja2")


def identity_of(config: RunConfig) -> str:
    """Changes whenever a result could: settings, base model, cards; not with how many processes share the work."""
    catalog = load_catalog(config.data.cards)
    cards = file_fingerprint(sorted({task.path for task in catalog.tasks.values()}))
    settings = config.model_dump(mode="json", exclude={"num_jobs"}) | {"train": config.train.deciding()}
    return fingerprint([settings, model_fingerprint(config.model.path), cards, __version__])


def check_directory(out: Path, identity: str) -> None:
    """See that `out` is free or this run's already; RunError when it is something else. Writes nothing."""
    files.check_name(out)
    free = "an empty directory, or this run's"
    try:
        if not out.exists():
            return
        if not out.is_dir():
            raise RunError(out, "a file", "a directory, or a name that is free", "Choose another --out.")
        names = {path.name for path in out.iterdir() if not path.name.startswith(".")}
    except OSError as exc:
        raise RunError(out, exc.strerror or str(exc), free, "Choose another --out.") from exc
    if files.RUN in names:
        found = files.read_yaml(out / files.RUN, RunError)
        if not isinstance(found, dict) or found.get("fingerprint") != identity:
            do = "Choose another --out, or the settings it began with: they are in its run.yaml."
            raise RunError(out, "the directory of another run", free, do)
        checked(found, out / files.RUN, UNREADABLE)
    elif names:
        raise RunError(out, "a directory with other files in it", free, "Choose another --out.")


def claim(out: Path, config: RunConfig, identity: str) -> None:
    """Make `out`, which the caller holds, the directory of this run, or see that it is already."""
    check_directory(out, identity)
    if not (out / files.RUN).is_file():
        record = {"fingerprint": identity, "started_in": os.getcwd(), "config": config.model_dump(mode="json")}
        files.write_yaml(out / files.RUN, signed(record))
    if not _read_if_whole(out / files.ENVIRONMENT):
        files.write_json(out / files.ENVIRONMENT, environment())


def read_config(run: Path) -> RunConfig:
    """The recipe that a run was made with, all its changes in it; RunError when `run` is no run's directory.

    Its data's paths that are relative are so to where the run was started.
    """
    path = run / files.RUN
    if not path.is_file():
        raise RunError(run, f"no {files.RUN}", "the directory of a run", "Name the directory given to --out.")
    found = files.read_yaml(path, RunError)
    if not isinstance(found, dict) or "config" not in found:
        raise RunError(path, "no `config`", "the run.yaml of a run", "Name the directory given to --out.")
    config = files.parse(RunConfig, found["config"], path, RunError)
    checked(found, path, UNREADABLE)
    check_file(run, files.RUN, UNREADABLE)
    started_in = Path(str(found.get("started_in")))
    if not os.path.isdir(started_in):  # of an older version, or of another machine
        return config
    data = config.data
    root = started_in / data.root if data.root else None
    cards = tuple(started_in / card for card in data.cards)
    return config.model_copy(update={"data": data.model_copy(update={"root": root, "cards": cards})})


def _read_if_whole(path: Path) -> dict[str, Any]:
    """The object in a JSON file that is made anew where it is lost or damaged; then an empty one."""
    try:
        return files.read_json_object(path)
    except RunError:
        return {}


def environment() -> dict[str, Any]:
    """What ran: versions, machine and command."""
    machine = {"platform": platform.platform(), "cpu_count": os.cpu_count()}
    return {**versions(), **machine, "argv": sys.argv}


def versions() -> dict[str, Any]:
    """What ran, as far as it may be published with a model: nothing of the machine or its user."""
    packages = {name: metadata.version(name) for name in PACKAGES}
    return {"openflan": __version__, "python": platform.python_version(), "packages": packages}


def write_plan(part: Prepared, folder: Path) -> None:
    """RunError when the rows are no longer those that the run began with: its results would be of neither."""
    path = folder / files.PLAN_SUMMARY
    began_with = _read_if_whole(path).get("data")
    if isinstance(began_with, dict):  # else what was made from the rows tells, too
        changed = [name for name, data in part.data.items() if began_with.get(name) != data]
        if changed:
            found = f"other rows than the data has now: those of {', '.join(changed)}"
            do = "Choose another --out. If the rows have not changed, remove this file: it is made anew."
            raise RunError(path, found, "the rows this run began with", do)
    files.write_jsonl(folder / files.PLAN, map(plan_row_json, part.plan.rows))
    if part.gate.overlaps:
        files.write_jsonl(folder / files.OVERLAP, map(asdict, part.gate.overlaps))
    files.write_json(path, plan_summary(part))


def plan_row_json(row: PlanRow) -> dict[str, Any]:
    """A line of plan.jsonl: `exemplars` only where there are any."""
    shown = {"exemplars": row.exemplars} if row.exemplars else {}
    return {"uid": row.uid, "task": row.task, "template": row.template, **shown}


def plan_summary(part: Prepared) -> dict[str, Any]:
    """The content of plan.json: where the plan comes from, what was left out and why, and the mixture."""
    return {
        "held_out": part.held_out,
        "fingerprint": part.plan.fingerprint,
        "num_examples": len(part.plan),
        "data": part.data,
        "excluded": {e.task: e.reason for e in part.excluded},
        "overlap": part.gate.summary(),
        "num_rows_dropped": part.rows.dropped,
        "evaluated": {name: len(examples) for name, examples in part.test_examples.items()},
        **part.plan.summary,
    }


def seconds_before(out: Path) -> dict[str, float] | None:
    """What a finished run took: repeating its command makes nothing anew and would tell that it took no time."""
    try:
        if not is_finished(out):
            return None
        return StudyResults.from_json(files.read_json(out / files.RESULTS)).seconds
    except RunError:
        return None
