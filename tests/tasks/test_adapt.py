import importlib
import json
import math
from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from openflan.errors import CatalogError, DataError
from openflan.tasks import odd_rows
from openflan.tasks.adapt import _columns, adapt, iter_examples, load_examples
from openflan.tasks.catalog import load_catalog
from openflan.tasks.example import Choice, Example, Text

OPTIONS_OF_ROW = {
    "kind": "choice",
    "options_from": ["choices.text"],
    "gold": "key",
    "gold_values_from": "choices.label",
}


def test_fixed_options_and_an_index(make_task):
    examples, dropped = adapt(make_task(), [{"text": " Fine!\n", "label": 1}], "train")
    assert examples == [Example("mood/train/0", "mood", {"text": "Fine!"}, Choice(("sad", "glad"), 1))]
    assert dropped == {}


def test_a_bool_gold(make_task):
    examples, _ = adapt(make_task(), [{"text": "a", "label": True}, {"text": "b", "label": False}], "train")
    assert [example.answer.gold for example in examples] == [1, 0]


def test_gold_values_give_the_order(make_task):
    answer = {"kind": "choice", "options": ["sad", "glad"], "gold": "label", "gold_values": [4, 0]}
    examples, _ = adapt(make_task(answer=answer), [{"text": "a", "label": 0}, {"text": "b", "label": 4}], "train")
    assert [example.answer_text for example in examples] == ["glad", "sad"]


def test_options_and_labels_of_the_row(make_task):
    row = {"text": "Hot?", "choices": {"text": ["ice", "steam", "rain"], "label": ["1", "2", "3"]}, "key": "2"}
    examples, _ = adapt(make_task(answer=OPTIONS_OF_ROW, samples=[row]), [row], "test")
    assert examples[0].answer == Choice(("ice", "steam", "rain"), 1)
    assert examples[0].uid == "mood/test/0"


def test_options_of_several_fields(make_task):
    answer = {"kind": "choice", "options_from": ["a", "b"], "gold": "label"}
    examples, _ = adapt(make_task(answer=answer), [{"text": "x", "a": "one ", "b": 2, "label": 0}], "train")
    assert examples[0].answer == Choice(("one", "2"), 0)


def test_free_text_lists_numbers_and_nested_names(make_task):
    task = make_task(
        answer={"kind": "text", "references": "answers.text"}, fields={"words": "words", "year": "meta.year"}
    )
    row = {
        "words": ["ski ", "hill"],
        "meta": {"year": 1962},
        "answers": {"text": ["He skis.", " ", "He skis.", "Skis"]},
    }
    examples, _ = adapt(task, [row], "train")
    assert examples[0].fields == {"words": ("ski", "hill"), "year": "1962"}
    assert examples[0].answer == Text(("He skis.", "Skis"))


def test_constants_of_a_member(write_card):
    from openflan.tasks.catalog import load_catalog

    members = {"mood_de": {"source": {}, "constants": {"language": "German"}}}
    task = load_catalog([write_card(source=None, members=members)]).task("mood_de")
    examples, _ = adapt(task, [{"text": "Fein!", "label": 1}], "train")
    assert examples[0].fields == {"text": "Fein!", "language": "German"}


def test_dropped_rows_are_counted_and_leave_the_numbering_alone(make_task):
    answer = {"kind": "choice", "options_from": ["a", "b"], "gold": "label"}
    task = make_task(answer=answer, drop_if={"label": [-1], "a": ["?"]})
    rows = [
        {"text": "t", "a": "x", "b": "y", "label": -1},
        {"text": "t", "a": "?", "b": "y", "label": 0},
        {"text": "t", "a": "x", "b": " x", "label": 0},
        {"text": "t", "a": "x", "b": " ", "label": 0},
        {"text": "t", "a": "x", "b": "y", "label": 1},
    ]
    examples, dropped = adapt(task, rows, "train")
    assert [example.uid for example in examples] == ["mood/train/4"]
    assert dropped == {"label is -1": 1, "a is '?'": 1, "two equal options": 1, "an empty option": 1}


def test_only_rows_with_a_value_that_the_card_keeps(make_task):
    task = make_task(keep_if={"label": [1], "text": ["t", "u"]})
    rows = [{"text": text, "label": label} for text, label in (("t", 1), ("t", 0), ("u", 1), ("v", 1), ("t", True))]
    examples, dropped = adapt(task, rows, "train")
    assert [example.uid for example in examples] == ["mood/train/0", "mood/train/2"]
    assert dropped == {"label is not 1": 2, "text is not 't' or 'u'": 1}


def test_a_row_without_an_answer_is_dropped(make_task):
    task = make_task(answer={"kind": "text", "references": "refs"})
    assert adapt(task, [{"text": "t", "refs": []}], "train") == ([], {"no reference answer": 1})


