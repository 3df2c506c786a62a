import dataclasses

import numpy as np
import pytest

from openflan.evaluation.metrics import METRICS
from openflan.evaluation.predictions import Prediction
from openflan.evaluation.resampling import Table, leave_one_out, tables, variance_of


def of_credits(credit: np.ndarray) -> Table:
    """`credit[i, j]` of row i with template j, NaN where there is none."""
    scored = ~np.isnan(credit)
    names = tuple(f"t{j}" for j in range(credit.shape[1]))
    statistics = np.stack([scored, np.nan_to_num(credit)], axis=-1).astype(float)
    rows = tuple(map(str, range(len(credit))))
    return Table("rte", rows, names, statistics, scored.astype(np.int64), len(credit), METRICS["accuracy"].value)


def test_incomplete_and_complete_tables_agree() -> None:
    credit = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [0.0, 1.0]])
    one_more = np.hstack([credit, np.full((4, 1), np.nan)])  # a third template that nothing scored
    assert leave_one_out(of_credits(one_more)) == pytest.approx(leave_one_out(of_credits(credit)))
    assert leave_one_out(of_credits(credit)) == pytest.approx([1.5 / 3, 1 / 3, 2 / 3, 1.5 / 3])


def test_the_variance_of_a_mean_is_that_of_rows_over_their_number() -> None:
    credit = np.random.default_rng(0).random((30, 4))
    of_rows = credit.mean(1)
    assert variance_of(leave_one_out(of_credits(credit))) == pytest.approx(of_rows.var(ddof=1) / 30)
    assert variance_of(leave_one_out(of_credits(credit[:1]))) == 0.0


def test_rows_of_one_unit_have_a_clustered_variance() -> None:
    """The sandwich of an intercept clustered by passage, as statsmodels computes it (`cov_type="cluster"`)."""
    rng = np.random.default_rng(0)
    passage = rng.integers(80, size=400)
    right = (rng.random(400) < rng.random(80)[passage]).astype(int)
    rows = [dataclasses.replace(said(i, "a", 1, int(right[i])), unit=f"p{passage[i]}") for i in range(400)]
    (table,) = tables(rows, "accuracy")
    residuals = right - right.mean()
    clustered = sum(residuals[passage == p].sum() ** 2 for p in range(80)) / 400**2 * 80 / 79
    found = variance_of(leave_one_out(table))
    assert (len(table.units), table.num_rows) == (len(set(passage)), 400)
    assert found == pytest.approx(clustered, rel=0.02)
    (apart,) = tables([dataclasses.replace(p, unit="") for p in rows], "accuracy")
    assert found > 1.8 * variance_of(leave_one_out(apart))


def said(row: int, template: str, gold: int | None, option: int, group: str = "") -> Prediction:
    logprobs = (-1.0, -2.0) if option == 0 else (-2.0, -1.0)
    return Prediction(f"cola/test/{row}", "cola", template, gold, logprobs, (1, 1), (1, 1), None, (), group=group)


def test_a_table_adds_up_the_rows_of_a_unit() -> None:
    predictions = [
        said(2, "b", 1, 1, "q2"), said(0, "a", 0, 1, "q1"), said(1, "a", 1, 1, "q1"), said(2, "a", None, 0, "q2")
    ]  # fmt: skip
    (table,) = tables(predictions, "matthews")
    assert (table.units, table.templates, table.num_rows) == (("q1", "q2"), ("a", "b"), 3)
    assert table.num_scored.tolist() == [[2, 0], [0, 1]]
    assert table.num_unscored == 3  # one without gold, two absent
    assert table.statistics[0, 0].tolist() == [2, 0, 1, 0, 1]  # two rows: gold 0 said 1, gold 1 said 1
    assert table.template_values() == [0.0, 0.0]
    assert tables(predictions[::-1], "matthews")[0].statistics.tolist() == table.statistics.tolist()


def test_a_corpus_metric_is_computed_anew_without_each_unit() -> None:
    rng = np.random.default_rng(1)
    gold = rng.integers(2, size=400)
    option = np.where(rng.random(400) < 0.8, gold, 1 - gold)
    predictions = [said(i, "a", int(gold[i]), int(option[i])) for i in range(400)]
    (table,) = tables(predictions, "matthews")
    assert np.corrcoef(gold, option)[0, 1] == pytest.approx(table.mean())  # phi
    rows = np.sort([f"cola/test/{i}" for i in range(400)]).tolist()
    first = [i for i in range(400) if f"cola/test/{i}" != rows[0]]
    assert leave_one_out(table)[0] == pytest.approx(np.corrcoef(gold[first], option[first])[0, 1])
    drawn = [np.corrcoef(gold[rows], option[rows])[0, 1] for rows in rng.integers(400, size=(2000, 400))]
    assert variance_of(leave_one_out(table)) ** 0.5 == pytest.approx(np.std(drawn), rel=0.06)  # the bootstrap's


def test_ten_thousand_examples_in_ten_templates() -> None:
    credit = np.random.default_rng(0).integers(0, 2, size=(10_000, 10)).astype(float)
    found = variance_of(leave_one_out(of_credits(credit)))
    assert found**0.5 == pytest.approx(0.5 / (10_000 * 10) ** 0.5, rel=0.03)
    credit[0, 0] = np.nan
    assert variance_of(leave_one_out(of_credits(credit))) == pytest.approx(found, rel=0.01)
