import pytest

from openflan.tasks.adapt import adapt
from openflan.templates.lint import lint

GOOD = {"id": "good", "input": "{{ text }}\n\nWhat mood is this?\n\n{{ options_block }}"}
TEXT_ANSWER = {
    "answer": {"kind": "text", "references": "reply"},
    "samples": [{"text": "All is well.", "reply": "Good."}, {"text": "Hello!", "reply": "Hi!"}],
}


def findings(task):
    examples, _ = adapt(task, task.card.samples, "samples")
    return [(finding.template, finding.problem) for finding in lint(task, examples)]


def test_a_good_card_has_no_findings(task_with):
    inverted = {"id": "write", "inverted": True, "input": "Say something {{ answer }}.", "target": "{{ text }}"}
    completion = {"input": "{{ text }}\nMood:"}
    assert findings(task_with(GOOD, inverted, completion=completion)) == []


BLOCK = "\n\n{{ options_block }}"


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ({"input": "{{ txt }}" + BLOCK}, "an unknown name"),
        ({"input": "{{ text }}" + BLOCK, "target": "{{ label }}"}, "an unknown name"),
        ({"input": "{{ text.upper() }}" + BLOCK}, "a template that cannot be used"),
        ({"input": "{{ text }}\nIs it {{ answer }}?" + BLOCK}, "the gold in the prompt"),
        ({"input": "{{ text }}\nWhat mood is this?"}, "no options block"),
        ({"input": "{{ text }}" + BLOCK, "target": "{{ answer }}."}, "a target that is no option"),
        ({"input": "{{ text }}" + BLOCK, "target": "sad"}, "a target that is not the gold option"),
        ({"input": "{{ text }}" + BLOCK, "target": "{% if text == 'x' %}a{% endif %}"}, "an empty target"),
        ({"input": "{% if text == 'x' %}{{ options_block }}{% endif %}"}, "an empty input"),
        ({"input": "Is it so that {{ text }}?" + BLOCK}, "double punctuation"),
        ({"input": "They said {{ text }}. Why?" + BLOCK}, "double punctuation"),
        ({"input": 'Is "{{ text }}"? Yes or no?' + BLOCK}, "double punctuation"),
        ({"input": "{{ text }}\nWhat mood??" + BLOCK}, "double punctuation"),
        ({"input": "{{ text }} \nWhat mood?" + BLOCK}, "stray space"),
        ({"input": "{{ text }}\nWhat  mood?" + BLOCK}, "stray space"),
        ({"input": "\n{{ text }}" + BLOCK}, "stray space"),
        ({"input": "{{ text }}\n\n\nWhat mood?" + BLOCK}, "stray space"),
        ({"input": "{{ text }} }}" + BLOCK}, "stray braces"),
        ({"inverted": True, "input": "{{ text }}: say it again.", "target": "{{ text }}"}, "the target in the prompt"),
        ({"input": "{{ text }}\n\nwhat mood is THIS?\n\n{{ options_block }}"}, "a duplicate template"),
    ],
)
def test_each_problem_is_found(task_with, template, problem):
    assert ("bad", problem) in findings(task_with(GOOD, {"id": "bad", **template}))


def test_the_gold_is_found_under_another_fields_name(task_with):
    template = {"id": "bad", "input": "{{ text }} ({{ number }})" + BLOCK}
    task = task_with(GOOD, template, fields={"text": "text", "number": "label"})
    assert findings(task) == [("bad", "the gold in the prompt")]


def test_the_gold_is_found_in_the_order_of_the_options(task_with, monkeypatch):
    def gold_first(row):
        return {**row, "choices": sorted(row["choices"], key=lambda c: c != row["key"])}

    monkeypatch.setattr("openflan.tasks.odd_rows.gold_first", gold_first, raising=False)
    answer = {"kind": "choice", "options_from": ["choices"], "gold": "key", "gold_values_from": "choices"}
    samples = [{"text": "Which?", "choices": ["a", "b", "c"], "key": "b"}]
    assert findings(task_with(GOOD, answer=answer, samples=samples)) == []
    task = task_with(GOOD, answer=answer, samples=samples, adapt="openflan.tasks.odd_rows:gold_first")
    assert findings(task) == [("good", "the gold in the prompt")]


def test_free_text_is_replaced_by_a_sentinel(task_with):
    reply = {"id": "reply", "input": "{{ text }}\nWhat would you reply?"}
    assert findings(task_with(reply, **TEXT_ANSWER)) == []
    leaking = task_with(
        reply, {"id": "bad", "input": "{{ text }} {{ hint }}"}, fields={"text": "text", "hint": "reply"}, **TEXT_ANSWER
    )
    assert findings(leaking) == [("bad", "the gold in the prompt")]


def test_options_that_look_alike(task_with):
    answer = {"kind": "choice", "options": ["so sad", "so  sad"], "gold": "label"}
    assert findings(task_with(GOOD, answer=answer)) == [("", "options that look alike")]


def test_an_option_with_a_line_break_and_an_empty_field(task_with):
    answer = {"kind": "choice", "options": ["sad\nindeed", "glad"], "gold": "label"}
    assert findings(task_with(GOOD, answer=answer)) == [("", "an option with a line break")]
    assert findings(task_with(GOOD, samples=[{"text": " ", "label": 0}]))[0] == ("", "an empty field")


def test_what_the_row_itself_contains_is_its_own_business(task_with):
    samples = [{"text": "What??  No.. \n {{ x }}\n\n\n... why?", "label": label} for label in (0, 1)]
    assert findings(task_with(GOOD, samples=samples)) == []


def test_a_finding_shows_where_and_what(task_with):
    task = task_with({"id": "bad", "input": "Is it so that {{ text }}?" + BLOCK})
    examples, _ = adapt(task, task.card.samples, "samples")
    [finding] = lint(task, examples)
    assert str(finding) == (
        "mood.yaml, template bad, mood/samples/0: double punctuation: 'Is it so that F…!?\\n\\nOPTIONS:\\n- s…d\\n- g'"
    )


def test_nothing_to_look_at_is_a_finding(task_with):
    assert [f.problem for f in lint(task_with(GOOD), [])] == ["no examples to look at"]


def test_rows_made_of_one_row_are_compared_each_with_itself(task_with, monkeypatch):
    def halves(row):
        return [{**row, "text": text} for text in row["text"].split(" / ")]

    monkeypatch.setattr("openflan.tasks.odd_rows.halves", halves, raising=False)
    samples = [{"text": "All is well. / What a day!", "label": 1}, {"text": "It rains. / I lost it.", "label": 0}]
    assert findings(task_with(GOOD, samples=samples, adapt="openflan.tasks.odd_rows:halves")) == []