@pytest.mark.parametrize("label", [2, -1, None, 0.0, [1]])
def test_a_wrong_label_names_the_row(make_task, label):
    rows = [{"text": "t", "label": 0}] * 16 + [{"text": "t", "label": label}]
    with pytest.raises(DataError) as caught:
        adapt(make_task(), rows, "train")
    assert caught.value.where == "mood, train row 17"
    assert caught.value.found == f"label = {label!r}"
    assert caught.value.expected == "0 or 1"


@pytest.mark.parametrize(
    ("options", "keys", "labels", "golds"),
    [
        (("sad", "glad"), {}, [0, 1, True, "glad", " sad "], [0, 1, 1, 1, 0]),
        (("sad", "glad"), {"digits_are_index": True}, [1, "1", "0", "glad"], [1, 1, 0, 1]),
        (("1", "2", "3"), {}, [1, "1", "3"], [1, 0, 2]),
        (("1", "2", "3"), {"digits_are_index": True}, [1, "1", "2"], [1, 1, 2]),
        (("False", "True"), {}, [True, "False"], [1, 0]),
    ],
)
def test_a_label_is_an_index_or_the_text_of_an_option(make_task, options, keys, labels, golds):
    task = make_task(answer={"kind": "choice", "options": options, "gold": "label", **keys})
    examples, _ = adapt(task, [{"text": "t", "label": label} for label in labels], "train")
    assert [example.answer.gold for example in examples] == golds


@pytest.mark.parametrize(
    ("keys", "label", "expected"),
    [
        ({}, "1", "0 or 1 or 'sad' or 'glad'"),
        ({}, "happy", "0 or 1 or 'sad' or 'glad'"),
        ({"digits_are_index": True}, "2", "'0' or '1'"),
        ({"digits_are_index": True}, "²", "0 or 1 or 'sad' or 'glad'"),
    ],
)
def test_a_text_that_is_no_label(make_task, keys, label, expected):
    task = make_task(answer={"kind": "choice", "options": ["sad", "glad"], "gold": "label", **keys})
    with pytest.raises(DataError) as caught:
        adapt(task, [{"text": "t", "label": label}], "train")
    assert caught.value.expected == expected


def test_true_is_not_one_among_gold_values(make_task):
    answer = {"kind": "choice", "options": ["sad", "glad"], "gold": "label", "gold_values": [0, 1]}
    with pytest.raises(DataError, match="label = True"):
        adapt(make_task(answer=answer), [{"text": "t", "label": True}], "train")


def test_a_label_that_the_row_does_not_list(make_task):
    row = {"text": "t", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "key": "C"}
    with pytest.raises(DataError, match=r"row 1: found key = 'C'; expected 'A' or 'B'"):
        adapt(make_task(answer=OPTIONS_OF_ROW), [row], "train")


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"txt": "t", "label": 0}, r"no field 'text'.*Did you mean txt"),
        ({"text": None, "label": 0}, "text of type NoneType"),
        ({"text": True, "label": 0}, "text of type bool"),
        ({"text": {"a": "b"}, "label": 0}, "text of type dict"),
        ({"text": [["a"]], "label": 0}, "text of type list"),
    ],
)
def test_a_field_that_is_no_text(make_task, row, problem):
    with pytest.raises(DataError, match=problem):
        adapt(make_task(), [row], "train")


def test_row_functions_that_fail_or_are_not_there(make_task):
    task = make_task(adapt="openflan.tasks.odd_rows:boolq")
    with pytest.raises(DataError, match=r"train row 1: found a row that boolq cannot read \(KeyError: 'question'\)"):
        adapt(task, [{"text": "t", "label": 0}], "train")
    with pytest.raises(CatalogError, match="no attribute 'bool_q'"):
        adapt(make_task(adapt="openflan.tasks.odd_rows:bool_q"), [], "train")


@pytest.mark.parametrize("module", ["os", "my_rows", "openflan.files", "openflan.tasks"])
def test_a_card_calls_no_function_that_nobody_allowed(module, make_task, monkeypatch):
    """A card may come from anywhere, and `os:system` would run what a row says."""
    monkeypatch.setattr(importlib, "import_module", lambda name: pytest.fail(f"imported {name}"))
    monkeypatch.setenv("OPENFLAN_ADAPT", "my_row")
    with pytest.raises(CatalogError, match=f"a module that nobody allowed.* variable OPENFLAN_ADAPT={module}\\.$"):
        adapt(make_task(adapt=f"{module}:system"), [], "train")


