"""Evaluations read back from their directories: everything is computed from two files, and no model is there."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from openflan.errors import RunError
from openflan.evaluation.predictions import Prediction, line_of
from openflan.finished import signed
from openflan.study.results import (
    TemplateResult,
    Unfinished,
    average,
    compare_evaluations,
    find_evaluations,
    read_evaluation,
    score_tasks,
)
from openflan.tasks.catalog import load_catalog

CLUSTERS = {"sst": "sentiment"}
DATASETS = {"anli_r1": "anli", "anli_r2": "anli", "anli_r3": "anli"}


def answers(task: str, split: str = "test", **right: str) -> list[Prediction]:
    """Of each template a row for each letter: `1` is right with a lead of 1 nat, `0` wrong by as much, `=` a tie, and
    `-` could not be asked. The gold option is the first in every other row."""
    found = []
    for template, letters in right.items():
        for number, letter in enumerate(letters):
            gold = number % 2
            shares = {"1": (-1.0, -2.0), "0": (-2.0, -1.0), "=": (-1.0, -1.0)}.get(letter, ())
            logprobs = shares[::-1] if gold else shares
            uid = f"{task}/{split}/{number}"
            numbers = (1, 1) if logprobs else ()
            if not logprobs:
                found.append(Prediction(uid, task, template, None, (), (), (), None, (), unscored="too_long_prompt"))
                continue
            found.append(Prediction(uid, task, template, gold, logprobs, numbers, numbers, None, ()))
    return found


def texts(task: str, *written: str) -> list[Prediction]:
    return [
        Prediction(f"{task}/test/{n}", task, "say", None, (), (), (), text, ("the cat sat on the mat",))
        for n, text in enumerate(written)
    ]


def write(
    folder: Path,
    predictions: Sequence[Prediction],
    dev: Sequence[Prediction] = (),
    metrics: Mapping[str, Sequence[str]] | None = None,
    name: str = "toy",
) -> Path:
    """An evaluation as `openflan eval` leaves it."""
    tasks = {}
    for task in dict.fromkeys(p.task for p in predictions):
        own = [p for p in predictions if p.task == task]
        tasks[task] = {
            "metrics": (metrics or {}).get(task, ["accuracy"]),
            "cluster": CLUSTERS.get(task, "nli"),
            "dataset": DATASETS.get(task, task),
            "num_examples": len({p.uid for p in own}),
            "num_dev_examples": len({p.uid for p in dev if p.task == task}),
            "num_templates": len({p.template for p in own}),
            "num_rows_dropped": 0,
            "max_new_tokens": None,
        }
    record = {
        "name": name,
        "identity": "abc",
        "model": name,
        "model_fingerprint": "0123",
        "settings": {},
        "seed": 0,
        "tasks": tasks,
    }
    folder.mkdir(parents=True)
    (folder / "evaluation.json").write_text(json.dumps(signed(record)))
    for file, some in (("test.jsonl", predictions), ("dev.jsonl", dev)):
        if some:
            (folder / file).write_text("".join(json.dumps(line_of(p, "abc")) + "\n" for p in some))
    return folder


def test_a_task_has_everything_that_tells_how_far_to_trust_it(tmp_path):
    predictions = answers("rte", a="1101", b="01=-")
    predictions[0] = replace(predictions[0], num_cut_words=3, num_exemplars=2)
    [task] = score_tasks(read_evaluation(write(tmp_path / "e", predictions)))
    assert (task.task, task.cluster, task.metric) == ("rte", "nli", "accuracy")
    assert task.score == 0.625  # 3 of 4 with the one; 1.5 of 3 with the other, whose last row could not be asked
    assert task.low <= 0.625 <= task.high
    assert task.spread == pytest.approx(0.1767767)
    assert task.templates == (
        TemplateResult(template="a", score=0.75, num_examples=4),
        TemplateResult(template="b", score=0.5, num_examples=3),
    )
    counts = (task.num_examples, task.num_templates, task.num_prompts, task.num_unscored, task.num_cut)
    assert counts == (4, 2, 8, 1, 1)
    assert (task.num_at_limit, task.max_new_tokens, task.mean_exemplars) == (0, None, 0.25)
    assert (task.median_margin, task.tie_rate) == (1.0, pytest.approx(1 / 7))
    assert (task.majority, task.option_prior, task.best_dev, task.signature) == (0.5, None, None, None)


def test_three_right_answers_of_three_are_no_certainty(tmp_path):
    [task] = score_tasks(read_evaluation(write(tmp_path / "e", answers("rte", a="111", b="111"))))
    assert (task.score, task.low, task.high, task.spread) == (1.0, pytest.approx(0.4385, abs=1e-4), 1.0, 0.0)


def test_a_task_that_could_not_be_asked_is_missing_and_not_wrong(tmp_path):
    [task] = score_tasks(read_evaluation(write(tmp_path / "e", answers("rte", a="---", b="---"))))
    assert (task.score, task.low, task.high, task.spread) == (None, None, None, None)
    assert (task.num_prompts, task.num_unscored, task.majority) == (6, 6, None)
    assert [each.score for each in task.templates] == [None, None]


def test_the_option_prior_is_what_the_model_says_blind(tmp_path):
    """Gold is the first option in rows 0 and 2; blind, the model takes the first in all three."""
    blind = [replace(p, prior_logprobs=(-1.0, -3.0)) for p in answers("rte", a="000")]
    [task] = score_tasks(read_evaluation(write(tmp_path / "e", blind)))
    assert (task.score, task.option_prior, task.majority) == (0.0, pytest.approx(2 / 3), pytest.approx(2 / 3))
    blind[1] = replace(blind[1], prior_logprobs=())
    [task] = score_tasks(read_evaluation(write(tmp_path / "f", blind)))
    assert task.option_prior is None


def test_free_text_has_no_options_to_guess_and_bleu_its_signature(tmp_path):
    found = texts("en_fr", "the cat sat on the mat", "a dog ran far away there")
    found[1] = replace(found[1], at_limit=True)
    [task] = score_tasks(read_evaluation(write(tmp_path / "e", found, metrics={"en_fr": ["bleu"]})))
    assert (task.majority, task.option_prior, task.median_margin, task.tie_rate) == (None, None, None, None)
    assert task.num_at_limit == 1
    assert task.score == pytest.approx(0.5, abs=0.05)  # half of the n-grams, all of those of one sentence
    assert task.signature is not None and task.signature.startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|")


def test_all_metrics_of_the_card_are_counted(tmp_path):
    """Gold is 0, 1, 0, 1, and the answers are 0, 1, 1, 1: of three times 1 two are right, of two times 1 both."""
    folder = write(tmp_path / "e", answers("mrpc", a="1101"), metrics={"mrpc": ["accuracy", "binary_f1"]})
    [task] = score_tasks(read_evaluation(folder))
    assert (task.metric, task.score) == ("accuracy", 0.75)
    [other] = task.others
    assert (other.metric, other.score) == ("binary_f1", pytest.approx(0.8))
    assert other.low < 0.8 < other.high < 1.0


@pytest.mark.parametrize(
    ("normalisation", "score", "margin"),
    [("sum", 0.0, 1.0), ("per_token", 1.0, 2.0), ("per_byte", 1.0, 0.5), ("pmi", 1.0, 1.5)],
)
def test_another_normalisation_needs_only_the_files(tmp_path, normalisation, score, margin):
    """Summed -4 and -3; by token -1 and -3; by byte -0.5 and -1; less the prior -0.5 and -2."""
    row = Prediction("rte/test/0", "rte", "a", 0, (-4.0, -3.0), (4, 1), (8, 3), None, (), prior_logprobs=(-3.5, -1.0))
    folder = write(tmp_path / "e", [row], metrics={"rte": ["accuracy", "macro_f1"]})
    [task] = score_tasks(read_evaluation(folder), normalisation)
    assert (task.score, task.median_margin, task.others[0].score) == (score, margin, score)


def test_pmi_needs_priors(tmp_path):
    evaluation = read_evaluation(write(tmp_path / "e", answers("rte", a="10")))
    message = r"rte/test/0, template a: found no log-probs of the options without the prompt; .*Evaluate again"
    for read in (score_tasks, lambda *args: compare_evaluations(evaluation, *args)):
        with pytest.raises(RunError, match=message):
            read(evaluation, "pmi")


def test_dev_chooses_the_template_and_test_tells_its_score(tmp_path):
    dev = [*answers("rte", "dev", a="10", b="11"), *answers("sst", "dev", a="11", b="11")]
    test = [*answers("rte", a="1111", b="1000"), *answers("sst", a="1000", b="1111")]
    rte, sst = score_tasks(read_evaluation(write(tmp_path / "e", test, dev)))
    assert rte.best_dev == TemplateResult(template="b", score=0.25, num_examples=4)
    assert sst.best_dev == TemplateResult(template="a", score=0.25, num_examples=4)  # the first of a tie
    assert (rte.score, rte.num_prompts) == (0.625, 8)


def test_dev_rows_that_could_not_be_asked_choose_nothing(tmp_path):
    [task] = score_tasks(read_evaluation(write(tmp_path / "e", answers("rte", a="10"), answers("rte", "dev", a="--"))))
    assert (task.score, task.best_dev) == (0.5, None)


def test_tasks_weigh_the_same_or_datasets_do(tmp_path):
    test = [
        *answers("anli_r1", a="1111"),
        *answers("anli_r2", a="1100"),
        *answers("anli_r3", a="0000"),
        *answers("rte", a="1111"),
        *answers("sst", a="1000"),
    ]
    evaluation = read_evaluation(write(tmp_path / "e", test))
    nli, whole = average(evaluation)
    assert (nli.name, nli.score, nli.num_tasks, nli.cluster_mean) == ("nli", 0.625, 4, "tasks")
    assert (whole.name, whole.score, whole.num_tasks) == ("all clusters", 0.4375, 5)  # of 0.625 and 0.25
    nli, whole = average(evaluation, cluster_mean="datasets")
    assert (nli.score, nli.num_tasks, nli.cluster_mean) == (0.75, 4, "datasets")  # of 0.5 and 1
    assert whole.score == 0.5  # of 0.75 and 0.25
    assert nli.low < 0.75 < nli.high and whole.low < 0.5 < whole.high


def test_one_task_has_no_average_and_one_cluster_no_other(tmp_path):
    assert average(read_evaluation(write(tmp_path / "e", answers("rte", a="10")))) == []
    two = [*answers("rte", a="10"), *answers("cb", a="11")]
    [nli] = average(read_evaluation(write(tmp_path / "f", two)))
    assert (nli.name, nli.score) == ("nli", 0.75)


def test_no_average_is_taken_across_collections(tmp_path):
    letters = {"rte": "11", "cb": "10", "world_rte": "00", "world_cb": "10", "mine": "10", "sst": "10"}
    folder = write(tmp_path / "e", [p for task, right in letters.items() for p in answers(task, a=right)])
    record = json.loads((folder / "evaluation.json").read_text())
    for name, task in record["tasks"].items():
        task["collection"] = "world" if name.startswith("world") else "user" if name == "mine" else "flan"
    del record["check"]
    (folder / "evaluation.json").write_text(json.dumps(signed(record)))
    expected = [("nli (flan)", 0.75, 2), ("all clusters (flan)", 0.625, 3), ("nli (world)", 0.25, 2)]
    evaluation = read_evaluation(folder)
    assert [(mean.name, mean.score, mean.num_tasks) for mean in average(evaluation)] == expected
    _, compared = compare_evaluations(evaluation, evaluation)
    assert [(mean.name, mean.num_tasks) for mean in compared] == [(name, num) for name, _, num in expected]


def test_an_average_over_a_missing_task_is_missing(tmp_path):
    two = [*answers("rte", a="--"), *answers("cb", a="11")]
    [nli] = average(read_evaluation(write(tmp_path / "e", two)))
    assert (nli.score, nli.low, nli.high) == (None, None, None)


def test_two_models_are_compared_task_by_task(tmp_path):
    """McNemar of 7 rows to 0 is 2 / 2^7. Of two p-values Holm doubles the smaller."""
    first = read_evaluation(write(tmp_path / "a", [*answers("rte", a="1" * 8), *answers("cb", a="10")]))
    b = [*answers("rte", a="10000000"), *answers("cb", a="10"), *answers("sst", a="1")]
    second = read_evaluation(write(tmp_path / "b", b))
    (cb, rte), [mean] = compare_evaluations(first, second)
    assert (rte.task, rte.difference, rte.num_examples, rte.mcnemar) == ("rte", 0.875, 8, 2 / 2**7)
    assert 0.4 < rte.low < 0.875 < rte.high == 1.0
    assert rte.p_value == 2 / 2**7 and rte.adjusted == pytest.approx(2 * rte.p_value)
    assert 0 < rte.detectable < 0.875
    assert (cb.task, cb.difference, cb.low, cb.high, cb.p_value, cb.adjusted) == ("cb", 0, 0, 0, 1, 1)
    assert (cb.mcnemar, cb.detectable) == (1, None)
    assert (mean.name, mean.difference, mean.num_tasks) == ("nli", 0.4375, 2)
    assert mean.low < 0.4375 < mean.high
    again, [mean] = compare_evaluations(second, first)
    assert [each.difference for each in again] == [0, -0.875] and mean.difference == -0.4375


def test_of_a_single_row_no_difference_would_show(tmp_path):
    first, second = (read_evaluation(write(tmp_path / a, answers("rte", a=a))) for a in "10")
    [rte], _ = compare_evaluations(first, second)
    assert (rte.difference, rte.low, rte.p_value, rte.detectable) == (1, None, None, None)


def test_differences_are_averaged_as_scores_are(tmp_path):
    """Over tasks that both have, which weigh the same, or their datasets do."""
    right = {"anli_r1": "1111", "anli_r2": "1100", "anli_r3": "0000", "rte": "1111", "sst": "1000"}
    first = [p for task, letters in right.items() for p in answers(task, a=letters)]
    second = [p for task in right for p in answers(task, a="0000")]
    a = read_evaluation(write(tmp_path / "a", first))
    b = read_evaluation(write(tmp_path / "b", [*second, *answers("cb", a="1")]))
    _, (nli, whole) = compare_evaluations(a, b)
    assert (nli.name, nli.difference, nli.num_tasks) == ("nli", 0.625, 4)
    assert (whole.name, whole.difference, whole.num_tasks) == ("all clusters", 0.4375, 5)
    _, (nli, whole) = compare_evaluations(a, b, cluster_mean="datasets")
    assert (nli.difference, whole.difference) == (0.75, 0.5)
    few = read_evaluation(write(tmp_path / "c", answers("rte", a="0000")))
    assert compare_evaluations(a, few)[1] == []


def test_a_comparison_with_another_normalisation(tmp_path):
    row = Prediction("rte/test/0", "rte", "a", 0, (-4.0, -3.0), (4, 1), (8, 3), None, ())
    first = read_evaluation(write(tmp_path / "a", [row]))
    second = read_evaluation(write(tmp_path / "b", [replace(row, logprobs=(-3.0, -4.0))]))
    assert [compare_evaluations(second, first, each)[0][0].difference for each in ("sum", "per_token")] == [1.0, 0.0]


def test_what_cannot_be_compared(tmp_path):
    first = read_evaluation(write(tmp_path / "a", answers("rte", a="1010")))
    with pytest.raises(RunError, match="a: found no task that other was evaluated on, too; expected one or more"):
        compare_evaluations(first, read_evaluation(write(tmp_path / "b", answers("cb", a="1"), name="other")))
    fewer = read_evaluation(write(tmp_path / "c", answers("rte", a="10")))
    message = r"found 2 predictions only in the first and 0 only in the second .*Evaluate both on the same rows"
    with pytest.raises(RunError, match=message):
        compare_evaluations(first, fewer)


def test_prompts_that_only_one_model_answered_are_counted_and_left_out(tmp_path):
    first = read_evaluation(write(tmp_path / "a", answers("rte", a="1110")))
    second = read_evaluation(write(tmp_path / "b", answers("rte", a="-010")))
    [rte], _ = compare_evaluations(first, second)
    assert (rte.difference, rte.num_unpaired, rte.num_examples) == (pytest.approx(1 / 3), 1, 4)
    assert rte.mcnemar == 1.0


def test_evaluations_are_found_below_a_folder_each_once(tmp_path):
    for name in ("runs/a", "runs/deep/b", "other"):
        write(tmp_path / name, answers("rte", a="1"))
    (tmp_path / "runs" / "notes.txt").touch()
    found, unfinished = find_evaluations([tmp_path / "runs", tmp_path / "runs" / "a", tmp_path / "other"])
    assert [each.folder for each in found] == [tmp_path / name for name in ("runs/a", "runs/deep/b", "other")]
    assert unfinished == []


def test_unfinished_evaluations_are_told_apart(tmp_path):
    """On test rows, on dev rows, or before the first prediction."""
    test, dev = answers("rte", a="10", b="11"), answers("rte", "dev", a="1", b="0")
    for name in ("a", "b", "c", "d"):
        write(tmp_path / name, test, dev)
    for path in (tmp_path / "a" / "test.jsonl", tmp_path / "d" / "dev.jsonl"):
        path.write_text(path.read_text()[:-20])
    for path in (tmp_path / "c").glob("*.jsonl"):
        path.unlink()
    finished, unfinished = find_evaluations([tmp_path])
    assert [each.folder for each in finished] == [tmp_path / "b"]
    assert unfinished == [
        Unfinished(tmp_path / "a", 5, 6),
        Unfinished(tmp_path / "c", 0, 6),
        Unfinished(tmp_path / "d", 5, 6),
    ]


def test_an_unfinished_evaluation_that_is_named_is_an_error(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / name, answers("rte", a="10"))
    (tmp_path / "b" / "test.jsonl").unlink()
    message = r"b/test.jsonl: found 0 predictions; expected 2. Repeat the `openflan eval`"
    for folders in ([tmp_path / "b"], [tmp_path / "a", tmp_path / "b"], [tmp_path, tmp_path / "b"]):
        with pytest.raises(RunError, match=message):
            find_evaluations(folders)
    (tmp_path / "a" / "test.jsonl").unlink()
    with pytest.raises(RunError, match=message.replace("b/test", "a/test")):
        find_evaluations([tmp_path])


def test_more_predictions_than_there_can_be_are_not_unfinished(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / name, answers("rte", a="10"))
    with (tmp_path / "b" / "test.jsonl").open("a") as file:
        file.write(json.dumps(line_of(answers("rte", a="101")[2], "abc")) + "\n")
    with pytest.raises(RunError, match=r"b/test.jsonl: found 3 predictions; expected 2"):
        find_evaluations([tmp_path])


def test_a_folder_without_an_evaluation(tmp_path):
    write(tmp_path / "a", answers("rte", a="1"))
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "nowhere"):
        message = f"{folder}: found no evaluation.json; expected a directory that `openflan eval` made. Check the path."
        for read in (read_evaluation, lambda path: find_evaluations([tmp_path / "a", path])):
            with pytest.raises(RunError) as caught:
                read(folder)
            assert str(caught.value) == message


def test_a_damaged_record(tmp_path):
    path = write(tmp_path / "e", answers("rte", a="1")) / "evaluation.json"
    value = json.loads(path.read_text())
    path.write_text(json.dumps({**value, "colour": "red", "seed": "one"}))
    with pytest.raises(RunError, match=r"evaluation.json: found (?=.*colour \(unknown key)(?=.*seed: )"):
        read_evaluation(tmp_path / "e")
    path.write_text(json.dumps(value)[:40])
    with pytest.raises(RunError, match=r"evaluation.json: found a file that cannot be read"):
        read_evaluation(tmp_path / "e")


def test_an_evaluation_that_did_not_come_to_its_end(tmp_path):
    """Cut in the middle of a line, on test rows or on dev rows."""
    test, dev = answers("rte", a="10", b="11"), answers("rte", "dev", a="1", b="0")
    for name, num_left in (("test.jsonl", 3), ("dev.jsonl", 1)):
        folder = write(tmp_path / name, test, dev)
        (folder / name).write_text((folder / name).read_text()[:-20])
        message = rf"{name}: found {num_left} predictions; expected {num_left + 1}. Repeat the `openflan eval`"
        with pytest.raises(RunError, match=message):
            score_tasks(read_evaluation(folder))
    (folder / "test.jsonl").unlink()
    with pytest.raises(RunError, match=r"test.jsonl: found 0 predictions; expected 4"):
        average(read_evaluation(folder))


def test_a_line_that_is_no_prediction_is_named(tmp_path):
    folder = write(tmp_path / "e", answers("rte", a="10"))
    whole = (folder / "test.jsonl").read_text()
    (folder / "test.jsonl").write_text(whole.replace("{", "", 1))
    with pytest.raises(RunError, match=r"test.jsonl, line 1"):
        score_tasks(read_evaluation(folder))
    (folder / "test.jsonl").write_text(whole.replace('"gold"', '"golden"', 1))
    with pytest.raises(RunError, match=r"test.jsonl: found a line \(rte/test/0\) that was changed"):
        score_tasks(read_evaluation(folder))


def test_a_record_with_another_number_is_named(tmp_path):
    path = write(tmp_path / "e", answers("rte", a="1")) / "evaluation.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    with pytest.raises(
        RunError, match=r"evaluation.json: found a record that has changed .* Repeat the `openflan eval`"
    ):
        read_evaluation(tmp_path / "e")


def test_what_several_processes_wrote_is_read_together_and_counted_once(tmp_path):
    predictions = answers("rte", a="1100")
    folder = write(tmp_path / "e", predictions)
    lines = (folder / "test.jsonl").read_text().splitlines(keepends=True)
    (folder / "test.jsonl").write_text("".join(lines[:3]))
    (folder / "test.rank1.jsonl").write_text("".join(lines[2:]))
    [task] = score_tasks(read_evaluation(folder))
    assert (task.score, task.num_prompts) == (0.5, 4)


# FLAN (Wei et al., arXiv:2109.01652v5): cells of the appendix's tables, and the means that figure 1 prints.
PRINTED = [
    ("nli", 56.2, {"anli_r1": 47.7, "anli_r2": 43.9, "anli_r3": 47.0, "cb": 64.1, "rte": 78.3}),  # FLAN
    ("nli", 42.9, {"anli_r1": 34.6, "anli_r2": 35.4, "anli_r3": 34.5, "cb": 46.4, "rte": 63.5}),  # GPT-3
    ("closed_book_qa", 56.6, {"arc_challenge": 61.7, "arc_easy": 79.5, "natural_questions": 18.6, "trivia_qa": 66.5}),
    ("closed_book_qa", 49.8, {"arc_challenge": 51.4, "arc_easy": 68.8, "natural_questions": 14.6, "trivia_qa": 64.3}),
]


@pytest.mark.parametrize(("cluster", "printed", "cells"), PRINTED)
def test_the_mean_of_a_cluster_is_the_papers(tmp_path, cluster, printed, cells, monkeypatch):
    """A thousand rows of each task, as many of them right as its cell says; names and datasets are the catalogue's."""
    tasks = load_catalog().tasks
    monkeypatch.setitem(globals(), "CLUSTERS", {name: tasks[name].cluster for name in cells})
    monkeypatch.setitem(globals(), "DATASETS", {name: tasks[name].dataset for name in cells})
    rows = [
        p
        for name, cell in cells.items()
        for p in answers(name, a="1" * round(10 * cell) + "0" * round(1000 - 10 * cell))
    ]
    evaluation = read_evaluation(write(tmp_path / "e", rows))
    [mean] = average(evaluation)
    assert (mean.name, round(100 * mean.score, 1)) == (tasks[next(iter(cells))].cluster, printed)
    [datasets] = average(evaluation, cluster_mean="datasets")
    assert abs(100 * datasets.score - printed) > 3
