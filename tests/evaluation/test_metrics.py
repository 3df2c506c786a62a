import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openflan.errors import CatalogError, ConfigError, ModelError, RunError
from openflan.evaluation.metrics import (
    CREDITS,
    METRICS,
    check_metrics,
    chosen_options,
    credit,
    margin,
    metric_problems,
    option_scores,
    signature,
)
from openflan.evaluation.predictions import Prediction
from openflan.tasks.catalog import load_catalog
from toys import toy_task


def choice(gold: int | None, *logprobs: float) -> Prediction:
    ones = (1,) * len(logprobs)
    return Prediction("rte/test/3", "rte", "follows", gold, logprobs, ones, ones, None, ())


def text(answer: str | None, *references: str) -> Prediction:
    return Prediction("nq/test/0", "nq", "plain", None, (), (), (), answer, references)


def test_the_highest_option_is_the_answer() -> None:
    assert credit(choice(0, -1.0, -2.0, -3.0), "accuracy") == 1.0
    assert credit(choice(1, -1.0, -2.0, -3.0), "accuracy") == 0.0


@pytest.mark.parametrize("gold", [0, 1, 2, 3])
def test_a_tie_of_all_options_scores_as_guessing_wherever_gold_stands(gold: int) -> None:
    assert credit(choice(gold, -5.0, -5.0, -5.0, -5.0), "accuracy") == 0.25


def test_only_options_at_the_top_share_credit() -> None:
    assert credit(choice(0, -1.0, -1.0, -7.0), "accuracy") == 0.5
    assert credit(choice(2, -1.0, -1.0, -7.0), "accuracy") == 0.0
    assert credit(choice(0, -1.0, -1.0000000000000002, -7.0), "accuracy") == 1.0  # equality is exact


@pytest.mark.parametrize("bad", [math.nan, -math.inf, math.inf])
@pytest.mark.parametrize("gold", [0, None])
def test_a_log_prob_that_is_not_finite_raises(bad: float, gold: int | None) -> None:
    with pytest.raises(ModelError, match=r"rte/test/3, template follows: found log-prob (nan|-inf|inf) for option 1"):
        credit(choice(gold, -1.0, bad), "accuracy")


def test_without_what_a_metric_reads_a_prediction_is_unscored() -> None:
    assert len(CREDITS) == 12 and len(METRICS) == 19
    for metric in CREDITS:
        other_kind = text("yes", "yes") if metric == "accuracy" else choice(0, -1.0, -2.0)
        assert credit(other_kind, metric) is None, metric
    assert credit(choice(None, -1.0, -2.0), "accuracy") is None
    assert credit(text("yes"), "f1") is None
    assert credit(text(None, "yes"), "f1") is None


@given(st.lists(st.floats(-100, 0), min_size=2, max_size=6))
def test_credits_of_all_options_sum_to_one(logprobs: list[float]) -> None:
    credits = [credit(choice(gold, *logprobs), "accuracy") for gold in range(len(logprobs))]
    assert sum(value or 0.0 for value in credits) == pytest.approx(1.0)


def test_generated_text_takes_the_best_reference() -> None:
    assert credit(text("Paris", "London", "paris."), "exact_match") == 1.0
    assert credit(text("a small dog", "something else", "a small dog"), "rouge2") == 1.0
    assert credit(text("Osta", "Brenn, Tolle", "Osta, Mure"), "drop_f1") == 0.5


def test_an_unknown_metric_names_its_neighbours() -> None:
    with pytest.raises(CatalogError, match=r"'rougel'.*Did you mean rougeL"):
        credit(text("a", "a"), "rougel")
    with pytest.raises(
        CatalogError, match="matthews, which is a value of a whole task; expected a metric with a credit"
    ):
        credit(choice(0, -1.0, -2.0), "matthews")


def test_exact_text_keeps_the_sign_that_exact_match_ignores():
    answer = Prediction("m/test/0", "m", "t", None, (), (), (), "7", ("-7",))
    assert credit(answer, "exact_match") == 1.0
    assert credit(answer, "exact_text") == 0.0
    right = Prediction("m/test/0", "m", "t", None, (), (), (), " -7 ", ("-7",))
    assert credit(right, "exact_text") == 1.0


