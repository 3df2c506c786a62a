"""The shuffled-label control: what tuning does when answers have nothing to do with their rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from openflan.streams import stream
from openflan.tasks.example import Choice, Example, Text

MIN_ROWS = 10
"""Golds are shuffled among at least this many rows: with fewer, too many rows would keep their own."""


def shuffle_answers(examples: Sequence[Example], seed: int) -> list[Example]:
    """The shuffled-label control: the same rows and answer formats, but answers that tell nothing about their rows.

    Golds are permuted within a task, so that each label stays as frequent as it was: among the rows with the same
    options, and where options are the row's own, by position among the rows with as many options. Only where fewer than
    `MIN_ROWS` rows have as many options is a gold drawn evenly from the row's own, by its uid. Free texts swap their
    references within the task.

    >>> rows = [Example(f"t/train/{i}", "t", {"text": "..."}, Text((f"answer {i}",))) for i in range(4)]
    >>> [example.answer_text for example in shuffle_answers(rows, seed=0)]
    ['answer 3', 'answer 1', 'answer 0', 'answer 2']
    """
    shuffled = list(examples)
    for (task, *alike), places in _groups(examples).items():
        if alike and len(places) < MIN_ROWS:
            for i in places:
                shuffled[i] = replace(examples[i], answer=_drawn(examples[i], seed))
            continue
        order = stream(seed, "labels", task, *alike).sample(places, len(places))
        for i, other in zip(places, order, strict=True):
            shuffled[i] = replace(examples[i], answer=_answer(examples[i].answer, examples[other].answer))
    return shuffled


def _groups(examples: Sequence[Example]) -> dict[tuple[str, ...], list[int]]:
    """The places of the rows that answers are permuted among, by task and what their choices have in common."""
    answers = [(example.task, example.answer) for example in examples]
    same_options = Counter((task, answer.options) for task, answer in answers if isinstance(answer, Choice))
    groups: dict[tuple[str, ...], list[int]] = {}
    for i, (task, answer) in enumerate(answers):
        key: tuple[str, ...] = (task,)
        if isinstance(answer, Choice):
            shared = same_options[task, answer.options] >= MIN_ROWS
            key = (task, "options", *answer.options) if shared else (task, f"{len(answer.options)} options")
        groups.setdefault(key, []).append(i)
    return groups


def _answer(own: Choice | Text, other: Choice | Text) -> Choice | Text:
    """The other row's answer in this row's form."""
    return Choice(own.options, other.gold) if isinstance(own, Choice) and isinstance(other, Choice) else other


def _drawn(example: Example, seed: int) -> Choice:
    assert isinstance(example.answer, Choice)
    options = example.answer.options
    return Choice(options, stream(seed, "labels", example.uid).randrange(len(options)))
