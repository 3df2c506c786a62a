"""Practice for pretraining: lists and scenes with many short questions about who has what, and opinions with what kind
of words they are.

Nothing here is a task's template, and no scene is a test scene. Answers are put between two marks (`marked`), so that
training can weigh them.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

from openflan.world import lexicon
from openflan.world.facts import Fact, Relation, draw_scene, split_values
from openflan.world.lexicon import NAMES, article, pronoun
from openflan.world.scenes import DENIALS, passage

_BEGIN, _END = "\x02", "\x03"
_ANSWER = re.compile(f"{_BEGIN}([^{_BEGIN}{_END}]*){_END}")


def marked(answer: str) -> str:
    """`answer` with marks around it."""
    return f"{_BEGIN}{answer}{_END}"


def without_marks(text: str) -> tuple[str, list[tuple[int, int]]]:
    """The text as it is read, and where its answers begin and end, in characters.

    >>> without_marks(f"Who has a kite? {marked('Ella')}")
    ('Who has a kite? Ella', [(16, 20)])
    """
    places: list[tuple[int, int]] = []
    for match in _ANSWER.finditer(text):
        begin = match.start() - 2 * len(places)
        places.append((begin, begin + len(match[1])))
    return _ANSWER.sub(r"\1", text), places


def short_lists(rng: random.Random) -> str:
    """Two names, each with a thing, and questions about them."""
    return _list(rng, 2, lexicon.OBJECTS)


def lists(rng: random.Random) -> str:
    """Two or three names, each with something, and questions about them."""
    pools = (lexicon.OBJECTS, lexicon.FOODS, lexicon.COLORS, lexicon.ANIMALS, lexicon.JOBS)
    return _list(rng, rng.choice((2, 2, 3)), rng.choice(pools))


def _list(rng: random.Random, size: int, pool: Sequence[str]) -> str:
    pairs = list(zip(rng.sample(NAMES, size), rng.sample(pool, size), strict=True))
    told = " ".join(f"{name} {thing}." for name, thing in pairs)
    return "\n".join([told, *_different(5, lambda: " ".join(_asked_of_list(rng, pairs)))])


def _asked_of_list(rng: random.Random, pairs: Sequence[tuple[str, str]]) -> tuple[str, str]:
    (name, thing), (_, other) = rng.sample(pairs, 2)
    yes = rng.random() < 0.5
    return rng.choice(
        (
            (f"{name}?", marked(thing)),
            (f"{thing}?", marked(name)),
            (f"{name} {thing if yes else other}?", marked("Yes" if yes else "No")),
        )
    )


def _different(number: int, draw: Callable[[], str]) -> list[str]:
    """`number` different lines, or as many as ten times as many draws give: a question that is asked again is answered
    by looking at the first answer."""
    lines: dict[str, None] = {}
    for _ in range(10 * number):
        if len(lines) < number:
            lines.setdefault(draw())
    return list(lines)


_HAS = Relation(
    "has", tuple(map(article, lexicon.OBJECTS)), ("{n} has {v}.",), "What does {n} have?", "Who has {v}?",
    "Does {n} have {v}?",
)  # fmt: skip


def things(rng: random.Random) -> str:
    """Two or three people with a thing each, and questions: a list in sentences."""
    people = rng.choice((2, 2, 3))
    drawn = zip(rng.sample(NAMES, people), rng.sample(_HAS.values, people), strict=True)
    facts = [Fact(name, _HAS, value) for name, value in drawn]
    told = " ".join(fact.fill(_HAS.statements[0]) for fact in facts)
    return "\n".join([told, *_different(5, lambda: " ".join(_asked(rng, facts, claims=False)))])


def plain_drill(rng: random.Random) -> str:
    """A scene in the plainest words and as many questions."""
    facts = _people(rng)
    told = " ".join(fact.fill(fact.relation.statements[0]) for fact in facts)
    return "\n".join([told, *_different(5, lambda: " ".join(_asked(rng, facts, claims=False)))])


def drill(rng: random.Random) -> str:
    """A scene and short questions and claims about it, with the answer right behind each."""
    facts = _people(rng)
    return "\n".join([passage(rng, facts), *_different(5, lambda: " ".join(_asked(rng, facts)))])


def claims(rng: random.Random) -> str:
    """A scene, then what is claimed about it, each time with the verdict in the same form."""
    facts = _people(rng)
    style = rng.randrange(4)
    return "\n".join([passage(rng, facts), *_different(5, lambda: _verdict(*_claim(rng, facts), style))])


def _verdict(claim: str, true: bool, style: int) -> str:
    right = "right" if true else "wrong"
    return (
        f"{claim} {marked(str(true))}",
        f"{claim} That is {marked(str(true).lower())}.",
        f"{claim} {marked('Yes' if true else 'No')}, that is {right}.",
        f"{claim} So it is {marked(right)}.",
    )[style]


_WAITING = (
    "Nobody spoke.", "It was quiet in the room.", "{n} thought about it.", "{n} looked at the clock.", "{n} waited.",
    "Then {n} knew.", "It took some time.", "{n} wrote it on a piece of paper.", "{n} found it in the end.",
    "That was not hard.", "{n} read it once more.", "Here it is.", "{n} said:", "In a word:", "This is what {n} said.",
)  # fmt: skip
_WANTING = (
    "{n} wants to know one thing.", "{n} has something to ask.", "There is one thing to find out.", "Now think.",
    "{n} asks us.", "Somebody asks.", "Listen.", "Who knows?", "A child asks the teacher.", "Tell {n} what you know.",
)  # fmt: skip


def late_answers(rng: random.Random) -> str:
    """A scene and questions that are answered only some lines later, or that come before the scene."""
    facts = _people(rng)
    told = passage(rng, facts)
    first = rng.random() < 0.4
    lines = [] if first else [told]
    asked = dict(_asked(rng, facts, choices=rng.random() < 0.4) for _ in range(1 if first else 3))
    for number, (question, answer) in enumerate(asked.items()):
        lead = _some(rng, _WANTING, rng.choice((0, 0, 1)))
        lines.append(" ".join([*lead, question]))
        if first and number == 0:
            lines.append(told)
        wait = _some(rng, _WAITING, rng.choice((0, 0, 1, 1, 2, 3)))
        lines += wait if rng.random() < 0.5 else [" ".join(wait)] if wait else []
        if rng.random() < 0.3:
            lines.append("")
        lines.append(_small(answer) if rng.random() < 0.5 else answer)
    return "\n".join(lines)


def choices(rng: random.Random) -> str:
    """A scene and questions that name what the answer can be."""
    facts = _people(rng)
    asked = dict(_asked(rng, facts, choices=True) for _ in range(4))
    lines = [question + rng.choice((" ", "\n")) + answer for question, answer in asked.items()]
    return "\n".join([passage(rng, facts), *lines])


def _some(rng: random.Random, sayings: Sequence[str], number: int) -> list[str]:
    return [saying.format(n=rng.choice(NAMES)) for saying in rng.sample(sayings, number)]


def _people(rng: random.Random) -> list[Fact]:
    """A scene of two or three people, most often with one relation."""
    people = rng.choice((2, 2, 3))
    return draw_scene(rng, "train", people, people * rng.choice((1, 1, 1, 2)))


def _small(answer: str) -> str:
    """Yes and No, True and False in lower case."""
    return re.sub(r"\b(Yes|No|True|False)\b", lambda match: match[0].lower(), answer)


def _asked(rng: random.Random, facts: Sequence[Fact], choices: bool = False, claims: bool = True) -> tuple[str, str]:
    """A question or, with `claims`, a claim about a scene, and the marked answer; `choices`: the question names what it
    can be."""
    fact, kind = rng.choice(facts), rng.random()
    relation = fact.relation
    same = [other for other in facts if other.relation is relation and other.name != fact.name]
    if kind < 0.25:
        others = [other.value for other in same] or [_wrong(rng, fact, facts)]
        return fact.fill(relation.ask_value) + _named(rng, [fact.value, *others], choices), marked(fact.value)
    if kind < 0.5 and same:
        names = [fact.name, *(other.name for other in same)]
        return fact.fill(relation.ask_who) + _named(rng, names, choices), marked(fact.name)
    if kind < 0.8 or not claims:
        true = rng.random() < 0.5
        asked = fact if true else fact.with_value(_wrong(rng, fact, facts))
        question = asked.fill(relation.ask_yes_no)
        return question + _named(rng, ["Yes", "No"], choices), marked("Yes" if true else "No")
    claim, true = _claim(rng, facts)
    return claim + _named(rng, ["True", "False"], choices), marked(str(true))


def _named(rng: random.Random, answers: Sequence[str], named: bool) -> str:
    """What is added to a question so that it names its possible answers, in any order; nothing unless `named`."""
    if not named:
        return ""
    mixed = [_small(answer) for answer in rng.sample(answers, len(answers))]
    either = f"{', '.join(mixed[:-1])} or {mixed[-1]}"
    return rng.choice((f" {either}?", f" It is {either}.", f" One of these: {', '.join(mixed)}.", f" Say {either}."))


def _claim(rng: random.Random, facts: Sequence[Fact]) -> tuple[str, bool]:
    """Something claimed or denied about a scene, and whether it is true there."""
    fact = rng.choice(facts)
    so, denied = rng.random() < 0.5, rng.random() < 0.3
    said = fact if so else fact.with_value(_wrong(rng, fact, facts))
    return said.fill(DENIALS[fact.relation.name]) if denied else said.say(rng), so != denied


def _wrong(rng: random.Random, fact: Fact, facts: Sequence[Fact]) -> str:
    """Another value: mostly one that another person of the scene has."""
    rivals = [other.value for other in facts if other.relation is fact.relation and other.value != fact.value]
    own = [other.value for other in facts if other.relation is fact.relation and other.name == fact.name]
    rivals = [value for value in rivals if value not in own]
    return rng.choice(rivals if rivals and rng.random() < 0.8 else [v for v in fact.relation.values if v not in own])


_TONES = (
    "{n} called the {t} {a} and {b}.", '"The {t} was {a}," said {n}.', "{n} found the {t} {b} and told us so.",
    "The {t} was {a} and {b}.", "For {n} it was a {a} {t}.", "What a {a} {t} that was!", "It was a {b} and {a} {t}.",
    "{n} thought the {t} was {a}.", "The {t} was not {c}. It was {a}.", "We talked about the {t}. It was {b}.",
)  # fmt: skip


def opinions(rng: random.Random) -> str:
    """What people said about things, and what kind of words those were."""
    return "\n".join(_opinion(rng) for _ in range(4))


def _opinion(rng: random.Random) -> str:
    thing, name = rng.choice(lexicon.REVIEWED), rng.choice(NAMES)
    good = rng.random() < 0.5
    one, two = rng.sample(split_values(lexicon.GOOD if good else lexicon.BAD, "train", thing), 2)
    against = rng.choice(split_values(lexicon.BAD if good else lexicon.GOOD, "train", thing))
    said = rng.choice(_TONES).format(n=name, t=thing, a=one, b=two, c=against)
    tone, word, other = ("positive", "good", "bad") if good else ("negative", "bad", "good")
    she = pronoun(name).capitalize()
    after = rng.choice(
        (
            f"Those were {marked(tone)} words.",
            f"{name} had a {marked(tone)} opinion.",
            f"That was a {marked(tone)} thing to say.",
            f"So it was a {marked(word)} {thing}.",
            f"So it was not a {marked(other)} {thing}.",
            f"{she} had a {marked(word)} time.",
            f"We heard only {marked(word)} things about it.",
            f"{name} was {marked('happy' if good else 'sad')} about it.",
            f"{name} {marked('liked' if good else 'hated')} it.",
            f"{she} {marked('smiled' if good else 'frowned')}.",
            f"How was it? {marked(word)}",
            f"Which words were those?\n{marked(tone)}",
        )
    )
    return f"{said} {after}"
