import time

import numpy as np
import pytest

from openflan.evaluation.metrics import METRICS
from openflan.evaluation.predictions import Prediction
from openflan.evaluation.resampling import Table, bootstrap, tables


def of_credits(credit: np.ndarray) -> Table:
    """`credit[i, j]` of row i with template j, NaN where there is none."""
    scored = ~np.isnan(credit)
    names = tuple(f"t{j}" for j in range(credit.shape[1]))
    statistics = np.stack([scored, np.nan_to_num(credit)], axis=-1).astype(float)
    rows = tuple(map(str, range(len(credit))))
    return Table("rte", rows, names, statistics, scored.astype(np.int64), len(credit), METRICS["accuracy"].value)


def test_incomplete_and_complete_tables_agree() -> None:
    credit = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [0.0, 1.0]])
    complete = bootstrap(of_credits(credit), 0)
    one_more = np.hstack([credit, np.full((4, 1), np.nan)])  # a third template that nothing scored
    assert bootstrap(of_credits(one_more), 0) == pytest.approx(complete)
    assert complete.shape == (2000,)


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


def test_a_corpus_metric_is_computed_anew_for_every_draw() -> None:
    rng = np.random.default_rng(1)
    gold = rng.integers(2, size=40)
    option = np.where(rng.random(40) < 0.8, gold, 1 - gold)
    predictions = [said(i, "a", int(gold[i]), int(option[i])) for i in range(40)]
    (table,) = tables(predictions, "matthews")
    draws = bootstrap(table, 3)
    assert np.corrcoef(gold, option)[0, 1] == pytest.approx(table.mean())  # phi
    # the same quantity resampled naively, with other draws
    naive = [np.corrcoef(gold[rows], option[rows])[0, 1] for rows in rng.integers(40, size=(2000, 40))]
    assert draws.std() == pytest.approx(np.std(naive), rel=0.06)
    assert draws.mean() == pytest.approx(np.mean(naive), abs=0.01)


def test_ten_thousand_examples_take_seconds() -> None:
    credit = np.random.default_rng(0).integers(0, 2, size=(10_000, 10)).astype(float)
    started = time.perf_counter()
    complete = bootstrap(of_credits(credit), 0)
    credit[0, 0] = np.nan
    incomplete = bootstrap(of_credits(credit), 0)
    assert time.perf_counter() - started < 20
    assert incomplete.std() == pytest.approx(complete.std(), rel=0.01)
    assert complete.std() == pytest.approx(0.5 / (10_000 * 10) ** 0.5, rel=0.1)
