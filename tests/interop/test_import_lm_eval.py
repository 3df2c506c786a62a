"""Task files of our own writing, in the harness's form, and the cards that come of them."""

from pathlib import Path

import pytest

from openflan.errors import DataError
from openflan.interop.import_lm_eval import import_lm_eval
from openflan.interop.new_card import Imported, Note
from openflan.tasks.adapt import adapt
from openflan.tasks.catalog import load_catalog
from openflan.templates.lint import lint
from openflan.templates.render import render

BASE = """\
dataset_path: harbours/tides
dataset_name: short
output_type: multiple_choice
training_split: train
validation_split: validation
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
metadata: {version: 1.0}
"""
TASK = """\
include: _base.yaml
task: tides
description: "About the sea.\\n\\n"
doc_to_text: "Note: {{note.strip()}}\\nWhat follows?\\nAnswer:"
doc_to_choice: "{{choices.text}}"
doc_to_target: "{{choices.label.index(key)}}"
process_docs: !function utils.tidy
filter_list: [{name: none, filter: [{function: take_first}]}]
"""


BROKEN = "a file that cannot be read: while parsing a flow node did not find expected node content"
SEPARATOR = "a line break between prompt and answer, not ' ': `eval --separator ' '` comes nearest"


def run(folder: Path, text: str, catalog, name: str = "task.yaml") -> Imported:
    (folder / "_base.yaml").write_text(BASE)
    (folder / name).write_text(text)
    return import_lm_eval(folder / name, folder / "cards", catalog, cluster="reading_comprehension")


def test_a_task_becomes_a_template_and_a_completion(tmp_path, catalog):
    found = run(tmp_path, TASK, catalog)
    assert [(note.template, note.result, note.reason) for note in found.notes] == [
        ("process_docs", "left out", "a Python function, utils.tidy"),
        ("description", "changed", "in every prompt, also in each exemplar"),
        ("target_delimiter", "changed", SEPARATOR),
        ("as-in-the-harness", "changed", "options listed"),
    ]
    task = load_catalog(found.cards).task("tides")
    assert (task.source.hub, task.source.config) == ("harbours/tides", "short")
    assert (task.source.splits.train, task.source.splits.test) == ("train", "validation")
    row = {"note": "No wind. ", "choices": {"text": ["ebb", "flood"], "label": ["A", "B"]}, "key": "B"}
    (example,), _ = adapt(task, [row], "test")
    assert render(example, task, task.templates[0]).input == (
        "About the sea.\n\nNote: No wind.\nWhat follows?\nOPTIONS:\n- ebb\n- flood\nAnswer:"
    )
    plain = render(example, task, task.completion)
    assert (plain.input, plain.target) == ("About the sea.\n\nNote: No wind.\nWhat follows?\nAnswer:", "flood")
    assert lint(task, adapt(task, task.samples, "samples")[0]) == []


@pytest.mark.parametrize(
    ("choice", "target", "answer"),
    [
        ("['no', 'yes']", "label", {"options": ("no", "yes"), "gold": "label"}),
        ("{a: 'no', b: 'yes'}", "label", {"options": ("no", "yes"), "gold": "label"}),
        ("endings", '"{{label}}"', {"options_from": ("endings",), "gold": "label", "digits_are_index": True}),
        ("endings", '"{{label | int}}"', {"options_from": ("endings",), "gold": "label", "digits_are_index": True}),
        ('"{{[one, two]}}"', "label", {"options_from": ("one", "two"), "gold": "label"}),
        ("['no', 'yes']", "\"{{['no', 'yes'][label]}}\"", {"options": ("no", "yes"), "gold": "label"}),
        (
            '"{{[one, two]}}"',
            "\"{{['A', 'B'].index(key)}}\"",
            {"options_from": ("one", "two"), "gold": "key", "gold_values": ("A", "B")},
        ),
    ],
)
def test_options_and_gold(tmp_path, catalog, choice, target, answer):
    text = f"include: _base.yaml\ntask: tides\ndoc_to_text: note\ndoc_to_choice: {choice}\ndoc_to_target: {target}\n"
    found = run(tmp_path, text, catalog)
    card = load_catalog(found.cards).task("tides").card
    assert card.answer.model_dump(exclude_none=True) == {"kind": "choice", "digits_are_index": False, **answer}
    assert card.templates[0].input == "{{ note }}\n\n{{ options_block }}"


