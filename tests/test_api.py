"""The public names as a notebook calls them: text for paths, and mistakes that are told."""

import os

import pytest
import yaml

import openflan
from mood import CARD
from openflan.config import load_recipe
from openflan.errors import OpenFlanError


@pytest.fixture(scope="module")
def rte():
    return openflan.load_catalog().task("rte")


def test_text_serves_for_a_path(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mood.yaml").write_text(yaml.safe_dump(CARD))
    (tmp_path / "mood").mkdir()
    (tmp_path / "mood" / "validation.jsonl").write_text('{"text": "So so.", "label": 1}\n')
    for given in ("~/mood.yaml", [str(tmp_path)], tmp_path / "mood.yaml"):
        task = openflan.load_catalog(given).task("mood")
        assert task.path == tmp_path / "mood.yaml"
    for root in ("~", str(tmp_path), tmp_path):
        [example], _ = openflan.load_examples(task, "test", root)
        assert example.fields == {"text": "So so."}
    assert load_recipe("demo", ["data.root='~/rows'"]).data.root == tmp_path / "rows"


def test_a_template_by_its_id(rte):
    example = openflan.load_examples(rte, "samples")[0][0]
    assert openflan.render(example, rte, "must-it-hold").template == "must-it-hold"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda task: openflan.load_examples(task, "validation"),
            "found the split 'validation'; .* validation is test.",
        ),
        (lambda task: openflan.load_examples(task, "tset"), "the split 'tset'; .* Did you mean test?"),
        (lambda task: openflan.load_examples("rte", "test"), "found 'rte'; expected an openflan.Task. Take it from"),
        (lambda task: openflan.load_examples(task, "test", "x" * 300), "a name of 300 bytes"),
        (
            lambda task: openflan.render(None, task, "must-hold"),
            "no template 'must-hold'; .* Did you mean must-it-hold?",
        ),
        (lambda task: openflan.render(None, "rte", "must-hold"), "found 'rte'; expected an openflan.Task"),
        (lambda task: openflan.training_tasks(openflan.load_catalog(), ["sentiment"], ["rte"]), "an openflan.Task"),
        (lambda task: openflan.find_overlap("rte", "cb"), "found 'c'; expected an openflan.Example. Take them from"),
        (lambda task: openflan.find_overlap(None, []), "found None; expected several openflan.Example"),
        (lambda task: openflan.build_plan(["rte"], {}, openflan.MixtureSettings(num_examples=1), 0), "openflan.Task"),
        (
            lambda task: openflan.build_plan([task], {"rte": ["x"]}, openflan.MixtureSettings(num_examples=1), 0),
            "found 'x'; expected an openflan.Example",
        ),
        (lambda task: openflan.load_catalog().task(["rte"]), "found .'rte'.; expected a task's name"),
        (lambda task: openflan.load_catalog("a\0b"), "a NUL character"),
        (lambda task: load_recipe("dmeo"), "Did you mean demo?"),
        (lambda task: load_recipe("x" * 5000), "a name of 5,000 bytes"),
    ],
)
def test_a_mistake_is_told(rte, call, message):
    with pytest.raises(OpenFlanError, match=message):
        call(rte)


def test_a_task_of_the_world_has_no_other_splits_either():
    with pytest.raises(OpenFlanError, match=r"the split 'validation'; .* split validation is dev\."):
        openflan.load_examples(openflan.load_catalog().task("world_rte"), "validation")


def test_names_that_are_no_text(tmp_path):
    from openflan.streams import file_fingerprint, fingerprint, fingerprint_rows

    assert fingerprint("\ud83d") != fingerprint("?")
    assert fingerprint_rows(["\ud83d"]) == fingerprint(["\ud83d"])
    path = tmp_path / os.fsdecode(b"\xff.txt")
    path.write_text("a")
    assert len(file_fingerprint([path])) == 16
