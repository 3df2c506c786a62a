"""`openflan eval --best-dev`: dev rows that choose a template."""

from pathlib import Path

import pytest

from evaluated import MOOD, Place
from openflan.evaluation.predictions import Prediction, read_predictions


def read(folder: Path, name: str = "test.jsonl") -> list[Prediction]:
    return list(read_predictions(folder / name))


def label_by(place: Place, split: str, found: list[Prediction], template: str) -> None:
    """Make what the model chooses with that template the right answer of every row."""
    rows = place.rows("mood", split)
    for number, row in enumerate(rows):
        [own] = [p for p in found if p.uid == f"mood/{split}/{number}" and p.template == template]
        row["label"] = own.logprobs.index(max(own.logprobs))
    place.write("mood", split, rows)


def test_dev_rows_choose_the_template_and_test_rows_report_it(ask, own_place, tmp_path):
    asked = "--task", "mood", "--best-dev"
    ask(own_place, tmp_path / "first", *asked)
    [folder] = (tmp_path / "first").iterdir()
    label_by(own_place, "dev", read(folder, "dev.jsonl"), "after")
    label_by(own_place, "test", read(folder), "before")
    [evaluation] = ask(own_place, tmp_path / "second", *asked)["evaluations"]
    [task] = evaluation["tasks"]
    scores = {each["template"]: each["score"] for each in task["templates"]}
    assert scores["before"] == 1.0 > scores["after"]  # test rows would have chosen the other one
    assert task["best_dev"] == {"template": "after", "score": scores["after"], "num_examples": 8}
    assert task["num_prompts"] == 16  # dev rows are in no score


def test_dev_rows_belong_to_an_evaluation_that_asks_them(ask, own_place, tmp_path):
    def folders() -> set[str]:
        return {path.name for path in tmp_path.glob("out/*")}

    for extra in ((), ("--best-dev",)):
        ask(own_place, tmp_path / "out", "--task", "mood", *extra)
    before = folders()
    assert len(before) == 2
    rows = own_place.rows("mood", "dev")
    rows[0]["label"] = 1 - rows[0]["label"]
    own_place.write("mood", "dev", rows)
    ask(own_place, tmp_path / "out", "--task", "mood")
    assert folders() == before
    ask(own_place, tmp_path / "out", "--task", "mood", "--best-dev")
    assert len(folders()) == 3


def test_no_dev_rows_to_choose_by(call, own_place, tmp_path):
    own_place.write_card("mood", {**MOOD, "source": {"splits": {"train": "train", "dev": 0, "test": "test"}}})
    asked = "--task", "mood", "--best-dev", "--out", tmp_path / "out"
    ended = call("eval", own_place.model, *own_place.arguments, *asked)
    assert ended.code == 2 and "mood.yaml: found no dev split of mood" in ended.err
    assert not (tmp_path / "out").exists()


def test_a_task_without_dev_rows_is_evaluated_without_a_best_template(call, ask, own_place, tmp_path):
    (own_place.folder / "data" / "mood" / "dev.jsonl").unlink()
    asked = "--task", "mood", "--task", "name", "--best-dev"
    [evaluation] = ask(own_place, tmp_path / "out", *asked)["evaluations"]
    mood, name = evaluation["tasks"]
    assert (mood["num_prompts"], mood["best_dev"]) == (16, None)
    assert (name["num_prompts"], name["best_dev"]["num_examples"]) == (16, 8)
    [folder] = (tmp_path / "out").iterdir()
    assert {p.task for p in read(folder, "dev.jsonl")} == {"name"}
    told = " ".join(call("results", "show", folder).out.split())
    assert "mood: no dev rows, and so no best template" in told and told.count("no dev rows") == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("dev.jsonl", "", "dev.jsonl: found no rows; expected at least one"),
        ("dev.jsonl", '{"text": ', "dev.jsonl, line 1: found text that is not JSON"),
        ("dev.xlsx", "PK", "dev.xlsx: found .xlsx; expected a file whose form is known"),
        ("dev.jsonl", '{"text": "So?", "label": 7}', "dev.jsonl, row 1: found label = 7; expected 0 or 1"),
    ],
)
def test_dev_rows_that_are_broken_are_an_error(call, own_place, tmp_path, name, content, message):
    (own_place.folder / "data" / "mood" / "dev.jsonl").unlink()
    (own_place.folder / "data" / "mood" / name).write_text(content)
    asked = "--task", "name", "--task", "mood", "--best-dev", "--out", tmp_path / "out"
    ended = call("eval", own_place.model, *own_place.arguments, *asked)
    assert ended.code == 2 and message in " ".join(ended.err.split())
    assert not (tmp_path / "out").exists()


def test_dev_rows_that_are_all_dropped_are_none(call, own_place, tmp_path):
    own_place.write_card("mood", {**MOOD, "drop_if": {"text": [row["text"] for row in own_place.rows("mood", "dev")]}})
    ended = call(
        "eval", own_place.model, *own_place.arguments, "--task", "mood", "--best-dev", "--out", tmp_path / "out"
    )
    assert ended.code == 2
    assert "--best-dev: found no dev row of mood; expected one or more. Leave --best-dev out." in ended.err
