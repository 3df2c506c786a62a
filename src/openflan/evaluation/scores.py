"""Averages into scores with 95% intervals, and compares two arms on the same rows.

A score is the mean over tasks of the mean over templates of the metric's value on the test rows. Intervals are
percentile bootstraps over these rows (`resampling`). They say nothing about training seeds. All functions are pure:
same predictions in any order and same seed, same numbers.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openflan.errors import RunError
from openflan.evaluation import metrics
from openflan.evaluation.metrics import Normalisation
from openflan.evaluation.predictions import Prediction
from openflan.evaluation.resampling import MetricNames, Table, bootstrap, tables

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Score:
    """A metric's value with its 95% interval and standard error; all None when it cannot be told, never 0 for that.

    Values are in 0-1, correlations in -1 to 1. `num_examples` counts test rows, `num_templates` pairs of task and
    template, `num_unscored` pairs of example and template without a score, which `value` leaves out.
    """

    value: float | None
    low: float | None
    high: float | None
    num_examples: int
    num_templates: int
    num_unscored: int
    standard_error: float | None = None


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
    `p_value` is two-sided: twice the share of draws at or beyond 0, the data themselves counting as one more draw. It
    says what the interval says: below 0.05 where 0 lies outside of it.
    """

    difference: float | None
    low: float | None
    high: float | None
    num_examples: int
    num_templates: int
    standard_error: float | None = None
    p_value: float | None = None
    num_unpaired: int = 0


def task_scores(
    predictions: Iterable[Prediction], metric: MetricNames, seed: int, normalisation: Normalisation = "sum"
) -> dict[str, TaskScore]:
    """Score every task in `predictions` (one arm), by task name in order. `metric`: one name, or one for each task."""
    predictions = list(predictions)
    by_task: dict[str, list[Prediction]] = defaultdict(list)
    for prediction in predictions:
        by_task[prediction.task].append(prediction)
    found = {}
    for table in tables(predictions, metric, normalisation):
        own, name = by_task[table.task], metric if isinstance(metric, str) else metric[table.task]
        score = _task_score(table, seed)
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
    seed: int,
    weights: Mapping[str, float] | None = None,
    normalisation: Normalisation = "sum",
) -> Score:
    """Score all of `predictions`, one arm on the tasks of one cluster, every task weighing the same.

    `weights` (from `task_weights`) makes it another mean: over datasets of several parts, over clusters. A task
    without a single scored row leaves the whole without a score: an average over the others would pass for one.
    """
    return _score(tables(predictions, metric, normalisation), seed, weights)


def paired_difference(
    a: Iterable[Prediction],
    b: Iterable[Prediction],
    metric: MetricNames,
    seed: int,
    weights: Mapping[str, float] | None = None,
    normalisation: Normalisation = "sum",
) -> PairedDifference:
    """`cluster_score(a)` minus `cluster_score(b)` where both have a score, with an interval for the difference itself.

    Both arms must hold the same (task, uid, template), whatever the prompt's format was: RunError otherwise, saying how
    many differ.
    """
    left, right, num_unpaired = paired_tables(a, b, metric, normalisation)
    num_examples, num_templates, _ = _counts(left)
    if not left or not all(table.num_scored.any() for table in left):
        return PairedDifference(None, None, None, num_examples, num_templates, num_unpaired=num_unpaired)
    pairs = list(zip(left, right, strict=True))
    value = float(_average([x.mean() - y.mean() for x, y in pairs], left, weights))
    resampled = _average([bootstrap(x, seed) - bootstrap(y, seed) for x, y in pairs], left, weights)
    num_beyond = 1 + min((resampled <= 0).sum(), (resampled >= 0).sum())
    return PairedDifference(
        value,
        *_interval(resampled),
        num_examples,
        num_templates,
        float(resampled.std(ddof=1)),
        min(1.0, 2 * float(num_beyond) / (len(resampled) + 1)),
        num_unpaired,
    )


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
    predictions: Iterable[Prediction], metric: MetricNames, seed: int, weights: Mapping[str, float] | None = None
) -> Score:
    """The score of always answering the option that is most often gold in the test rows of each task.

    It knows the test labels, so it is as strong as a constant answer can be. An option is known by its position, which
    for fixed options is its text; where every row brings its own, it is all there is. No prompt is involved:
    `num_templates` is 0, and rows that no prompt could be made of are left out. With a task of free text there is no
    score. `predictions` are those of any arm: only their gold options are read.
    """
    rows = {(p.task, p.uid): p for p in predictions if p.gold is not None or p.text is not None}
    counts: dict[str, Counter[int | None]] = defaultdict(Counter)
    for prediction in rows.values():
        counts[prediction.task][prediction.gold] += 1
    answers = {task: min(count, key=lambda gold: (-count[gold], gold)) for task, count in counts.items()}
    constant = [
        dataclasses.replace(
            p, template="", text=None, logprobs=tuple(float(i == answers[p.task]) for i in range(len(p.logprobs)))
        )
        for p in rows.values()
    ]
    return dataclasses.replace(cluster_score(constant, metric, seed, weights), num_templates=0)


def option_prior(
    predictions: Iterable[Prediction], metric: MetricNames, seed: int, weights: Mapping[str, float] | None = None
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
    return cluster_score(blind, metric, seed, weights)


def _same_keys(a: set[tuple[str, str, str]], b: set[tuple[str, str, str]], what: str) -> None:
    if a != b:
        example = ", ".join(min(a ^ b))
        found = f"{len(a - b)} {what} only in the first and {len(b - a)} only in the second (such as {example})"
        raise RunError(
            "comparing two arms", found, "the same tasks, rows and templates", "Evaluate both on the same rows."
        )


def _task_score(table: Table, seed: int) -> TaskScore:
    numbers = table.num_scored.sum(axis=0).tolist()
    values = table.template_values()
    templates = tuple(map(TemplateScore, table.templates, values, numbers))
    means = [value for value in values if value is not None]
    spread = float(np.std(means, ddof=1)) if len(means) > 1 else None
    return TaskScore(table.task, _score([table], seed), templates, spread)


def _score(found: Sequence[Table], seed: int, weights: Mapping[str, float] | None = None) -> Score:
    if not found or not all(table.num_scored.any() for table in found):
        return Score(None, None, None, *_counts(found))
    value = float(_average([table.mean() for table in found], found, weights))
    resampled = _average([bootstrap(table, seed) for table in found], found, weights)
    return Score(value, *_interval(resampled), *_counts(found), float(resampled.std(ddof=1)))


def _counts(found: Sequence[Table]) -> tuple[int, int, int]:
    return (
        sum(table.num_rows for table in found),
        sum(len(table.templates) for table in found),
        sum(table.num_unscored for table in found),
    )


def _average(
    values: Sequence[float] | Sequence[Array], found: Sequence[Table], weights: Mapping[str, float] | None
) -> Array:
    """Over tasks; every value is a number or one number for each draw."""
    shares = [1.0 if weights is None else weights[table.task] for table in found]
    return np.asarray(np.average(values, axis=0, weights=shares))


def _interval(resampled: Array) -> tuple[float, float]:
    low, high = (float(bound) for bound in np.quantile(resampled, [0.025, 0.975]))
    return low, high
