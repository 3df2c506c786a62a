"""Foreign Jinja in our language, and the reasons for what cannot be said in it."""

import pytest

from openflan.interop.answers import answer_by_cases, answer_by_list, gold_by_index, options_of, with_gold
from openflan.interop.translate import Columns, NotCarried, Translator, only_expression, parse_jinja, said
from openflan.templates.pattern import compile_pattern


def translate(source: str, columns: Columns | None = None) -> str:
    return Translator(columns or Columns()).template(parse_jinja(source))


def expression(source: str):
    return only_expression(parse_jinja("{{ %s }}" % source))  # noqa: UP031  # braces


@pytest.mark.parametrize(
    ("foreign", "ours"),
    [
        ("{{note}} Fine?", "{{ note }} Fine?"),
        ("{{ note.strip() }}, {{ note | trim }}", "{{ note }}, {{ note }}"),
        ("{{ answers['text'][0] }}", "{{ text[0] }}"),
        ("{{ answers.text | first }}", "{{ text[0] }}"),
        ("{{ note.lower() }} {{ note | lower }}", "{{ note | lower }} {{ note | lower }}"),
        ("{{ hints | join(', ') }}", '{{ hints | join(", ") }}'),
        ("{{ 'So: ' ~ note ~ '!' }}", "So: {{ note }}!"),
        ("{{ 'So: ' + note }}", "So: {{ note }}"),
        ("{{ 'So: ' + a['n'] + note }}", "So: {{ n }}{{ note }}"),
        ("{{ ('So: ' if a else 'And: ') + note }}", "{% if a %}So: {% else %}And: {% endif %}{{ note }}"),
        ("{{ hints | join + note }}", '{{ hints | join("") }}{{ note }}'),
        ("{% set a = 'A' %}{% for a in b %}{{ a }}{% endfor %}{{ a }}", "{% for a in b %}{{ a }}{% endfor %}A"),
        ("{% set cue = 'So: ' %}{{ cue + note }}{{ cue }}{% set cue = 2 %}{{ cue }}", "So: {{ note }}So: 2"),
        ("{{ 'a' if kind == 2 else note }}", '{% if kind == "2" %}a{% else %}{{ note }}{% endif %}'),
        (
            "{% if not a or b != -1 %}x{% elif c in 'uv' %}y{% else %}z{% endif %}",
            '{% if (not (a) or b != "-1") %}x{% elif c in "uv" %}y{% else %}z{% endif %}',
        ),
        (
            "{% for h in hints %}{{ loop.index }}. {{ h }}\n{% endfor %}",
            "{% for h in hints %}{{ loop.index }}. {{ h }}\n{% endfor %}",
        ),
        ("  {{ note }}  and \n\n\n\nmore, e.g., this", "  {{ note }}  and \n\n\n\nmore, e.g., this"),
    ],
)
def test_what_can_be_said(foreign, ours):
    assert translate(foreign) == ours
    compile_pattern(ours, "here")


@pytest.mark.parametrize(
    ("foreign", "reason"),
    [
        ("{% set x = note %}{{ x }}", "the tag set"),
        ("{% if note %}{% set x = 1 %}{% endif %}{{ x }}", "the tag set"),
        ("{% macro m() %}a{% endmacro %}", "the tag macro"),
        ("{% for a in b %}{% for c in d %}{{ c }}{% endfor %}{% endfor %}", "a loop in a loop"),
        ("{% for a in b if a %}{{ a }}{% endfor %}", "for with a condition"),
        ("{% for a in b %}{{ a.c }}{% endfor %}", "a part of an item"),
        ("{{ row['n'] + 1 }}", "the expression row"),
        ("{{ (1 if kind == 'a' else 2) + 3 }}", "the expression"),
        ("{% for a in b %}{{ a }}{{ c.a }}{% endfor %}", "a loop over items called a, as the column c.a is"),
        ("{{ note | title }}", "the filter title"),
        ("{{ note | replace('a', 'b') }}", "the filter replace"),
        ("{{ note.split(',') }}", "the filter split"),
        ("{{ note.upper() }}", "the method upper"),
        ("{{ range(3) }}", "the function range"),
        ("{% if note is defined %}a{% endif %}", "the expression note is defined"),
        ("{{ a + b }}", r"the expression a \+ b"),
        ("{{ note[:5] }}", r"the expression note\[:5\]"),
        ("{{ '{{' }}", "double braces"),
        ("{{ note", "no Jinja"),
    ],
)
def test_what_cannot_is_told(foreign, reason):
    with pytest.raises(NotCarried, match=reason):
        translate(foreign)