def test_free_text(tmp_path, catalog):
    text = """\
task: sea_names
dataset_path: json
dataset_kwargs: {data_files: rows.json}
test_split: test
doc_to_text: "Which sea is meant? {{note}}"
doc_to_target: "{{names[0]}}"
gen_prefix: "It is"
generation_kwargs: {until: ["\\n", "."], max_gen_toks: 12, do_sample: false}
metric_list: [{metric: exact_match}, {metric: f1}]
"""
    found = run(tmp_path, text, catalog)
    assert [(n.template, n.result, n.reason) for n in found.notes] == [
        ("dataset_kwargs", "left out", "no place for it in a card"),
        (
            "metric_list",
            "changed",
            "exact_match: exact_text, which ignores white space at the ends; there nothing is ignored",
        ),
        ("metric_list", "changed", "f1: F1 of words, as SQuAD has it"),
        ("target_delimiter", "changed", "a line break between prompt and answer, not nothing"),
        ("as-in-the-harness", "carried over", ""),
    ]
    task = load_catalog(found.cards).task("sea_names")
    assert (task.card.stop, task.card.max_new_tokens, task.metrics) == (("\n", "."), 12, ("exact_text", "f1"))
    assert task.source.hub is None and "dataset_kwargs" in str(task.source.manual)
    (example,), _ = adapt(task, [{"note": "By Orm.", "names": ["Elm Sea", "the Elm"]}], "test")
    prompt = render(example, task, task.templates[0])
    assert (prompt.input, prompt.references) == ("Which sea is meant? By Orm. It is", ("Elm Sea", "the Elm"))


@pytest.mark.parametrize(
    ("lines", "metrics", "notes"),
    [
        ("metric_list: [{metric: acc}]", ("accuracy",), []),
        (
            "metric_list: [{metric: acc_norm}, {metric: mcc}]",
            ("accuracy", "matthews"),
            ["acc_norm: `eval --normalisation bytes` comes nearest: the harness divides by characters"],
        ),
        ("metric_list: [{metric: f1}, {metric: brier_score}]", ("binary_f1",), ["brier_score: no such metric here"]),
        (
            "metric_list: [{metric: f1, aggregation: !function utils.f1}]",
            ("binary_f1",),
            ["f1: binary_f1, where the harness aggregates by a Python function, utils.f1"],
        ),
        (
            "metric_list: [{metric: !function utils.own}]",
            ("accuracy",),
            ["a Python function, utils.own", "accuracy in place of the task's own metrics"],
        ),
    ],
)
def test_metrics_of_a_choice(tmp_path, catalog, lines, metrics, notes):
    text = (
        "task: tides\ndataset_path: a/b\ntest_split: test\ndoc_to_text: '{{note}} Sea?'\noutput_type: multiple_choice\n"
    )
    found = run(tmp_path, f"{text}doc_to_choice: [calm, rough]\ndoc_to_target: label\n{lines}\n", catalog)
    assert load_catalog(found.cards).task("tides").metrics == metrics
    assert [note.reason for note in found.notes if note.template == "metric_list"] == notes


@pytest.mark.parametrize(
    ("lines", "expected", "notes"),
    [
        ("", (("exact_text",), 256, ("\n\n",)), ["metric_list", "target_delimiter"]),
        ("fewshot_delimiter: '##'", (("exact_text",), 256, ("##",)), ["metric_list", "target_delimiter"]),
        (
            "generation_kwargs: {until: [], max_new_tokens: 9, do_sample: true, top_p: 0.9}\nrepeats: 4",
            (("exact_text",), 9, ()),
            ["metric_list", "generation_kwargs", "repeats", "target_delimiter"],
        ),
        (
            "metric_list: [{metric: bleu}, {metric: chrf}, {metric: ter}]\n"
            "num_fewshot: 5\nfewshot_config: {sampler: first_n}",
            (("bleu",), 256, ("\n\n",)),
            ["metric_list", "metric_list", "metric_list", "num_fewshot", "fewshot_config", "target_delimiter"],
        ),
        (
            "metric_list: [{metric: exact_match, ignore_case: true, regexes_to_ignore: ['a']}]\n"
            "filter_list: [{name: x, filter: [{function: regex}, {function: take_first}]}]",
            (("exact_match",), 256, ("\n\n",)),
            ["metric_list", "filter_list", "target_delimiter"],
        ),
        (
            "metric_list: [{metric: rouge2}, {metric: rougeL}]\nprocess_results: !function utils.rouge",
            (("rouge2", "rougeL"), 256, ("\n\n",)),
            ["process_results", "metric_list", "metric_list", "metric_list", "target_delimiter"],
        ),
    ],
)
def test_how_text_is_generated_and_scored(tmp_path, catalog, lines, expected, notes):
    text = "task: seas\ndataset_path: a/b\ntest_split: test\ndoc_to_text: '{{note}} Sea?'\ndoc_to_target: sea\n"
    found = run(tmp_path, text + lines, catalog)
    card = load_catalog(found.cards).task("seas").card
    assert (card.metrics, card.max_new_tokens, card.stop) == expected
    assert [note.template for note in found.notes] == [*notes, "as-in-the-harness"]


