import numpy as np
import pytest

from openflan.evaluation.intervals import Interval, Part, difference_interval, rounded, score_interval


def part(values: np.ndarray) -> Part:
    return Part(float(values.mean()), float(values.var(ddof=1)) / len(values), len(values))


def rows(rng: np.random.Generator, num_rows: int, share: float, num_templates: int) -> np.ndarray:
    """The mean credit of each row over its templates; half of the rows are answered alike in all of them."""
    right = rng.random((num_rows, num_templates)) < share
    alike = rng.random(num_rows) < 0.5
    right[alike] = right[alike, :1]
    return right.mean(axis=1)


@pytest.mark.parametrize("num_templates", [1, 10])
@pytest.mark.parametrize("num_rows", [20, 56, 100])
@pytest.mark.parametrize("share", [0.9, 0.95, 0.98, 1.0])
def test_intervals_of_small_sets_and_high_scores_cover(num_rows: int, num_templates: int, share: float) -> None:
    """Percentile bootstraps: 82% at 56 rows and 0.97. Wilson's own are 91 to 99% here, by how shares fall on counts."""
    rng = np.random.default_rng(0)
    found = [score_interval([part(rows(rng, num_rows, share, num_templates))]) for _ in range(600)]
    assert np.mean([low <= share <= high for low, high in found]) >= 0.9
    assert all(low < 1.0 and high - low > 0.005 for low, high in found)


def test_intervals_of_means_over_tasks_cover() -> None:
    rng = np.random.default_rng(0)
    shares = (0.5, 0.8, 0.95, 0.99)
    found = [score_interval([part(rows(rng, 60, share, 5)) for share in shares]) for _ in range(800)]
    assert 0.93 <= np.mean([low <= np.mean(shares) <= high for low, high in found]) <= 0.99


def test_a_correlation_with_a_constant_answer_is_as_uncertain_as_one_with_unrelated_answers() -> None:
    """Its value is 0 without any row in play, and so is the jackknife's variance; Fisher: -+ tanh(1.96 / sqrt(97))."""
    low, high = score_interval([Part(0.0, 0.0, 100, lowest=-1.0)])
    assert (low, high) == pytest.approx((-0.196, 0.196), abs=0.01)
    assert score_interval([Part(0.0, 0.0, 100)]).high < 0.05  # no answer of a hundred right is no such case


def test_a_correlation_has_the_interval_of_fishers_transformation() -> None:
    """r = 0.6 of 100 rows: tanh(atanh(0.6) -+ 1.96 / sqrt(97)); its variance is about (1 - r^2)^2 / n."""
    low, high = score_interval([Part(0.6, (1 - 0.36) ** 2 / 100, 100, lowest=-1.0)])
    assert (low, high) == pytest.approx((0.457, 0.712), abs=0.02)


def test_bounds_stay_within_the_range_and_hold_the_value() -> None:
    for value in (0.0, 1e-17, 0.5, 1.0 - 1e-16, 1.0):
        for variance in (0.0, 1e-9, 0.25):
            low, high = score_interval([Part(value, variance, 1), Part(value, variance, 500)])
            assert 0.0 <= low <= rounded(value) <= high <= 1.0
    low, high = score_interval([Part(-1.0, 0.0, 40, lowest=-1.0)])
    assert low == -1.0 and -1.0 < high < -0.8


def test_a_difference_has_welchs_degrees_of_freedom() -> None:
    """By scipy.stats.ttest_1samp for one task; of two, the one with ten units has nearly all of the variance."""
    bounds, p_value = difference_interval([Part(0.1, 0.04**2 - 1 / 400**2, 400)])
    assert (bounds.low, bounds.high) == pytest.approx((0.1 - 1.965927 * 0.04, 0.1 + 1.965927 * 0.04))
    assert p_value == pytest.approx(0.01280, abs=1e-4)
    small, large = Part(0.2, 0.3**2 - 1 / 10**2, 10), Part(0.2, 1e-8, 10_000)
    bounds, _ = difference_interval([small, large])
    assert bounds.high - 0.2 == pytest.approx(2.262157 * 0.15, rel=0.001)  # t(9)
    assert difference_interval([Part(0.2, 0.0, 1), large]) is None
    assert difference_interval([Part(1.0, 0.0, 2)]) == (Interval(-1.0, 1.0), pytest.approx(0.295, abs=0.001))
