"""Wordings of our own in promptsource's form: what a card renders, against Jinja2 itself as promptsource uses it."""

import itertools
import json

import jinja2
import pytest

from openflan.interop.import_promptsource import import_promptsource
from openflan.tasks.adapt import adapt
from openflan.tasks.catalog import load_catalog
from openflan.templates.render import render

ROWS = [
    {
        "note": "No wind at all.",
        "place": "Orm",
        "label": 0,
        "key": "2",
        "kind": "weather",
        "first": "Row out.",
        "second": "Stay in.",
        "names": ["Elm Sea", "the Elm"],
        "ends": ["calm", "storm", "fog"],
        "end": "fog",
    },
    {
        "note": "Waves over the pier!",
        "place": "Ull",
        "label": 1,
        "key": "1",
        "kind": "traffic",
        "first": "Sail.",
        "second": "Wait.",
        "names": ["Ull Sound"],
        "ends": ["sun", "gale", "rain"],
        "end": "sun",
    },
]
# name: (jinja, answer_choices, whether it is the dataset's own task)
WORDINGS = {
    "plain": ("{{note}}\nHow is the sea? ||| {{ answer_choices[label] }}", "calm ||| rough", True),
    "verbatim": (
        "\n  At {{place}},  e.g., now:\t{{note}}\n\n\n\nSea?|||{{ answer_choices[label] }}\n",
        "calm|||rough",
        True,
    ),
    "cue": ("{{note}} \n\nSo?\n\nThe sea is:|||{{ answer_choices[label] }}", "calm|||rough", True),
    "joined": ("{{note}} Is it {{ answer_choices | join(' or ') }}?|||{{answer_choices[label]}}", "calm|||rough", True),
    "sliced": (
        "{{note}} {{ answer_choices[:-1] | join(', ') }} or {{ answer_choices[-1] }}?|||{{answer_choices[label]}}",
        "calm|||rough",
        True,
    ),
    "by-number": (
        "{{answer_choices[0]}}, {{answer_choices[1]}}? {{note}}|||{{answer_choices[label]}}",
        "calm|||rough",
        True,
    ),
    "if-around-target": (
        "Say {{place}}: {{note}} ||| {% if label != -1 %}{{ answer_choices[label] }}{% endif %}",
        "calm ||| rough",
        True,
    ),
    "bar-in-if": (
        "{% if label != -1 %} Report: {{note}} ||| {{ answer_choices[label] }}{% endif %}",
        "calm ||| rough",
        True,
    ),
    "bar-in-branches": (
        "{% if place == 'Orm' %}N. {{note}} ||| {{ names[0] }}{% else %} S. {{note}} ||| {{ names[0] }}{% endif %}",
        None,
        True,
    ),
    "other-words": ("{{note}} Is a storm near? ||| {{ answer_choices[label] }}", "no ||| yes", True),
    "true-or-false": ("{{note}} Do as in: {{first}} ||| {{ answer_choices[key | int - 1] }}", "True ||| False", False),
    "own-choices": ("{{note}} Is {{place}} meant? ||| {{ answer_choices[label] }}", "Yes ||| No", False),
    "kind-of-note": (
        "Which kind?\n{{ answer_choices | join('\n') }}\n{{note}} ||| {{ kind }}",
        "weather ||| traffic",
        False,
    ),
    "numbers-of-ends": (
        "{{note}} 1: {{ends[0]}} 2: {{ends[1]}} ||| {{ answer_choices[label] }}",
        "End 1 ||| End 2",
        False,
    ),
    "write": ("Write a note about a sea that is {{ answer_choices[label] }}. ||| {{ note }}", "calm ||| rough", False),
    "write-from-place": ("Write from {{place}}. ||| {{ note }}", None, False),
    "same-words-other-task": ("From {{place}}: sea? ||| {{ answer_choices[label] }}", "calm ||| rough", False),
    "text": ("{{ note }} Which sea is this? ||| It is {{ names[0] }}.", None, True),
    "columns": ("{{ note }} What now? ||| {{ answer_choices[key | int - 1] }}", "{{first}} ||| {{second}}", True),
    "cases": (
        "{{ note }} And? ||| {% if key == '1' %} {{first}} {% else %} {{second}} {% endif %}",
        "{{first}} ||| {{second}}",
        True,
    ),
    "cases-in-words": (
        "{{ note }} Big? ||| {% if label == 0 %}tiny{% else %}huge{% endif %}",
        "tiny ||| huge",
        True,
    ),
    "columns-shown": (
        "{{ note }} What now?\n- {{first}}\n- {{second}} ||| {{ [first, second][label] }}",
        "{{first}} ||| {{second}}",
        True,
    ),
    "list": ("{{ note }} Then? ||| {{ ends[label] }}", '{{ ends | join("|||") }}', True),
    "letters": (
        "{{ note }} A: {{ends[0]}}, B: {{ends[1]}}, C: {{ends[2]}}. Then?|||{{ answer_choices[ends.index(end)] }}",
        "A ||| B ||| C",
        True,
    ),
    "keep-if": ("{% if label == 1 %}At {{place}}: {{note}} Sea? ||| {{ names[0] }}{% endif %}", None, True),
    "two-conditions": (
        "{% if kind == 'weather' and names | length > 0 %}{{note}} Sea? ||| {{ names[0] }}{% endif %}",
        None,
        True,
    ),
    "other-task-of-some-rows": ("{% if label == 0 %}From {{place}}: ||| {{ note }}{% endif %}", None, False),
    "loop": (
        "{{ note }}{% for end in ends %}\n{{loop.index}}. {{end}}{% endfor %} ||| {{ answer_choices[label] }}",
        '{{ends | join("|||")}}',
        True,
    ),
}
REFUSED = {
    "shown": ("Is it {{ answer_choices[label] }}? {{ note }} ||| {{ answer_choices[label] }}", "calm ||| rough", True),
    "equal-words": ("{{ note }} Good? ||| {{ answer_choices[label] }}", "Yes ||| No ||| No", False),
    "other-words-in-prompt": ("Make it {{ answer_choices[label] }}. ||| {{ note }}", "wet ||| dry", False),
    "target-of-some-rows": ("{{place}}: ||| {% if label != 5 %}{{ note }} {{ place }}{% endif %}", None, False),
    "compared": ("{% if label > 3 %}{{note}} ||| {{ place }}{% endif %}", None, True),
    "cases-of-words": (
        "{{ note }} Of? ||| {% if kind == 'weather' %}air{% else %}road{% endif %}",
        "air ||| road",
        True,
    ),
    "in-one-branch": ("{% if place %}{{ note }} ||| a {% else %} b {% endif %}", None, True),
}
REASONS = {
    "shown": "the gold in the prompt",
    "equal-words": "answer choices that are not two or more different words",
    "other-words-in-prompt": "its own answer choices, where its card has others",
    "target-of-some-rows": "a target that only some rows have",
    "compared": "rows that a condition passes over, which a card cannot say: label > 3",
    "cases-of-words": "a target that depends on a condition",
    "in-one-branch": "a condition with `|||` in only some of its branches",
}


