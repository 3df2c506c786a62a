"""`openflan export` and `openflan import` as a user calls them."""

import json
from pathlib import Path

import pytest

from evaluated import MOOD, NAME, make_place
from openflan.evaluation.predictions import read_predictions
from openflan.files import read_jsonl

TEMPLATES = """\
dataset: harbours/tide_notes
templates:
  1a: !Template
    answer_choices: calm ||| rough
    jinja: "{{note}} How is the sea? ||| {{ answer_choices[label] }}"
    name: how
  1b: !Template
    answer_choices: calm ||| rough
    jinja: "{% set n = note %}{{n}} Sea? ||| {{ answer_choices[label] }}"
    name: sets
"""
ONLY_CLASS = "task: tides\ndoc_to_text: !function utils.text\ndataset_path: a/b\n"


def test_export_of_the_samples_of_a_task(call, tmp_path):
    ended = call("export", "lm-eval", tmp_path, "--task", "rte", "--template", "teacher", "--split", "samples")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == (
        f"{tmp_path}/openflan_rte__teacher.yaml: 4 prompts\nNext:\n"
        f"  lm_eval --model hf --model_args pretrained=MODEL,dtype=float32 --include_path {tmp_path} "
        "--tasks openflan_rte\n"
    )
    ended = call(
        "export", "lm-eval", tmp_path, "--task", "copa", "--split", "samples", "--style", "no_template", "--json"
    )
    (one,) = json.loads(ended.out)  # one wording: the style leaves the templates out
    assert (one["num_prompts"] > 1, one["num_cut"], one["metrics_left_out"]) == (True, 0, [])


def test_export_cuts_for_a_model_as_evaluating_it_does(call, tmp_path):
    ended = call("export", "lm-eval", tmp_path, "--task", "world_rte", "--limit", "3", "--model", "base")
    assert (ended.code, ended.err) == (0, "")
    assert "3 prompts\n" in ended.out


def test_export_has_the_rows_that_evaluating_the_model_asks(call, tmp_path):
    """Of 512 positions: a text is asked however long its reference, and leaves 256 for the answer. An option must fit
    after its prompt, which one wording makes a little longer. A long word can be cut. Rows with one input are one."""
    place = make_place(tmp_path)
    place.write_card("name", {**NAME, "max_new_tokens": 400})
    long, word = " ".join(["Tom"] * 400), "Tom" * 400
    names = [("Who ran?", "Tom"), ("Who sat?", long), (f"Who? {long}", "Tim"), (word, "Tom"), (word, long)]
    place.write("name", "test", [{"text": text, "names": [name]} for text, name in names])
    options = {"kind": "choice", "options_from": ["options"], "gold": "label"}
    place.write_card("mood", {**MOOD, "answer": options, "samples": [{**MOOD["samples"][0], "options": ["a", "b"]}]})
    moods = [("It rains.", "dull"), ("It rains.", long), (f"It rains. {long}", "dull"), (word, "dull")]
    place.write("mood", "test", [{"text": text, "options": ["good", name], "label": 1} for text, name in moods])
    where = ["--catalog", tmp_path / "cards", "--data-root", tmp_path / "data", "--task", "name", "--task", "mood"]

    assert call("eval", place.model, *where, "--out", tmp_path / "eval").code == 0
    [folder] = (tmp_path / "eval").iterdir()
    asked = {(p.template, p.uid) for p in read_predictions(folder / "test.jsonl") if not p.unscored}
    ended = call("export", "lm-eval", tmp_path / "tasks", *where, "--model", place.model, "--json")
    assert (ended.code, ended.err) == (0, "")
    found = [(one["name"].rpartition("__")[2], one["path"].replace(".yaml", ".jsonl")) for one in json.loads(ended.out)]
    rows = {template: list(read_jsonl(Path(path))) for template, path in found}
    assert {(template, row["uid"]) for template in rows for row in rows[template]} == asked
    assert asked == {
        *((template, f"name/test/{n}") for template in ("who", "say") for n in (0, 1, 2, 3)),
        *((template, f"mood/test/{n}") for template in ("after", "before") for n in (0, 2, 3)),
        ("before", "mood/test/1"),
    }
    assert "max_gen_toks: 256\n" in (tmp_path / "tasks" / "openflan_name__who.yaml").read_text()
    assert json.loads((folder / "evaluation.json").read_text())["tasks"]["name"]["max_new_tokens"] == 256
    assert {one["name"]: (one["num_cut"], one["num_left_out"]) for one in json.loads(ended.out)} == {
        "openflan_name__who": (2, 0),
        "openflan_name__say": (2, 0),
        "openflan_mood__after": (1, 1),
        "openflan_mood__before": (1, 0),
    }


