"""Datasets in which text is written: from facts or words, or shorter than before. And what a text is about."""

from __future__ import annotations

import random
from collections.abc import Sequence

from openflan.world.facts import RELATIONS, Fact, Relation, Split, draw_fact, draw_scene, may_tell, values_for
from openflan.world.lexicon import ANIMALS, DAYS, FOODS, NAMES, OBJECTS, pronoun
from openflan.world.scenes import Row

_BY_NAME = {relation.name: relation for relation in RELATIONS}
_TOPICS = {"eats": "food", "pet": "animals", "went": "travel", "works": "work"}
_WEATHER = ("It was a cold day.", "The sun was out.", "It rained a little.", "There was snow on the ground.")
_ENDS = ("Then it was time to go home.", "Everybody was happy.", "Nobody else was there.", "The day ended well.")


def e2e(rng: random.Random, split: Split) -> Row:
    """Two or three things that are known of one person, and a sentence that says them all in the same order."""
    facts = draw_scene(rng, split, 1, rng.choice((2, 2, 3)))
    name = facts[0].name
    known = ", ".join([f"name[{name}]", *(f"{fact.relation.name}[{fact.value}]" for fact in facts)])
    said = [fact.fill(fact.relation.statements[0].removeprefix("{n} ").rstrip(".")) for fact in facts]
    return {"meaning_representation": known, "target": f"{name} {', '.join(said[:-1])} and {said[-1]}."}


def common_gen(rng: random.Random, split: Split) -> Row:
    """Four words, and a sentence that uses them all: somebody does something with something at a place."""
    name = rng.choice(NAMES)
    trip = draw_fact(rng, split, name, _BY_NAME["went"]).value
    verb, past, things = rng.choice(
        (
            ("see", "saw", ANIMALS),
            ("find", "found", OBJECTS),
            ("lose", "lost", OBJECTS),
            ("feed", "fed", ANIMALS),
            ("eat", "ate", FOODS),
        )
    )
    thing = rng.choice(things)
    phrase = f"some {thing}" if things is FOODS else f"a {thing}"
    concepts = [name, verb, thing, trip.removeprefix("the ")]
    rng.shuffle(concepts)
    return {"concepts": concepts, "target": f"{name} {past} {phrase} at {trip}."}


def gist(rng: random.Random, split: Split) -> Row:
    """A short story with a trip, a thing bought on it and matters of no weight, and one sentence that sums it up."""
    name = rng.choice(NAMES)
    lives, trip, bought = _draw_facts(rng, split, [(name, _BY_NAME[which]) for which in ("lives", "went", "owns")])
    she = pronoun(name).capitalize()
    story = [
        f"On {rng.choice(DAYS)}, {trip.say(rng)}",
        f"{rng.choice((name, she))} bought {bought.value} there.",
        rng.choice(_WEATHER),
        rng.choice(_ENDS),
    ]
    if rng.random() < 0.5:
        story[1], story[2] = story[2], story[1]
    if rng.random() < 0.5:
        story.insert(0, lives.say(rng))
    return {"document": " ".join(story), "summary": f"{name} bought {bought.value} at {trip.value}."}


def topics(rng: random.Random, split: Split) -> Row:
    """Two or three sentences, and which of four topics they are about."""
    relation = rng.choice([_BY_NAME[name] for name in _TOPICS])
    people = rng.sample(NAMES, rng.choice((2, 2, 3)))
    text = " ".join(fact.say(rng) for fact in _draw_facts(rng, split, [(name, relation) for name in people]))
    return {"text": text, "label": list(_TOPICS).index(relation.name)}


def _draw_facts(rng: random.Random, split: Split, about: Sequence[tuple[str, Relation]]) -> list[Fact]:
    """A fact for each person and relation, which the split may tell together."""
    while True:
        facts = [Fact(name, relation, rng.choice(values_for(name, relation, split))) for name, relation in about]
        if may_tell(facts, split):
            return facts
