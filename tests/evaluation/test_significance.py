import numpy as np
import pytest
from scipy import stats

from openflan.errors import ConfigError, RunError
from openflan.evaluation.predictions import Prediction
from openflan.evaluation.scores import cluster_score, paired_difference
from openflan.evaluation.significance import (
    compare,
    detectable_difference,
    expected_standard_error,
    holm,
    mcnemar,
)


def grid(task: str, credits: np.ndarray) -> list[Prediction]:
    """`credits[i, j]` (1, 0, or 0.5 for a tie) of example i with template j."""
    logprobs = {1.0: (-1.0, -2.0), 0.0: (-2.0, -1.0), 0.5: (-1.0, -1.0)}
    return [
        Prediction(f"{task}/test/{i}", task, f"t{j}", 0, logprobs[float(right)], (1, 1), (1, 1), None, ())
        for (i, j), right in np.ndenumerate(np.asarray(credits, dtype=float))
    ]


@pytest.mark.parametrize(
    ("first", "second", "p_value"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (0, 5, 0.0625),  # 2 / 2 ** 5
        (6, 0, 0.03125),
        (1, 8, 20 / 512),  # 2 * (1 + 9) / 2 ** 9
        (5, 5, 1.0),
        (4, 12, 0.076812744140625),
        (40, 70, 0.0054474),
    ],
)
def test_mcnemar_exactly(first: int, second: int, p_value: float) -> None:
    assert mcnemar(first, second).p_value == pytest.approx(p_value, abs=5e-7)
    assert mcnemar(second, first).p_value == mcnemar(first, second).p_value
    if first + second:
        assert mcnemar(first, second).p_value == pytest.approx(stats.binomtest(first, first + second).pvalue)


def test_mcnemar_of_thousands_of_rows() -> None:
    assert mcnemar(5000, 5300).p_value == pytest.approx(stats.binomtest(5000, 10_300).pvalue)
    assert mcnemar(0, 5000).p_value == 0.0