def test_a_module_that_is_allowed_by_name_is_called(make_task, monkeypatch, tmp_path):
    (tmp_path / "my_own_rows.py").write_text("def shout(row):\n    return {**row, 'text': row['text'].upper()}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("OPENFLAN_ADAPT", "other_rows, my_own_rows")
    [example], _ = adapt(make_task(adapt="my_own_rows:shout"), [{"text": "a", "label": 0}], "train")
    assert example.fields["text"] == "A"


def test_a_row_function_may_make_several_rows_of_one(make_task, monkeypatch):
    monkeypatch.setattr(odd_rows, "boolq", lambda row: [{"text": t, "label": row["label"]} for t in row["turns"]])
    task = make_task(adapt="openflan.tasks.odd_rows:boolq", drop_if={"text": ["?"]})
    rows = [{"turns": ["a", "?", "b"], "label": 0}, {"turns": [], "label": 1}, {"turns": ["c"], "label": 1}]
    examples, dropped = adapt(task, rows, "train")
    assert [(e.uid, e.fields["text"], e.answer_text) for e in examples] == [
        ("mood/train/0.0", "a", "sad"),
        ("mood/train/0.2", "b", "sad"),
        ("mood/train/2.0", "c", "glad"),
    ]
    assert dropped == {"text is '?'": 1, "a row without parts": 1}


def test_rows_of_which_nothing_is_asked_for_are_passed_over(make_task, monkeypatch):
    def parts(row: dict[str, Any]) -> list[dict[str, Any]]:
        read.append(row["turns"])
        return [{"text": text, "label": 0} for text in row["turns"]]

    monkeypatch.setattr(odd_rows, "boolq", parts)
    samples = [{"turns": turns} for turns in (["a", "b"], ["c"], ["d", "e", "f"])]
    task = make_task(adapt="openflan.tasks.odd_rows:boolq", samples=samples)
    for only, texts, rows in (
        ({"mood/samples/2.1", "mood/samples/0.0", "mood/samples/9"}, ["a", "e"], [["a", "b"], ["d", "e", "f"]]),
        (set(), [], []),
        (None, ["a", "b", "c", "d", "e", "f"], [sample["turns"] for sample in samples]),
    ):
        read: list[list[str]] = []
        assert [e.fields["text"] for e in iter_examples(task, "samples", only=only)] == texts
        assert read == rows


def test_a_wrong_label_in_one_of_several_rows_names_row_and_part(make_task, monkeypatch):
    monkeypatch.setattr(odd_rows, "boolq", lambda row: [{"text": "a", "label": label} for label in row["labels"]])
    task = make_task(adapt="openflan.tasks.odd_rows:boolq")
    with pytest.raises(DataError) as caught:
        adapt(task, [{"labels": [0]}, {"labels": [1, 7]}], "test")
    assert caught.value.where == "mood, test row 2, part 2"
    assert caught.value.found == "label = 7"


@pytest.fixture
def scenes(make_task, tmp_path):
    """A task whose rows have one reference each, and a function from its split to the examples and what was counted."""
    task = make_task(
        answer={"kind": "text", "references": "scene"},
        fields={"words": "words", "place": "place"},
        metrics=["rougeL"],
        samples=[{"words": ["kite"], "place": "sea", "scene": "A kite flies."}],
        templates=[{"id": "scene", "input": "{{ words | join }} ({{ place }})"}],
        source={"splits": {"dev": "dev"}},
    )
    rows = [
        {"words": ["kite", "child"], "place": "sea", "scene": "A child flies a kite."},
        {"words": ["oven"], "place": "home", "scene": " "},
        {"words": ["child", "kite"], "place": "sea", "scene": "Kites and children."},
        {"words": ["kite", "child"], "place": "sea", "scene": "The kite drags the child."},
        {"words": ["kite", "child"], "place": "hill", "scene": "A child on a hill."},
        {"words": ["kite", "child"], "place": "sea", "scene": "A child flies a kite."},
    ]
    (tmp_path / "mood").mkdir()
    for split in ("train", "dev", "validation"):
        (tmp_path / "mood" / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))

    def read(split, only=None):
        counted = Counter()
        return list(iter_examples(task, split, tmp_path, counted, only)), dict(counted)

    return read


def test_a_test_input_is_asked_once_with_the_references_of_all_its_rows(scenes):
    examples, counted = scenes("test")
    assert [(example.uid, example.answer.references) for example in examples] == [
        ("mood/test/0", ("A child flies a kite.", "The kite drags the child.")),
        ("mood/test/2", ("Kites and children.",)),
        ("mood/test/4", ("A child on a hill.",)),
    ]
    assert counted == {"no reference answer": 1, "merged into an earlier row with the same input": 2}
    assert scenes("test", only={"mood/test/0"})[0] == examples[:1]
    assert [len(example.answer.references) for example in scenes("dev")[0]] == [2, 1, 1]


