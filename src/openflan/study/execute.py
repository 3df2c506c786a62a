"""A whole study: prepare every held-out cluster, run the jobs side by side, gather scores. No torch in this process."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from openflan import files
from openflan.config import RunConfig
from openflan.errors import ConfigError
from openflan.evaluation.predictions import Prediction, read_predictions
from openflan.evaluation.scores import (
    Score,
    cluster_score,
    majority,
    paired_difference,
    task_scores,
    task_weights,
)
from openflan.evaluation.significance import holm
from openflan.finished import finish, record_of
from openflan.streams import fingerprint
from openflan.study.compare import (
    MAJORITY,
    SHUFFLED,
    TUNED,
    UNTUNED,
    Asked,
    Detail,
    Difference,
    ResultRow,
    Run,
    StudyResults,
    TaskRow,
)
from openflan.study.directory import check_directory, claim, identity_of, seconds_before, write_plan
from openflan.study.figures import gap_figures, mean_figures, task_figures, template_figures
from openflan.study.job import SHUFFLED_JOB, TOTALS, TUNED_JOB, UNTUNED_JOB, Job, is_done, is_launched
from openflan.study.launch import run_jobs, train_together
from openflan.study.prepare import Prepared, Rows, prepare
from openflan.tasks.catalog import load_catalog
from openflan.untrusted import json_value

SHOWN = {"update", "loss", "num_tokens", "num_padding", "supervised_per_second"}
LONGEST_LINE = 4096  # in a training log, bytes
UPDATE_WEIGHT = 40  # an update takes about as long as forty predictions


@dataclass(frozen=True, slots=True)
class JobProgress:
    """How far one job is: `fraction` (0-1) of its updates and predictions; `rate` says how fast, in words."""

    held_out: str
    kind: str
    fraction: float
    rate: str


OnProgress = Callable[[Sequence[JobProgress]], None]


def run_study(
    config: RunConfig, out: str | Path, command: str = "", on_progress: OnProgress = lambda _: None
) -> StudyResults:
    """Run `config` in the directory `out` and return (and store) its results. Repeating the call continues.

    RunError when `out` is a file, cannot be written, is in use, or belongs to another run.
    """
    began = time.monotonic()
    out = files.as_path(out)
    config.train.check_trackers()
    if is_launched():
        found = "several processes that a launcher started"
        do = "Use `openflan train` there, or `--set train.num_processes=N` here."
        raise ConfigError("openflan run", found, "one, which starts the others", do)
    with _prepared(config, out) as (identity, prepared):
        seconds = {"prepare": time.monotonic() - began}
        kinds = [TUNED_JOB, *([SHUFFLED_JOB] if config.shuffled_labels else []), UNTUNED_JOB]
        jobs = [Job(config, name, kind, out / name / kind) for kind in kinds for name in config.held_out]
        tuning = time.monotonic()
        basis = {part.held_out: part.fingerprint for part in prepared}
        left = [job for job in jobs if not is_done(job, basis[job.held_out])]
        run_jobs(_one_tells(left), config.num_jobs, lambda: on_progress([_progress(job) for job in jobs]))
        seconds["tune and evaluate"] = time.monotonic() - tuning
        scoring = time.monotonic()
        results = correct(gather(config, out, identity, prepared, command))
        seconds["score"] = time.monotonic() - scoring
        seconds["total"] = time.monotonic() - began
        seconds = seconds_before(out) or {name: round(value, 2) for name, value in seconds.items()}
        results = results.model_copy(update={"seconds": seconds})
        files.write_json(out / files.RESULTS, results.to_json())
        finish(out, [files.RUN, files.RESULTS], identity)
    return results


def train_study(config: RunConfig, out: str | Path, on_progress: OnProgress = lambda _: None) -> list[Path]:
    """Only tune, one model for each held-out cluster; their folders. Repeating the call continues.

    Under `torchrun` or `accelerate launch` every process calls this, and all of them share each training in turn.
    """
    out = files.as_path(out)
    jobs = _one_tells(
        [Job(config, name, TUNED_JOB, out / name / TUNED_JOB, evaluates=False) for name in config.held_out]
    )
    config.train.check_trackers()
    if is_launched():
        train_together(jobs, lambda: _prepared(config, out), lambda: on_progress([_progress(job) for job in jobs]))
    else:
        with _prepared(config, out):
            run_jobs(jobs, config.num_jobs, lambda: on_progress([_progress(job) for job in jobs]))
    return [job.folder / files.MODEL for job in jobs]


@contextmanager
def _prepared(config: RunConfig, out: Path) -> Iterator[tuple[str, list[Prepared]]]:
    """The run's identity and all its parts, while `out` is held for it. A recipe that is wrong leaves no trace."""
    identity = identity_of(config)
    check_directory(out, identity)
    catalog, rows = load_catalog(config.data.cards), Rows(config.data.root)
    prepared = [prepare(config, catalog, rows, name) for name in config.held_out]
    with files.exclusive(out, wait=False):
        claim(out, config, identity)
        for part in prepared:
            write_plan(part, out / part.held_out)
        yield identity, prepared
        if record_of(out) is None:  # only tuned: there are no results
            finish(out, [files.RUN], identity)


