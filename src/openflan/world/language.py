"""Datasets about language: translation, sentiment, what a question asks for, grammar, and senses of words."""

from __future__ import annotations

import random

from openflan.world.facts import RELATIONS, Fact, Split, draw_fact, may_tell, split_values
from openflan.world.lexicon import (
    ANIMALS,
    BAD,
    COLORS,
    DAYS,
    GOOD,
    NAMES,
    OBJECTS,
    REVIEWED,
    SENSES,
    TRIPS,
    VELAN,
    VELAN_WORDS,
)
from openflan.world.scenes import Row

_NOUNS = OBJECTS + ANIMALS

# What one adds to a review, when it was good and when it was bad.
_PRAISE = ("I want to do it again.", "Everybody smiled.", "I told my friends to try it.", "It made us happy.")
_BLAME = ("I want my money back.", "Everybody left early.", "I told my friends to stay away.", "It made us sad.")

# Questions by what they ask for. {n} and {v} are a person and where one may go.
_ASKED = {
    "person": ("Who went to {v} with {n}?", "Which friend of {n} went to {v}?", "Whose book did {n} find at {v}?",
               "What is the name of the man that {n} met at {v}?"),
    "place": ("Where did {n} go after {v}?", "In which city did {n} find {v}?", "From where did {n} walk to {v}?",
              "What is the name of the street between the home of {n} and {v}?"),
    "thing": ("What did {n} buy at {v}?", "Which thing did {n} lose at {v}?", "What did {n} carry to {v}?",
              "What is the name of the book that {n} read at {v}?"),
    "time": ("When did {n} go to {v}?", "On which day did {n} walk to {v}?", "At what time did {n} leave {v}?",
             "How long did {n} stay at {v}?"),
    "number": ("How many people did {n} see at {v}?", "How often did {n} go to {v}?", "How much did {n} pay at {v}?",
               "What number did {n} see on the door of {v}?"),
    "reason": ("Why did {n} go to {v}?", "What was the reason for {n} to walk to {v}?", "Why was {n} late at {v}?",
               "What made {n} leave {v}?"),
}  # fmt: skip

# A statement about one person and the same about two, by the relation's name: {s} is the verb in either form.
_VERBS = {
    "lives": ("{n} {s} in {v}.", "lives", "live"),
    "owns": ("{n} {s} {v}.", "has", "have"),
    "eats": ("{n} {s} to eat {v}.", "likes", "like"),
    "pet": ("{n} {s} {v} as a pet.", "keeps", "keep"),
}


def translate(rng: random.Random, split: Split) -> Row:
    """A phrase or sentence in English and in Velan, where the adjective follows its noun and nothing has an article."""
    (english, velan), (english2, velan2) = _phrase(rng, split), _phrase(rng, split)
    form = rng.random()
    if form < 0.35:
        return {"translation": {"en": english, "ve": velan}}
    if form < 0.6:
        return {"translation": {"en": f"{english} and {english2}", "ve": f"{velan} {VELAN_WORDS['and']} {velan2}"}}
    name, verb = rng.choice(NAMES), rng.choice(("has", "sees", "wants"))
    return {"translation": {"en": f"{name} {verb} {english}", "ve": f"{name} {VELAN_WORDS[verb]} {velan}"}}


def _phrase(rng: random.Random, split: Split) -> tuple[str, str]:
    noun = rng.choice(_NOUNS)
    color = rng.choice(split_values(COLORS, split, "velan", noun))
    return f"a {color} {noun}", f"{VELAN[noun]} {VELAN[color]}"


def sst(rng: random.Random, split: Split) -> Row:
    """One sentence about a film, a meal, ...: negative (0) or positive (1)."""
    thing, label = rng.choice(REVIEWED), rng.randrange(2)
    one, two = _adjectives(rng, split, thing, label)
    against = rng.choice(split_values((BAD, GOOD)[1 - label], split, thing))
    forms = (
        f"The {thing} was {one}.",
        f"The {thing} was {one} and {two}.",
        f"What a {one}, {two} {thing}!",
        f"{rng.choice(NAMES)} thinks that the {thing} is really {one}.",
        f"It was a {one} and {two} {thing}.",
        f"It was no {against} {thing}, it was {one}.",
    )
    return {"sentence": rng.choice(forms), "label": label}


def reviews(rng: random.Random, split: Split) -> Row:
    """Two or three sentences about a film, a meal, ...: bad (0) or good (1)."""
    thing, label = rng.choice(REVIEWED), rng.randrange(2)
    one, two = _adjectives(rng, split, thing, label)
    day, who = rng.choice(DAYS), rng.choice(NAMES)
    text = [
        rng.choice((f"We talked about the {thing} on {day}.", f"This is about a {thing}.", f"{who} chose a {thing}.")),
        rng.choice((f"It was {one}.", f"To me it was {one} and {two}.", f"Most of us found it {one}.")),
    ]
    if rng.random() < 0.6:
        text.append(rng.choice((_BLAME, _PRAISE)[label]))
    return {"text": " ".join(text), "label": label}


def _adjectives(rng: random.Random, split: Split, thing: str, label: int) -> list[str]:
    return rng.sample(split_values((BAD, GOOD)[label], split, thing), 2)


def trec(rng: random.Random, split: Split) -> Row:
    """A question, and whether it asks for a person, a place, a thing, a time, a number or a reason."""
    asked = rng.choice(tuple(_ASKED))
    wording, place = rng.choice(_ASKED[asked]), rng.choice(TRIPS)
    name = rng.choice(split_values(NAMES, split, wording, place))
    return {"text": wording.format(n=name, v=place), "coarse_label": asked}


def cola(rng: random.Random, split: Split) -> Row:
    """Is the sentence good English (1)? A wrong one (0) has words in the wrong order, or a verb that does not agree.

    The words of right and wrong sentences are the same ones.
    """
    label = rng.randrange(2)
    if rng.random() < 0.5:
        fact = draw_fact(rng, split, rng.choice(NAMES), rng.choice(RELATIONS))
        words = fact.say(rng).rstrip(".").split()
        if not label:
            at = rng.randrange(1, len(words) - 1)
            words[at], words[at + 1] = words[at + 1], words[at]
        return {"sentence": " ".join(words) + ".", "label": label}
    relation = rng.choice([r for r in RELATIONS if r.name in _VERBS])
    pattern, singular, plural = _VERBS[relation.name]
    people = rng.sample(NAMES, rng.choice((1, 2)))
    value = _shared_value(rng, split, people, Fact(people[0], relation, ""))
    if value is None:
        return cola(rng, split)
    verb = singular if (len(people) == 1) == bool(label) else plural
    return {"sentence": pattern.format(n=" and ".join(people), s=verb, v=value), "label": label}


def _shared_value(rng: random.Random, split: Split, people: list[str], fact: Fact) -> str | None:
    """A value that the split allows to all of the people; None where there is none."""
    values = fact.relation.values
    shared = [v for v in values if may_tell([Fact(name, fact.relation, v) for name in people], split)]
    return rng.choice(shared) if shared else None


def wic(rng: random.Random, split: Split) -> Row:
    """A word in two sentences: does it mean the same in both (1) or not (0)?"""
    word, *senses = rng.choice(SENSES)
    label = rng.randrange(2)
    one, other = rng.sample(senses, 2)
    pair = rng.sample(one, 2) if label else [rng.choice(one), rng.choice(other)]
    first, second = (text.format(n=rng.choice(split_values(NAMES, split, text))) for text in pair)
    return {"word": word, "sentence1": first, "sentence2": second, "label": label}
