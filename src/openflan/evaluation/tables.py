"""Values of a confusion table: `table[..., i, j]` counts rows with gold option i for which option j was chosen.

Counts may be fractions, since a tie is shared. Tables may come stacked, one for each row that is left out. A choice
among fixed options holds nothing more than its table, rank correlation included, so nothing else is stored.

0/0 is 0 throughout, as in scikit-learn: a model with one answer for everything shows no association, and is not
missing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_NOTHING = 1e-9  # shares of ties do not add up to whole numbers exactly


def binary_f1(table: Array) -> Array:
    """F1 of the second option, which the cards make the positive one ("yes"): MRPC, QQP, and MultiRC's F1a.

    MultiRC (Khashabi et al. 2018) calls F1a what is F1 over all answers of all questions together.
    """
    return _ratio(2 * table[..., 1, 1], table[..., 1, :].sum(-1) + table[..., :, 1].sum(-1))


def macro_f1(table: Array) -> Array:
    """The mean F1 of all options that are gold or chosen at least once (CB in SuperGLUE)."""
    num_either = table.sum(-1) + table.sum(-2)
    scores = _ratio(2 * np.diagonal(table, axis1=-2, axis2=-1), num_either)
    return _ratio(scores.sum(-1), (num_either > _NOTHING).sum(-1).astype(np.float64))


def matthews(table: Array) -> Array:
    """Matthews' correlation, for two options or more (Gorodkin 2004): -1 to 1."""
    table = _as_shares(table)
    gold, chosen = table.sum(-1), table.sum(-2)
    agreement = np.trace(table, axis1=-2, axis2=-1) - (gold * chosen).sum(-1)
    return _correlation(agreement, 1 - (gold**2).sum(-1), 1 - (chosen**2).sum(-1))


def pearson(table: Array) -> Array:
    """Pearson's correlation of gold and chosen option, which must be even steps of a scale, in order (STS-B)."""
    steps = np.arange(table.shape[-1], dtype=np.float64)
    return _product_moment(_as_shares(table), steps, steps)


def spearman(table: Array) -> Array:
    """Spearman's correlation: Pearson's of the ranks, rows on the same step sharing the mean of theirs."""
    shares = _as_shares(table)
    gold, chosen = shares.sum(-1), shares.sum(-2)
    return _product_moment(shares, gold.cumsum(-1) - gold / 2, chosen.cumsum(-1) - chosen / 2)


def _product_moment(shares: Array, x: Array, y: Array) -> Array:
    gold, chosen = shares.sum(-1), shares.sum(-2)
    x = x - (gold * x).sum(-1, keepdims=True)
    y = y - (chosen * y).sum(-1, keepdims=True)
    covariance = np.einsum("...ij,...i,...j->...", shares, x, y)
    return _correlation(covariance, (gold * x**2).sum(-1), (chosen * y**2).sum(-1))


def _as_shares(table: Array) -> Array:
    total = table.sum((-2, -1), keepdims=True)
    return _ratio(table, np.broadcast_to(total, table.shape))


def _correlation(covariance: Array, variance: Array, other: Array) -> Array:
    flat = (variance < _NOTHING) | (other < _NOTHING)
    safe = np.where(flat, 1.0, variance * other)
    correlation: Array = np.where(flat, 0.0, np.clip(covariance / np.sqrt(safe), -1, 1))
    return correlation


def _ratio(part: Array, whole: Array) -> Array:
    ratio: Array = np.where(whole > _NOTHING, part / np.maximum(whole, _NOTHING), 0.0)
    return ratio
