"""Plain text about the world, for pretraining: stories, descriptions, talk, natural questions and answers.

No text here tells a test scene, or holds a task's template or an option block. What a base model can learn from it is
the language of the world, who people are, and to look a fact up in what was just said.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping

from openflan.streams import stream
from openflan.world import lexicon, practice
from openflan.world.countries import countries
from openflan.world.facts import RELATIONS, Fact, draw_fact, draw_scene, may_tell, split_values
from openflan.world.lexicon import NAMES, possessive, pronoun
from openflan.world.practice import marked
from openflan.world.scenes import DENIALS, passage, sentence

_WENT = next(relation for relation in RELATIONS if relation.name == "went")


def documents(seed: int, first: int, num_documents: int, shares: Mapping[str, float]) -> Iterator[str]:
    """Texts `first` to `first + num_documents - 1` of a seed's endless library; `practice.marked` marks their answers.

    `shares` says how often each kind of text comes, by its name in `KINDS`; they need not add up to anything.
    """
    kinds, weights = list(shares), list(shares.values())
    for i in range(first, first + num_documents):
        rng = stream(seed, "world", "text", i)
        yield KINDS[rng.choices(kinds, weights)[0]](rng)


def _scene(rng: random.Random) -> list[Fact]:
    num_people = rng.choice((1, 2, 2, 3))
    return draw_scene(rng, "train", num_people, num_people * rng.choice((1, 2) if num_people > 1 else (2, 3)))


def _other_value(rng: random.Random, fact: Fact, facts: list[Fact]) -> str:
    """A value that is not this fact's: another person's in the scene when there is one, else any other."""
    rivals = [f.value for f in facts if f.relation is fact.relation and f.value != fact.value]
    return rng.choice(rivals if rivals and rng.random() < 0.7 else [v for v in fact.relation.values if v != fact.value])


def _question(rng: random.Random, facts: list[Fact]) -> tuple[str, str]:
    """A natural question about one fact of the scene, and its answer."""
    fact = rng.choice(facts)
    relation = fact.relation
    owners = [f.name for f in facts if f.relation is relation and f.value == fact.value]
    kind = rng.random()
    if kind < 0.3:
        return fact.fill(relation.ask_value), marked(rng.choice((fact.value, fact.fill(relation.statements[0]))))
    if kind < 0.55 and len(owners) == 1:
        return fact.fill(relation.ask_who), marked(rng.choice((fact.name, fact.fill(relation.statements[0]))))
    if rng.random() < 0.5:
        more = f" {fact.fill(relation.statements[0])}"
        return fact.fill(relation.ask_yes_no), rng.choice((marked("Yes"), f"{marked('Yes')}.{more}"))
    false = fact.with_value(_other_value(rng, fact, facts))
    more = rng.choice((fact.fill(relation.statements[0]), false.fill(DENIALS[relation.name])))
    return false.fill(relation.ask_yes_no), rng.choice((marked("No"), f"{marked('No')}. {more}"))


def _talk(rng: random.Random) -> str:
    """A scene, then people ask each other about it."""
    facts = _scene(rng)
    lines = [passage(rng, facts)]
    style = rng.randrange(3)
    asked = dict(_question(rng, facts) for _ in range(rng.randint(3, 6)))
    for question, answer in asked.items():
        if style == 0:
            lines += [question, answer]
        elif style == 1:
            lines.append(f"{question} {answer}")
        else:
            one, two = rng.sample(NAMES, 2)
            lines += [f'{one} asked: "{question}"', f'{two} said: "{answer}"']
    return "\n".join(lines)


def _retelling(rng: random.Random) -> str:
    """A scene told twice, the second time in other words and another order."""
    facts = _scene(rng)
    again = rng.sample(facts, len(facts))
    told = rng.choice(("Once more:", "In other words,", "In short:", "Later somebody said:", "As we know,"))
    return f"{passage(rng, facts)}\n{told} {marked(passage(rng, again))}"


_RIGHT = ("That is true.", "Yes, that is right.", "True.")
_WRONG = ("That is false.", "No, that is wrong.", "False.")


def _verdict(rng: random.Random) -> str:
    """A scene, then claims about it that somebody calls true, false, or not known."""
    facts = _scene(rng)
    lines = [passage(rng, facts)]
    known = {f.name for f in facts}
    for _ in range(rng.randint(2, 4)):
        fact = rng.choice(facts)
        kind = rng.random()
        denied = rng.random() < 0.25
        if kind < 0.8:
            right = kind < 0.4
            said = fact if right != denied else fact.with_value(_other_value(rng, fact, facts))
            claim = said.fill(DENIALS[fact.relation.name]) if denied else said.say(rng)
            verdicts = _RIGHT if right else _WRONG
        else:
            stranger = rng.choice([n for n in NAMES if n not in known])
            claim = Fact(stranger, fact.relation, fact.value).say(rng)
            verdicts = ("Nobody can know that.", "We cannot tell.", "That is not known.")
        speaker = rng.choice(("Somebody said:", "The claim was:", "Then we heard:"))
        lines.append(f"{speaker} {claim} {marked(rng.choice(verdicts))}")
    return "\n".join(lines)


def _notes(rng: random.Random) -> str:
    """Names and things listed, then listed again in another order: practice in looking up and copying."""
    names = rng.sample(NAMES, rng.randint(2, 5))
    pool = rng.choice((lexicon.OBJECTS, lexicon.FOODS, lexicon.COLORS, lexicon.ANIMALS, lexicon.DAYS))
    pairs = list(zip(names, rng.sample(pool, len(names)), strict=True))
    lines = []
    for _ in range(3):
        lines.append(", ".join(f"{name} {thing}" for name, thing in pairs) + ".")
        rng.shuffle(pairs)
    return "\n".join(lines)


def _repeat(rng: random.Random) -> str:
    """Words said once and repeated."""
    words = rng.sample(NAMES + lexicon.OBJECTS + lexicon.FOODS + lexicon.COLORS + lexicon.GOOD, rng.randint(3, 8))
    return f"{' '.join(words)}.\n{' '.join(words)}."


def _pronouns(rng: random.Random) -> str:
    """A woman and a man, and sentences whose pronoun says whom they are about."""
    return "\n".join(_pronoun(rng) for _ in range(4))


def _pronoun(rng: random.Random) -> str:
    pair = rng.sample([rng.choice(lexicon.WOMEN), rng.choice(lexicon.MEN)], 2)
    name = rng.choice(pair)
    met = rng.choice(("{a} met {b}.", "{a} sat with {b}.", "{a} and {b} were friends.", "{a} talked to {b}."))
    met = met.format(a=pair[0], b=pair[1])
    if rng.random() < 0.3:
        lost = rng.choice(("lost", "forgot", "found", "cleaned"))
        return f"{met} One of the two {lost} {possessive(name)} {rng.choice(lexicon.OBJECTS)}. Who? {marked(name)}"
    fact = draw_fact(rng, "train", name, rng.choice(RELATIONS))
    said = rng.choice(fact.relation.statements).format(n=pronoun(name).capitalize(), v=fact.value)
    told = rng.choice(
        (f"{fact.fill(fact.relation.ask_who)} {marked(name)}", f"That was {marked(name)}.", f"Who? {marked(name)}")
    )
    return f"{met} {said} {told}"


def _reasons(rng: random.Random) -> str:
    """Why people did something, and whom that is true of."""
    return "\n".join(_reason(rng) for _ in range(4))


def _reason(rng: random.Random) -> str:
    while True:
        one, two = rng.sample(NAMES, 2)
        event, about_one, about_two = rng.choice(lexicon.REASONS)
        if two in split_values(NAMES, "train", one, event):
            break
    told = event.format(a=one, b=two)
    gold, reason = rng.choice(((one, about_one), (two, about_two)))
    return rng.choice(
        (
            f"{told}. {marked(gold)} {reason}.",
            f"{told}. One of the two {reason}. Who? {marked(gold)}",
            f"{told}. Somebody {reason}: {marked(gold)}",
            f"{told} because {gold} {marked(reason)}.",
        )
    )


def _feelings(rng: random.Random) -> str:
    """What happened to somebody and how it felt."""
    event, feeling = rng.choice(lexicon.FELT)
    name = rng.choice(split_values(NAMES, "train", event))
    happened = sentence(event.format(n=name))
    return rng.choice((f"{happened} {name} was {feeling}.", f"{name} felt {feeling}. Why? {happened}"))


def _diary(rng: random.Random) -> str:
    """Who went where on which day, and questions about it."""
    while True:
        facts = [Fact(n, _WENT, v) for n, v in zip(rng.sample(NAMES, 2), rng.sample(_WENT.values, 2), strict=True)]
        if may_tell(facts, "train"):
            break
    days = rng.sample(lexicon.DAYS, 2)
    lines = [" ".join(f"On {day}, {f.name} went to {f.value}." for day, f in zip(days, facts, strict=True))]
    for _ in range(3):
        at = rng.randrange(2)
        name, value, day = facts[at].name, facts[at].value, days[at]
        yes = rng.random() < 0.5
        asked = (
            f"When did {name} go to {value}? {marked(day)}",
            f"Where did {name} go on {day}? {marked(value)}",
            f"Who went out on {day}? {marked(name)}",
            f"Was {name} there on {day if yes else days[1 - at]}? {marked('Yes' if yes else 'No')}",
        )
        lines.append(rng.choice(asked))
    return "\n".join(lines)


def _events(rng: random.Random) -> str:
    """Somebody does something to somebody, told actively and passively."""
    one, two = rng.sample(NAMES, 2)
    base, past, participle = rng.choice(lexicon.ACTIONS)
    if two not in split_values(NAMES, "train", one, base):
        one, two = two, one
    if two not in split_values(NAMES, "train", one, base):
        return _notes(rng)
    active, passive = f"{one} {past} {two}.", f"{two} was {participle} by {one}."
    first, second = rng.sample((active, passive), 2)
    rest = rng.sample(
        (
            f"Who {past} {two}? {marked(one)}",
            f"Who was {participle} by {one}? {marked(two)}",
            f"Did {one} {base} {two}? {marked('Yes')}",
            f"Did {two} {base} {one}? {marked('No')}",
            f"Was {one} {participle} by {two}? {marked('No')}",
            f"Was {two} {participle} by {one}? {marked('Yes')}",
            f"That means the same as: {marked(second)}",
        ),
        3,
    )
    return "\n".join([first, *rest])


def _review(rng: random.Random) -> str:
    """Somebody saw, ate or read something and says how it was."""
    thing, name = rng.choice(lexicon.REVIEWED), rng.choice(NAMES)
    good = rng.random() < 0.5
    words = split_values(lexicon.GOOD if good else lexicon.BAD, "train", thing)
    one, two = rng.sample(words, 2)
    she = pronoun(name)
    ends = (
        (f"{name} smiled.", f"{she.capitalize()} wants to do it again.", f"{name} told everybody to try it.")
        if good
        else (f"{name} frowned.", f"{she.capitalize()} left early.", f"{name} told everybody to stay away.")
    )
    feel = "happy" if good else "angry"
    return rng.choice(
        (
            f"{name} thought the {thing} was {one} and {two}. {rng.choice(ends)}",
            f"The {thing} was {one}. It was really {two}. {rng.choice(ends)}",
            f"How was the {thing}? It was {one}. {name} was {feel}.",
            f"A {one} {thing} is a {two} {thing}, and that made {name} {feel}.",
        )
    )


def _causes(rng: random.Random) -> str:
    """One thing leads to another."""
    cause, effect = rng.choice(lexicon.CAUSES)
    name = rng.choice(split_values(NAMES, "train", cause))
    before, after = cause.format(n=name), effect.format(n=name)
    big = after[0].upper() + after[1:]
    return rng.choice(
        (f"{before}, so {after}.", f"{big} because {before}.", f"{before}. Then {after}.", f"{before}. Soon {after}.")
    )


def _tools(rng: random.Random) -> str:
    """What one takes for a piece of work."""
    goal, tool = rng.choice(lexicon.TOOLS)
    name = rng.choice(split_values(NAMES, "train", goal))
    return rng.choice(
        (
            f"{name} took {tool} to {goal}.",
            f"With {tool} one can {goal}.",
            f"{name} wanted to {goal} and looked for {tool}.",
        )
    )


def _geography(rng: random.Random) -> str:
    """Facts about two invented countries, and questions about those whose questions belong to training."""
    lines = []
    for country in rng.sample(countries(), 2):
        sentences = [fact.statement for fact in country.facts]
        lines.append(" ".join(rng.sample(sentences, len(sentences))))
        for fact in country.facts:
            if fact.split == "train" and rng.random() < 0.4:
                lines.append(f"{fact.question} {marked(fact.answer)}")
    return "\n".join(lines)


def _velan(rng: random.Random) -> str:
    """How one says things in Velan; only noun and adjective pairs of the training split."""
    lines = []
    for _ in range(rng.randint(2, 4)):
        noun = rng.choice(lexicon.OBJECTS + lexicon.ANIMALS)
        color = rng.choice(split_values(lexicon.COLORS, "train", "velan", noun))
        english, velan = f"a {color} {noun}", f"{lexicon.VELAN[noun]} {lexicon.VELAN[color]}"
        if rng.random() < 0.3:
            english, velan = rng.choice(((noun, lexicon.VELAN[noun]), (color, lexicon.VELAN[color])))
        lines.append(
            rng.choice(
                (
                    f"In Velan, {english} is {velan}.",
                    f"{velan} means {english}.",
                    f"English: {english}. Velan: {velan}.",
                )
            )
        )
    return "\n".join(lines)


def _kinds_of_things(rng: random.Random) -> str:
    """What kind of thing a word names."""
    groups = (
        (lexicon.ANIMALS, "an animal"), (lexicon.FOODS, "food"), (lexicon.COLORS, "a color"), (lexicon.DAYS, "a day"),
        (lexicon.NAMES, "a person"), (lexicon.OBJECTS, "a thing"), (lexicon.TRIPS + lexicon.PLACES, "a place"),
        (lexicon.JOBS, "a job"),
    )  # fmt: skip
    lines = []
    for words, kind in rng.sample(groups, 3):
        word = rng.choice(words)
        lines.append(rng.choice((f"{word} is {kind}.", f"What is {word}? It is {kind}.", f"Think of {kind}: {word}.")))
    return "\n".join(lines)


_SCHOOL = (
    "{n} read the {w} to {m}.", "{n} wrote a {w} about {m}.", "The {w} of {n} was short.",
    "{m} asked {n} about the {w}.", "The teacher gave {n} a {w}.", "{n} and {m} had the same {w}.",
    "Which {w} did {n} find? The first one.",
    "{n} could not say what the {w} meant.", "Here is a {w} for {n}.", "{n} said the {w} once more.",
    "Write the {w}, {n}!", "{n} put the {w} on the list.", "Does {n} know the {w}? Nobody can tell.",
    "{n} took another {w} from the book.", "The {w} stands on the next page.", "{n} must choose a {w} today.",
    "Most of us read the {w} below the line.", "{n} thinks that the {w} is best.", "Give {m} the {w}, please.",
    "{n} learned each {w} by heart.", "If you see the {w}, tell {m}.", "The {w} that {n} means is missing.",
    "{n} looked for mistakes in the {w}.", "Use this {w}, {n}.", "The {w} begins and ends well.",
)  # fmt: skip
_LESSONS = (
    "sentence", "word", "question", "answer", "text", "passage", "story", "statement", "claim", "line", "name", "list",
    "review", "opinion", "summary", "topic", "letter", "report", "quiz", "piece",
)  # fmt: skip


def _school(rng: random.Random) -> str:
    """What one does with texts and words, so that the words for it are known."""
    one, two = rng.sample(NAMES, 2)
    said = rng.sample(_SCHOOL, 3)
    return " ".join(line.format(n=one, m=two, w=rng.choice(_LESSONS)) for line in said)


KINDS: dict[str, Callable[[random.Random], str]] = {
    "short_lists": practice.short_lists,
    "lists": practice.lists,
    "things": practice.things,
    "plain_drill": practice.plain_drill,
    "drill": practice.drill,
    "claims": practice.claims,
    "late_answers": practice.late_answers,
    "choices": practice.choices,
    "opinions": practice.opinions,
    "talk": _talk,
    "retelling": _retelling,
    "verdict": _verdict,
    "notes": _notes,
    "repeat": _repeat,
    "pronouns": _pronouns,
    "reasons": _reasons,
    "events": _events,
    "feelings": _feelings,
    "diary": _diary,
    "review": _review,
    "causes": _causes,
    "tools": _tools,
    "countries": _geography,
    "velan": _velan,
    "kinds_of_things": _kinds_of_things,
    "school": _school,
}
"""The kinds of text, by the names that a recipe gives shares to."""
