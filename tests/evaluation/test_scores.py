import dataclasses
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from openflan.errors import RunError
from openflan.evaluation.metrics import METRICS
from openflan.evaluation.predictions import Prediction
from openflan.evaluation.scores import (
    Score,
    best_dev_template,
    cluster_score,
    majority,
    option_prior,
    paired_difference,
    task_scores,
    task_weights,
)


def answer(task: str, row: int, template: str, right: float) -> Prediction:
    """A prediction that earns `right`: 1, 0, or 0.5 for a tie of two."""
    logprobs = {1.0: (-1.0, -2.0), 0.0: (-2.0, -1.0), 0.5: (-1.0, -1.0)}[right]
    return Prediction(f"{task}/test/{row}", task, template, 0, logprobs, (1, 1), (1, 1), None, ())


def grid(task: str, credits: Sequence[Sequence[float]]) -> list[Prediction]:
    """`credits[i][j]` of example i with template j, templates named t0, t1, ..."""
    return [answer(task, i, f"t{j}", right) for i, row in enumerate(credits) for j, right in enumerate(row)]


def unscored(task: str, row: int, template: str) -> Prediction:
    return Prediction(f"{task}/test/{row}", task, template, None, (), (), (), "some text", ("reference",))


RTE = grid("rte", [[1, 1], [1, 0], [0, 0], [0.5, 0]])  # templates 2.5/4 and 1/4
CB = grid("cb", [[1, 1, 1], [1, 1, 0]])  # templates 1, 1 and 1/2


def test_a_cluster_is_the_mean_over_tasks_of_means_over_templates() -> None:
    score = cluster_score(RTE + CB, "accuracy")
    assert score.value == pytest.approx((0.4375 + 5 / 6) / 2)
    assert (score.num_examples, score.num_templates, score.num_unscored) == (6, 5, 0)
    assert score.low is not None and score.high is not None
    assert 0 <= score.low < score.value < score.high <= 1


def test_task_scores_tell_templates_and_their_spread() -> None:
    by_task = task_scores(RTE + CB, "accuracy")
    assert list(by_task) == ["cb", "rte"]
    rte = by_task["rte"]
    assert rte.score.value == pytest.approx(0.4375)
    assert [(t.template, t.value, t.num_examples) for t in rte.templates] == [("t0", 0.625, 4), ("t1", 0.25, 4)]
    assert rte.spread == pytest.approx(0.375 / 2**0.5)
    assert by_task["cb"].spread == pytest.approx(0.5 / 3**0.5)


def test_spread_needs_two_templates() -> None:
    assert task_scores(grid("rte", [[1], [0]]), "accuracy")["rte"].spread is None


def test_tasks_may_have_different_metrics() -> None:
    said = Prediction("nq/test/0", "nq", "t0", None, (), (), (), "the Denver", ("Denver Broncos",))
    score = cluster_score([*RTE, said], {"rte": "accuracy", "nq": "f1"})
    assert score.value == pytest.approx((0.4375 + 2 / 3) / 2)


def test_nothing_scored_is_missing_and_never_zero() -> None:
    nothing = Score(None, None, None, 1, 2, 2, num_units=1)
    assert cluster_score([unscored("nq", 0, "t0"), unscored("nq", 0, "t1")], "accuracy") == nothing
    assert cluster_score([], "accuracy") == Score(None, None, None, 0, 0, 0)
    with_one_task_missing = cluster_score([*RTE, unscored("nq", 0, "t0")], "accuracy")
    assert with_one_task_missing == Score(None, None, None, 5, 3, 1, num_units=5)


def test_unscored_pairs_are_counted_and_left_out() -> None:
    predictions = [
        answer("rte", 0, "t0", 1),
        answer("rte", 1, "t0", 0),
        answer("rte", 0, "t1", 1),
        unscored("rte", 1, "t1"),
    ]
    score = cluster_score(predictions, "accuracy")
    assert score.value == 0.75  # t0 0.5 of two rows, t1 1.0 of one
    assert (score.num_examples, score.num_templates, score.num_unscored) == (2, 2, 1)


def test_an_absent_pair_counts_as_unscored() -> None:
    assert cluster_score(RTE[:-1], "accuracy").num_unscored == 1


