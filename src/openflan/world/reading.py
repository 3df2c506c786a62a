"""Datasets in which a passage is read and a question about it answered; some need common sense on top."""

from __future__ import annotations

import random

from openflan.world.facts import RELATIONS, Fact, Split, draw_fact, draw_other, may_tell, split_values
from openflan.world.lexicon import CAUSES, DAYS, FEELINGS, FELT, NAMES
from openflan.world.scenes import (
    Row,
    draw_case,
    draw_causes,
    draw_group,
    draw_rivals,
    passage,
    place_gold,
    sentence,
)

# Feelings that one event could cause: never options of one row.
_KIN = {
    "happy": "proud", "proud": "happy", "sad": "angry", "angry": "sad",
    "tired": "hungry", "hungry": "tired", "scared": "cold", "cold": "scared",
}  # fmt: skip


def boolq(rng: random.Random, split: Split) -> Row:
    """A yes-or-no question about a scene, or about who went where on which day."""
    if rng.random() < 0.5:
        case = draw_case(rng, split)
        true = rng.random() < 0.5
        asked = case.true if true else case.false
        question = asked.fill(asked.relation.ask_yes_no)
        return {"passage": passage(rng, case.facts), "question": question, "answer": true}
    days, trips = _week(rng, split)
    true = rng.random() < 0.5
    at, other = rng.sample((0, 1), 2)
    question = f"Did {trips[at].name} go to {trips[at].value} on {days[at if true else other]}?"
    return {"passage": _diary(rng, days, trips), "question": question, "answer": true}


def squad(rng: random.Random, split: Split) -> Row:
    """A question whose answer stands in the passage: what, where, who or when."""
    kind = rng.random()
    if kind < 0.2:
        days, trips = _week(rng, split)
        at = rng.randrange(2)
        text, answer = _diary(rng, days, trips), days[at]
        question = f"When did {trips[at].name} go to {trips[at].value}?"
    elif kind < 0.45:
        facts = draw_group(rng, split, rng.randint(2, 3))
        fact = rng.choice(facts)
        text, question, answer = passage(rng, facts), fact.fill(fact.relation.ask_who), fact.name
    else:
        case = draw_case(rng, split)
        text, answer = passage(rng, case.facts), case.true.value
        question = case.true.fill(case.true.relation.ask_value)
    return {"context": text, "question": question, "answers": {"text": [answer]}}


def multi(rng: random.Random, split: Split) -> Row:
    """A question about a scene with three answers to choose from; the wrong ones may stand in the passage, too."""
    if rng.random() < 0.4:
        facts = draw_group(rng, split, rng.randint(2, 3))
        fact = rng.choice(facts)
        question, answer = fact.fill(fact.relation.ask_who), fact.name
        others = [f.name for f in facts if f is not fact]
        others += rng.sample([n for n in NAMES if n not in (answer, *others)], 2 - len(others))
        text = passage(rng, facts)
    else:
        case = draw_case(rng, split)
        text, question = passage(rng, case.facts), case.true.fill(case.true.relation.ask_value)
        answer = case.true.value
        others = [case.false.value, draw_other(rng, split, case.true, avoid=[case.false.value]).value]
    choices, label = place_gold(rng, answer, others)
    return {"passage": text, "question": question, "choices": choices, "label": label}


def _week(rng: random.Random, split: Split) -> tuple[list[str], list[Fact]]:
    """Two days, and a trip on each: both of one person, or of two people who could swap them."""
    while True:
        trips = list(draw_rivals(rng, split))
        if rng.random() < 0.5:
            trips = [trips[0], trips[0].with_value(trips[1].value)]
        if trips[0].relation.name == "went" and may_tell(trips, split):
            return rng.sample(DAYS, 2), trips


def _diary(rng: random.Random, days: list[str], trips: list[Fact]) -> str:
    told = [
        f"On {day}, {trip.name} {rng.choice(('went', 'walked'))} to {trip.value}."
        for day, trip in zip(days, trips, strict=True)
    ]
    rng.shuffle(told)
    return " ".join(told)


def cosmos(rng: random.Random, split: Split) -> Row:
    """Something happened to somebody: what came of it, what came before it, or how did it feel? Four answers."""
    kind = rng.choice(("feeling", "next", "before"))
    if kind == "feeling":
        event, gold = rng.choice(FELT)
        name = rng.choice(split_values(NAMES, split, event))
        context = sentence(event.format(n=name))
        question = f"How did {name} feel?"
        others = rng.sample([feeling for feeling in FEELINGS if feeling not in (gold, _KIN[gold])], 3)
    else:
        name, pairs = draw_causes(rng, split, 4)
        told, asked = (0, 1) if kind == "next" else (1, 0)
        context, gold = pairs[0][told], pairs[0][asked]
        question = "What probably happened next?" if kind == "next" else "What probably happened before?"
        others = [pair[asked] for pair in pairs[1:]]
    if rng.random() < 0.5:
        aside = draw_fact(rng, split, name, rng.choice(RELATIONS))
        context = f"{aside.say(rng)} {context}"
    answers, label = place_gold(rng, gold, others)
    return {
        "context": context,
        "question": question,
        **{f"answer{i}": answer for i, answer in enumerate(answers)},
        "label": label,
    }


def record(rng: random.Random, split: Split) -> Row:
    """A passage about two or three people and a sentence with `@placeholder`: whose name fits?

    Half of the sentences restate a fact, half tell what came of something in the passage. Beside the usual `answers`,
    `label` is the index of the answer among the `entities`.
    """
    if rng.random() < 0.5:
        facts = draw_group(rng, split, rng.randint(2, 3))
        fact = rng.choice(facts)
        text, names, answer = passage(rng, facts), [f.name for f in facts], fact.name
        query = rng.choice(fact.relation.statements).format(n="@placeholder", v=fact.value)
    else:
        causes = rng.sample([pair for pair in CAUSES if pair[1].startswith("{n}")], rng.randint(2, 3))
        names = []
        for cause, _ in causes:
            names.append(rng.choice([n for n in split_values(NAMES, split, cause) if n not in names]))
        text = " ".join(sentence(cause.format(n=name)) for name, (cause, _) in zip(names, causes, strict=True))
        at = rng.randrange(len(names))
        answer, query = names[at], sentence(causes[at][1].format(n="@placeholder"))
    entities, label = place_gold(rng, answer, [name for name in names if name != answer])
    return {"passage": text, "query": query, "entities": entities, "answers": [answer], "label": label}
