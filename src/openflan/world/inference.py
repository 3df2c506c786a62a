"""Datasets that compare two sentences: inference and paraphrase.

Each label needs both sentences: either alone, or the words without their order, says nothing about it.
"""

from __future__ import annotations

import random

from openflan.world.facts import Fact, Split, draw_fact, may_tell, values_for
from openflan.world.lexicon import DAYS, NAMES
from openflan.world.scenes import (
    DENIALS,
    EXCLUSIVE,
    Row,
    draw_action,
    draw_case,
    draw_rivals,
    other_relation,
    passage,
)

# Two more ways to ask whether a fact is true, by the relation's name.
_REASKED = {
    "lives": ("Is the home of {n} in {v}?", "Is {v} where {n} lives?"),
    "works": ("Does {n} work as {v}?", "Is it true that {n} is {v}?"),
    "owns": ("Is it true that {n} has {v}?", "Is there {v} that {n} bought?"),
    "eats": ("Does {n} love {v}?", "Is it true that {n} likes {v}?"),
    "pet": ("Is the pet of {n} {v}?", "Is it true that {n} keeps {v}?"),
    "went": ("Is it true that {n} went to {v}?", "Did {n} walk to {v}?"),
}


def rte(rng: random.Random, split: Split) -> Row:
    """A scene and a statement: does it follow? It is restated, denied, said of `somebody`, or leaves the color out."""
    case = draw_case(rng, split)
    relation = case.true.relation
    follows = rng.random() < 0.5
    form = rng.random()
    if form < 0.2:
        absent = [v for v in relation.values if all(v != fact.value for fact in case.facts)]
        value = case.true.value if follows else rng.choice(absent)
        hypothesis = Fact("Somebody", relation, value).fill(relation.statements[0])
    elif form < 0.5 and relation.name in EXCLUSIVE:
        denied = case.false if follows else case.true
        hypothesis = denied.fill(DENIALS[relation.name])
    elif form < 0.5 and relation.name == "owns":
        thing, others = _thing(case.true), {_thing(fact) for fact in case.facts}
        wrong = [v for v in values_for(case.true.name, relation, split) if v.split()[-1] not in others]
        thing = thing if follows else rng.choice(wrong).split()[-1]
        hypothesis = f"{case.true.name} has a {thing}."
    else:
        stated = case.true if follows else case.false
        hypothesis = stated.fill(relation.statements[0])
    return {"premise": passage(rng, case.facts), "hypothesis": hypothesis, "label": 0 if follows else 1}


def _thing(fact: Fact) -> str:
    return fact.value.split()[-1]


def cb(rng: random.Random, split: Split) -> Row:
    """What somebody says about one person, and whether the speaker is right; the statement may be denied, too."""
    label = rng.randrange(3)  # entailment, contradiction, neutral
    denied = rng.random() < 0.5
    while True:
        fact, rival = draw_rivals(rng, split)
        if label == 2:
            unrelated = draw_fact(rng, split, fact.name, other_relation(rng, fact.relation))
            told = rng.choice((Fact(rival.name, fact.relation, fact.value), unrelated))
            told_denied = rng.random() < 0.5
        else:
            told, told_denied = fact, denied != (label == 1)
        if may_tell([told], split):
            break
    hypothesis = fact.fill(DENIALS[fact.relation.name] if denied else fact.relation.statements[0])
    return {"premise": _report(rng, told, told_denied), "hypothesis": hypothesis, "label": label}


def _report(rng: random.Random, fact: Fact, denied: bool) -> str:
    """The fact (or that it is not so) as somebody's words or thoughts."""
    plain = fact.fill(DENIALS[fact.relation.name]) if denied else fact.say(rng)
    if rng.random() < 0.4:
        return plain
    speaker = rng.choice([name for name in NAMES if name != fact.name])
    claim = fact.say(rng).rstrip(".")
    verdict = "but that is not true" if denied else "and that is true"
    return f"{speaker} {rng.choice(('says', 'thinks', 'believes'))} that {claim}, {verdict}."


def paws(rng: random.Random, split: Split) -> Row:
    """Two sentences with the same people, action and day: who did it may be the other way round."""
    one, two, action = draw_action(rng, split)
    day = rng.choice(DAYS)
    same = rng.random() < 0.5
    first, second = rng.sample([(passive, front) for passive in (False, True) for front in (False, True)], 2)
    return {
        "sentence1": _event(one, two, action, day, *first),
        "sentence2": _event(*((one, two) if same else (two, one)), action, day, *second),
        "label": int(same),
    }


def _event(agent: str, patient: str, action: tuple[str, str, str], day: str, passive: bool, front: bool) -> str:
    _, past, participle = action
    event = f"{patient} was {participle} by {agent}" if passive else f"{agent} {past} {patient}"
    return f"On {day}, {event}." if front else f"{event} on {day}."


def qqp(rng: random.Random, split: Split) -> Row:
    """Two questions: the same in other words, or about another person, value, relation, or the other way round."""
    same = rng.random() < 0.5
    pair = _asked_events(rng, split, same) if rng.random() < 0.5 else _asked_facts(rng, split, same)
    first, second = rng.sample(pair, 2)
    return {"question1": first, "question2": second, "label": int(same)}


def _asked_facts(rng: random.Random, split: Split, same: bool) -> list[str]:
    fact, rival = draw_rivals(rng, split, apart=True)
    other = fact
    if not same:
        relation = other_relation(rng, fact.relation)
        other = rng.choice(
            (
                Fact(fact.name, fact.relation, rival.value),
                Fact(rival.name, fact.relation, fact.value),
                draw_fact(rng, split, fact.name, relation),
            )
        )
    return [fact.fill(fact.relation.ask_yes_no), other.fill(rng.choice(_REASKED[other.relation.name]))]


def _asked_events(rng: random.Random, split: Split, same: bool) -> list[str]:
    one, two, (base, past, participle) = draw_action(rng, split)
    agent, patient = (one, two) if same else (two, one)
    again = (f"Was {patient} {participle} by {agent}?", f"Is it true that {agent} {past} {patient}?")
    return [f"Did {one} {base} {two}?", rng.choice(again)]