def file_of(wordings) -> str:
    lines = ["dataset: harbours/tide_notes", "templates:"]
    for name, (jinja, choices, is_original) in wordings.items():
        lines += [f"  id-{name}: !Template", f"    name: {name}", f"    jinja: {json.dumps(jinja)}"]
        lines += [f"    answer_choices: {json.dumps(choices)}"]
        lines += [f"    metadata: !TemplateMetadata {{original_task: {json.dumps(is_original)}, metrics: [Accuracy]}}"]
    return "\n".join(lines)


def by_jinja(name: str, row) -> tuple[list[str], list[str]]:
    """Prompt and target, and the choices, as promptsource's format defines them."""
    jinja, choices, _ = WORDINGS[name]
    environment = jinja2.Environment(loader=jinja2.BaseLoader())
    words = []
    if choices is not None:
        words = [word.strip() for word in environment.from_string(choices).render(row).split("|||")]
    text = environment.from_string(jinja).render(row, answer_choices=words)
    return [half.strip() for half in text.split("|||")], words


@pytest.fixture(scope="module")
def imported(tmp_path_factory, catalog):
    folder = tmp_path_factory.mktemp("promptsource")
    (folder / "templates.yaml").write_text(file_of(WORDINGS | REFUSED))
    return import_promptsource(folder / "templates.yaml", folder / "cards", catalog, cluster="sentiment", name="tides")


def test_what_is_left_out_and_why(imported):
    assert {note.template: note.reason for note in imported.notes if note.result == "left out"} == REASONS


def test_prompts_targets_and_options_are_those_of_promptsource(imported):
    tasks = [task for task in load_catalog(imported.cards).tasks.values() if task.path in imported.cards]
    seen = set()
    for task in tasks:
        for template, row in itertools.product(task.templates, ROWS):
            halves, words = by_jinja(template.id, row)
            examples, _ = adapt(task, [row], "test")
            if not examples:
                assert halves == [""], template.id
            for example in examples:
                prompt = render(example, task, template, show_options=False)
                assert [prompt.input, prompt.target] == halves, template.id
                assert prompt.options in ((), tuple(words)), template.id
                assert bool(prompt.options) == (not template.inverted and bool(words)), template.id
                seen.add(template.id)
    assert seen == set(WORDINGS)


def test_which_are_trained_on_only_and_which_list_the_options(imported):
    tasks = [task for task in load_catalog(imported.cards).tasks.values() if task.path in imported.cards]
    templates = [template for task in tasks for template in task.templates]
    assert {t.id for t in templates if t.inverted} == {"write", "write-from-place", "same-words-other-task"}
    assert {t.id for t in templates if "options_block" in t.input} == {
        *("plain", "verbatim", "if-around-target", "bar-in-if", "other-words", "true-or-false", "own-choices"),
        *("cue", "cases", "cases-in-words"),
        *("numbers-of-ends", "columns", "list"),
    }
    by_id = {note.template: (note.result, note.reason) for note in imported.notes if note.result != "warning"}
    assert by_id["loop"] == by_id["columns-shown"] == by_id["joined"] == ("carried over", "")
    assert by_id["true-or-false"] == ("changed", "another task of the dataset: a card of its own, options listed")
    assert by_id["write"] == ("changed", "another task of the dataset: an inverted template")
    assert [note.reason.split(":")[0] for note in imported.notes if note.result == "warning"] == [
        "double punctuation",
        "stray space",
        "stray space",
    ]
