import time

import pytest

from openflan.errors import CatalogError
from openflan.templates.pattern import FILTERS, compile_pattern

WHERE = "mood.yaml, template how"


def fill(source, **values):
    return compile_pattern(source, WHERE).fill(values, WHERE)


@pytest.mark.parametrize(
    ("source", "values", "text"),
    [
        ("{{ a }}-{{ b }}\n", {"a": "x", "b": "y"}, "x-y\n"),
        ("{{ a }}", {"a": "{{ b }} <i> & {% if %}"}, "{{ b }} <i> & {% if %}"),
        ('{% if a == "x" %}yes{% else %}no{% endif %}', {"a": "x"}, "yes"),
        ("{% for i in a %}{{ loop.index }}. {{ i }}\n{% endfor %}", {"a": ("p", "q")}, "1. p\n2. q\n"),
        ('{{ a | join(" / ") }}', {"a": ("p", "q")}, "p / q"),
        ("{{ a[1] }} {{ a | length }}", {"a": ("p", "q")}, "q 2"),
        (
            "{{ a | upper_first }} {{ a | lower }} {{ a | lower_first }}",
            {"a": "NATO wins"},
            "NATO wins nato wins nATO wins",
        ),
        ("{{ a | without_stop }}? {{ b | without_stop }}", {"a": "It is so.", "b": "Well..."}, "It is so? Well..."),
        ("{{ a | without_stop }}!", {"a": "It is so.."}, "It is so!"),
    ],
)
def test_what_templates_can_do(source, values, text):
    assert fill(source, **values) == text


def test_the_filters_are_known():
    assert sorted(FILTERS) == ["join", "length", "lower", "lower_first", "upper_first", "without_stop"]


def test_an_unknown_name_comes_with_a_suggestion_even_where_it_is_not_reached():
    with pytest.raises(CatalogError) as caught:
        fill("{% if hypothesis %}{{ premis }}{% endif %}", premise="p", hypothesis="")
    assert str(caught.value) == (
        "mood.yaml, template how: found the unknown name 'premis'; expected a field of the card. Did you mean premise?"
    )


def test_the_answer_is_no_part_of_a_scored_input():
    with pytest.raises(CatalogError, match="a scored prompt that does not show its gold"):
        fill("{{ text }} {{ answer }}", text="t")


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__ }}",
        "{{ text.__class__.__mro__ }}",
        "{{ text['__class__'] }}",
        "{{ text | attr('__class__') }}",
        "{{ text.upper() }}",
        "{{ range(10) }}",
        "{{ cycler('a') }}",
        "{{ lipsum() }}",
        "{% for i in range(1000000000) %}{% endfor %}",
        "{% for a in text %}{% for b in text %}{% endfor %}{% endfor %}",
        "{% for a in text recursive %}{{ loop(text) }}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
        "{% extends text %}",
        "{% set text = text %}",
        "{{ text * 1000000000 }}",
        "{{ 9 ** 999999999 }}",
        "{{ '%0999999999d' % 1 }}",
        "{{ text ~ text }}",
        "{{ text | center(1000000000) }}",
        "{{ text | join(attribute='__class__') }}",
        "{{ text[::-1] }}",
        "{{ self }}{{ self._TemplateReference__context }}",
        "{{ text",
        "{% if text %}",
        "{{ (" + "(" * 500 + "text" + ")" * 500 + ") }}",
    ],
)
def test_hostile_templates_are_refused_at_once(source):
    started = time.monotonic()
    with pytest.raises(CatalogError):
        fill(source, text="some text")
    assert time.monotonic() - started < 2


def test_a_flood_of_output_is_stopped():
    with pytest.raises(CatalogError, match="more than 110,000 characters of output"):
        fill("{% for a in text %}{{ text }}{% endfor %}", text="x" * 10_000)


def test_long_fields_are_no_flood():
    assert len(fill("{{ text }}{{ text | upper_first }}", text="x" * 90_000)) == 180_000


def test_a_list_where_text_belongs():
    with pytest.raises(CatalogError, match=r"a list where text belongs; write a list with `\| join`"):
        fill("{{ words }}", words=("a", "b"))
    with pytest.raises(CatalogError):
        fill("{{ words[2] }}", words=("a", "b"))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ words | upper_first }}", r"a list where the filter upper_first needs text; write a list with `\| join`"),
        ("{{ words | lower }}", "a list where the filter lower needs text"),
        ("{{ words | length | without_stop }}", "a number where the filter without_stop needs text"),
        ("{{ text | length | join }}", "a number before `join`, which needs a list"),
        ("{{ words[5] | lower }}", "has no element 5"),
        ("{{ text | join(text) }}", "more than 100,000 characters between the items of a `join`"),
        ("{% for a in text %}{{ text | lower | length }}{% endfor %}", "20,002 filters and comparisons, loops counted"),
        ("{{ text" + " and text" * 300 + " }}", "more than 40 levels"),
        ("{% if text == 'a' %}x{% endif %}" * 500, "more than 2,000 parts"),
        ("x" * 20_001, "20,001 characters; at most 20,000"),
        (r"{{ '\ud800' }}", "surrogates not allowed"),
    ],
    ids=lambda value: value[:30],
)
def test_a_template_that_does_not_fit_or_asks_too_much_says_why(source, message):
    began = time.monotonic()
    with pytest.raises(CatalogError, match=f"mood.yaml, template how: found .*{message}"):
        fill(source, text="some text, " * 10_000 if "for" in source else "x" * 400, words=("a", "b"))
    assert time.monotonic() - began < 2


def test_loops_over_short_lists_beside_long_texts_are_no_flood():
    source = "{% for word in words %}{{ word | lower }} {% endfor %}{{ text | lower }}"
    assert len(fill(source, text="x" * 5_000_000, words=("A",) * 50)) == 5_000_100