def test_the_notes_say_what_is_otherwise(tmp_path, catalog):
    text = "task: seas\ndataset_path: a/b\ntest_split: test\ndoc_to_text: '{{note}} Sea?'\ndoc_to_target: sea\n"
    lines = """\
metric_list: [{metric: exact_match, ignore_case: true, regexes_to_ignore: [a]}]
generation_kwargs: {do_sample: true, temperature: 0.7, top_p: 0.9, max_gen_toks: many}
num_fewshot: 5
fewshot_split: dev
repeats: 4
filter_list: [{name: x, filter: [{function: regex}, {function: take_first}]}]
"""
    found = run(tmp_path, text + lines, catalog)
    assert [note.reason for note in found.notes][:-2] == [
        "exact_match: exact_match, which ignores case, punctuation and articles; there ignore_case, regexes_to_ignore",
        "do_sample, temperature 0.7, top_p 0.9: here the likeliest token is taken",
        "256 new tokens at most",
        "answers are scored as they are, without regex, take_first",
        "one answer to each prompt, not 4",
        "no exemplars, not 5: `eval --shots 5` shows as many; the harness's fewshot_split 'dev'",
    ]


def test_a_label_that_the_harness_generates_becomes_a_choice(tmp_path, catalog):
    text = "task: tides\ndataset_path: a/b\ntest_split: test\ndoc_to_text: '{{note}} Sea?'\n"
    found = run(tmp_path, text + "doc_to_target: \"{{['calm', 'rough'][label]}}\"\n", catalog)
    assert found.notes[-1].reason == "options listed, a choice where the harness generates"
    assert load_catalog(found.cards).task("tides").card.answer.options == ("calm", "rough")


def test_a_right_option_that_always_has_one_place(tmp_path, catalog):
    text = (
        BASE
        + """\
task: tides
doc_to_text: "{% set cue = 'So:' %}{{ note + '\\n' + cue }}"
doc_to_choice: "{{[wrong1, wrong2, right]}}"
doc_to_target: 2
"""
    )
    found = run(tmp_path, text, catalog)
    assert found.notes[0].reason == (
        "the right option is always in place 2, counted from 0: options are shuffled, once and for all"
    )
    task = load_catalog(found.cards).task("tides")
    rows = [{"note": "Fog", "wrong1": "a", "wrong2": "b", "right": "c"}] * 300
    examples, _ = adapt(task, rows, "test")
    assert {example.answer.options[example.answer.gold] for example in examples} == {"c"}
    places = [example.answer.gold for example in examples]
    assert [places.count(place) for place in range(3)] == [89, 118, 93]
    assert adapt(task, rows, "test")[0] == examples
    assert render(examples[0], task, task.completion).input == "Fog\nSo:"


@pytest.mark.parametrize("start", ["", " ", "\\n", "\\n  ", "\\t", "\\n\\n \\n"])
def test_a_card_keeps_white_space(tmp_path, catalog, start):
    text = BASE + f'task: tides\ndoc_to_text: "{start}{{{{note}}}}:  \\n  so,\\t \\nnow? \\n"\n'
    found = run(tmp_path, f"{text}doc_to_choice: [calm, rough]\ndoc_to_target: label\n", catalog)
    task = load_catalog(found.cards).task("tides")
    (example,), _ = adapt(task, [{"note": "Fog", "label": 1}], "test")
    there = f"{start}Fog:  \\n  so,\\t \\nnow?".encode().decode("unicode_escape")
    assert render(example, task, task.completion).input == there


def member(folder: Path, name: str, subset: str, rest: str = "") -> None:
    text = f"include: _base.yaml\ntask: {name}\ndataset_name: {subset}\ndoc_to_text: '{{{{note}}}} Sea?'\n"
    (folder / f"{name}.yaml").write_text(f"{text}doc_to_choice: [calm, rough]\ndoc_to_target: label\n{rest}")