def test_columns_get_names_of_their_own():
    columns = Columns()
    translate("{{ answer }} {{ a.text }} {{ b.text }} {{ a.text[2] }} {{ hints | join(' ') }}", columns)
    assert columns.fields == {"answer_field": "answer", "text": "a.text", "b_text": "b.text", "hints": "hints"}
    assert columns.lists == {"a.text": 3, "hints": 1}


@pytest.mark.parametrize(
    ("index", "gold"),
    [
        ("label", {"gold": "label"}),
        ("label.strip()", {"gold": "label"}),
        ("label | int", {"gold": "label", "digits_are_index": True}),
        ("label - 1", {"gold": "label", "gold_values": [1, 2, 3]}),
        ("(label | int) - 1", {"gold": "label", "gold_values": ["1", "2", "3"]}),
        ("['A', 'B', 'C'].index(key)", {"gold": "key", "gold_values": ["A", "B", "C"]}),
        ("{'x': 1, 'y': 0, 'z': 2}[key]", {"gold": "key", "gold_values": ["y", "x", "z"]}),
        ("choices.label.index(key)", {"gold": "key", "gold_values_from": "choices.label"}),
    ],
)
def test_the_gold_by_its_number(index, gold):
    assert gold_by_index(expression(index), 3) == gold


@pytest.mark.parametrize("index", ["label + 1", "f(label)", "{'x': 1, 'y': 2}[key]", "0 if label else 1"])
def test_a_gold_that_a_card_has_no_word_for(index):
    with pytest.raises(NotCarried, match="no word for"):
        gold_by_index(expression(index), 2)


def test_options_that_an_expression_lists():
    assert options_of("{{ choices.text }}") == {"options_from": ["choices.text"]}
    assert options_of("{{ [first, second] }}") == {"options_from": ["first", "second"]}
    assert options_of("{{ ['no', 'yes'] }}") == {"options": ["no", "yes"]}
    with pytest.raises(NotCarried, match="computed"):
        options_of("{{ [a ~ b, c] }}")


def test_an_answer_by_a_list_or_by_cases():
    choice = {"kind": "choice", "options": ["no", "yes"], "gold": "label"}
    assert answer_by_list(expression("['no', 'yes'][label]")) == choice
    assert answer_by_list(expression("{'n': 'no', 'y': 'yes'}[label]")) == choice | {"gold_values": ["n", "y"]}
    assert answer_by_list(expression("label")) is None
    cases = "{%% if label == 0 %%}\n%s\n{%% elif label == 1 %%}%s{%% endif %%}"
    assert answer_by_cases(parse_jinja(cases % ("no", "yes"))) == choice
    assert answer_by_cases(parse_jinja(cases % ("{{ a }}", "{{ b }}"))) == {
        "kind": "choice",
        "options_from": ["a", "b"],
        "gold": "label",
    }
    assert answer_by_cases(parse_jinja(cases % ("no", "{{ b }}"))) is None
    assert answer_by_cases(parse_jinja("{% if label == 0 %}no{% else %}yes{% endif %}")) == choice
    assert answer_by_cases(parse_jinja("{% if label == 1 %}no{% else %}yes{% endif %}")) is None
    texts = answer_by_cases(parse_jinja("{% if label == '1' %}no{% else %}yes{% endif %}"))
    assert texts == choice | {"gold_values": ["1", "2"]}
    assert answer_by_cases(parse_jinja("{% if label == 'x' %}no{% else %}yes{% endif %}")) is None


def test_as_many_values_as_options():
    with pytest.raises(NotCarried, match="2 options and 3 values of key"):
        with_gold({"options": ["a", "b"]}, {"gold": "key", "gold_values": [1, 2, 3]})


@pytest.mark.parametrize(
    "source",
    [
        "a.b['c d'][0] | join(', ')",
        "a[1:] + [b, 'c'][d - 1] ~ (1, 2)",
        "x if not a or -b >= 2 else {'k': f(y)}",
        "a is defined and b is none",
        "a[::2] | first",
    ],
)
def test_a_reason_shows_an_expression_as_it_was_written(source):
    assert said(expression(source)) == source


def test_a_reason_shows_no_more_than_a_line():
    assert (
        said(expression(" ~ ".join(["word"] * 40)))
        == "word ~ word ~ word ~ word ~ word ~ word ~ word ~ word ~ word ~ word ~ word ~ wor ..."
    )
