"""What a row becomes: named fields and an answer that is structured data, never parsed back from text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from openflan.errors import DataError

Field = str | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several options. `gold` is the index of the right one, counted from 0."""

    options: tuple[str, ...]
    gold: int


@dataclass(frozen=True, slots=True)
class Text:
    """Free text. The first reference is the training target, every reference counts when scoring."""

    references: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Example:
    """One row of one task.

    `uid` is `<task>/<split>/<row number counted from 0 in the source's own order>`: it survives shuffling and capping.
    Where one row makes several examples (the turns of a dialogue) their number follows: `quac/test/7.2`.
    `fields` are what templates may name: text, or a tuple of texts.
    """

    uid: str
    task: str
    fields: Mapping[str, Field]
    answer: Choice | Text

    def __post_init__(self) -> None:
        if isinstance(self.answer, Choice):
            options, gold = self.answer.options, self.answer.gold
            if len(options) < 2 or len(set(options)) < len(options) or not all(options):
                raise DataError(self.uid, f"the options {list(options)}", "two or more, all different, none empty")
            if not 0 <= gold < len(options):
                raise DataError(self.uid, f"gold {gold}", f"an index from 0 to {len(options) - 1}")
        elif not self.answer.references or not all(r.strip() for r in self.answer.references):
            raise DataError(self.uid, f"the references {list(self.answer.references)}", "at least one, none empty")

    @property
    def answer_text(self) -> str:
        """The text that is trained on: the gold option, or the first reference."""
        if isinstance(self.answer, Choice):
            return self.answer.options[self.answer.gold]
        return self.answer.references[0]


def checked(rows: object) -> Iterator[Example]:
    """The examples one by one; DataError for anything else in their place, such as the name of a task."""
    do = "Take them from load_examples(task, split), whose answer has the examples and what was dropped."
    if not isinstance(rows, Iterable):
        raise DataError("examples", f"{rows!r:.80}", "several openflan.Example", do)
    for row in rows:
        if not isinstance(row, Example):
            raise DataError("examples", f"{row!r:.80}", "an openflan.Example", do)
        yield row


def source_row(uid: str) -> str:
    """The uid of the row, which several examples may come from: `quac/train/7.2` is a part of `quac/train/7`."""
    return uid.partition(".")[0]
