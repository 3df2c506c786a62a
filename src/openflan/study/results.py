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
from typing import Annotated, Any

from pydantic import Field

from openflan import files
from openflan.errors import RunError
from openflan.evaluation.metrics import Normalisation
from openflan.evaluation.predictions import Prediction, read_predictions
from openflan.evaluation.scores import (
    Score,
    TaskScore,
    best_dev_template,
    cluster_score,
    majority,
    option_prior,
    paired_difference,
    task_scores,
    task_weights,
)
from openflan.evaluation.significance import compare, detectable_difference
from openflan.tasks.card import Strict

EVALUATION, TEST, DEV = "evaluation.json", "test.jsonl", "dev.jsonl"

Number = Annotated[float, Field(allow_inf_nan=False)]


class EvaluatedTask(Strict):
    """One task of an evaluation: the part that its dataset and cluster have in averages, and how it is scored.

    `metrics`: those of its card, the first of which is its score.
    """

    metrics: tuple[str, ...] = Field(min_length=1)
    cluster: str
    dataset: str
    num_examples: int
    num_dev_examples: int
    """Dev rows asked to choose the best template by; 0 where none was to be chosen."""
    num_templates: int
    num_rows_dropped: int
    """Rows of the test split that are no examples: unlabelled ones, and what the card drops."""
    max_new_tokens: int | None
    """Where a text ended at the latest: by the card, or by the positions; None where options are ranked."""


class EvaluationRecord(Strict):
    """What was evaluated, in `evaluation.json`. `settings` are those that decide the predictions."""

    name: str
    model: str
    model_fingerprint: str
    settings: dict[str, Any]
    seed: int
    tasks: dict[str, EvaluatedTask]
    warning: str | None = None
    """Why sequences were scored one at a time, where they were."""
    server: str | None = None
    """What the server does, behind which the model lies."""


class TemplateResult(Strict):
    """The value of one template over its scored rows."""

    template: str
    score: Number | None
    num_examples: int


class MetricResult(Strict):
    """The mean over templates of another metric of a task's card, with its 95% interval."""

    metric: str
    score: Number | None
    low: Number | None
    high: Number | None


class TaskResult(Strict):
    """One task: the mean over templates with its 95% interval, and everything that tells how far to trust it.

    `others`: the same by the other metrics of its card. `spread`: standard deviation over templates. `best_dev`: the
    test score of the template that is best on dev rows. `majority`: always the most frequent gold option;
    `option_prior`: what the model chooses without the prompt.
    `num_unscored` prompts of all `num_prompts` have no answer, which is not a wrong one; `num_cut` lost words to fit
    and `num_at_limit` answers were still going on after `max_new_tokens`, the last token allowed.
    """

    task: str
    cluster: str
    metric: str
    score: Number | None
    low: Number | None
    high: Number | None
    spread: Number | None
    num_examples: int
    num_templates: int
    num_prompts: int
    num_unscored: int
    num_cut: int
    num_at_limit: int
    max_new_tokens: int | None
    mean_exemplars: Number
    others: tuple[MetricResult, ...]
    templates: tuple[TemplateResult, ...]
    best_dev: TemplateResult | None
    """None where no dev rows were asked, or none could be scored."""
    majority: Number | None
    option_prior: Number | None
    median_margin: Number | None
    tie_rate: Number | None
    signature: str | None


class AverageResult(Strict):
    """A mean over the datasets of a cluster, or over clusters, with its 95% interval."""

    name: str
    score: Number | None
    low: Number | None
    high: Number | None
    num_tasks: int


class ComparedTask(Strict):
    """The first model minus the second on one task. `adjusted`: the p-value after Holm's correction over the tasks;
    `detectable`: the smallest true difference that such rows show with 80% power; `mcnemar`: its exact p-value.
    `num_unpaired` prompts have a score of one model only, and are left out."""

    task: str
    difference: Number | None
    low: Number | None
    high: Number | None
    p_value: Number | None
    adjusted: Number | None
    detectable: Number | None
    mcnemar: Number | None
    num_examples: int
    num_unpaired: int


