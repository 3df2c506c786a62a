"""What evaluations have found, read back from their directories: scores, and what two models differ by. No torch here.

A directory holds `evaluation.json`, the predictions on test rows (`test.jsonl`) and, where the best template is to be
chosen on them, on dev rows (`dev.jsonl`). Everything shown is computed from these, so that another normalisation needs
no model.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from openflan import files
from openflan.errors import RunError
from openflan.evaluation.metrics import Normalisation
from openflan.evaluation.predictions import Prediction, read_predictions
from openflan.evaluation.scores import (
    TaskScore,
    best_dev_template,
    cluster_score,
    majority,
    option_prior,
    paired_difference,
    task_scores,
    task_weights,
)
from openflan.evaluation.settings import ClusterMean
from openflan.evaluation.significance import compare
from openflan.finished import CHECK, checked
from openflan.study.figures import (
    Gap,
    Mean,
    Number,
    TaskFigures,
    TemplateResult,
    gap_figures,
    mean_figures,
    task_figures,
    template_figures,
)
from openflan.tasks.card import Strict

EVALUATION, TEST, DEV = "evaluation.json", "test.jsonl", "dev.jsonl"


class EvaluatedTask(Strict):
    """One task of an evaluation: the part that its dataset and cluster have in averages, and how it is scored.

    `metrics`: those of its card, the first of which is its score.
    """

    metrics: tuple[str, ...] = Field(min_length=1)
    cluster: str
    dataset: str
    collection: str = ""
    """Empty in evaluations of versions that did not say."""
    num_examples: int
    num_dev_examples: int
    """Dev rows asked to choose the best template by; 0 where none was to be chosen, or the task has no dev rows."""
    num_templates: int
    num_rows_dropped: int
    """Rows of the test split that are no examples: unlabelled ones, and what the card drops."""
    num_rows_merged: int = 0
    """Rows of the test split that gave their references to an earlier row with the same input."""
    max_new_tokens: int | None
    """Where a text ended at the latest: by the card, or by the positions; None where options are ranked."""


class EvaluationRecord(Strict):
    """What was evaluated, in `evaluation.json`. `settings` are those that decide the predictions."""

    name: str
    identity: str
    """Stands for all that decides the predictions, each line of which is known by it."""
    model: str
    model_fingerprint: str
    settings: dict[str, Any]
    seed: int
    tasks: dict[str, EvaluatedTask]
    warning: str | None = None
    """Why sequences were scored one at a time, where they were."""
    reading: str | None = None
    """How the model was read, its windows and its positions; None behind a server."""
    server: str | None = None
    """What the server does, behind which the model lies."""


class MetricResult(Mean):
    """The mean over templates of another metric of a task's card."""

    metric: str


class TaskResult(TaskFigures):
    """One task, and what else an evaluation of its own tells.

    `others`: the same by the other metrics of its card. `best_dev`: the test score of the template that is best on dev
    rows. `majority`: always the most frequent gold option; `option_prior`: what the model chooses without the prompt.
    `max_new_tokens`: the last token allowed.
    """

    cluster: str
    max_new_tokens: int | None
    mean_exemplars: Number
    others: tuple[MetricResult, ...]
    templates: tuple[TemplateResult, ...]
    best_dev: TemplateResult | None
    """None where no dev rows were asked, or none could be scored."""
    majority: Number | None
    option_prior: Number | None


class AverageResult(Mean):
    """A mean over the tasks or datasets of a cluster, or over the means of clusters."""

    name: str
    num_tasks: int
    cluster_mean: ClusterMean = "tasks"


class ComparedTask(Gap):
    """The first model minus the second on one task. `adjusted`: the p-value after Holm's correction over the tasks;
    `mcnemar`: the exact p-value of McNemar's test, in which a unit of several rows counts once; `num_units`: as in
    `TaskFigures`. `num_unpaired` prompts have a score of one model only, and are left
    out."""

    task: str
    adjusted: Number | None
    mcnemar: Number | None
    num_examples: int
    num_units: int | None = None
    num_unpaired: int