def test_the_interval_of_one_coin_is_the_binomial_one() -> None:
    credits = [[1.0]] * 50 + [[0.0]] * 50
    score = cluster_score(grid("rte", credits), "accuracy")
    assert score.value == 0.5
    assert (score.low, score.high) == pytest.approx((0.402, 0.598), abs=0.015)  # 0.5 +- 1.96 * 0.05


def test_duplicated_templates_add_no_certainty() -> None:
    once = [[float(i % 2)] for i in range(40)]
    ten_times = [row * 10 for row in once]
    single = cluster_score(grid("rte", once), "accuracy")
    clustered = cluster_score(grid("rte", ten_times), "accuracy")
    naive = cluster_score(grid("rte", [[value] for row in ten_times for value in row]), "accuracy")
    assert (clustered.value, clustered.low, clustered.high) == pytest.approx((single.value, single.low, single.high))
    assert _width(clustered) > 2.5 * _width(naive)  # sqrt(10) in theory


def _width(score: Score) -> float:
    assert score.low is not None and score.high is not None
    return score.high - score.low


@settings(max_examples=10, deadline=None)
@given(st.randoms(use_true_random=False))
def test_order_reaches_no_number(order: random.Random) -> None:
    shuffled = RTE + CB
    order.shuffle(shuffled)
    assert cluster_score(shuffled, "accuracy") == cluster_score(RTE + CB, "accuracy")
    assert task_scores(shuffled, "accuracy") == task_scores(CB + RTE, "accuracy")


def test_one_template_has_wilsons_interval() -> None:
    """By scipy, for every number of right answers of 56; the same for a mean of several equal tasks is narrower."""
    for num_right in (0, 1, 28, 50, 55, 56):
        rows = [[1.0]] * num_right + [[0.0]] * (56 - num_right)
        wilson = stats.binomtest(num_right, 56).proportion_ci(method="wilson")
        score = cluster_score(grid("rte", rows), "accuracy")
        # the design effect is 1 but for n / (n - 1), the unbiased variance
        assert (score.low, score.high) == pytest.approx((wilson.low, wilson.high), abs=0.002)
        four = cluster_score([p for name in "abcd" for p in grid(name, rows)], "accuracy")
        assert score.low <= four.low <= four.value <= four.high <= score.high
        assert score.value - four.low == pytest.approx((score.value - score.low) / 2)  # sqrt(4), on either side


def test_answers_that_are_all_right_or_all_wrong_leave_room() -> None:
    for metric in METRICS:
        if METRICS[metric].needs != "text" and metric != "group_exact_match":
            rows = [chosen("rte", i, i % 2, i % 2) for i in range(56)]
            score = cluster_score(rows, metric)
            assert score.value == pytest.approx(1) and score.high == 1.0
            lowest = METRICS[metric].lowest
            assert 0.93 < (score.low - lowest) / (1 - lowest) < 0.94  # 1 / (1 + 1.96 ** 2 / 56)
    ten = cluster_score(grid("rte", [[1.0] * 10] * 56), "accuracy")
    assert (ten.low, ten.high) == (pytest.approx(1 / (1 + 1.959964**2 / 56)), 1.0)
    one_of_560_wrong = cluster_score(grid("rte", [[0.0] + [1.0] * 9] + [[1.0] * 10] * 55), "accuracy")
    assert one_of_560_wrong.low < ten.low + 0.02  # no leap where the design effect is hardly known


def test_a_prediction_given_twice_is_an_error() -> None:
    with pytest.raises(RunError, match="rte/test/0, template t0: found two predictions"):
        cluster_score([*RTE, RTE[0]], "accuracy")


def test_paired_difference_by_hand() -> None:
    a = grid("rte", [[1, 1], [1, 0], [1, 1], [0, 0]])  # 5/8
    b = grid("rte", [[1, 1], [0, 0], [0, 1], [0, 0]])  # 3/8
    gap = paired_difference(a, b[::-1], "accuracy")
    assert gap.difference == 0.25
    assert (gap.num_examples, gap.num_templates) == (4, 2)
    # rows differ by 0, 1/2, 1/2, 0: variance 1/12 / 4, and 1 / 4 ** 2 for one unit more; t(3) is 3.182446
    assert gap.standard_error == pytest.approx((1 / 48 + 1 / 16) ** 0.5)
    assert gap.low == pytest.approx(0.25 - 3.182446 * gap.standard_error)
    assert gap.high == 1.0  # no difference is larger
    assert gap.p_value == 0.5  # two rows differ, and both may by chance
    back = paired_difference(b, a, "accuracy")
    assert (back.difference, back.low, back.high) == (-0.25, -gap.high, -gap.low)


