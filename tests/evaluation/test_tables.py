"""Values of confusion tables, against hand computation and scipy."""

import numpy as np
import pytest
from scipy import stats

from openflan.evaluation.tables import binary_f1, macro_f1, matthews, pearson, spearman

ALL = (binary_f1, macro_f1, matthews, pearson, spearman)


def table(gold: list[int], chosen: list[int], num_options: int) -> np.ndarray:
    counts = np.zeros((num_options, num_options))
    np.add.at(counts, (gold, chosen), 1)
    return counts


# 40 + 30 right of 100; chosen "yes" 50 times, gold 40 + 20
BINARY = np.array([[30.0, 10.0], [20.0, 40.0]])


def test_two_options_by_hand() -> None:
    assert binary_f1(BINARY) == pytest.approx(80 / 110)  # 2 * 40 / (60 gold + 50 chosen)
    assert macro_f1(BINARY) == pytest.approx((80 / 110 + 60 / 90) / 2)
    # (40 * 30 - 10 * 20) / sqrt(50 * 60 * 40 * 50)
    assert matthews(BINARY) == pytest.approx(1000 / 6_000_000**0.5)
    assert pearson(BINARY) == pytest.approx(matthews(BINARY))  # the phi coefficient


def test_three_options_by_hand() -> None:
    # scikit-learn's example of a multiclass table: gold 0 1 2 2 2, chosen 0 0 2 2 1
    counts = table([0, 1, 2, 2, 2], [0, 0, 2, 2, 1], 3)
    assert macro_f1(counts) == pytest.approx((2 / 3 + 0 + 4 / 5) / 3)
    # c * s - sum(p * t) = 3 * 5 - (2 * 1 + 1 * 1 + 2 * 3) = 6; 25 - 9 and 25 - 11
    assert matthews(counts) == pytest.approx(6 / (16 * 14) ** 0.5)


def test_an_option_that_nobody_names_is_no_class() -> None:
    assert macro_f1(table([0, 1], [0, 1], 4)) == 1.0
    assert macro_f1(table([0, 1], [0, 2], 4)) == pytest.approx(1 / 3)  # gold or chosen is enough


GOLD, CHOSEN = [0, 1, 2, 3, 4, 5, 5, 2], [0, 2, 2, 3, 5, 5, 4, 0]


def test_correlations_are_scipys() -> None:
    counts = table(GOLD, CHOSEN, 6)
    assert pearson(counts) == pytest.approx(0.8693379649369936)
    assert spearman(counts) == pytest.approx(0.8650469542529645)
    rng = np.random.default_rng(0)
    for _ in range(20):
        gold = rng.integers(6, size=30)
        chosen = np.clip(gold + rng.integers(-2, 3, size=30), 0, 5)
        counts = table(gold.tolist(), chosen.tolist(), 6)
        assert pearson(counts) == pytest.approx(stats.pearsonr(gold, chosen).statistic)
        assert spearman(counts) == pytest.approx(stats.spearmanr(gold, chosen).statistic)


@pytest.mark.parametrize("value", ALL)
def test_tables_may_be_stacked_and_weighted(value) -> None:
    one, other = table(GOLD, CHOSEN, 6), table(CHOSEN, GOLD[::-1], 6)
    stacked = value(np.array([[one, other], [3 * one, other / 7]]))
    assert stacked.shape == (2, 2)
    assert stacked[0, 0] == pytest.approx(value(one)) and stacked[1, 1] == pytest.approx(value(other))
    assert stacked[1, 0] == pytest.approx(value(one))  # counts may be shares: the total does not matter


def test_one_answer_for_everything_is_no_association_and_not_missing() -> None:
    constant = table([0, 1, 2, 1], [1, 1, 1, 1], 3)
    assert (matthews(constant), pearson(constant), spearman(constant)) == (0.0, 0.0, 0.0)
    assert binary_f1(table([0, 0], [0, 0], 2)) == 0.0
    thirds = np.full((3, 3), 1 / 3)  # every answer a tie of three
    assert (matthews(thirds), pearson(thirds), spearman(thirds)) == (0.0, 0.0, 0.0)


def test_perfect_and_reversed() -> None:
    same = table([0, 1, 2, 3], [0, 1, 2, 3], 4)
    back = table([0, 1, 2, 3], [3, 2, 1, 0], 4)
    assert [float(value(same)) for value in ALL] == pytest.approx([1.0] * 5)
    assert (float(pearson(back)), float(spearman(back))) == pytest.approx((-1.0, -1.0))