def test_training_keeps_a_row_for_each_reference(scenes):
    examples, counted = scenes("train")
    assert [example.uid for example in examples] == [f"mood/train/{i}" for i in (0, 2, 3, 4, 5)]
    assert counted == {"no reference answer": 1}


@pytest.mark.parametrize(("task", "num_inputs", "num_merged"), [("common_gen", 249, 750), ("e2e_nlg", 138, 862)])
def test_inputs_of_real_rows(data_root, task, num_inputs, num_merged):
    examples, counted = load_examples(load_catalog().task(task), "test", data_root)
    assert (len(examples), counted) == (num_inputs, {"merged into an earlier row with the same input": num_merged})


def test_rows_of_a_choice_with_the_same_input_stay_apart(make_task, tmp_path):
    (tmp_path / "mood").mkdir()
    (tmp_path / "mood" / "validation.jsonl").write_text('{"text": "t", "label": 0}\n{"text": "t", "label": 1}\n')
    assert [example.answer.gold for example in iter_examples(make_task(), "test", tmp_path)] == [0, 1]


def test_numbers_that_are_none_are_dropped_and_counted(make_task):
    rows = [{"text": value, "label": 0} for value in (1.5, math.nan, math.inf, ["a", math.nan])]
    examples, dropped = adapt(make_task(), rows, "train")
    assert [example.fields["text"] for example in examples] == ["1.5"]
    assert dropped == {"text is nan": 2, "text is inf": 1}


def test_names_with_dots_are_columns_or_ways_into_objects(make_task):
    task = make_task(
        answer={"kind": "text", "references": "answers.text"}, fields={"year": "meta.date.year"}, metrics=["f1"]
    )
    rows = [
        {"answers.text": ["a"], "meta.date": {"year": 1}},
        {"answers": {"text": ["b"]}, "meta": {"date.year": 2, "date": 5}},
        {"answers": [{"text": "c"}, {"text": "d"}], "meta.date.year": 3},
    ]
    examples, _ = adapt(task, rows, "train")
    assert [(e.fields["year"], e.answer.references) for e in examples] == [
        ("1", ("a",)),
        ("2", ("b",)),
        ("3", ("c", "d")),
    ]
    with pytest.raises(DataError, match=r"no field 'meta.date.year'"):
        adapt(task, [{"answers.text": ["a"], "meta.date": {"month": 1}}], "train")


@pytest.mark.parametrize("meta", [[0, 1], ["the date", "x"], 5, "date", None, [None], [[{"date": 1}]]])
def test_a_way_into_what_is_no_object(make_task, meta):
    task = make_task(fields={"year": "meta.date.year"})
    with pytest.raises(DataError, match="no field '"):
        adapt(task, [{"meta": meta, "label": 0}], "train")


def test_labels_that_are_floats(make_task):
    answer = {"kind": "choice", "options": ["sad", "glad"], "gold": "label", "gold_values": [0.0, 1.0]}
    examples, _ = adapt(make_task(answer=answer), [{"text": "t", "label": 1.0}], "train")
    assert examples[0].answer_text == "glad"


def test_a_label_column_with_an_empty_cell(make_task, tmp_path):
    (tmp_path / "mood").mkdir()
    (tmp_path / "mood" / "validation.csv").write_text("text,label\nfine,1\nbad,\n")
    with pytest.raises(DataError, match=r"row 1: found label = '1'.*look for an empty cell"):
        list(iter_examples(make_task(), "test", tmp_path))


def test_a_damaged_column_that_no_card_names_is_no_matter(make_task, tmp_path):
    (tmp_path / "mood").mkdir()
    far = pa.array([2**30], pa.int32()).cast(pa.date32())
    pq.write_table(pa.table({"text": ["a"], "label": [1], "seen": far}), tmp_path / "mood" / "validation.parquet")
    assert [example.fields for example in iter_examples(make_task(), "test", tmp_path)] == [{"text": "a"}]


def test_every_column_that_a_card_names_is_read(make_task, tmp_path):
    task = make_task(
        answer={"kind": "choice", "options_from": ["a", "b"], "gold": "gold", "gold_values_from": "names"},
        fields={"text": "said.text"},
        drop_if={"bad": [True]},
        keep_if={"language": ["en"]},
    )
    row = {"said": {"text": "t"}, "a": "x", "b": "y", "gold": "B", "names": ["A", "B"], "bad": False, "language": "en"}
    (tmp_path / "mood").mkdir()
    pq.write_table(pa.Table.from_pylist([{**row, "other": 1}]), tmp_path / "mood" / "validation.parquet")
    assert [example.answer_text for example in iter_examples(task, "test", tmp_path)] == ["y"]
    assert _columns(task.card) == {"said.text", "a", "b", "gold", "names", "bad", "language"}
