"""Task files of our own writing, in the form of Natural Instructions, and what comes of them."""

import json
from pathlib import Path

import pytest

from openflan.errors import DataError
from openflan.interop.import_natural_instructions import import_natural_instructions
from openflan.interop.new_card import Imported
from openflan.tasks.adapt import load_examples
from openflan.tasks.catalog import load_catalog
from openflan.templates.lint import lint
from openflan.templates.render import render

DEFINITION = "You are given a note, e.g., from a harbour.  Say whether the sea is calm or rough."
INSTANCES = [{"id": f"n-{i}", "input": f"Note number {i}.", "output": [("calm", "rough")[i % 2]]} for i in range(20)]
EXAMPLES = [{"input": "No wind at all.", "output": "calm", "explanation": "Without wind there are no waves."}]


def run(folder: Path, catalog, **changes) -> Imported:
    task = {"Definition": [DEFINITION], "Positive Examples": EXAMPLES, "Negative Examples": [], "Instances": INSTANCES}
    task |= {"Source": ["harbour_notes"], "Instance License": ["CC0-1.0"]} | changes
    (folder / "task007_tides.json").write_text(json.dumps(task))
    return import_natural_instructions(
        folder / "task007_tides.json", folder / "cards", catalog, cluster="sentiment", name=None
    )


def test_few_outputs_are_labels(tmp_path, catalog):
    found = run(tmp_path, catalog)
    assert [(n.template, n.result, n.reason) for n in found.notes] == [
        ("definition", "carried over", "labels: calm, rough"),
        ("definition", "warning", "double punctuation: 're given a note, e.g., from a harbour.  Sa'"),
        ("definition", "warning", "stray space: '.g., from a harbour.  Say whether the sea '"),
    ]
    task = load_catalog(found.cards).task("task007_tides")
    assert (task.card.answer.options, task.derived_from, task.card.licence) == (
        ("calm", "rough"),
        ("harbour_notes",),
        "CC0-1.0",
    )
    assert [row["input"] for row in task.samples] == ["No wind at all.", "Note number 1."]
    train, _ = load_examples(task, "train", tmp_path / "cards" / "data")
    test, _ = load_examples(task, "test", tmp_path / "cards" / "data")
    assert len(train) + len(test) <= 20 and len(test) == 5
    findings = [*lint(task, load_examples(task, "samples")[0]), *lint(task, [*train, *test])]
    assert {finding.problem for finding in findings if finding.is_warning} == {"double punctuation", "stray space"}
    assert all(finding.is_warning for finding in findings)
    prompt = render(load_examples(task, "samples")[0][0], task, task.templates[0])
    assert (prompt.input, prompt.target) == (
        "You are given a note, e.g., from a harbour.  Say whether the sea is calm or rough.\n\nNo wind at all.",
        "calm",
    )


def test_labels_that_the_definition_does_not_name_are_listed(tmp_path, catalog):
    found = run(tmp_path, catalog, Definition=["Say how the sea is: calm or not?"])
    assert [(n.template, n.result, n.reason) for n in found.notes] == [
        ("definition", "changed", "labels: calm, rough; options listed")
    ]
    task = load_catalog(found.cards).task("task007_tides")
    assert task.templates[0].input == "Say how the sea is: calm or not?\n\n{{ input }}\n\n{{ options_block }}"


def test_other_outputs_are_free_text_with_all_references(tmp_path, catalog):
    rows = [{"input": f"Name {i}.", "output": [f"Sea {i}", f"The sea {i}", f"Sea {i}"]} for i in range(20)]
    rows += [{"input": "", "output": ["x"]}]
    found = run(tmp_path, catalog, Instances=rows, **{"Negative Examples": [{"input": "a", "output": "b"}]})
    assert [(n.template, n.result, n.reason) for n in found.notes] == [
        ("Negative Examples", "left out", "no place for them in a card"),
        ("Instances", "left out", "1 of 21 without input or output"),
        ("definition", "carried over", "free text"),
        ("definition", "warning", "double punctuation: 're given a note, e.g., from a harbour.  Sa'"),
        ("definition", "warning", "stray space: '.g., from a harbour.  Say whether the sea '"),
    ]
    task = load_catalog(found.cards).task("task007_tides")
    assert task.metrics == ("exact_match",)
    train, _ = load_examples(task, "train", tmp_path / "cards" / "data")
    assert train[0].answer.references == (
        f"Sea {train[0].uid.split('/')[-1]}",
        f"The sea {train[0].uid.split('/')[-1]}",
    )


def test_rows_of_a_dataset_of_ours_are_of_its_family(tmp_path, catalog):
    found = run(tmp_path, catalog, Source=["rte"])
    assert load_catalog(found.cards).task("task007_tides").family == "rte"


def test_a_dataset_of_ours_is_known_by_its_other_names(tmp_path, catalog):
    found = run(tmp_path, catalog, Source=["a_crowd", "multinli"])
    assert load_catalog(found.cards).task("task007_tides").family == "mnli"


def test_a_definition_that_reads_as_a_template_is_left_out(tmp_path, catalog):
    found = run(tmp_path, catalog, Definition=["Fill in {{ this }}."])
    assert found.cards == ()
    assert found.notes[-1].reason == "double braces in its text"
    assert not (tmp_path / "cards").exists()


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"Definition": []}, "the keys Definition, .*; expected `Definition` and `Instances`"),
        ({"Instances": [{"input": "a"}]}, "instance 1: found .*; expected an object with `input` and `output`"),
        ({"Instances": []}, "no instance with input and output"),
    ],
)
def test_a_file_that_is_no_task(tmp_path, catalog, changes, part):
    with pytest.raises(DataError, match=part):
        run(tmp_path, catalog, **changes)


def test_a_file_that_is_no_json(tmp_path, catalog):
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(DataError, match="JSON"):
        import_natural_instructions(tmp_path / "a.json", tmp_path, catalog, cluster="sentiment")
