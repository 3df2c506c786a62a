"""Rows of the embedded world: the same every time, apart from each other, and balanced."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import pytest

from openflan.errors import CatalogError, DataError
from openflan.world.countries import countries, country_facts
from openflan.world.facts import RELATIONS, Fact, is_held_out, may_tell, split_values
from openflan.world.generate import GENERATORS, rows
from openflan.world.lexicon import BAD, CAUSES, COLORS, FELT, GOOD, NAMES, REVIEWED, SENSES, VELAN

PAWS = [
    {"sentence1": "Ella was visited by Tom on Thursday.", "sentence2": "On Thursday, Ella visited Tom.", "label": 0}
]
TRANSLATE = [{"translation": {"en": "Carl has a red ball", "ve": "Carl tena pomo rona"}}]


def texts(row: object) -> list[str]:
    """All texts of a row, at any depth."""
    if isinstance(row, dict):
        return [text for value in row.values() for text in texts(value)]
    if isinstance(row, list):
        return [text for value in row for text in texts(value)]
    return [row] if isinstance(row, str) else []


def test_there_are_twenty_five_generators() -> None:
    assert len(GENERATORS) == 25


def test_the_first_rows_stay_what_they_are() -> None:
    assert rows("paws", "train", 1) == PAWS
    assert rows("translate", "test", 1) == TRANSLATE


@pytest.mark.parametrize("name", GENERATORS)
def test_rows_are_different_and_never_shared_by_the_splits(name: str) -> None:
    train, test = rows(name, "train"), rows(name, "test")
    keys = [{json.dumps(row, sort_keys=True) for row in part} for part in (train, test)]
    assert (len(keys[0]), len(keys[1])) == (2000, 200)
    assert not keys[0] & keys[1]


@pytest.mark.parametrize("name", GENERATORS)
def test_rows_do_not_depend_on_how_many_are_asked(name: str) -> None:
    assert rows(name, "test", 20) == rows(name, "test", 60)[:20]
    assert rows(name, "test", 20) != rows(name, "test", 20, seed=1)


def told_facts() -> dict[str, Fact]:
    """Every sentence that tells a fact of a person, with the fact."""
    facts = [Fact(n, relation, v) for n in NAMES for relation in RELATIONS for v in relation.values]
    assert len(facts) == 2000
    return {wording: fact for fact in facts for wording in map(fact.fill, fact.relation.statements)}


@pytest.mark.parametrize("name", GENERATORS)
def test_no_text_of_a_test_row_tells_a_scene_of_the_training_split(name: str) -> None:
    """Test texts tell held-out facts only, training texts never two of them, and none alone."""
    known = told_facts()
    counts: Counter[tuple[str, int, int]] = Counter()
    for split in ("train", "test"):
        for row in rows(name, split):  # type: ignore[arg-type]
            for text in scenes_of(name, row):
                told = {known[said] for said in sentences(text) if said in known}
                if not told:
                    continue
                assert may_tell(list(told), split), (split, text)  # type: ignore[arg-type]
                counts[split, len(told), sum(map(is_held_out, told))] += 1
    if name in ("rte", "boolq", "squad", "multi"):
        assert counts["test", 2, 2] > 50
        assert counts["train", 2, 1] > 500


def sentences(text: str) -> list[str]:
    """The sentences of a scene, with names for pronouns and nothing around the fact."""
    name, found = "", []
    for said in re.findall(r"[^.?!]+[.?!]", text):
        plain = re.sub(r"^On \w+, ", "", said.strip()).replace(" there.", ".")
        plain = re.sub(r"^(She|He)\b", name, plain)
        name = next((word for word in plain.split(" ") if word in NAMES), name)
        found.append(plain)
    return found


def scenes_of(name: str, row: dict[str, Any]) -> list[str]:
    """The texts of a row that tell a scene, and none that only ask about one or claim something false."""
    fields = {
        "rte": ["premise"],
        "boolq": ["passage"],
        "squad": ["context"],
        "multi": ["passage"],
        "gist": ["document"],
    }
    fields |= {"topics": ["text"], "record": ["passage"], "cosmos": ["context"], "cola": ["sentence"]}
    return [row[field] for field in fields.get(name, [])]


def test_happenings_do_not_cross_the_splits() -> None:
    """Who something happens to is of the row's own split."""
    sides: dict[str, str] = {}
    happenings = [(event, f"{event}.") for event, _ in (*CAUSES, *FELT)]
    happenings += [(text, text) for _, *senses in SENSES for sense in senses for text in sense]
    for context, wording in happenings:
        held = set(split_values(NAMES, "test", context))
        for name in NAMES:
            said = wording.format(n=name)
            sides[said[0].upper() + said[1:]] = "test" if name in held else "train"
    seen: Counter[str] = Counter()
    for name in GENERATORS:
        for split in ("train", "test"):
            for row in rows(name, split):  # type: ignore[arg-type]
                for text in texts(row):
                    for sentence in re.findall(r"[^.?]+[.?]", text):
                        side = sides.get(sentence.strip(), split)
                        assert side == split, (name, split, sentence)
                        seen[split] += sentence.strip() in sides
    assert seen["train"] > 5_000
    assert seen["test"] > 500


