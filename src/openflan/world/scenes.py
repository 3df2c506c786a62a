"""What several datasets share: passages about people, and facts that are true or false in them."""

from __future__ import annotations

import random
from dataclasses import dataclass

from openflan.world.facts import (
    RELATIONS,
    Fact,
    Relation,
    Split,
    draw_other,
    draw_scene,
    may_tell,
    split_values,
    values_for,
)
from openflan.world.lexicon import ACTIONS, CAUSES, NAMES, WOMEN, pronoun

Row = dict[str, object]

# How one denies a fact, by the relation's name.
DENIALS = {
    "lives": "{n} does not live in {v}.",
    "works": "{n} is not {v}.",
    "owns": "{n} does not have {v}.",
    "eats": "{n} does not like to eat {v}.",
    "pet": "{n} does not keep {v} as a pet.",
    "went": "{n} did not go to {v}.",
}

# Relations in which a person has one value only: another value is false, not just unknown.
EXCLUSIVE = ("lives", "works")

# Causes of which one might have another's effect: never two of them in one row.
_ALIKE = {"{n} ran for two hours", "{n} did not sleep at night", "{n} missed the bus", "{n} won the race"}


@dataclass(frozen=True, slots=True)
class Case:
    """A scene, one fact that is true in it and one about the same person and relation that is not."""

    facts: list[Fact]
    true: Fact
    false: Fact


def sentence(text: str) -> str:
    """`text` with a capital letter and a full stop."""
    return f"{text[0].upper()}{text[1:]}."


def passage(rng: random.Random, facts: list[Fact]) -> str:
    """The facts in sentences; where two in a row are about one person, the second may say `she` or `he`."""
    said: list[str] = []
    for i, fact in enumerate(facts):
        again = i > 0 and facts[i - 1].name == fact.name and rng.random() < 0.5
        name = pronoun(fact.name).capitalize() if again else fact.name
        said.append(rng.choice(fact.relation.statements).format(n=name, v=fact.value))
    return " ".join(said)


def draw_rivals(rng: random.Random, split: Split, apart: bool = False) -> tuple[Fact, Fact]:
    """The same relation of two people with two values, either of which the split allows to either person.

    `apart`: each of the four facts that this makes may be told alone.
    """
    relation = rng.choice(RELATIONS)
    while True:
        one, two = rng.sample(NAMES, 2)
        if apart:
            allowed = [split_values(relation.values, split, name, relation.name) for name in (one, two)]
        else:
            allowed = [list(values_for(name, relation, split)) for name in (one, two)]
        both = [value for value in allowed[0] if value in allowed[1]]
        if len(both) >= 2:
            first, second = rng.sample(both, 2)
            facts = Fact(one, relation, first), Fact(two, relation, second)
            if may_tell(facts, split):
                return facts


def draw_case(rng: random.Random, split: Split) -> Case:
    """A scene about one person (half of the time) or two, with two to four facts."""
    if rng.random() < 0.5:
        facts = draw_scene(rng, split, num_people=1, num_facts=rng.randint(2, 3))
        true = rng.choice(facts)
        return Case(facts, true, draw_other(rng, split, true))
    while True:
        true, rival = draw_rivals(rng, split)
        facts = [true, rival]
        if rng.random() < 0.5:
            relation = other_relation(rng, true.relation)
            facts += [Fact(fact.name, relation, rng.choice(values_for(fact.name, relation, split))) for fact in facts]
        if may_tell(facts, split):
            rng.shuffle(facts)
            return Case(facts, true, true.with_value(rival.value))


def draw_group(rng: random.Random, split: Split, num_people: int) -> list[Fact]:
    """One relation of several people who all have different values: each value tells who it is."""
    return draw_scene(rng, split, num_people, num_people)


def other_relation(rng: random.Random, relation: Relation) -> Relation:
    """Any relation but this one."""
    return rng.choice([r for r in RELATIONS if r is not relation])


def draw_action(rng: random.Random, split: Split, mixed: bool = False) -> tuple[str, str, tuple[str, str, str]]:
    """Two people and what the first does to the second, such that the split allows it either way round.

    `mixed`: a woman and a man, so that a pronoun tells them apart.
    """
    while True:
        one, two = rng.sample(NAMES, 2)
        action = rng.choice(ACTIONS)
        there = two in split_values(NAMES, split, one, action[0])
        if there and one in split_values(NAMES, split, two, action[0]) and not (mixed and same_sex(one, two)):
            return one, two, action


def same_sex(one: str, two: str) -> bool:
    """Whether one pronoun could mean both."""
    return (one in WOMEN) == (two in WOMEN)


def draw_causes(rng: random.Random, split: Split, num_causes: int) -> tuple[str, list[tuple[str, str]]]:
    """A person and several (cause, effect) pairs of the split that no effect of another pair would fit."""
    while True:
        name = rng.choice(NAMES)
        allowed = [pair for pair in CAUSES if name in split_values(NAMES, split, pair[0])]
        if len(allowed) < num_causes:
            continue
        pairs = rng.sample(allowed, num_causes)
        if sum(cause in _ALIKE for cause, _ in pairs) < 2:
            return name, [(sentence(c.format(n=name)), sentence(e.format(n=name))) for c, e in pairs]


def place_gold(rng: random.Random, gold: str, others: list[str]) -> tuple[list[str], int]:
    """The options in random order, and where the gold one came to stand."""
    options = [gold, *others]
    rng.shuffle(options)
    return options, options.index(gold)
