"""Cards that somebody got wrong or means ill: a paragraph or a finding that says where, and nothing written."""

import time

import pytest

GOOD = """\
family: mood
cluster: sentiment
source: {splits: {train: train, test: validation}}
fields: {premise: text}
answer: {kind: choice, options: [sad, glad], gold: label}
metrics: [accuracy]
licence: CC0-1.0
samples:
  - {text: "It rains.", label: 0}
  - {text: "All is well.", label: 1}
templates:
  - {id: how, input: "{{ premise }}\\n\\nWhich mood?\\n\\n{{ options_block }}"}
"""
INPUT = "{{ premise }}\\n\\nWhich mood?"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.fixture
def card(tmp_path):
    def write(text):
        path = tmp_path / "mood.yaml"
        path.write_text(text)
        return path

    return write


def test_the_good_card_is_good(call, card):
    assert call("tasks", "check", card(GOOD)).code == 0


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (GOOD.replace("metrics:", "metric:"), ["metric (unknown key", "Did you mean metrics"]),
        (GOOD.replace("splits:", "split:"), ["source.split (unknown key", "Did you mean splits"]),
        (GOOD + "family: moods\n", ["the key 'family' twice, line 13"]),
        (GOOD.replace("gold: label", "gold: label, gold: mood"), ["the key 'gold' twice, line 5"]),
        (GOOD + BOMB, ["an alias (*name)", "without aliases"]),
        (GOOD + "# " + "x" * 2_000_000 + "\n", ["2,000,", "at most 1,000,000 can be read"]),
        (GOOD + "more: " + "[" * 5000, ["plain YAML"]),
        (
            GOOD + "more: !!python/object/apply:os.system ['touch hacked']\n",
            ["the tag tag:yaml.org,2002:python/object/apply:os.system, line 1"],
        ),
        (GOOD.replace("sentiment", "sentimant"), ["cluster 'sentimant'", "Did you mean sentiment?"]),
    ],
    ids=["key", "inner key", "twice", "inner twice", "bomb", "2 MB", "deep", "object", "cluster"],
)
@pytest.mark.parametrize("command", [("tasks", "check"), ("preview",)], ids=" ".join)
def test_a_bad_card_is_one_paragraph(call, card, command, text, parts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = card(text)
    began = time.monotonic()
    ended = call(*command, path)
    assert time.monotonic() - began < 5
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("openflan: ") and ended.err.count("\n") == 1
    for part in (str(path), *parts):
        assert part in ended.err
    assert [file.name for file in tmp_path.iterdir()] == ["mood.yaml"]


def test_a_template_that_names_an_unknown_field(call, card):
    path = card(GOOD.replace("{{ premise }}", "{{ premiss }}"))
    ended = call("tasks", "check", path)
    assert ended.code == 1
    assert f"{path}, template how, mood: an unknown name: 'premiss (Did you mean premise?)'" in ended.out
    ended = call("preview", path)
    assert ended.code == 2
    assert f"{path}, template how: found the unknown name 'premiss'" in ended.err
    assert "Did you mean premise?" in ended.err


@pytest.mark.parametrize(
    "hostile",
    [
        "{{ premise.__class__.__mro__ }}",
        "{{ premise | attr('__class__') }}",
        "{{ premise.format(premise) }}",
        "{% for i in range(1000000000) %}x{% endfor %}",
        "{% for a in premise %}{% for b in premise %}{% for c in premise %}x{% endfor %}{% endfor %}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{{ premise * 10000000 }}",
        "{{ 9 ** 99999999 }}",
        "{% include '/etc/passwd' %}",
    ],
)
def test_a_hostile_template_is_a_finding_and_never_runs(call, card, hostile):
    path = card(GOOD.replace("{{ premise }}", hostile))
    began = time.monotonic()
    ended = call("tasks", "check", path)
    assert time.monotonic() - began < 5
    assert ended.code == 1
    assert f"{path}, template how, mood: a template that cannot be used: " in ended.out
    ended = call("preview", path)
    assert (ended.code, ended.out) == (2, "")
    assert f"{path}, template how: found a template that cannot be used" in ended.err


def test_ten_megabytes_of_output_are_stopped(call, card):
    flood = GOOD.replace("{{ premise }}", "{% for a in premise %}{{ premise }}{% endfor %}")
    path = card(flood.replace("It rains.", "x" * 3_200))
    began = time.monotonic()
    ended = call("preview", path)
    assert time.monotonic() - began < 5
    assert (ended.code, ended.out) == (2, "")
    assert "characters of output; expected at most 100,000 more than its fields have" in ended.err
    ended = call("tasks", "check", path)
    assert ended.code == 1
    assert "template how, mood/samples/0: a row that cannot be rendered: " in ended.out


@pytest.mark.parametrize(
    ("metrics", "told"),
    [
        ("[accurracy]", "the unknown metric 'accurracy' (Did you mean accuracy?)"),
        ("[accuracy, rougeL]", "the metric rougeL, which needs text, for a choice between two fixed options"),
        ("[accuracy, group_exact_match]", "the metric group_exact_match, which needs `group_by`"),
        ("[]", "no metric"),
    ],
)
def test_a_metric_that_cannot_score_the_answers(call, card, metrics, told):
    """A finding of `tasks check`, and an error before anything is planned, loaded or asked."""
    path = card(GOOD.replace("[accuracy]", metrics))
    ended = call("tasks", "check", path)
    assert (ended.code, ended.err) == (1, "")
    assert ended.out.splitlines() == [f"{path}: {told}", "1 tasks checked, 1 findings"]
    (path.parent / "mood").mkdir()
    (path.parent / "mood" / "validation.jsonl").write_text('{"text": "It rains.", "label": 0}\n')
    changes = "data.tasks=[world_trec]", "data.evaluate=[mood]", "held_out=[sentiment]"
    small = "--catalog", path, *(word for change in changes for word in ("--set", change))
    for command in (("eval", "base", "--catalog", path, "--task", "mood"), ("plan", "demo", *small)):
        ended = call(*command, "--data-root", path.parent)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err.startswith(f"openflan: {path}: found {told}; expected metrics of its kind of answer.")