def test_holm_by_hand() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}) == pytest.approx(
        {"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02}  # 3 * 0.01; 0.04, raised to c's; 2 * 0.03; 4 * 0.005
    )
    assert list(holm({"b": 0.5, "a": 0.9})) == ["b", "a"]
    assert holm({"b": 0.5, "a": 0.9}) == {"b": 1.0, "a": 1.0}
    assert holm({}) == {}


def test_detectable_difference_by_hand() -> None:
    assert detectable_difference(0.01) == pytest.approx(0.0280158522, abs=1e-9)  # 1.959964 + 0.841621
    assert detectable_difference(0.01, power=0.9, alpha=0.01) == pytest.approx(0.0385738, abs=1e-7)
    # 500 rows of which the models answer a fifth differently: 0.02, and 5.6 points
    assert expected_standard_error(500, 0.2) == pytest.approx(0.02)
    assert expected_standard_error(500, 0.2, num_templates=10) == pytest.approx(0.02)  # the same answers ten times
    assert expected_standard_error(500, 0.2, 10, correlation=0) == pytest.approx(0.02 / 10**0.5)
    assert expected_standard_error(500, 0.2, 10, correlation=0.5) == pytest.approx(0.02 * 0.55**0.5)
    with pytest.raises(ConfigError, match="found 0 examples"):
        expected_standard_error(0, 0.2)


def test_duplicated_templates_are_no_evidence() -> None:
    a, b = np.zeros((60, 1)), np.zeros((60, 1))
    a[:9], b[9:12] = 1, 1
    once = compare(grid("rte", a), grid("rte", b), "accuracy")[0]
    ten_times = compare(grid("rte", a.repeat(10, 1)), grid("rte", b.repeat(10, 1)), "accuracy")[0]
    assert once.mcnemar == ten_times.mcnemar == mcnemar(9, 3)
    assert list(ten_times.mcnemar_templates) == [f"t{j}" for j in range(10)]
    assert set(ten_times.mcnemar_templates.values()) == {mcnemar(9, 3)}
    assert ten_times.difference.standard_error == pytest.approx(once.difference.standard_error)
    naive = paired_difference(grid("rte", a.repeat(10, 0)), grid("rte", b.repeat(10, 0)), "accuracy")
    assert once.difference.standard_error / naive.standard_error == pytest.approx(10**0.5, rel=0.1)


def test_an_example_counts_once_for_the_arm_with_more_credit() -> None:
    a = np.array([[1, 1, 0], [1, 0, 0.5], [0, 1, 0], [1, 1, 1]])
    b = np.array([[1, 0, 0], [0, 1, 0.0], [1, 0, 1], [1, 1, 1]])
    (found,) = compare(grid("rte", a), grid("rte", b), "accuracy")
    assert found.mcnemar == mcnemar(2, 1)  # +1, +1/2, -1, 0
    assert found.mcnemar_templates == {"t0": mcnemar(1, 1), "t1": mcnemar(2, 1), "t2": mcnemar(1, 1)}


def test_tasks_are_corrected_together() -> None:
    gone = np.array([[1.0]] * 12 + [[0.0]] * 48)
    some = np.array([[1.0]] * 3 + [[0.0]] * 57)
    none = np.zeros((60, 1))
    a = grid("rte", gone) + grid("cb", some) + grid("copa", gone)
    b = grid("rte", none) + grid("cb", none) + grid("copa", none)
    found = {c.task: c for c in compare(a, b, {"rte": "accuracy", "cb": "accuracy", "copa": "matthews"})}
    assert list(found) == ["cb", "copa", "rte"]
    # 12 rows won, none lost: t(59) of 0.2 and the root of 0.2 * 0.8 / 59 + 1 / 60 ** 2
    assert found["rte"].difference.p_value == pytest.approx(2 * stats.t.sf(0.2 / (0.16 / 59 + 1 / 3600) ** 0.5, 59))
    assert found["rte"].adjusted == pytest.approx(3 * found["rte"].difference.p_value)
    assert found["cb"].adjusted == pytest.approx(2 * found["cb"].difference.p_value)
    assert found["copa"].mcnemar is None and found["copa"].mcnemar_templates == {}  # rows have no credit of their own
    assert found["copa"].difference.p_value == found["copa"].adjusted == 1.0  # gold is one option throughout: 0 and 0
    with pytest.raises(RunError, match="comparing two arms"):
        compare(a, b[:-1], "accuracy")


def test_sixty_tasks_that_differ_are_found_after_holms_correction() -> None:
    """95% against 5% on 200 rows each, and none of sixty tasks on which both are equally good."""
    rng = np.random.default_rng(0)
    names = [f"t{n}" for n in range(60)]

    def arm(share: float) -> list[Prediction]:
        return [p for name in names for p in grid(name, (rng.random((200, 1)) < share))]

    assert max(each.adjusted for each in compare(arm(0.95), arm(0.05), "accuracy")) < 1e-20
    assert min(each.adjusted for each in compare(arm(0.5), arm(0.5), "accuracy")) > 0.05


def test_a_few_rows_tell_little() -> None:
    same = grid("rte", np.array([[1.0]] * 40 + [[0.0]] * 16))
    gap = paired_difference(same, same, "accuracy")
    assert (gap.difference, gap.low, gap.high, gap.p_value, gap.standard_error) == (0, 0, 0, 1, 0)
    one_row = paired_difference(same, grid("rte", np.array([[1.0]] * 39 + [[0.0]] * 17)), "accuracy")
    assert (one_row.difference, one_row.p_value) == (pytest.approx(1 / 56), 1.0)  # either sign is as likely
    assert one_row.standard_error == pytest.approx((1 / 56 * 55 / 56 / 55 + 1 / 56**2) ** 0.5)
    alone = paired_difference(grid("rte", np.ones((1, 1))), grid("rte", np.zeros((1, 1))), "accuracy")
    assert (alone.difference, alone.low, alone.high, alone.p_value) == (1.0, None, None, None)


def test_nothing_to_compare_is_missing() -> None:
    nothing = [Prediction("rte/test/0", "rte", "t0", None, (), (), (), None, ())]
    (found,) = compare(nothing, nothing, "accuracy")
    assert (found.difference.difference, found.adjusted) == (None, None)


def test_intervals_cover_and_p_values_are_uniform_where_nothing_differs() -> None:
    """400 pairs of arms that are equally good on average; examples differ in difficulty, templates hardly at all."""
    rng = np.random.default_rng(0)
    p_values, num_covered = [], 0
    for _ in range(400):
        easy = rng.random((60, 1))
        arms = [np.repeat(rng.random((60, 1)) < easy, 2, axis=1) for _ in range(2)]
        gap = paired_difference(grid("rte", arms[0]), grid("rte", arms[1]), "accuracy")
        p_values.append(gap.p_value)
        score = cluster_score(grid("rte", arms[0]), "accuracy")
        num_covered += bool(score.low <= 0.5 <= score.high)
    assert 0.92 <= num_covered / 400 <= 0.98  # 0.95 and three standard errors of 0.011
    assert 0.02 <= np.mean(np.array(p_values) < 0.05) <= 0.08
    assert 0.45 <= np.mean(p_values) <= 0.60
