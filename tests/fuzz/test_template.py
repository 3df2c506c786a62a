import functools
import itertools

import pytest
from hypothesis import strategies as st

from fuzz.mutate import fuzz, mutated_bytes, only_openflan_errors
from openflan.tasks.card import Card, Template
from openflan.tasks.catalog import Task
from openflan.tasks.example import Choice, Example, Text
from openflan.templates.pattern import FILTERS
from openflan.templates.render import render

NAMES = (
    "text",
    "words",
    "options",
    "options_block",
    "answer",
    "loop",
    "loop.index",
    "nobody",
    "1",
    "'a'",
    "none",
    "()",
)
VALUES = st.recursive(
    st.sampled_from((*NAMES, "10000000000000000000000", "1.5", "'\\ud800'", "'\\x00'", "[]", "{}", "''")),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from((*FILTERS, "join('')", "join(text)", "attr('x')", "length(1)"))).map(
            " | ".join
        ),
        st.tuples(inner, st.sampled_from(("and", "or", "==", "<", "in", "is", "~", "*", "if", "not in")), inner).map(
            " ".join
        ),
        st.tuples(inner, st.sampled_from(("[0]", "[-1]", "[99]", "[1:]", "['a']", ".x", "()"))).map("".join),
        inner.map("not {}".format),
        inner.map("({})".format),
    ),
    max_leaves=6,
)
PARTS = st.recursive(
    st.one_of(
        VALUES.map("{{{{ {} }}}}".format), st.sampled_from(("a", "\n", " ", "{{", "}}", "{#", "{% raw %}", "\ud83d"))
    ),
    lambda inner: st.one_of(
        st.tuples(VALUES, inner).map("{{% if {0[0]} %}}{0[1]}{{% endif %}}".format),
        st.tuples(VALUES, inner, inner).map("{{% if {0[0]} %}}{0[1]}{{% else %}}{0[2]}{{% endif %}}".format),
        st.tuples(VALUES, inner).map("{{% for loop_word in {0[0]} %}}{{{{ loop_word }}}}{0[1]}{{% endfor %}}".format),
        st.tuples(inner, inner).map("".join),
    ),
    max_leaves=6,
)
REPEATED = ("and", "or", "==", "<", "in", "if text else", "| lower |")
FLOODS = (
    *("{{ text" + f" {word} text" * 300 + " }}" for word in REPEATED),
    *("{% if text %}" * n + "x" + "{% endif %}" * n for n in (50, 100, 5_000)),
    *("{{ " + "(" * n + "text" + ")" * n + " }}" for n in (50, 150, 5_000)),
    *("{% if text == 'a' %}x{% elif text == 'b' %}y{% endif %}" * n for n in (100, 20_000)),
    *("{% if text %}" + "{% elif text == 'b' %}y" * n + "{% endif %}" for n in (100, 5_000)),
    *("{{ text | join(text) | join(text) }}", "{% for a in text %}{{ text | join(text) }}{% endfor %}"),
    *("{% for a in text %}{% if text | lower == text | lower %}{% endif %}{% endfor %}", "{{ text }}" * 1_000),
    *("{{" + "1" * 5_000 + "}}", "{{ '" + "x" * 50_000 + "' }}", "\n" * 50_000 + "{{ options_block }}"),
    *("{{-" + " " * 900_000, "{{ not " * 300 + "text }}", "{{ words" + "[0]" * 300 + "}}", "{{" * 100_000),
    "{{ text" + " | upper_first" * 500 + "}}",
)
FIELDS = {"text": "It rains. " * 10_000, "words": ("a", "b " * 1_000)}
EXAMPLES = [Example("mood/samples/0", "mood", FIELDS, answer) for answer in (Choice(("sad", "glad"), 1), Text(("a",)))]
VALID = b"{{ text | lower }} {% for w in words %}{{ loop.index }}. {{ w }}{% endfor %} {{ options_block }}"


def _render(source: str) -> None:
    for inverted, example, show in itertools.product((False, True), EXAMPLES, (True, False)):
        template = Template.model_construct(id="how", input=source, target=source, inverted=inverted)
        card = Card.model_construct(fields={"text": "text", "words": "words"}, templates=(template,))
        task = Task("mood", "user", card, None, {}, "mood.yaml")
        only_openflan_errors(functools.partial(render, example, task, template, show_options=show))


@fuzz(st.one_of(PARTS, PARTS, mutated_bytes(VALID).map(lambda content: content.decode(errors="replace"))))
def test_template(source):
    _render(source)


@pytest.mark.parametrize("source", FLOODS, ids=lambda source: f"{source[:30]!r} {len(source)}")
def test_flood(source):
    _render(source)