class ComparedAverage(Gap):
    """The first model minus the second, averaged as in `AverageResult`."""

    name: str
    num_tasks: int
    cluster_mean: ClusterMean = "tasks"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation of one model, in its directory."""

    folder: Path
    record: EvaluationRecord

    def predictions(self) -> list[Prediction]:
        """On test rows; RunError when the evaluation has not come to its end."""
        return self._read_whole(TEST)

    def dev_predictions(self) -> list[Prediction]:
        """On dev rows, none where no best template was asked for; RunError as for `predictions`."""
        return self._read_whole(DEV)

    def check_finished(self) -> None:
        """RunError as for `predictions`, on test rows and on dev rows."""
        for name in self.num_expected:
            self._read_whole(name)

    @property
    def num_expected(self) -> dict[str, int]:
        """How many predictions there are at the end, by file."""
        tasks = self.record.tasks.values()
        num_test = sum(task.num_examples * task.num_templates for task in tasks)
        return {TEST: num_test, DEV: sum(task.num_dev_examples * task.num_templates for task in tasks)}

    @property
    def num_found(self) -> dict[str, int]:
        """How many are there now, by file."""
        return {name: len(self._read(name)) for name in self.num_expected}

    def _read(self, name: str) -> dict[tuple[str, str, str], Prediction]:
        return (
            {p.key: p for p in read_predictions(self.folder / name, self.record.identity)}
            if self.num_expected[name]
            else {}
        )

    def _read_whole(self, name: str) -> list[Prediction]:
        found, num_expected = self._read(name), self.num_expected[name]
        if len(found) != num_expected:
            do = "Repeat the `openflan eval` that began it: it continues."
            raise RunError(self.folder / name, f"{len(found)} predictions", f"{num_expected}", do)
        return list(found.values())

    @property
    def metrics(self) -> dict[str, str]:
        """The metric that is the score, of each task."""
        return {name: task.metrics[0] for name, task in self.record.tasks.items()}


@dataclass(frozen=True, slots=True)
class Unfinished:
    """An evaluation that has not come to its end: how many predictions are there, of how many."""

    folder: Path
    num_predictions: int
    num_expected: int


def read_evaluation(folder: Path) -> Evaluation:
    """The evaluation in a directory; RunError when there is none."""
    path = folder / EVALUATION
    if not path.is_file():
        raise RunError(folder, f"no {EVALUATION}", "a directory that `openflan eval` made", "Check the path.")
    do = "Repeat the `openflan eval` that made it: predictions made so far are kept."
    found = files.read_json_object(path, do=do)
    record = files.parse(
        EvaluationRecord, {name: part for name, part in found.items() if name != CHECK}, path, RunError
    )
    checked(found, path, do)
    return Evaluation(folder, record)


def find_evaluations(folders: Sequence[Path]) -> tuple[list[Evaluation], list[Unfinished]]:
    """All evaluations in these directories and below them, each once: those that came to their end, and the others.

    RunError for a directory without any, for an unfinished one that is itself among `folders`, and where none has come
    to its end.
    """
    found: dict[Path, Evaluation] = {}
    for folder in folders:
        paths = sorted(folder.glob(f"**/{EVALUATION}"))
        if not paths:
            read_evaluation(folder)
        found.update({files.real_path(path.parent): read_evaluation(path.parent) for path in paths})
    finished, unfinished = [], []
    named = {files.real_path(folder) for folder in folders}
    for place, each in found.items():
        counts, expected = each.num_found, each.num_expected
        if counts == expected:
            finished.append(each)
        elif place in named or any(counts[name] > expected[name] for name in counts):
            each.check_finished()
        else:
            unfinished.append(Unfinished(each.folder, sum(counts.values()), sum(expected.values())))
    if not finished:
        next(iter(found.values())).check_finished()
    return finished, unfinished


def score_tasks(evaluation: Evaluation, normalisation: Normalisation = "sum") -> list[TaskResult]:
    """Every task of an evaluation, by name."""
    record, metric = evaluation.record, evaluation.metrics
    predictions = evaluation.predictions()
    dev = evaluation.dev_predictions()
    on_test = task_scores(predictions, metric, normalisation)
    on_dev = task_scores(dev, metric, normalisation)
    return [
        _task_result(record, found, on_dev.get(name), [p for p in predictions if p.task == name], normalisation)
        for name, found in on_test.items()
    ]


def _task_result(
    record: EvaluationRecord,
    found: TaskScore,
    dev: TaskScore | None,
    predictions: Sequence[Prediction],
    normalisation: Normalisation,
) -> TaskResult:
    task = record.tasks[found.task]
    metric, *others = task.metrics
    best = best_dev_template(dev, found) if dev and any(t.value is not None for t in dev.templates) else None
    is_choice = any(p.logprobs for p in predictions)
    has_priors = is_choice and all(p.prior_logprobs for p in predictions if p.logprobs)
    return TaskResult(
        **task_figures(metric, found, predictions),
        cluster=task.cluster,
        max_new_tokens=task.max_new_tokens,
        mean_exemplars=statistics.fmean(p.num_exemplars for p in predictions),
        others=tuple(
            MetricResult(metric=name, **mean_figures(cluster_score(predictions, name, None, normalisation)))
            for name in others
        ),
        templates=tuple(TemplateResult(**template_figures(template)) for template in found.templates),
        best_dev=TemplateResult(**template_figures(best)) if best else None,
        majority=majority(predictions, metric).value if is_choice else None,
        option_prior=option_prior(predictions, metric).value if has_priors else None,
    )


def average(
    evaluation: Evaluation, normalisation: Normalisation = "sum", cluster_mean: ClusterMean = "tasks"
) -> list[AverageResult]:
    """Every cluster of which there is more than one task, and all clusters together where there are several.

    Within a cluster tasks weigh the same, or datasets, as `cluster_mean` says; clusters always weigh the same. Tasks of
    different collections have averages of their own.
    """
    predictions, found = evaluation.predictions(), []
    for name, weights in _averages(evaluation.record.tasks, cluster_mean):
        own = [p for p in predictions if p.task in weights]
        score = cluster_score(own, evaluation.metrics, weights, normalisation)
        counts = {"num_tasks": len(weights), "cluster_mean": cluster_mean}
        found.append(AverageResult(name=name, **mean_figures(score), **counts))
    return found


def _averages(tasks: Mapping[str, EvaluatedTask], cluster_mean: ClusterMean) -> Iterator[tuple[str, dict[str, float]]]:
    """What averages there are of these tasks, each with the weights of its own; never across collections."""
    collections = dict.fromkeys(task.collection for task in tasks.values())
    for collection in collections:
        own = {name: task for name, task in tasks.items() if task.collection == collection}
        of = f" ({collection})" if len(collections) > 1 else ""
        datasets = {name: task.dataset for name, task in own.items() if cluster_mean == "datasets"}
        clusters = {name: task.cluster for name, task in own.items()}
        for cluster in dict.fromkeys(clusters.values()):
            names = [name for name in own if clusters[name] == cluster]
            if len(names) > 1:
                yield cluster + of, task_weights(names, datasets)
        if len(set(clusters.values())) > 1:
            yield "all clusters" + of, task_weights(own, datasets, clusters)


def compare_evaluations(
    a: Evaluation, b: Evaluation, normalisation: Normalisation = "sum", cluster_mean: ClusterMean = "tasks"
) -> tuple[list[ComparedTask], list[ComparedAverage]]:
    """The first minus the second on every task that both have, and on the averages of these; RunError when there is
    none, or rows differ."""
    common = {name: task for name, task in a.record.tasks.items() if name in b.record.tasks}
    if not common:
        found = f"no task that {b.record.name} was evaluated on, too"
        raise RunError(a.folder, found, "one or more", "Evaluate both on the same tasks.")
    left, right = ([p for p in each.predictions() if p.task in common] for each in (a, b))
    tasks = [
        ComparedTask(
            task=each.task,
            **gap_figures(each.difference),
            adjusted=each.adjusted,
            mcnemar=each.mcnemar.p_value if each.mcnemar else None,
            num_examples=each.difference.num_examples,
            num_units=each.difference.num_units,
            num_unpaired=each.difference.num_unpaired,
        )
        for each in compare(left, right, a.metrics, normalisation)
    ]
    averages = []
    for name, weights in _averages(common, cluster_mean):
        mine, theirs = ([p for p in arm if p.task in weights] for arm in (left, right))
        gap = paired_difference(mine, theirs, a.metrics, weights, normalisation)
        counts = {"num_tasks": len(weights), "cluster_mean": cluster_mean}
        averages.append(ComparedAverage(name=name, **gap_figures(gap), **counts))
    return tasks, averages