def _one_tells(jobs: Sequence[Job]) -> list[Job]:
    return [replace(job, tells=number == 0) for number, job in enumerate(jobs)]


def _progress(job: Job) -> JobProgress:
    """Read from the job's files, so that work done before an interruption counts."""
    if (job.folder / files.DONE).is_file():
        return JobProgress(job.held_out, job.kind, 1.0, "")
    totals = _numbers((job.folder / TOTALS).read_bytes()) if (job.folder / TOTALS).is_file() else {}
    all_updates, all_predictions = totals.get("num_updates", 0), totals.get("num_predictions", 0)
    last = _last_update(job.folder / files.TRAIN_LOG) if all_updates else {}
    num_updates = last["update"] + 1 if last else 0
    num_predictions = sum(len(_lines(store)) for store in job.stores.values())
    rate = ""
    if num_predictions:
        rate = f"{num_predictions:,}/{all_predictions:,} predictions"
    elif last:
        padding = last["num_padding"] / (last["num_tokens"] + last["num_padding"])
        rate = f"{num_updates}/{all_updates} updates · loss {last['loss']:.3f}"
        rate += f" · {last['supervised_per_second']:,.0f} supervised tokens/s · {padding:.0%} padding"
    done = UPDATE_WEIGHT * num_updates + num_predictions
    whole = UPDATE_WEIGHT * all_updates + all_predictions
    return JobProgress(job.held_out, job.kind, min(0.99, done / whole) if whole else 0.0, rate)


def _last_update(log: Path) -> dict[str, float]:
    """The last whole line of a training log, from the end of the file: the log grows long. Nothing where it is damaged:
    it only shows how far the training is."""
    if not log.is_file():
        return {}
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LONGEST_LINE))
        lines = file.read().split(b"\n")[:-1]
    last = _numbers(lines[-1]) if lines else {}
    return last if set(last) >= SHOWN and last["num_tokens"] > 0 else {}


def _numbers(content: bytes) -> dict[str, float]:
    """The numbers by name in an object in JSON; none where it is damaged."""
    try:
        value = json_value(content.decode())
    except ValueError:
        return {}
    found = value.items() if isinstance(value, dict) else ()
    return {name: number for name, number in found if isinstance(number, int | float) and math.isfinite(number)}


def _lines(path: Path) -> list[bytes]:
    """The whole lines of a file that another process may be writing."""
    return path.read_bytes().split(b"\n")[:-1] if path.is_file() else []


