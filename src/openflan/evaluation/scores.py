"""Averages into scores with 95% intervals, and compares two arms on the same rows.

A score is the mean over tasks of the mean over templates of the metric's value on the test rows. Standard errors are
jackknives over these rows (`resampling`), intervals are made from them (`intervals`). They say nothing about training
seeds. All functions are pure: same predictions in any order, same numbers.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from openflan.errors import RunError
from openflan.evaluation import metrics
from openflan.evaluation.intervals import Part, difference_error, difference_interval, rounded, score_interval
from openflan.evaluation.metrics import Normalisation
from openflan.evaluation.predictions import Prediction
from openflan.evaluation.resampling import MetricNames, Table, leave_one_out, tables, variance_of


@dataclass(frozen=True, slots=True)
class Score:
    """A metric's value with its 95% interval and standard error; all None when it cannot be told, never 0 for that.

    Values are in 0-1, correlations in -1 to 1. `num_examples` counts test rows, `num_units` those of them that are
    independent (rows on one passage are one unit, where the card says so), `num_templates` pairs of task and template,
    `num_unscored` pairs of example and template without a score, which `value` leaves out.
    """

    value: float | None
    low: float | None
    high: float | None
    num_examples: int
    num_templates: int
    num_unscored: int
    standard_error: float | None = None
    num_units: int = 0


@dataclass(frozen=True, slots=True)
class TemplateScore:
    """The value of one template over its `num_examples` scored rows; None when there are none."""

    template: str
    value: float | None
    num_examples: int


@dataclass(frozen=True, slots=True)
class TaskScore:
    """One task: its score, its templates in the order of their ids, and `spread`, their standard deviation (n - 1).

    `spread` is None with fewer than two scored templates. Of a choice task, `median_margin` is by how much the highest
    option led the second in half of the answers (`metrics.margin`), and `tie_rate` the share of answers with two or
    more options at the top; None for free text. `signature`: see `metrics.signature`.
    """

    task: str
    score: Score
    templates: tuple[TemplateScore, ...]
    spread: float | None
    median_margin: float | None = None
    tie_rate: float | None = None
    signature: str | None = None


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """Score of one arm minus that of another on the same rows and templates, with interval and standard error.

    `num_unpaired` pairs of example and template have a score in one arm only, and are left out of both.
    `p_value` is two-sided, of the same test as the interval: below 0.05 where 0 lies outside of it. Only where five or
    fewer units differ may it be higher, since n units that differ cannot give less than 2 / 2^n, as in the sign test.
    Arms that earn the same with every unit have the interval [0, 0], the error 0 and the p-value 1.
    """

    difference: float | None
    low: float | None
    high: float | None
    num_examples: int
    num_templates: int
    standard_error: float | None = None
    p_value: float | None = None
    num_unpaired: int = 0
    num_units: int = 0


def task_scores(
    predictions: Iterable[Prediction], metric: MetricNames, normalisation: Normalisation = "sum"
) -> dict[str, TaskScore]:
    """Score every task in `predictions` (one arm), by task name in order. `metric`: one name, or one for each task."""
    predictions = list(predictions)
    by_task: dict[str, list[Prediction]] = defaultdict(list)
    for prediction in predictions:
        by_task[prediction.task].append(prediction)
    found = {}
    for table in tables(predictions, metric, normalisation):
        own, name = by_task[table.task], metric if isinstance(metric, str) else metric[table.task]
        score = _task_score(table)
        margins = [gap for p in own if p.gold is not None and (gap := metrics.margin(p, normalisation)) is not None]
        found[table.task] = dataclasses.replace(
            score,
            median_margin=float(np.median(margins)) if margins else None,
            tie_rate=margins.count(0) / len(margins) if margins else None,
            signature=metrics.signature(name, own),
        )
    return found


def cluster_score(
    predictions: Iterable[Prediction],
    metric: MetricNames,
    weights: Mapping[str, float] | None = None,
    normalisation: Normalisation = "sum",
) -> Score:
    """Score all of `predictions`, one arm on the tasks of one cluster, every task weighing the same.

    `weights` (from `task_weights`) makes it another mean: over datasets of several parts, over clusters. A task
    without a single scored row leaves the whole without a score: an average over the others would pass for one.
    """
    return _score(tables(predictions, metric, normalisation), weights)


def paired_difference(
    a: Iterable[Prediction],
    b: Iterable[Prediction],
    metric: MetricNames,
    weights: Mapping[str, float] | None = None,
    normalisation: Normalisation = "sum",
) -> PairedDifference:
    """`cluster_score(a)` minus `cluster_score(b)` where both have a score, with an interval for the difference itself.

    Both arms must hold the same (task, uid, template), whatever the prompt's format was: RunError otherwise, saying how
    many differ.
    """
    left, right, num_unpaired = paired_tables(a, b, metric, normalisation)
    num_examples, num_templates, _ = _counts(left)
    found = PairedDifference(
        None, None, None, num_examples, num_templates, num_unpaired=num_unpaired, num_units=_num_units(left)
    )
    if not left or not all(table.num_scored.any() for table in left):
        return found
    num_differing = sum(int((x.statistics != y.statistics).any((1, 2)).sum()) for x, y in zip(left, right, strict=True))
    if num_differing == 0:
        return dataclasses.replace(found, difference=0.0, low=0.0, high=0.0, standard_error=0.0, p_value=1.0)
    parts = [_difference(x, y, weights) for x, y in zip(left, right, strict=True)]
    value, interval = rounded(_average(parts)), difference_interval(parts)
    found = dataclasses.replace(found, difference=value, standard_error=difference_error(parts))
    if interval is None:
        return found
    (low, high), p_value = interval
    return dataclasses.replace(found, low=low, high=high, p_value=min(1.0, max(p_value, 2.0 ** (1 - num_differing))))


def paired_tables(
    a: Iterable[Prediction], b: Iterable[Prediction], metric: MetricNames, normalisation: Normalisation = "sum"
) -> tuple[list[Table], list[Table], int]:
    """The tables of two arms, task by task, and how many predictions are unscored in both because they are in one.

    RunError where rows or templates differ. What fits one model's context, or fits without the block of options, need
    not fit the other's: such a pair says nothing about which one is better.
    """
    a, b = list(a), list(b)
    _same_keys({p.key for p in a}, {p.key for p in b}, "predictions")
    unpaired = _scored(a, metric, normalisation) ^ _scored(b, metric, normalisation)
    left, right = ([_unanswered(p) if p.key in unpaired else p for p in arm] for arm in (a, b))
    return tables(left, metric, normalisation), tables(right, metric, normalisation), len(unpaired)


def _scored(
    predictions: Sequence[Prediction], metric: MetricNames, normalisation: Normalisation
) -> set[tuple[str, str, str]]:
    by_task: dict[str, list[Prediction]] = defaultdict(list)
    for prediction in predictions:
        by_task[prediction.task].append(prediction)
    found = set()
    for task, own in by_task.items():
        rows = metrics.find_metric(metric if isinstance(metric, str) else metric[task]).statistics(own, normalisation)
        found |= {p.key for p, there in zip(own, ~np.isnan(rows[:, 0]), strict=True) if there}
    return found


def _unanswered(p: Prediction) -> Prediction:
    return dataclasses.replace(p, gold=None, logprobs=(), num_tokens=(), num_bytes=(), prior_logprobs=(), text=None)


def task_weights(tasks: Iterable[str], *levels: Mapping[str, str]) -> dict[str, float]:
    """How much each task weighs when averages are taken level by level, innermost first; all weights sum to 1.

    A level maps a task to the name of what it is part of: ANLI's three rounds to one dataset, datasets to their
    clusters (both by the task's name; one that a level leaves out is by itself). Without levels all tasks weigh the
    same.

    >>> rounds, clusters = {"anli_r1": "anli", "anli_r2": "anli"}, {"anli_r1": "nli", "anli_r2": "nli", "rte": "nli"}
    >>> task_weights(["anli_r1", "anli_r2", "rte"], rounds)
    {'anli_r1': 0.25, 'anli_r2': 0.25, 'rte': 0.5}
    >>> task_weights(["anli_r1", "anli_r2", "rte", "copa"], rounds, clusters)
    {'anli_r1': 0.125, 'anli_r2': 0.125, 'rte': 0.25, 'copa': 0.5}
    """
    paths = {task: (*(level.get(task, task) for level in reversed(levels)), task) for task in tasks}
    nodes = {path[:depth] for path in paths.values() for depth in range(1, len(path) + 1)}
    num_children = Counter(node[:-1] for node in nodes)
    return {
        task: math.prod(1 / num_children[path[:depth]] for depth in range(len(path))) for task, path in paths.items()
    }


def best_dev_template(dev: TaskScore, test: TaskScore) -> TemplateScore:
    """The test score of the template that is best on dev, the first by id of a tie (paper, section 3).

    RunError when no template has a dev score, or when the chosen one was not evaluated on test.
    """
    scored = [t for t in dev.templates if t.value is not None]
    where = f"the best dev template of {dev.task}"
    if not scored:
        raise RunError(where, "no template with a score on dev", "one or more", "Evaluate the dev split first.")
    best = min(scored, key=lambda t: (-(t.value or 0.0), t.template)).template
    for template in test.templates:
        if template.template == best:
            return template
    raise RunError(where, f"{best}, which has no predictions on test", "the same templates on dev and test")


def majority(
    predictions: Iterable[Prediction], metric: MetricNames, weights: Mapping[str, float] | None = None
) -> Score:
    """The score of the constant answer that scores best on the test rows of each task, by the task's own metric.

    For accuracy that is the option which is most often gold; for an F1 it is the positive one, however rare. It knows
    the test labels, so no constant answer is stronger. An option is known by its position, which for fixed options is
    its text; where every row brings its own, it is all there is (the last one, in a row that has fewer). No prompt is
    involved: `num_templates` is 0, and rows that no prompt could be made of are left out. With a task of free text
    there is no score. `predictions` are those of any arm: only their gold options are read.
    """
    rows: dict[str, dict[str, Prediction]] = defaultdict(dict)
    for p in predictions:
        if p.gold is not None or p.text is not None:
            rows[p.task][p.uid] = p
    constant: list[Prediction] = []
    for of_task in rows.values():
        num_options = max(len(p.logprobs) for p in of_task.values())
        answers = [[_always(p, option) for p in of_task.values()] for option in range(max(1, num_options))]
        constant += max(answers, key=lambda found: tables(found, metric)[0].mean() if num_options else 0.0)
    return dataclasses.replace(cluster_score(constant, metric, weights), num_templates=0)


def _always(p: Prediction, option: int) -> Prediction:
    chosen = min(option, len(p.logprobs) - 1)
    logprobs = tuple(float(i == chosen) for i in range(len(p.logprobs)))
    return dataclasses.replace(p, template="", text=None, logprobs=logprobs)


def option_prior(
    predictions: Iterable[Prediction], metric: MetricNames, weights: Mapping[str, float] | None = None
) -> Score:
    """The score of what the model would choose blind: the option that is likeliest without the prompt.

    Needs predictions with `prior_logprobs`: RunError otherwise.
    """
    blind = []
    for prediction in predictions:
        if prediction.logprobs and not prediction.prior_logprobs:
            found = "no log-probs of the options without the prompt"
            raise RunError(prediction.where, found, "one each", "Evaluate again with them.")
        blind.append(dataclasses.replace(prediction, logprobs=prediction.prior_logprobs))
    return cluster_score(blind, metric, weights)


def _same_keys(a: set[tuple[str, str, str]], b: set[tuple[str, str, str]], what: str) -> None:
    if a != b:
        example = ", ".join(min(a ^ b))
        found = f"{len(a - b)} {what} only in the first and {len(b - a)} only in the second (such as {example})"
        raise RunError(
            "comparing two arms", found, "the same tasks, rows and templates", "Evaluate both on the same rows."
        )


def _task_score(table: Table) -> TaskScore:
    numbers = table.num_scored.sum(axis=0).tolist()
    values = table.template_values()
    templates = tuple(map(TemplateScore, table.templates, values, numbers))
    means = [value for value in values if value is not None]
    spread = float(np.std(means, ddof=1)) if len(means) > 1 else None
    return TaskScore(table.task, _score([table]), templates, spread)


def _score(found: Sequence[Table], weights: Mapping[str, float] | None = None) -> Score:
    if not found or not all(table.num_scored.any() for table in found):
        return Score(None, None, None, *_counts(found), num_units=_num_units(found))
    parts = [
        Part(table.mean(), variance_of(leave_one_out(table)), len(table.scored), _weight(table, weights), table.lowest)
        for table in found
    ]
    total = sum(part.weight for part in parts)
    error = math.sqrt(sum((part.weight / total) ** 2 * part.variance for part in parts))
    return Score(rounded(_average(parts)), *score_interval(parts), *_counts(found), error, _num_units(found))


def _difference(x: Table, y: Table, weights: Mapping[str, float] | None) -> Part:
    """One task's part of a difference: the same unit is left out of both arms."""
    variance = variance_of(leave_one_out(x) - leave_one_out(y))
    return Part(x.mean() - y.mean(), variance, len(x.scored), _weight(x, weights), x.lowest)


def _weight(table: Table, weights: Mapping[str, float] | None) -> float:
    return 1.0 if weights is None else weights[table.task]


def _average(parts: Sequence[Part]) -> float:
    return sum(part.weight * part.value for part in parts) / sum(part.weight for part in parts)


def _counts(found: Sequence[Table]) -> tuple[int, int, int]:
    return (
        sum(table.num_rows for table in found),
        sum(len(table.templates) for table in found),
        sum(table.num_unscored for table in found),
    )


def _num_units(found: Sequence[Table]) -> int:
    return sum(len(table.units) for table in found)