# "No" (2 bytes, 1 token), "Certainly so" (12 bytes, 2 tokens), "Näää!" (8 bytes, 4 tokens): another option each time
OPTIONS = Prediction(
    "rte/test/3", "rte", "follows", 0, (-2.0, -3.0, -3.5), (1, 2, 4), (2, 12, 8), None, (), (-0.5, -3.0, -2.0)
)


@pytest.mark.parametrize(
    ("normalisation", "scores", "best"),
    [
        ("sum", (-2.0, -3.0, -3.5), 0),
        ("per_token", (-2.0, -1.5, -0.875), 2),
        ("per_byte", (-1.0, -0.25, -0.4375), 1),
        ("pmi", (-1.5, 0.0, -1.5), 1),
    ],
)
def test_normalisations_choose_differently(normalisation, scores, best) -> None:
    assert option_scores(OPTIONS, normalisation) == pytest.approx(scores)
    assert chosen_options(OPTIONS, normalisation) == (best,)
    credits = [credit(dataclasses.replace(OPTIONS, gold=gold), "accuracy", normalisation) for gold in range(3)]
    assert credits == [float(gold == best) for gold in range(3)]


def test_a_normalisation_that_was_not_stored_for_is_an_error() -> None:
    with pytest.raises(RunError, match="rte/test/3, template follows: found no log-probs of the options without"):
        credit(choice(0, -1.0, -2.0), "accuracy", "pmi")
    with pytest.raises(RunError, match="rte/test/3, template follows: found option 1 without tokens"):
        credit(
            Prediction("rte/test/3", "rte", "follows", 0, (-1.0, 0.0), (1, 0), (2, 0), None, ()),
            "accuracy",
            "per_token",
        )
    with pytest.raises(ModelError, match="prior log-prob -inf for option 0"):
        credit(dataclasses.replace(OPTIONS, prior_logprobs=(-math.inf, 0.0, 0.0)), "accuracy", "pmi")
    with pytest.raises(ConfigError, match=r"'bytes'.*Did you mean per_byte"):
        credit(OPTIONS, "accuracy", "bytes")  # type: ignore[arg-type]
    unscored = Prediction("rte/test/3", "rte", "follows", None, (), (), (), None, ())
    assert credit(unscored, "accuracy", "pmi") is None  # a prompt that was never asked lacks nothing


def test_the_margin_is_top_minus_second() -> None:
    assert margin(choice(2, -3.0, -1.0, -1.25)) == 0.25
    assert margin(choice(0, -1.0, -1.0)) == 0.0
    assert margin(OPTIONS, "per_byte") == 0.1875
    assert margin(text("a", "a")) is None


def test_a_tie_is_shared_in_the_table_as_in_the_credit() -> None:
    predictions = [choice(0, -1.0, -1.0, -3.0), choice(None, -1.0, -2.0), choice(1, -2.0, -1.0, -3.0)]
    rows = METRICS["macro_f1"].statistics(predictions, "sum")
    assert rows[0].tolist() == [1, 0.5, 0.5, 0, 0, 0, 0, 0, 0, 0]
    assert np.isnan(rows[1]).all()
    assert rows[2].tolist() == [1, 0, 0, 0, 0, 1, 0, 0, 0, 0]
    # option 0: 2 * 0.5 / (1 + 0.5), option 1: 2 * 1 / (1 + 1.5); option 2 is neither gold nor chosen
    assert METRICS["macro_f1"].value(rows[0] + rows[2]) == pytest.approx((2 / 3 + 0.8) / 2)


def judged(question: str, answer: int, right: bool | None) -> Prediction:
    logprobs = (-2.0, -1.0) if right else (-1.0, -2.0)
    gold = None if right is None else 1
    uid = f"multirc/test/{answer}"
    return Prediction(uid, "multirc", "t", gold, logprobs, (1, 1), (2, 3), None, (), group=question)


def test_group_exact_match_needs_all_members_right() -> None:
    metric = METRICS["group_exact_match"]
    predictions = [judged("q1", 0, True), judged("q2", 2, True), judged("q1", 1, True), judged("q2", 3, False)]
    rows = metric.statistics(predictions, "sum")
    assert rows.tolist() == [[1, 1], [1, 0], [0, 0], [0, 0]]  # the first member speaks for its question
    assert metric.value(rows.sum(axis=0)) == 0.5
    one_unscored = metric.statistics([*predictions, judged("q2", 4, None)], "sum")
    assert np.isnan(one_unscored).all(axis=1).tolist() == [False, True, False, True, True]
    with pytest.raises(RunError, match=r"found a prediction without a group.*group_by"):
        metric.statistics([choice(0, -1.0, -2.0)], "sum")


