"""What a base should know before it is tuned: test scenes with the right continuation and a wrong one."""

from __future__ import annotations

import random
from dataclasses import dataclass

from openflan.streams import stream
from openflan.world.facts import RELATIONS, draw_fact, draw_scene, split_values
from openflan.world.lexicon import BAD, GOOD, MEN, NAMES, OBJECTS, REASONS, REVIEWED, WOMEN, pronoun
from openflan.world.scenes import DENIALS


@dataclass(frozen=True, slots=True)
class Probe:
    """`right` should be likelier than `wrong` after `context`, behind a space or at the start of a line."""

    skill: str
    context: str
    right: str
    wrong: str


def draw_probes(seed: int, num_each: int) -> list[Probe]:
    """`num_each` of each skill. Scenes are of the test split, which no pretraining text tells."""
    found: list[Probe] = []
    for i in range(num_each):
        rng = stream(seed, "world", "probe", i)
        found += [
            *_list(rng),
            *_binding(rng, 2),
            *_binding(rng, 3),
            *_verdicts(rng),
            _pronoun(rng),
            *_feelings(rng),
            _reason(rng),
        ]
    return found


def _list(rng: random.Random) -> list[Probe]:
    names, things = rng.sample(NAMES, 2), rng.sample(OBJECTS, 2)
    told = " ".join(f"{name} {thing}." for name, thing in zip(names, things, strict=True))
    at, yes = rng.randrange(2), rng.random() < 0.5
    answers = ("Yes", "No") if yes else ("No", "Yes")
    return [
        Probe("what in a list", f"{told}\n{names[at]}?", things[at], things[1 - at]),
        Probe("who in a list", f"{told}\n{things[at]}?", names[at], names[1 - at]),
        Probe("yes or no in a list", f"{told}\n{names[at]} {things[at if yes else 1 - at]}?", *answers),
    ]


def _binding(rng: random.Random, people: int) -> list[Probe]:
    facts = draw_scene(rng, "test", people, people)
    fact, rival = rng.sample(facts, 2)
    told = " ".join(each.say(rng) for each in facts)
    yes = rng.random() < 0.5
    asked = fact if yes else fact.with_value(rival.value)
    right, wrong = ("Yes", "No") if yes else ("No", "Yes")
    return [
        Probe(f"what of {people}", f"{told}\n{fact.fill(fact.relation.ask_value)}", fact.value, rival.value),
        Probe(f"who of {people}", f"{told}\n{fact.fill(fact.relation.ask_who)}", fact.name, rival.name),
        Probe(f"yes or no of {people}", f"{told}\n{asked.fill(fact.relation.ask_yes_no)}", right, wrong),
        Probe(
            f"late small yes or no of {people}",
            f"{told}\n{asked.fill(fact.relation.ask_yes_no)}\nNobody spoke.\n",
            right.lower(),
            wrong.lower(),
        ),
    ]


def _verdicts(rng: random.Random) -> list[Probe]:
    facts = draw_scene(rng, "test", 2, 2)
    fact, rival = facts
    told = " ".join(each.say(rng) for each in facts)
    true = rng.random() < 0.5
    said = fact if true else fact.with_value(rival.value)
    right, wrong = ("true", "false") if true else ("false", "true")
    denied = said.fill(DENIALS[fact.relation.name])
    return [
        Probe("true or false", f"{told}\n{said.say(rng)} That is", right, wrong),
        Probe("true or false, denied", f"{told}\n{denied}", wrong.capitalize(), right.capitalize()),
    ]


def _pronoun(rng: random.Random) -> Probe:
    pair = rng.sample([rng.choice(WOMEN), rng.choice(MEN)], 2)
    name, other = rng.sample(pair, 2)
    fact = draw_fact(rng, "test", name, rng.choice(RELATIONS))
    said = fact.relation.statements[0].format(n=pronoun(name).capitalize(), v=fact.value)
    return Probe("pronoun", f"{pair[0]} met {pair[1]}. {said} That was", name, other)


def _feelings(rng: random.Random) -> list[Probe]:
    thing, good = rng.choice(REVIEWED), rng.random() < 0.5
    word, name = rng.choice(split_values(GOOD if good else BAD, "test", thing)), rng.choice(NAMES)
    mood = ("happy", "sad") if good else ("sad", "happy")
    tone = ("positive", "negative") if good else ("negative", "positive")
    return [
        Probe("happy or sad", f"The {thing} was {word}. {name} was", *mood),
        Probe("positive or negative", f"{name} called the {thing} {word}. Those were", *tone),
    ]


def _reason(rng: random.Random) -> Probe:
    event, about_one, about_two = rng.choice(REASONS)
    one, two = rng.sample(NAMES, 2)
    while two not in split_values(NAMES, "test", one, event):
        one, two = rng.sample(NAMES, 2)
    first = rng.random() < 0.5
    reason = about_one if first else about_two
    right, wrong = (one, two) if first else (two, one)
    return Probe("reason", f"{event.format(a=one, b=two)}. Somebody {reason}:", right, wrong)
