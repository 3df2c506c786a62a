"""From a variance over units to a 95% interval and a p-value, without drawing anything at random.

A score gets Wilson's interval (1927) at the number of independent units that its variance is worth (Kish's effective
sample size; Franco et al. 2019 compare the alternatives), so that it stays within the metric's range and has a width
even where every answer is right. A mean over tasks combines their intervals by the squares of their arms (Zou and
Donner 2008). A paired difference gets Student's interval, and the p-value that belongs to it. `benchmarks/coverage.py`
measures how often these intervals hold the truth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

ALPHA = 0.05
Z = NormalDist().inv_cdf(1 - ALPHA / 2)
NUM_DIGITS = 12  # what is nearer to 0 than 1e-12 is the rounding of a sum, and no finding


class Interval(NamedTuple):
    """The bounds of a 95% interval."""

    low: float
    high: float


class Part(NamedTuple):
    """One task of a mean: its `value`, that value's `variance` over its units, its `weight`, and how far up and down
    values go: from `lowest` (0, or -1 of a correlation) to 1."""

    value: float
    variance: float
    num_units: int
    weight: float = 1.0
    lowest: float = 0.0


def score_interval(parts: Sequence[Part]) -> Interval:
    """The interval of the weighted mean of `parts`, which must not be empty."""
    total = sum(part.weight for part in parts)
    value = sum(part.weight * part.value for part in parts) / total
    below, above = 0.0, 0.0
    for part in parts:
        low, high = _wilson(part)
        below += (part.weight / total * (part.value - low)) ** 2
        above += (part.weight / total * (high - part.value)) ** 2
    return Interval(rounded(value - math.sqrt(below)), rounded(value + math.sqrt(above)))


def _wilson(part: Part) -> Interval:
    """Wilson's interval at n / d units, where d is the design effect: the variance as a multiple of the variance that n
    units have, each of them right or wrong.

    For rows of one template that are right or wrong d is n / (n - 1) or less, and the interval as good as Wilson's own.
    Where hardly a unit has lost credit, d is hardly known: it is estimated as if one unit more were there, with the
    largest variance that there can be, 1/4. A correlation with an answer that is always the same is 0 by definition,
    whatever the units are: its variance is taken to be 1/n, that of answers unrelated to the right ones.
    """
    span, n = 1 - part.lowest, part.num_units
    share = min(1.0, max(0.0, (part.value - part.lowest) / span))
    is_undefined = part.lowest < 0 and part.value == part.variance == 0
    variance = 1 / n if is_undefined else part.variance
    effect = (n**2 * variance / span**2 + 1 / 4) / (n * share * (1 - share) + 1 / 4)
    extra = Z**2 * effect / n
    centre = (share + extra / 2) / (1 + extra)
    arm = math.sqrt(extra * share * (1 - share) + extra**2 / 4) / (1 + extra)
    low, high = max(0.0, centre - arm), min(1.0, centre + arm)
    return Interval(min(part.value, part.lowest + span * low), max(part.value, part.lowest + span * high))


def difference_error(parts: Sequence[Part]) -> float:
    """The standard error of the weighted mean of `parts`, each a difference of two scores.

    As if one unit more were there, in which the two differ as much as they can: without it, a few units that differ
    alike would have no error at all (compare Agresti and Min 2005, who add half a row to each cell).
    """
    return math.sqrt(sum(variance for variance, _ in _difference_variances(parts)))


def difference_interval(parts: Sequence[Part]) -> tuple[Interval, float] | None:
    """Student's interval of the weighted mean of `parts`, each a difference of two scores, and its two-sided p-value:
    below 0.05 where 0 lies outside. None where a part has a single unit, which tells nothing about others.

    The degrees of freedom are Welch's (1947), one less than the units of a single task.
    """
    from scipy import special  # takes a while to import

    freedom = _degrees_of_freedom(_difference_variances(parts))
    if freedom == 0:
        return None
    total = sum(part.weight for part in parts)
    value = sum(part.weight * part.value for part in parts) / total
    most = sum(part.weight * (1 - part.lowest) for part in parts) / total
    error = difference_error(parts)
    arm = float(special.stdtrit(freedom, 1 - ALPHA / 2)) * error
    bounds = Interval(rounded(max(-most, value - arm)), rounded(min(most, value + arm)))
    return bounds, min(1.0, 2 * float(special.stdtr(freedom, -abs(value) / error)))


def _difference_variances(parts: Sequence[Part]) -> list[tuple[float, int]]:
    """What each part adds to the variance of their mean, and its number of units."""
    total = sum(part.weight for part in parts)
    return [
        ((part.weight / total) ** 2 * (part.variance + ((1 - part.lowest) / part.num_units) ** 2), part.num_units)
        for part in parts
    ]


def _degrees_of_freedom(variances: Sequence[tuple[float, int]]) -> float:
    """0 where a part that counts has a single unit."""
    if any(num_units < 2 for variance, num_units in variances if variance):
        return 0.0
    uncertain = sum(variance**2 / (num_units - 1) for variance, num_units in variances if variance)
    return sum(variance for variance, _ in variances) ** 2 / uncertain if uncertain else 0.0


def rounded(value: float) -> float:
    """Without the rounding errors of sums: -5e-17 is 0, on neither side of it.

    >>> rounded(-5.55e-17), rounded(-1e-9)
    (0.0, -1e-09)
    """
    return round(value, NUM_DIGITS) + 0.0