class ComparedAverage(Strict):
    """The first model minus the second, averaged as in `AverageResult`; the numbers are those of `ComparedTask`."""

    name: str
    difference: Number | None
    low: Number | None
    high: Number | None
    p_value: Number | None
    detectable: Number | None
    num_tasks: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation of one model, in its directory."""

    folder: Path
    record: EvaluationRecord

    def predictions(self) -> list[Prediction]:
        """On test rows; RunError when the evaluation has not come to its end."""
        tasks = self.record.tasks.values()
        return self._read(TEST, sum(task.num_examples * task.num_templates for task in tasks))

    def dev_predictions(self) -> list[Prediction]:
        """On dev rows, none where no best template was asked for; RunError as for `predictions`."""
        tasks = self.record.tasks.values()
        expected = sum(task.num_dev_examples * task.num_templates for task in tasks)
        return self._read(DEV, expected) if expected else []

    def _read(self, name: str, num_expected: int) -> list[Prediction]:
        found = {p.key: p for p in read_predictions(self.folder / name)}
        if len(found) != num_expected:
            do = "Repeat the `openflan eval` that began it: it continues."
            raise RunError(self.folder / name, f"{len(found)} predictions", f"{num_expected}", do)
        return list(found.values())

    @property
    def metrics(self) -> dict[str, str]:
        """The metric that is the score, of each task."""
        return {name: task.metrics[0] for name, task in self.record.tasks.items()}


def read_evaluation(folder: Path) -> Evaluation:
    """The evaluation in a directory; RunError when there is none."""
    path = folder / EVALUATION
    if not path.is_file():
        raise RunError(folder, f"no {EVALUATION}", "a directory that `openflan eval` made", "Check the path.")
    return Evaluation(folder, files.parse(EvaluationRecord, files.read_json(path), path, RunError))


def find_evaluations(folders: Sequence[Path]) -> list[Evaluation]:
    """All evaluations in these directories and below them, each once; RunError for a directory without any."""
    found: dict[Path, Evaluation] = {}
    for folder in folders:
        paths = sorted(folder.glob(f"**/{EVALUATION}"))
        if not paths:
            read_evaluation(folder)
        found.update({path.parent.resolve(): read_evaluation(path.parent) for path in paths})
    return list(found.values())


def score_tasks(evaluation: Evaluation, normalisation: Normalisation = "sum") -> list[TaskResult]:
    """Every task of an evaluation, by name."""
    record, metric = evaluation.record, evaluation.metrics
    predictions = evaluation.predictions()
    dev = evaluation.dev_predictions()
    on_test = task_scores(predictions, metric, record.seed, normalisation)
    on_dev = task_scores(dev, metric, record.seed, normalisation)
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
    score = found.score
    best = best_dev_template(dev, found) if dev and any(t.value is not None for t in dev.templates) else None
    is_choice = any(p.logprobs for p in predictions)
    has_priors = is_choice and all(p.prior_logprobs for p in predictions if p.logprobs)
    return TaskResult(
        task=found.task,
        cluster=task.cluster,
        metric=metric,
        score=score.value,
        low=score.low,
        high=score.high,
        spread=found.spread,
        num_examples=score.num_examples,
        num_templates=score.num_templates,
        num_prompts=len(predictions),
        num_unscored=score.num_unscored,
        num_cut=sum(p.num_cut_words > 0 for p in predictions),
        num_at_limit=sum(p.at_limit for p in predictions),
        max_new_tokens=task.max_new_tokens,
        mean_exemplars=statistics.fmean(p.num_exemplars for p in predictions),
        others=tuple(
            _metric_result(name, cluster_score(predictions, name, record.seed, None, normalisation)) for name in others
        ),
        templates=tuple(
            TemplateResult(template=t.template, score=t.value, num_examples=t.num_examples) for t in found.templates
        ),
        best_dev=TemplateResult(template=best.template, score=best.value, num_examples=best.num_examples)
        if best
        else None,
        majority=majority(predictions, metric, record.seed).value if is_choice else None,
        option_prior=option_prior(predictions, metric, record.seed).value if has_priors else None,
        median_margin=found.median_margin,
        tie_rate=found.tie_rate,
        signature=found.signature,
    )


def _metric_result(metric: str, score: Score) -> MetricResult:
    return MetricResult(metric=metric, score=score.value, low=score.low, high=score.high)


def average(evaluation: Evaluation, normalisation: Normalisation = "sum") -> list[AverageResult]:
    """Every cluster of which there is more than one task, and all clusters together where there are several.

    Tasks of one dataset are averaged first, then datasets, then clusters, as in the paper.
    """
    predictions, found = evaluation.predictions(), []
    for name, weights in _averages(evaluation.record.tasks):
        own = [p for p in predictions if p.task in weights]
        score = cluster_score(own, evaluation.metrics, evaluation.record.seed, weights, normalisation)
        found.append(
            AverageResult(name=name, score=score.value, low=score.low, high=score.high, num_tasks=len(weights))
        )
    return found


def _averages(tasks: Mapping[str, EvaluatedTask]) -> Iterator[tuple[str, dict[str, float]]]:
    """What averages there are of these tasks, each with the weights of its own."""
    datasets = {name: task.dataset for name, task in tasks.items()}
    clusters = {name: task.cluster for name, task in tasks.items()}
    for cluster in dict.fromkeys(clusters.values()):
        names = [name for name in tasks if clusters[name] == cluster]
        if len(names) > 1:
            yield cluster, task_weights(names, datasets)
    if len(set(clusters.values())) > 1:
        yield "all clusters", task_weights(tasks, datasets, clusters)


def compare_evaluations(
    a: Evaluation, b: Evaluation, normalisation: Normalisation = "sum"
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
            difference=each.difference.difference,
            low=each.difference.low,
            high=each.difference.high,
            p_value=each.difference.p_value,
            adjusted=each.adjusted,
            detectable=each.detectable,
            mcnemar=each.mcnemar.p_value if each.mcnemar else None,
            num_examples=each.difference.num_examples,
            num_unpaired=each.difference.num_unpaired,
        )
        for each in compare(left, right, a.metrics, a.record.seed, normalisation)
    ]
    averages = []
    for name, weights in _averages(common):
        mine, theirs = ([p for p in arm if p.task in weights] for arm in (left, right))
        gap = paired_difference(mine, theirs, a.metrics, a.record.seed, weights, normalisation)
        averages.append(
            ComparedAverage(
                name=name,
                difference=gap.difference,
                low=gap.low,
                high=gap.high,
                p_value=gap.p_value,
                detectable=detectable_difference(gap.standard_error) if gap.standard_error else None,
                num_tasks=len(weights),
            )
        )
    return tasks, averages