@pytest.mark.parametrize(
    ("args", "part"),
    [
        (["--task", "rtee"], "no task 'rtee'"),
        (["--task", "rte", "--template", "none"], "no template 'none'"),
        (["--task", "rte", "--style", "plain"], "--style: found 'plain'"),
        (["--task", "rte", "--split", "validation"], "--split: found 'validation'"),
        (["--task", "rte", "--split", "samples", "--separator", "<eos>"], "the separator '<eos>'"),
        (["--task", "rte", "--split", "samples", "--model", "nowhere"], "nowhere: found no such folder"),
    ],
)
def test_mistakes_of_an_export_are_one_paragraph(call, tmp_path, args, part):
    ended = call("export", "lm-eval", tmp_path / "out", *args)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert part in ended.err
    assert not (tmp_path / "out").exists()


def test_import_tells_what_became_of_each_template(call, tmp_path):
    (tmp_path / "templates.yaml").write_text(TEMPLATES)
    args = ["import", "promptsource", tmp_path / "templates.yaml", "--cluster", "sentiment", "--to", tmp_path / "cards"]
    ended = call(*args)
    card = tmp_path / "cards" / "tide_notes.yaml"
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == (
        "how   changed       options listed\n"
        "sets  left out      the tag set\n"
        f"{card} (1 left out)\nfamily: its own: no catalogue task has these rows\n"
        f"Next:\n  openflan tasks check {card}\n"
    )
    ended = call("tasks", "check", card)
    assert (ended.code, ended.out) == (0, "1 tasks checked, 0 findings\n")
    ended = call(*args, "--name", "other", "--json")
    assert json.loads(ended.out) == {
        "cards": [str(tmp_path / "cards" / "other.yaml")],
        "family": "its own: no catalogue task has these rows",
        "notes": [
            {"template": "how", "result": "changed", "reason": "options listed"},
            {"template": "sets", "result": "left out", "reason": "the tag set"},
        ],
    }


def test_import_names_the_family_that_a_card_joined(call, tmp_path):
    (tmp_path / "templates.yaml").write_text(TEMPLATES.replace("tide_notes", "winogrande", 1))
    args = ["--cluster", "sentiment", "--to", tmp_path / "cards", "--name", "mine"]
    ended = call("import", "promptsource", tmp_path / "templates.yaml", *args)
    assert "\nfamily: winogrande, held out with winogrande\n" in ended.out


def test_style_in_others_wordings_is_a_warning_in_the_check_as_in_the_import(call, tmp_path):
    (tmp_path / "templates.yaml").write_text(TEMPLATES.replace("How is", "How,  e.g., is"))
    args = ["import", "promptsource", tmp_path / "templates.yaml", "--cluster", "sentiment", "--to", tmp_path / "cards"]
    ended = call(*args)
    assert [line.split("  ")[1].strip() for line in ended.out.splitlines()[:3]] == ["changed", "warning", "warning"]
    card = tmp_path / "cards" / "tide_notes.yaml"
    ended = call("tasks", "check", card)
    assert (ended.code, ended.out.splitlines()[-1]) == (0, "1 tasks checked, 0 findings, 2 warnings")
    assert ended.out.startswith(f"warning: {card}, template how, tide_notes/samples/0: double punctuation: ")
    card.write_text(card.read_text().replace("made_from:", "# made_from:"))
    ended = call("tasks", "check", card)
    assert (ended.code, ended.out.splitlines()[-1]) == (1, "1 tasks checked, 2 findings")


def test_an_import_that_makes_no_card_ends_with_1(call, tmp_path):
    (tmp_path / "a.yaml").write_text(ONLY_CLASS)
    ended = call("import", "lm-eval", tmp_path / "a.yaml", "--cluster", "sentiment", "--to", tmp_path)
    assert (ended.code, ended.err) == (1, "")
    assert ended.out.endswith(f"no card from {tmp_path / 'a.yaml'} (2 left out)\n")


def test_mistakes_of_an_import_are_one_paragraph(call, tmp_path):
    for args, part in (
        (["promptsource", tmp_path / "none.yaml", "--cluster", "sentiment"], "none.yaml: found No such file"),
        (["lm-eval", tmp_path / "none.yaml", "--cluster", "feelings"], "no cluster 'feelings'"),
        (["lm_eval", tmp_path / "none.yaml", "--cluster", "sentiment"], "Did you mean lm-eval?"),
        (["natural-instructions", tmp_path / "none.json", "--cluster", "sentiment"], "none.json: found a file that"),
    ):
        ended = call("import", *args)
        assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
        assert part in ended.err
