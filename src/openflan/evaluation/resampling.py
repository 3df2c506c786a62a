"""The jackknife: how far a metric's value depends on which test rows there are, from one table of sums for each task.

What is left out in turn is a *unit*: an example with all its templates, since the same example asked in ten ways is not
ten observations, or all examples that share what the card names as its `unit` (a passage) or its `group_by`. Each time
the metric is computed anew from the sums of its statistics; corpus metrics need no other treatment.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openflan.errors import RunError
from openflan.evaluation import metrics
from openflan.evaluation.metrics import Normalisation
from openflan.evaluation.predictions import Prediction

Array = NDArray[np.float64]
MetricNames = str | Mapping[str, str]  # one metric, or one for each task


@dataclass(frozen=True, slots=True)
class Table:
    """One task under one metric, units and templates in the order of their ids.

    `statistics[i, j]`: sums over the rows of unit i with template j, 0 where nothing is scored; `num_scored[i, j]`: how
    many rows those are. `num_rows` counts examples. `value` and `lowest` are the metric's.
    """

    task: str
    units: tuple[str, ...]
    templates: tuple[str, ...]
    statistics: Array
    num_scored: NDArray[np.int64]
    num_rows: int
    value: Callable[[Array], Array]
    lowest: float = 0.0

    @property
    def scored(self) -> Array:
        """The statistics of those units of which anything is scored."""
        return self.statistics[self.num_scored.any(axis=1)]

    @property
    def num_unscored(self) -> int:
        """Pairs of example and template without a score, absent ones included."""
        return self.num_rows * len(self.templates) - int(self.num_scored.sum())

    def template_values(self) -> list[float | None]:
        """The metric's value for each template, None where it has no scored row."""
        values, there = _values(self.statistics.sum(axis=0, keepdims=True), self.value)
        return [float(value) if scored else None for value, scored in zip(values[0], there[0], strict=True)]

    def mean(self) -> float:
        """The mean over templates of the metric's value."""
        return float(_means(self.statistics.sum(axis=0, keepdims=True), self.value)[0])


def tables(predictions: Iterable[Prediction], metric: MetricNames, normalisation: Normalisation = "sum") -> list[Table]:
    """One table for each task, sorted throughout, so that no order of evaluation reaches a number."""
    by_task: dict[str, dict[tuple[str, str], Prediction]] = defaultdict(dict)
    for prediction in predictions:
        cells = by_task[prediction.task]
        if (prediction.uid, prediction.template) in cells:
            raise RunError(prediction.where, "two predictions of one arm", "one", "Remove the predictions and repeat.")
        cells[prediction.uid, prediction.template] = prediction
    return [
        _table(task, list(cells.values()), metric if isinstance(metric, str) else metric[task], normalisation)
        for task, cells in sorted(by_task.items())
    ]


def _table(task: str, predictions: list[Prediction], name: str, normalisation: Normalisation) -> Table:
    metric = metrics.find_metric(name)
    rows = metric.statistics(predictions, normalisation)
    scored = ~np.isnan(rows[:, 0])
    units = {unit: i for i, unit in enumerate(sorted({p.resampled for p in predictions}))}
    templates = {template: j for j, template in enumerate(sorted({p.template for p in predictions}))}
    places = [units[p.resampled] * len(templates) + templates[p.template] for p in predictions]
    statistics = np.zeros((len(units) * len(templates), rows.shape[1]))
    num_scored = np.zeros(len(units) * len(templates), dtype=np.int64)
    np.add.at(statistics, places, np.where(scored[:, None], rows, 0))
    np.add.at(num_scored, places, scored)
    return Table(
        task,
        tuple(units),
        tuple(templates),
        statistics.reshape(len(units), len(templates), -1),
        num_scored.reshape(len(units), -1),
        len({p.uid for p in predictions}),
        metric.value,
        metric.lowest,
    )


def variance_of(left_out: Array) -> float:
    """The jackknife's variance of a value, from what it is without each unit in turn; 0 for a single unit.

    For a mean over rows this is the variance over rows divided by their number; where units hold several rows, that of
    a clustered standard error. All metrics here are smooth functions of sums, for which it is consistent (Efron 1982).
    """
    if len(left_out) < 2:
        return 0.0
    return float((len(left_out) - 1) / len(left_out) * ((left_out - left_out.mean()) ** 2).sum())


def leave_one_out(table: Table) -> Array:
    """The mean of the task without each of its scored units in turn: [units]. One value for a single unit."""
    statistics = table.scored
    if len(statistics) < 2:
        return np.array([table.mean()])
    return _means(statistics.sum(axis=0) - statistics, table.value)


def _means(sums: Array, value: Callable[[Array], Array]) -> Array:
    """Mean over the templates that have a scored unit. `sums` [n, templates, s] -> [n]."""
    values, there = _values(sums, value)
    means: Array = np.where(there, values, 0.0).sum(axis=1) / np.maximum(there.sum(axis=1), 1)
    return means


def _values(sums: Array, value: Callable[[Array], Array]) -> tuple[Array, NDArray[np.bool_]]:
    """The metric of `sums` [n, templates, s], and where there is any, both [n, templates]."""
    there = sums[..., 0] > 0.5  # counts of observations
    values = np.zeros(there.shape)
    values[there] = value(sums[there])
    return values, there
