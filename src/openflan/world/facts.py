"""Facts about the people of the world, and which scenes belong to the test split.

The split is by scene. A third of all (name, relation, value) triples is held out, and a test scene tells held-out facts
only. A training scene may tell one of them, but never alone and never beside another: each value is then as usual for
each person as any other, and yet no two facts of a test scene, and no fact that a test row tells alone, are told in
pretraining text or in a training row. A split by triple would teach that what test rows tell does not occur.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from openflan.streams import share
from openflan.world.lexicon import ANIMALS, COLORS, FOODS, JOBS, NAMES, OBJECTS, PLACES, TRIPS, article

Split = Literal["train", "test"]


@dataclass(frozen=True, slots=True)
class Relation:
    """One thing that can be true of a person. In the texts `{n}` is the person and `{v}` the value."""

    name: str
    values: tuple[str, ...]
    statements: tuple[str, ...]
    ask_value: str
    ask_who: str
    ask_yes_no: str


RELATIONS = (
    Relation(
        "lives", PLACES, ("{n} lives in {v}.", "{n} has a home in {v}."),
        "Where does {n} live?", "Who lives in {v}?", "Does {n} live in {v}?",
    ),
    Relation(
        "works", tuple(map(article, JOBS)), ("{n} is {v}.", "{n} works as {v}."),
        "What is the job of {n}?", "Who is {v}?", "Is {n} {v}?",
    ),
    Relation(
        "owns", tuple(f"a {c} {o}" for c in COLORS for o in OBJECTS), ("{n} has {v}.", "{n} bought {v}."),
        "What does {n} have?", "Who has {v}?", "Does {n} have {v}?",
    ),
    Relation(
        "eats", FOODS, ("{n} likes to eat {v}.", "{n} loves {v}."),
        "What does {n} like to eat?", "Who likes to eat {v}?", "Does {n} like to eat {v}?",
    ),
    Relation(
        "pet", tuple(map(article, ANIMALS)), ("{n} keeps {v} as a pet.", "{n} has {v} at home."),
        "What pet does {n} have?", "Who keeps {v} as a pet?", "Does {n} keep {v} as a pet?",
    ),
    Relation(
        "went", TRIPS, ("{n} went to {v}.", "{n} walked to {v}."),
        "Where did {n} go?", "Who went to {v}?", "Did {n} go to {v}?",
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fact:
    """`name` stands in `relation` to `value`."""

    name: str
    relation: Relation
    value: str

    def say(self, rng: random.Random) -> str:
        """One sentence that states the fact, in one of the relation's wordings."""
        return rng.choice(self.relation.statements).format(n=self.name, v=self.value)

    def with_value(self, value: str) -> Fact:
        """The same said of another value."""
        return Fact(self.name, self.relation, value)

    def fill(self, text: str) -> str:
        """`text` with `{n}` and `{v}` filled in."""
        return text.format(n=self.name, v=self.value)


def test_third(values: Sequence[str], *names: str) -> frozenset[str]:
    """The third of `values` (rounded) kept for test rows in the context `names`, decided by their text alone."""
    return _third(tuple(values), names)


@functools.cache
def _third(values: tuple[str, ...], names: tuple[str, ...]) -> frozenset[str]:
    ranked = sorted(values, key=lambda value: share("world", *names, value))
    return frozenset(ranked[: round(len(values) / 3)])


def split_values(values: Sequence[str], split: Split, *names: str) -> list[str]:
    """The values that rows of `split` may use in the context `names` (a person and a relation, say)."""
    held = test_third(values, *names)
    return [value for value in values if (value in held) == (split == "test")]


@functools.cache
def values_for(name: str, relation: Relation, split: Split) -> tuple[str, ...]:
    """The values that scenes of `split` may give to `name`: those held out, or any."""
    return tuple(split_values(relation.values, "test", name, relation.name)) if split == "test" else relation.values


def is_held_out(fact: Fact) -> bool:
    """Whether the fact is of the third that test scenes are made of."""
    return fact.value in test_third(fact.relation.values, fact.name, fact.relation.name)


def may_tell(facts: Sequence[Fact], split: Split) -> bool:
    """Whether a text of `split` may tell these facts and no others."""
    num_held_out = sum(map(is_held_out, facts))
    if split == "test":
        return num_held_out == len(facts)
    return num_held_out == 0 or (num_held_out == 1 and len(facts) > 1)


def draw_fact(rng: random.Random, split: Split, name: str, relation: Relation) -> Fact:
    """A fact about `name` that a text of `split` may tell alone."""
    return Fact(name, relation, rng.choice(split_values(relation.values, split, name, relation.name)))


def draw_other(rng: random.Random, split: Split, fact: Fact, avoid: Sequence[str] = ()) -> Fact:
    """The same with another value, drawn as scenes draw theirs: what a false statement says. None of `avoid`."""
    return fact.with_value(
        rng.choice([v for v in values_for(fact.name, fact.relation, split) if v not in (fact.value, *avoid)])
    )


def draw_scene(rng: random.Random, split: Split, num_people: int, num_facts: int) -> list[Fact]:
    """Facts about several people, in random order: every person appears, and no two share a value of a relation.

    Facts are shared out evenly; people share relations, so that telling who has what needs both name and value.
    """
    while True:
        names = rng.sample(NAMES, num_people)
        relations = rng.sample(RELATIONS, max(1, -(-num_facts // num_people)))
        facts: list[Fact] = []
        for i in range(num_facts):
            name, relation = names[i % num_people], relations[i // num_people]
            taken = [fact.value for fact in facts if fact.relation is relation]
            free = [value for value in values_for(name, relation, split) if value not in taken]
            facts += [Fact(name, relation, rng.choice(free))] if free else []
        if len(facts) == num_facts and may_tell(facts, split):
            rng.shuffle(facts)
            return facts
