"""The bootstrap: what a metric's value would be on other test rows, from one table of sums for each task.

Rows are drawn with replacement within a task. What is drawn is a *unit*: an example with all its templates, since the
same example asked in ten ways is not ten observations, or a whole group of examples, where the card names groups. For
every draw the metric is computed anew from the sums of its statistics; corpus metrics need no other treatment.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openflan import streams
from openflan.errors import RunError
from openflan.evaluation import metrics
from openflan.evaluation.metrics import Normalisation
from openflan.evaluation.predictions import Prediction

NUM_RESAMPLES = 2000
_CELLS_AT_ONCE = 2_000_000  # resamples x units held in memory together: about 100 MB

Array = NDArray[np.float64]
MetricNames = str | Mapping[str, str]  # one metric, or one for each task


@dataclass(frozen=True, slots=True)
class Table:
    """One task under one metric, units and templates in the order of their ids.

    `statistics[i, j]`: sums over the rows of unit i with template j, 0 where nothing is scored; `num_scored[i, j]`: how
    many rows those are. `num_rows` counts examples.
    """

    task: str
    units: tuple[str, ...]
    templates: tuple[str, ...]
    statistics: Array
    num_scored: NDArray[np.int64]
    num_rows: int
    value: Callable[[Array], Array]

    @property
    def num_unscored(self) -> int:
        """Pairs of example and template without a score, absent ones included."""
        return self.num_rows * len(self.templates) - int(self.num_scored.sum())

    def template_values(self) -> list[float | None]:
        """The metric's value for each template, None where it has no scored row."""
        values, drawn = _values(self.statistics, self.value, np.ones((1, len(self.units))))
        return [float(value) if there else None for value, there in zip(values[0], drawn[0], strict=True)]

    def mean(self) -> float:
        """The mean over templates of the metric's value."""
        return float(_means(self.statistics, self.value, np.ones((1, len(self.units))))[0])


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
    units = {unit: i for i, unit in enumerate(sorted({p.group or p.uid for p in predictions}))}
    templates = {template: j for j, template in enumerate(sorted({p.template for p in predictions}))}
    places = [units[p.group or p.uid] * len(templates) + templates[p.template] for p in predictions]
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
    )


def bootstrap(table: Table, seed: int) -> Array:
    """Means of the task on `NUM_RESAMPLES` draws of its units. Two arms get the same draws of the same task."""
    statistics = table.statistics[np.flatnonzero(table.num_scored.any(axis=1))]
    if table.value is metrics.mean_value and np.array_equal(
        statistics[..., 0], np.broadcast_to(statistics[:, :1, 0], statistics.shape[:2])
    ):
        # a mean of means over the same rows is the mean of all: templates can be taken together first
        statistics = statistics.mean(axis=1, keepdims=True)
    num_units = len(statistics)
    generator = np.random.default_rng(streams.seed_of(seed, "bootstrap", table.task))
    num_at_once = max(1, _CELLS_AT_ONCE // num_units)
    parts = []
    for start in range(0, NUM_RESAMPLES, num_at_once):
        num_draws = min(num_at_once, NUM_RESAMPLES - start)
        drawn = generator.integers(num_units, size=(num_draws, num_units))
        drawn += np.arange(num_draws)[:, None] * num_units
        weights = np.bincount(drawn.ravel(), minlength=num_draws * num_units).reshape(num_draws, num_units)
        parts.append(_means(statistics, table.value, weights.astype(np.float64)))
    return np.concatenate(parts)


def _means(statistics: Array, value: Callable[[Array], Array], weights: Array) -> Array:
    """Mean over the templates that have a scored unit. `weights` [draws, units] -> [draws]."""
    values, drawn = _values(statistics, value, weights)
    means: Array = np.where(drawn, values, 0.0).sum(axis=1) / drawn.sum(axis=1)
    return means


def _values(statistics: Array, value: Callable[[Array], Array], weights: Array) -> tuple[Array, NDArray[np.bool_]]:
    """The metric of the weighted units, and where there is any, both [draws, templates]."""
    # einsum and not @: its sums do not depend on how many threads a BLAS library takes
    sums = np.einsum("du,uts->dts", weights, statistics)
    drawn = sums[..., 0] > 0
    values = np.zeros(drawn.shape)
    values[drawn] = value(sums[drawn])
    return values, drawn