def gather(config: RunConfig, out: Path, identity: str, prepared: Sequence[Prepared], command: str) -> StudyResults:
    """Scores and differences from the predictions of all jobs. What weighs the same in a cluster's mean is chosen by
    `evaluation.cluster_mean`."""
    result_rows: list[ResultRow] = []
    differences: list[Difference] = []
    tasks: list[TaskRow] = []
    details: list[Detail] = []
    runs: list[Run] = []
    for part in prepared:
        arms = _arms(config, out / part.held_out)
        metric = {task.name: task.metrics[0] for task in part.evaluated}
        datasets = {task.name: task.dataset for task in part.evaluated}
        weights = task_weights(metric, datasets) if config.evaluation.cluster_mean == "datasets" else None
        for arm, predictions in arms.items():
            result_rows.append(_row(part.held_out, arm, cluster_score(predictions, metric, weights)))
            for score in task_scores(predictions, metric).values():
                own = [p for p in predictions if p.task == score.task]
                figures = task_figures(metric[score.task], score, own)
                tasks.append(TaskRow(held_out=part.held_out, arm=arm, **figures))
                details += [
                    Detail(held_out=part.held_out, arm=arm, task=score.task, **template_figures(template))
                    for template in score.templates
                ]
        constant = majority(arms[UNTUNED[0]], metric, weights)
        if constant.value is not None:
            result_rows.append(_row(part.held_out, MAJORITY, constant))
        for a, b in _comparisons(arms):
            found = paired_difference(arms[a], arms[b], metric, weights)
            gap = gap_figures(found)
            differences.append(Difference(held_out=part.held_out, a=a, b=b, **gap, num_unpaired=found.num_unpaired))
        runs.append(_run_record(config, identity, part, arms, command))
    return StudyResults(
        rows=tuple(result_rows),
        differences=tuple(differences),
        asked=Asked(
            num_shots=config.evaluation.num_shots,
            prompt=config.evaluation.prompt,
            cluster_mean=config.evaluation.cluster_mean,
        ),
        seconds={},
        tasks=tuple(tasks),
        details=tuple(details),
        runs=tuple(runs),
    )


def correct(results: StudyResults) -> StudyResults:
    """With p-values `adjusted` by Holm's method: those of the claims together, and those of all other differences."""
    found: dict[tuple[str, ...], float] = {}
    for is_claim in (True, False):
        family = [gap for gap in results.differences if gap.is_claim == is_claim]
        found |= holm({(g.held_out, g.a, g.b): g.p_value for g in family if g.p_value is not None})
    gaps = [g.model_copy(update={"adjusted": found.get((g.held_out, g.a, g.b))}) for g in results.differences]
    return results.model_copy(update={"differences": tuple(gaps)})


def _arms(config: RunConfig, folder: Path) -> dict[str, list[Prediction]]:
    stores = {
        UNTUNED[0]: folder / "untuned" / files.PREDICTIONS / "options.jsonl",
        UNTUNED[1]: folder / "untuned" / files.PREDICTIONS / "no-options.jsonl",
        TUNED: folder / "tuned" / files.PREDICTIONS / "options.jsonl",
    }
    if config.shuffled_labels:
        stores[SHUFFLED] = folder / "shuffled" / files.PREDICTIONS / "options.jsonl"
    return {arm: list(read_predictions(store)) for arm, store in stores.items()}


def _comparisons(arms: dict[str, Any]) -> list[tuple[str, str]]:
    """The tuned model against everything else; what is said against the untuned prompts are the claims."""
    return [(TUNED, arm) for arm in arms if arm != TUNED]


def _row(held_out: str, arm: str, score: Score) -> ResultRow:
    counts = {"num_examples": score.num_examples, "num_units": score.num_units, "num_templates": score.num_templates}
    return ResultRow(held_out=held_out, arm=arm, **mean_figures(score), **counts)


def _run_record(
    config: RunConfig, identity: str, part: Prepared, arms: dict[str, list[Prediction]], command: str
) -> Run:
    fingerprints = {"plan": part.plan.fingerprint, "settings": identity}
    fingerprints |= {
        arm: fingerprint([p.to_json() for p in sorted(ps, key=lambda p: p.key)]) for arm, ps in arms.items()
    }
    return Run(
        directory=part.held_out,
        held_out=part.held_out,
        arms=tuple(arms),
        model=config.model.path,
        seed=config.seed,
        command=command,
        trained_on=tuple(task.name for task in part.trained),
        evaluated_on=tuple(task.name for task in part.evaluated),
        excluded={e.task: e.reason for e in part.excluded},
        fingerprints=fingerprints,
    )