def test_a_paired_interval_is_narrower_than_its_arms() -> None:
    a = grid("rte", [[float(i % 2)] for i in range(60)])
    b = grid("rte", [[float(i % 2 and i > 9)] for i in range(60)])
    gap = paired_difference(a, b, "accuracy")
    assert gap.difference == pytest.approx(5 / 60)
    assert gap.low is not None and gap.high is not None and gap.low > 0
    assert gap.high - gap.low < _width(cluster_score(a, "accuracy"))


def test_arms_on_different_rows_are_not_compared() -> None:
    with pytest.raises(
        RunError, match=r"2 predictions only in the first and 0 only in the second .such as rte, rte/test/3"
    ):
        paired_difference(RTE, RTE[:-2], "accuracy")
    with pytest.raises(RunError, match="6 predictions only in the first"):
        paired_difference(RTE + CB, RTE, "accuracy")


def test_what_one_arm_could_not_answer_is_left_out_of_both() -> None:
    """Of 4 rows and 2 templates, the first row with the first template: 1.5/3 and 1/4 are left of RTE."""
    wrong = grid("rte", [[0, 0]] * 4)
    for lacking in ([unscored("rte", 0, "t0"), *wrong[1:]], [*wrong[1:], unscored("rte", 0, "t0")]):
        gap = paired_difference(RTE, lacking, "accuracy")
        assert (gap.difference, gap.num_unpaired) == (pytest.approx((0.5 + 0.25) / 2), 1)
        assert paired_difference(lacking, RTE, "accuracy").difference == pytest.approx(-0.375)
    both = [unscored("rte", 0, "t0"), *RTE[1:]], [unscored("rte", 0, "t0"), *wrong[1:]]
    gap = paired_difference(*both, "accuracy")
    assert (gap.difference, gap.num_unpaired) == (pytest.approx(0.375), 0)
    nothing = [unscored("rte", i, f"t{j}") for i in range(4) for j in range(2)]
    gap = paired_difference(RTE, nothing, "accuracy")
    assert (gap.difference, gap.p_value, gap.num_unpaired) == (None, None, 8)


def test_a_group_of_which_one_arm_lacks_a_part_is_left_out() -> None:
    def grouped(right: str) -> list[Prediction]:
        rows = [answer("multirc", n, "t", float(letter)) for n, letter in enumerate(right)]
        return [dataclasses.replace(p, group=f"q{n // 2}") for n, p in enumerate(rows)]

    a, b = grouped("111111"), grouped("110000")
    b[2] = dataclasses.replace(unscored("multirc", 2, "t"), group="q1")
    gap = paired_difference(a, b, "group_exact_match")
    assert (gap.difference, gap.num_unpaired) == (0.5, 2)  # 1 and 1 of two groups, 1 and 0


def test_nothing_to_compare_is_missing() -> None:
    a = [unscored("nq", 0, "t0")]
    assert paired_difference(a, a, "accuracy").difference is None


def test_p_values_say_what_intervals_say() -> None:
    better = grid("rte", [[1.0]] * 30 + [[0.0]] * 30)
    worse = grid("rte", [[1.0]] * 20 + [[0.0]] * 40)  # 10 rows lost, none won
    gap = paired_difference(better, worse, "accuracy")
    assert gap.low is not None and gap.low > 0
    assert gap.p_value == 2 / 2**10  # ten rows that differ cannot give less; Student's t gives 0.0014
    assert gap.standard_error == pytest.approx((10 / 60 * 50 / 60 / 59 + 1 / 60**2) ** 0.5)
    assert paired_difference(better, better, "accuracy").p_value == 1.0
    mixed = grid("rte", [[1.0]] * 25 + [[0.0]] * 5 + [[1.0]] * 5 + [[0.0]] * 25)  # 5 lost, 5 won
    even = paired_difference(better, mixed, "accuracy")
    assert even.difference == 0 and even.p_value is not None and even.p_value > 0.9


