"""Whether a difference between two models is more than chance, task by task, and how small a one could be seen.

Two tests on the same rows. That of the mean difference (`scores.paired_difference`) works for every metric and gives
the interval that a report shows. McNemar's test is exact, and reads credits of single rows only. `compare` gives both,
and Holm's correction over tasks of the first. Both count units, such as all rows on one passage, as independent.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from openflan.errors import ConfigError
from openflan.evaluation.intervals import ALPHA
from openflan.evaluation.metrics import CREDITS, Normalisation
from openflan.evaluation.predictions import Prediction
from openflan.evaluation.resampling import MetricNames, Table
from openflan.evaluation.scores import PairedDifference, paired_difference, paired_tables

POWER = 0.8

Name = TypeVar("Name", str, tuple[str, ...])


@dataclass(frozen=True, slots=True)
class McNemar:
    """On how many units each arm alone is right (or has the higher credit), and the exact two-sided p-value."""

    num_first: int
    num_second: int
    p_value: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two arms on one task. `adjusted` is the difference's p-value after Holm's correction over the tasks compared.

    `mcnemar` and `mcnemar_templates` (by template) are None and empty for a metric that gives single rows no credit.
    """

    task: str
    difference: PairedDifference
    adjusted: float | None
    mcnemar: McNemar | None
    mcnemar_templates: Mapping[str, McNemar]


def compare(
    a: Iterable[Prediction],
    b: Iterable[Prediction],
    metric: MetricNames,
    normalisation: Normalisation = "sum",
) -> list[Comparison]:
    """Arm `a` against arm `b` on every task that they hold, by name; RunError as `paired_difference` raises it."""
    a, b = list(a), list(b)
    left, right, _ = paired_tables(a, b, metric, normalisation)
    differences = {
        table.task: paired_difference(
            [p for p in a if p.task == table.task],
            [p for p in b if p.task == table.task],
            metric,
            None,
            normalisation,
        )
        for table in left
    }
    adjusted = holm({task: found.p_value for task, found in differences.items() if found.p_value is not None})
    comparisons = []
    for x, y in zip(left, right, strict=True):
        found = differences[x.task]
        single = (metric if isinstance(metric, str) else metric[x.task]) in CREDITS
        comparisons.append(
            Comparison(
                x.task,
                found,
                adjusted.get(x.task),
                _mcnemar(_net(x, y).sum(axis=1)) if single else None,
                dict(zip(x.templates, map(_mcnemar, _net(x, y).T), strict=True)) if single else {},
            )
        )
    return comparisons


def mcnemar(num_first: int, num_second: int) -> McNemar:
    """McNemar's exact test of "neither is better" (1947): heads and tails of as many fair throws as rows differ.

    Two-sided: twice the probability of so few on the rarer side, at most 1. Rows on which both do alike say nothing.

    >>> mcnemar(1, 8).p_value
    0.0390625
    """
    num_rows, fewest = num_first + num_second, min(num_first, num_second)
    ways, term = 0, 1
    for i in range(fewest + 1):
        ways += term
        term = term * (num_rows - i) // (i + 1)
    return McNemar(num_first, num_second, min(1.0, 2 * ways / 2**num_rows))


def holm(p_values: Mapping[Name, float]) -> dict[Name, float]:
    """Holm's step-down correction (1979): the k-th smallest of m times (m - k + 1), never less than the one before.

    Rejecting what is at most alpha afterwards keeps the chance of a single false rejection below alpha, whatever the
    tests have to do with each other.

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': 0.03, 'b': 0.06, 'c': 0.06}
    """
    adjusted: dict[Name, float] = {}
    highest = 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: (p_values[name], name))):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[name]))
        adjusted[name] = highest
    return {name: adjusted[name] for name in p_values}


def detectable_difference(standard_error: float, power: float = POWER, alpha: float = ALPHA) -> float:
    """The smallest true difference that a two-sided test at `alpha` finds with probability `power`.

    (z[1 - alpha / 2] + z[power]) times the difference's standard error, 2.80 times for 0.05 and 0.8. After a run the
    error is `PairedDifference.standard_error`, before it `expected_standard_error`.
    """
    normal = NormalDist()
    return (normal.inv_cdf(1 - alpha / 2) + normal.inv_cdf(power)) * standard_error


def expected_standard_error(
    num_examples: int, discordance: float, num_templates: int = 1, correlation: float = 1.0
) -> float:
    """What the standard error of a paired difference in accuracy will be: sqrt(d / n * (1 + (t - 1) * r) / t).

    `discordance` d: the share of answers in which exactly one of the two models is right, usually 0.1-0.4;
    `correlation` r: that of an example's differences under two templates. At 1 more templates help nothing, at 0 each
    is worth as much as another n examples.
    """
    if num_examples < 1 or num_templates < 1 or not 0 <= discordance <= 1 or not 0 <= correlation <= 1:
        found = f"{num_examples} examples, {num_templates} templates, {discordance} and {correlation}"
        raise ConfigError("expected_standard_error", found, "counts of 1 or more and shares in 0-1")
    design_effect = (1 + (num_templates - 1) * correlation) / num_templates
    return math.sqrt(discordance / num_examples * design_effect)


def _net(x: Table, y: Table) -> NDArray[np.float64]:
    """How much more credit the first arm has, [units, templates]; 0 where nothing is scored."""
    return x.statistics[..., 1] - y.statistics[..., 1]


def _mcnemar(net: NDArray[np.float64]) -> McNemar:
    """McNemar's test of the signs of `net`, one number for each unit.

    With one template, one row in each unit and credits of 0 and 1 these are the discordant rows. Otherwise a unit
    counts once, for the arm that has the higher credit over all its rows and templates: units are independent and what
    is in one is not, so a test of all pairs of row and template would find ten times the evidence that there is. Shared
    credits need no rule either.
    """
    certain = np.abs(net) > 1e-9  # shares of ties do not add up exactly
    return mcnemar(int((certain & (net > 0)).sum()), int((certain & (net < 0)).sum()))