def test_a_group_becomes_one_card_with_members(tmp_path, catalog):
    member(tmp_path, "tides_north", "north", 'description: "Of the north.\\n\\n"\n')
    member(tmp_path, "tides_south", "south", 'description: "Of the south.\\n\\n"\ntag: tides_more\n')
    member(tmp_path, "tides_east", "east", "tag: [tides_more]\n")
    west = "include: _base.yaml\ntask: tides_west\ndoc_to_text: !function utils.text\ntag: tides_more\n"
    (tmp_path / "tides_west.yaml").write_text(west)
    (tmp_path / "broken.yaml").write_text("[")
    (tmp_path / "more.yaml").write_text("group: more\ntask: [tides_more, all_tides, none_such]\n")
    group = (
        "group: all_tides\n"
        "task: [tides_north, {task: tides_north, dataset_name: far}, {group: inner, task: [more]}]\n"
        "aggregate_metric_list: [{metric: acc}]\n"
    )
    found = run(tmp_path, group, catalog)
    left_out = [note for note in found.notes if note.result == "left out"]
    assert [(note.template, note.result, note.reason.partition(" in ")[0]) for note in left_out] == [
        ("broken.yaml", "left out", BROKEN),
        ("tides_north", "left out", "a second task named tides_north"),
        ("tides_east", "left out", "it asks or answers otherwise than tides_north"),
        ("tides_west", "left out", "doc_to_text is a Python function, utils.text"),
        ("none_such", "left out", "no task, group or tag of that name"),
    ]
    (path,) = found.cards
    tasks = [task for task in load_catalog([path]).tasks.values() if task.path == path]
    assert [(task.name, task.source.config, task.dataset) for task in tasks] == [
        ("tides_north", "north", "all_tides"),
        ("tides_south", "south", "all_tides"),
    ]
    (example,), _ = adapt(tasks[1], [{"note": "Fog.", "label": 1}], "test")
    prompt = render(example, tasks[1], tasks[1].completion)
    assert (prompt.input, prompt.target) == ("Of the south.\n\nFog. Sea?", "rough")


def test_a_group_that_holds_itself_many_times(tmp_path, catalog):
    again = "{task: all_tides, num_fewshot: 0}"
    found = run(tmp_path, f"group: all_tides\ntask: [{f'all_tides, {again}, ' * 250}]\n", catalog)
    assert [(note.template, note.reason) for note in found.notes] == [
        ("as-in-the-harness", "no task of the group can be carried over")
    ]


def test_a_finding_of_style_is_a_warning(tmp_path, catalog):
    found = run(tmp_path, TASK.replace("What follows?", "What follows, e.g., now?"), catalog)
    assert found.notes[-1] == Note(
        "as-in-the-harness", "warning", "double punctuation: '…e\\nWhat follows, e.g., now?\\nOPTIONS:\\n- f…n'"
    )
    assert "What follows, e.g., now?" in load_catalog(found.cards).task("tides").templates[0].input


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("doc_to_text: !function utils.text", "doc_to_text is a Python function, utils.text"),
        ("doc_to_text: ''\ndescription: ''", "an empty prompt: there is nothing to ask"),
        ("doc_to_target: 3\ndoc_to_choice: [a, b]", "the right option is the same in every row"),
        (
            "doc_to_target: 0\ndoc_to_text: '{{note}} {{choices.text[0]}}?'",
            "the right option always stands in the same place of the prompt",
        ),
        ("doc_to_text: 0", "a prompt that differs from option to option"),
        ("output_type: loglikelihood_rolling", "output_type loglikelihood_rolling"),
        ('doc_to_text: "{{note}} {{key}}"', "the gold in the prompt"),
        ('doc_to_text: "{% set a = note[0] %}{{a}}"', "the tag set"),
        ("doc_to_choice: \"{{[note ~ 'a', note ~ 'b']}}\"", "options that are computed from several columns"),
    ],
)
def test_what_cannot_be_carried_over_is_told_and_no_card_is_written(tmp_path, catalog, line, reason):
    keys = tuple(each.split(":")[0] for each in line.split("\n"))
    lines = [each for each in TASK.splitlines() if not each.startswith(keys)]
    found = run(tmp_path, "\n".join([*lines, line]), catalog)
    assert found.cards == ()
    assert reason in found.notes[-1].reason
    assert not (tmp_path / "cards").exists()


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("group: many\n", "the keys group; expected a task of the harness, .*or a group of tasks"),
        ("include: task.yaml\ntask: a\n", "a file that includes itself"),
        ("include: none.yaml\ntask: a\n", "No such file"),
        ("task: !unknown a\n", "the tag !unknown, line 1"),
    ],
)
def test_a_file_that_is_no_task(tmp_path, catalog, text, part):
    with pytest.raises(DataError, match=part):
        run(tmp_path, text, catalog)