def test_a_paired_difference_of_a_corpus_metric() -> None:
    rows = [(0, 0), (1, 1), (1, 1), (0, 1), (1, 0), (0, 0), (1, 1), (0, 0)] * 8
    a = [chosen("cola", i, gold, gold) for i, (gold, _) in enumerate(rows)]
    b = [chosen("cola", i, gold, said) for i, (gold, said) in enumerate(rows)]
    gap = paired_difference(a, b, "matthews")
    assert gap.difference == pytest.approx(1 - 0.5)  # (3 * 3 - 1 * 1) / sqrt(4 * 4 * 4 * 4)
    assert gap.low is not None and gap.high is not None and 0.2 < gap.low < 0.5 < gap.high < 0.8
    score = cluster_score(b, "matthews")
    assert (score.value, score.num_examples, score.num_unscored) == (pytest.approx(0.5), 64, 0)
    # the other arm is right without any row, too; 2 is the most that two correlations differ by
    assert gap.standard_error == pytest.approx((score.standard_error**2 + (2 / 64) ** 2) ** 0.5)


def chosen(task: str, row: int, gold: int, option: int, num_options: int = 2, group: str = "") -> Prediction:
    logprobs = tuple(-1.0 if i == option else -2.0 for i in range(num_options))
    ones = (1,) * num_options
    return Prediction(f"{task}/test/{row}", task, "t0", gold, logprobs, ones, ones, None, (), group=group)


def test_groups_are_drawn_together() -> None:
    rows = [(g, right) for g in range(30) for right in [g % 2] * 4]  # all four answers of a question right, or none
    grouped = [chosen("multirc", i, 1, right, group=f"q{g}") for i, (g, right) in enumerate(rows)]
    apart = [chosen("multirc", i, 1, right) for i, (_, right) in enumerate(rows)]
    clustered, naive = cluster_score(grouped, "accuracy"), cluster_score(apart, "accuracy")
    assert clustered.value == naive.value == 0.5
    assert (clustered.num_examples, naive.num_examples) == (120, 120)
    assert clustered.standard_error is not None and naive.standard_error is not None
    assert clustered.standard_error / naive.standard_error == pytest.approx(2, rel=0.1)  # sqrt(4)
    by_question = task_scores(grouped, "group_exact_match")["multirc"]
    assert by_question.score.value == 0.5
    assert by_question.templates[0].num_examples == 120


def test_margins_and_ties_are_told() -> None:
    def asked(row: int, *logprobs: float) -> Prediction:
        return Prediction(f"rte/test/{row}", "rte", "t0", 0, logprobs, (1, 2), (1, 1), None, ())

    predictions = [asked(0, -1.0, -1.0), asked(1, -1.0, -1.5), asked(2, -3.0, -1.0), asked(3, -2.0, -3.0)]
    found = task_scores([*predictions, unscored("rte", 4, "t0")], "accuracy")["rte"]
    assert (found.median_margin, found.tie_rate) == (0.75, 0.25)  # margins 0, 0.5, 2, 1
    per_token = task_scores(predictions, "accuracy", "per_token")["rte"]
    assert per_token.score.value == 0.0  # -0.5, -0.75, -0.5 and -1.5 for the second option beat the first
    said = Prediction("nq/test/0", "nq", "t0", None, (), (), (), "a", ("a",))
    free = task_scores([said], "f1")["nq"]
    assert (free.median_margin, free.tie_rate, free.signature) == (None, None, None)
    assert (task_scores([said], "bleu")["nq"].signature or "").startswith("nrefs:1|")


def test_parts_of_a_dataset_are_averaged_first() -> None:
    predictions = [
        *grid("anli_r1", [[1], [1]]), *grid("anli_r2", [[1], [0]]), *grid("anli_r3", [[0], [0]]),
        *grid("rte", [[1], [1]]), *grid("copa", [[0], [1], [0], [0]]),
    ]  # fmt: skip
    tasks = [p.task for p in predictions]
    datasets = {f"anli_r{i}": "anli" for i in (1, 2, 3)}
    clusters = dict.fromkeys([*datasets, "rte"], "nli")
    assert cluster_score(predictions, "accuracy").value == pytest.approx((1 + 0.5 + 0 + 1 + 0.25) / 5)
    by_dataset = cluster_score(predictions, "accuracy", task_weights(tasks, datasets))
    assert by_dataset.value == pytest.approx((0.5 + 1 + 0.25) / 3)
    by_cluster = cluster_score(predictions, "accuracy", task_weights(tasks, datasets, clusters))
    assert by_cluster.value == pytest.approx(((0.5 + 1) / 2 + 0.25) / 2)
    gap = paired_difference(predictions, predictions[:-4] + grid("copa", [[1]] * 4), "accuracy",
                            task_weights(tasks, datasets, clusters))  # fmt: skip
    assert gap.difference == pytest.approx(-0.75 / 2)