def test_corpus_bleu_is_none_of_the_means_over_sentences() -> None:
    predictions = [text("a cat sat on the mat", "the cat sat on the mat"), text(None, "x"), text("z", "y y y y y")]
    rows = METRICS["bleu"].statistics(predictions, "sum")
    assert rows[0].tolist() == [1, 5, 4, 3, 2, 6, 5, 4, 3, 6, 6]
    assert np.isnan(rows[1]).all()
    assert METRICS["bleu"].value(rows[[0]]) == pytest.approx([0.7598356856515925])
    # 5/7, 4/5, 3/4, 2/3 and a brevity penalty of exp(1 - 11 / 7)
    expected = math.exp(1 - 11 / 7) * (5 / 7 * 4 / 5 * 3 / 4 * 2 / 3) ** 0.25
    assert METRICS["bleu"].value(rows[0] + rows[2]) == pytest.approx(expected)


def test_bleu_carries_its_signature() -> None:
    assert (signature("bleu", [text("a", "b")]) or "").startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|")
    assert (signature("bleu", [text("a", "b"), text("a", "b", "c")]) or "").startswith("nrefs:var|")
    assert signature("rougeL", [text("a", "b")]) is None


def test_every_card_names_metrics_that_read_its_answers() -> None:
    tasks = load_catalog().tasks.values()
    assert len(tasks) > 80
    said = [text("a", "b")]
    for task in tasks:
        for name in task.metrics:
            if task.card.answer.kind == "text":
                assert not np.isnan(METRICS[name].statistics(said, "sum")).any(), (task.name, name)
            else:
                asked = [dataclasses.replace(OPTIONS, group="g" if task.card.group_by else "")]
                assert not np.isnan(METRICS[name].statistics(asked, "sum")).any(), (task.name, name)
    assert [task.name for task in tasks if task.card.group_by] == ["multirc"]


@pytest.mark.parametrize(
    ("metrics", "answer", "problems"),
    [
        (["accuracy", "binary_f1", "macro_f1", "matthews", "pearson", "spearman"], {"options": ["no", "yes"]}, []),
        (["accuracy", "macro_f1", "pearson"], {"options": ["no", "maybe", "yes"]}, []),
        (
            ["binary_f1"],
            {"options": ["no", "maybe", "yes"]},
            ["the metric binary_f1, which needs a choice between two fixed options, for a choice among fixed options"],
        ),
        (["accuracy"], {"options_from": ["a", "b"]}, []),
        (
            ["accuracy", "matthews", "f1"],
            {"options_from": ["a", "b"]},
            [
                "the metric matthews, which needs a choice among fixed options, for a choice",
                "the metric f1, which needs text, for a choice",
            ],
        ),
        (["bleu", "rouge1", "f1", "exact_text", "drop_f1", "squad_v2_f1", "edit_similarity"], None, []),
        (["accuracy"], None, ["the metric accuracy, which needs a choice, for text"]),
        (["accurracy"], None, ["the unknown metric 'accurracy' (Did you mean accuracy?)"]),
    ],
)
def test_metrics_that_cannot_score_a_cards_answers(metrics, answer, problems) -> None:
    text = {"kind": "text", "references": "answer"}
    whole = text if answer is None else {"kind": "choice", "gold": "label", **answer}
    task = toy_task("mood", metrics=metrics, answer=whole)
    assert metric_problems(task.card) == problems
    if problems:
        with pytest.raises(CatalogError, match=r"mood.yaml: found the (unknown )?metric"):
            check_metrics([task])
    else:
        check_metrics([task])


def test_groups_need_a_name() -> None:
    grouped = toy_task("mood", metrics=["group_exact_match"], group_by=["text"])
    assert metric_problems(grouped.card) == []
    alone = toy_task("mood", metrics=["group_exact_match"])
    assert metric_problems(alone.card) == ["the metric group_exact_match, which needs `group_by`"]