def test_pairs_of_thing_and_adjective_do_not_cross_the_splits() -> None:
    for names, pairs in (
        (("sst", "reviews"), [(thing, word) for thing in REVIEWED for word in GOOD + BAD]),
        (("translate",), [(noun, color) for noun in VELAN if noun not in COLORS for color in COLORS]),
    ):
        found = {split: _pairs(names, split, pairs) for split in ("train", "test")}
        assert not found["train"] & found["test"]
        assert len(found["train"] | found["test"]) == len(pairs)
        assert len(found["test"]) == pytest.approx(len(pairs) / 3, rel=0.15)


def _pairs(names: tuple[str, ...], split: str, pairs: list[tuple[str, str]]) -> set[tuple[str, str]]:
    found = set()
    for name in names:
        for row in rows(name, split):  # type: ignore[arg-type]
            for phrase in re.split(r" and (?=a )", " ".join(texts(row))):
                words = set(re.findall(r"\w+", phrase))
                found |= {pair for pair in pairs if words.issuperset(pair)}
    return found


def test_a_question_about_a_country_belongs_to_one_split() -> None:
    assert len(countries()) == 12
    assert (len(country_facts("train")), len(country_facts("test"))) == (40, 20)
    asked: dict[str, set[tuple[str, str]]] = {"train": set(), "test": set()}
    for split, pairs in asked.items():
        for row in rows("arc", split):  # type: ignore[arg-type]
            gold = row["choices"]["text"]["ABC".index(str(row["answerKey"]))]  # type: ignore[index]
            pairs |= {(c.name, gold) for c in countries() if c.name in str(row["question"])}
        for row in rows("nq", split):  # type: ignore[arg-type]
            answer: list[str] = row["answer"]  # type: ignore[assignment]
            there = [c.name for c in countries() if c.name in str(row["question"])]
            known = {f.answer for c in countries() for f in c.facts}
            if there:
                pairs.add((there[0], answer[0]))
            else:
                pairs |= {(answer[0], word) for word in re.findall(r"\w+", str(row["question"])) if word in known}
    assert asked["train"] == {(f.country, f.answer) for f in country_facts("train")}
    assert asked["test"] == {(f.country, f.answer) for f in country_facts("test")}


# name -> (field with the label or the gold index, its values)
LABELS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "rte": ("label", (0, 1)),
    "cb": ("label", (0, 1, 2)),
    "boolq": ("answer", (False, True)),
    "multi": ("label", (0, 1, 2)),
    "arc": ("answerKey", ("A", "B", "C")),
    "copa": ("label", (0, 1)),
    "piqa": ("label", (0, 1)),
    "winogrande": ("answer", ("1", "2")),
    "dpr": ("label", (0, 1)),
    "sst": ("label", (0, 1)),
    "reviews": ("label", (0, 1)),
    "paws": ("label", (0, 1)),
    "qqp": ("label", (0, 1)),
    "topics": ("label", (0, 1, 2, 3)),
    "cosmos": ("label", (0, 1, 2, 3)),
    "trec": ("coarse_label", ("person", "place", "thing", "time", "number", "reason")),
    "cola": ("label", (0, 1)),
    "wic": ("label", (0, 1)),
}


@pytest.mark.parametrize("name", LABELS)
def test_labels_and_gold_positions_are_balanced(name: str) -> None:
    field, values = LABELS[name]
    counts = Counter(row[field] for row in rows(name, "train"))
    assert set(counts) == set(values)
    expected = 2000 / len(values)
    chi_square = sum((count - expected) ** 2 / expected for count in counts.values())
    assert chi_square < 20.5  # 5 degrees of freedom exceed it once in a thousand draws, fewer degrees more rarely


def test_gold_positions_of_record_are_balanced_whatever_the_number_of_names() -> None:
    counts = Counter((len(row["entities"]), row["label"]) for row in rows("record", "train"))  # type: ignore[arg-type]
    assert set(counts) == {(2, 0), (2, 1), (3, 0), (3, 1), (3, 2)}
    for size in (2, 3):
        total = sum(n for (names, _), n in counts.items() if names == size)
        assert all(abs(counts[size, i] / total - 1 / size) < 0.05 for i in range(size))


def test_an_unknown_dataset_is_named_with_its_neighbour() -> None:
    with pytest.raises(CatalogError, match="Did you mean rte"):
        rows("rtee", "train")


def test_more_rows_than_there_are_is_an_error() -> None:
    with pytest.raises(DataError, match="Ask for fewer rows"):
        rows("nq", "test", 5000)