def test_dev_chooses_the_template_and_test_reports() -> None:
    dev = task_scores(grid("rte", [[0, 1, 1], [1, 1, 1]]), "accuracy")["rte"]
    test = task_scores(grid("rte", [[1, 0, 1], [1, 1, 1], [1, 0, 1]]), "accuracy")["rte"]
    best = best_dev_template(dev, test)  # t1 and t2 share the top; neither test score has a say
    assert (best.template, best.value, best.num_examples) == ("t1", pytest.approx(1 / 3), 3)
    with pytest.raises(RunError, match="the best dev template of rte: found t1, which has no predictions on test"):
        best_dev_template(dev, task_scores(grid("rte", [[1]]), "accuracy")["rte"])
    nothing = task_scores([unscored("rte", 0, "t0")], "accuracy")["rte"]
    with pytest.raises(RunError, match="no template with a score on dev"):
        best_dev_template(nothing, test)


def test_majority_is_the_most_frequent_gold_option_of_each_task() -> None:
    golds = {"rte": [0, 1, 1, 1], "cb": [2, 0]}  # 3/4; 1/2, a tie
    asked = [chosen(task, i, gold, 0, 3) for task, rows in golds.items() for i, gold in enumerate(rows)]
    again = [dataclasses.replace(p, template="t1") for p in asked]
    score = majority([*asked, *again], "accuracy")
    assert score.value == 0.625
    assert (score.num_examples, score.num_templates, score.num_unscored) == (6, 0, 0)
    assert score.low is not None and score.high is not None and score.low < 0.625 < score.high
    assert majority(asked, {"rte": "matthews", "cb": "macro_f1"}).value == pytest.approx((0 + 1 / 3) / 2)
    assert majority([], "accuracy").value is None


def test_majority_is_the_best_constant_answer_under_the_metric() -> None:
    """MultiRC's F1a of always "yes": 9 of 20 are, so precision 0.45 and recall 1, though "no" is more frequent."""
    asked = [chosen("multirc", i, int(i < 9), 0, group=f"q{i // 2}") for i in range(20)]
    assert majority(asked, "binary_f1").value == pytest.approx(2 * 0.45 / 1.45)
    assert majority(asked, "accuracy").value == 0.55
    assert majority(asked, "macro_f1").value == pytest.approx(2 * 0.55 / 1.55 / 2)
    assert majority(asked, "group_exact_match").value == 0.5  # 4 questions with yes, yes; 5 with no, no; one mixed
    for metric in ("matthews", "pearson", "spearman"):
        assert majority(asked, metric).value == 0  # a constant is correlated with nothing
    lists = [chosen("copa", i, gold, 0, num) for i, (gold, num) in enumerate([(2, 3), (2, 3), (1, 2), (0, 2), (0, 4)])]
    assert majority(lists, "accuracy").value == 0.6  # the third option, or the last of two


def test_free_text_has_no_majority() -> None:
    said = Prediction("nq/test/0", "nq", "t0", None, (), (), (), "a", ("a",))
    assert majority([said], "f1").value is None
    assert majority([*RTE, said], {"rte": "accuracy", "nq": "f1"}).value is None


def test_the_option_prior_is_the_choice_without_a_prompt() -> None:
    asked = [dataclasses.replace(chosen("rte", i, i % 4 // 3, 1), prior_logprobs=(-1.0, -3.0)) for i in range(8)]
    assert option_prior(asked, "accuracy").value == 0.75  # always the first option
    assert cluster_score(asked, "accuracy", normalisation="pmi").value == 0.25
    with pytest.raises(RunError, match="rte/test/0, template t0: found no log-probs of the options without the prompt"):
        option_prior([chosen("rte", 0, 0, 1)], "accuracy")
