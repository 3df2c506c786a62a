"""What a base model is pretrained on: the world's language, never a test scene, a template or an option block."""

import re
from collections import Counter

import pytest

from openflan.tasks.catalog import load_catalog
from openflan.world.facts import RELATIONS, Fact, is_held_out, may_tell
from openflan.world.generate import GENERATORS, rows
from openflan.world.lexicon import NAMES
from openflan.world.practice import marked, without_marks
from openflan.world.text import KINDS, documents

NUM_DOCUMENTS = 400


@pytest.fixture(scope="module")
def library():
    return {kind: [without_marks(text) for text in documents(0, 0, NUM_DOCUMENTS, {kind: 1})] for kind in KINDS}


def texts(library):
    return [text for found in library.values() for text, _ in found]


def test_a_text_belongs_to_its_number():
    first = list(documents(0, 0, 3, {"causes": 1, "events": 2}))
    assert [text.split(chr(10))[0] for text in first[:2]] == ["Ben was visited by Sara.", "Jack pushed Carl."]
    assert list(documents(0, 2, 1, {"causes": 1, "events": 2})) == first[2:]
    assert list(documents(1, 0, 3, {"causes": 1, "events": 2})) != first


def test_shares_say_how_often_a_kind_comes():
    found = list(documents(0, 0, 1000, {"short_lists": 3, "tools": 1}))
    assert 700 < sum("?" in text for text in found) < 800


def test_no_text_tells_a_scene_of_the_test_split(library):
    facts = [Fact(n, relation, v) for n in NAMES for relation in RELATIONS for v in relation.values]
    known = {wording: fact for fact in facts for wording in map(fact.fill, fact.relation.statements)}
    counts = Counter()
    for text in texts(library):
        for line in text.split(
            "\n"
        ):  # a scene is told in one line; questions, claims and answers have lines of their own
            told = {known[said.strip()] for said in re.findall(r"[^.?!:]+[.]", line) if said.strip() in known}
            if len(told) > 1:
                assert may_tell(list(told), "train"), line
                counts[sum(map(is_held_out, told))] += 1
    assert counts[0] > 1000
    assert counts[1] > 1000


def test_no_test_row_stands_in_a_text(library):
    together = "\n".join(texts(library))
    seen = 0
    for name in GENERATORS:
        for row in rows(name, "test"):
            fields = ("premise", "passage", "context", "document", "text", "sentence", "sentence1")
            for text in (str(row[field]) for field in fields if field in row):
                if len(text.split()) > 9 and name not in ("copa", "cola", "wic", "trec", "sst"):
                    assert text not in together, (name, text)
                    seen += 1
    assert seen > 1000


def test_no_text_holds_wording_of_a_template_or_an_option_block(library):
    pieces = {
        piece.strip()
        for task in load_catalog().tasks.values()
        if task.collection == "world"
        for template in (*task.templates, *([task.completion] if task.completion else []))
        for piece in re.split(r"\{\{.*?\}\}|\{%.*?%\}|\n", f"{template.input}\n{template.target}")
        if len(piece.split()) >= 4
    }
    assert len(pieces) > 100
    together = "\n".join(texts(library))
    assert [piece for piece in sorted(pieces) if piece in together] == []
    assert "OPTIONS" not in together
    assert "\n- " not in together


def test_answers_are_marked_where_they_stand():
    text, places = without_marks(f"Who? {marked('Ella')}\nElla kite? {marked('No')}.")
    assert (text, [text[a:b] for a, b in places]) == ("Who? Ella\nElla kite? No.", ["Ella", "No"])


@pytest.mark.parametrize(
    "kind", ["short_lists", "things", "drill", "claims", "late_answers", "choices", "opinions", "pronouns"]
)
def test_each_text_of_these_kinds_has_answers(library, kind):
    for text, places in library[kind]:
        assert places
        assert all(text[a:b].strip() == text[a:b] != "" for a, b in places)


def test_drills_are_answered_rightly(library):
    """Read again by other means: what a scene tells decides each answer."""
    counts = Counter()
    for text, _ in library["plain_drill"]:
        scene, *lines = text.split("\n")
        for line in lines:
            answer = line.rsplit(" ", 1)[1] if line.endswith((" Yes", " No")) else None
            for relation in RELATIONS:
                pattern = (
                    re.escape(relation.ask_yes_no).replace(r"\{n\}", r"(?P<n>\w+)").replace(r"\{v\}", r"(?P<v>[\w ]+)")
                )
                match = re.fullmatch(pattern + " (Yes|No)", line)
                if answer and match:
                    told = relation.statements[0].format(n=match["n"], v=match["v"]) in scene
                    assert told == (answer == "Yes"), (scene, line)
                    counts[answer] += 1
    assert min(counts["Yes"], counts["No"]) > 50


@pytest.mark.parametrize("kind", ["short_lists", "lists", "things", "plain_drill", "drill", "claims"])
def test_no_question_is_asked_twice(library, kind):
    """The second time the first answer could be copied, and nothing would be learned of the scene."""
    for text, _ in library[kind]:
        asked = text.split("\n")[1:]
        assert len(asked) == len(set(asked)) >= 4


def test_answers_come_late_and_in_lower_case_too(library):
    late = Counter()
    for text, places in library["late_answers"]:
        for begin, end in places:
            before = text[:begin].split("\n")
            late["own line" if before[-1] == "" else "same line"] += 1
            late[text[begin:end]] += 1
    assert late["own line"] > 500
    assert min(late["yes"], late["no"], late["Yes"], late["No"], late["true"], late["false"]) > 20
