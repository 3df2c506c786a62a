"""From a row of a dataset to an `Example`: named text fields, and an answer with its options and gold index."""

from __future__ import annotations

import importlib
import math
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from openflan.errors import CatalogError, DataError, did_you_mean
from openflan.streams import stream
from openflan.tasks.card import Card, ChoiceAnswer, TextAnswer
from openflan.tasks.catalog import Task, check_task
from openflan.tasks.example import Choice, Example, Field, Text, source_row
from openflan.tasks.sources import SourceRow, iter_rows
from openflan.tasks.splits import Split
from openflan.untrusted import shown

Row = Mapping[str, Any]
RowFunction = Callable[[Row], Row | list[Row]]

OWN_FUNCTIONS = ("openflan.tasks.odd_rows", "openflan.tasks.odd_structs", "openflan.tasks.odd_texts")
ALLOWED = "OPENFLAN_ADAPT"
"""The environment variable with the modules, separated by commas, whose functions a card may call besides ours."""
MERGED = "merged into an earlier row with the same input"  # counted beside what is dropped; see `_merged`


class _Dropped(Exception):
    """This row cannot become an example, for the reason given."""


def load_examples(
    task: Task, split: Split, data_root: str | Path | None = None
) -> tuple[list[Example], dict[str, int]]:
    """The examples of one split, and how many rows were dropped for each reason."""
    dropped: Counter[str] = Counter()
    return list(iter_examples(task, split, data_root, dropped)), dict(dropped)


def iter_examples(
    task: Task,
    split: Split,
    data_root: str | Path | None = None,
    dropped: Counter[str] | None = None,
    only: Collection[str] | None = None,
) -> Iterator[Example]:
    """The examples of one split one by one; the rows dropped are counted in `dropped`, by reason.

    Dev and test rows with free-text answers have each input once, with the references of all its rows.
    `only` are uids of examples: the others are left out.
    """
    check_task(task)
    rows = iter_rows(task, split, data_root, _columns(task.card))
    dropped = Counter() if dropped is None else dropped
    if isinstance(task.card.answer, TextAnswer) and split in ("dev", "test"):
        return (e for e in _merged(_adapt(task, rows, dropped), dropped) if only is None or e.uid in only)
    if only is None:
        return _adapt(task, rows, dropped)
    sources = {source_row(uid) for uid in only}
    return (e for e in _adapt(task, (row for row in rows if row.uid in sources), dropped) if e.uid in only)


def adapt(task: Task, rows: Iterable[Row], split: str) -> tuple[list[Example], dict[str, int]]:
    """Rows in the source's schema to examples, as the card says, and how many rows were dropped for each reason.

    A row is dropped when the card's `drop_if` or `keep_if` says so, when two of its own options are equal or one is
    empty, and when it has no reference that is not blank. Text is stripped of white space at both ends; numbers become
    text. A label outside the known ones, a missing field or a field that is no text raises DataError naming the row,
    counted from 1.
    Where the row function makes a list of a row (the turns of a dialogue), each of its parts is an example, or dropped,
    by itself, and an empty list counts as one dropped row.
    """
    where = f"{task.name}, {split} row"
    named = (SourceRow(f"{task.name}/{split}/{i}", f"{where} {i + 1}", row) for i, row in enumerate(rows))
    dropped: Counter[str] = Counter()
    return list(_adapt(task, named, dropped)), dict(dropped)


def _adapt(task: Task, rows: Iterable[SourceRow], dropped: Counter[str]) -> Iterator[Example]:
    change = _row_function(task)
    for found in rows:
        changed = _changed(change, found.row, found.where)
        if isinstance(changed, list):
            parts = [(part, f"{found.uid}.{k}", f"{found.where}, part {k + 1}") for k, part in enumerate(changed)]
        else:
            parts = [(changed, found.uid, found.where)]
        if not parts:
            dropped["a row without parts"] += 1
        for part in parts:
            try:
                yield _example(task, *part)
            except _Dropped as reason:
                dropped[str(reason)] += 1


def _merged(examples: Iterable[Example], dropped: Counter[str]) -> Iterator[Example]:
    """One example for each input, with the uid of its first row and the references of all of them.

    CommonGen and E2E repeat an input for each text that somebody wrote. A model answers all these rows alike, so they
    are one test row, of which the best reference counts (as in GEM, Gehrmann et al. 2021, and in FLAN).
    """
    found: dict[tuple[tuple[str, Field], ...], Example] = {}
    references: dict[str, dict[str, None]] = {}
    for example in examples:
        first = found.setdefault(tuple(sorted(example.fields.items())), example)
        if first is not example:
            dropped[MERGED] += 1
        assert isinstance(example.answer, Text)
        references.setdefault(first.uid, {}).update(dict.fromkeys(example.answer.references))
    for first in found.values():
        yield replace(first, answer=Text(tuple(references[first.uid])))


def outcome(reason: str) -> str:
    """What became of rows, in words that follow their number."""
    return reason if reason == MERGED else f"dropped: {reason}"


def _columns(card: Card) -> frozenset[str] | None:
    """The names that a card looks up in a row; None where a row function may look up any."""
    if card.adapt is not None:
        return None
    answer = card.answer
    names = [*card.fields.values(), *card.drop_if, *card.keep_if]
    if isinstance(answer, TextAnswer):
        return frozenset([*names, answer.references])
    of_row = [answer.gold, answer.gold_values_from, *(answer.options_from or ())]
    return frozenset([*names, *(name for name in of_row if isinstance(name, str))])


def lookup(row: Row, name: str, where: str = "the row") -> Any:
    """The value of a dotted name. In a list of objects the name is looked up in each. A name may itself hold dots, as
    columns have them that were objects before: the longest that is there counts.

    >>> lookup({"choices": {"text": ["ice", "tea"]}}, "choices.text")
    ['ice', 'tea']
    >>> lookup({"turns": [{"q": "Who?"}, {"q": "Why?"}]}, "turns.q")
    ['Who?', 'Why?']
    >>> lookup({"answers.text": ["tea"]}, "answers.text")
    ['tea']
    """
    value: Any = row
    if isinstance(value, Mapping) and name in value:
        return value[name]
    rest = name
    while rest:
        first, _, rest = _known_part(value, rest)
        if isinstance(value, list):
            value = [lookup(item, first, where) for item in value]
        elif isinstance(value, Mapping) and first in value:
            value = value[first]
        else:
            part = first
            keys = [str(key) for key in value] if isinstance(value, Mapping) else []
            hint = did_you_mean(part, keys) if keys else ""
            raise DataError(where, f"no field {name!r}", "the fields that the card names", hint)
    return value


def _known_part(value: Any, name: str) -> tuple[str, str, str]:
    """The longest beginning of a dotted name that is a key of `value`, or its first part; and what follows."""
    known = name
    while isinstance(value, Mapping) and known not in value and "." in known:
        known = known.rpartition(".")[0]
    if not isinstance(value, Mapping) or known not in value:
        return name.partition(".")
    return known, ".", name[len(known) + 1 :]


def _example(task: Task, row: Row, uid: str, where: str) -> Example:
    card = task.card
    for name, values in card.drop_if.items():
        found = lookup(row, name, where)
        if any(_same(found, value) for value in values):
            raise _Dropped(f"{name} is {shown(found)}")
    for name, values in card.keep_if.items():
        if not any(_same(lookup(row, name, where), value) for value in values):
            raise _Dropped(f"{name} is not {' or '.join(map(shown, values))}")
    fields: dict[str, Field] = {name: _field(lookup(row, key, where), key, where) for name, key in card.fields.items()}
    fields.update(task.constants)
    if isinstance(card.answer, ChoiceAnswer):
        return Example(uid, task.name, fields, _choice(card.answer, row, uid, where))
    return Example(uid, task.name, fields, _text(card.answer, row, where))


def _choice(answer: ChoiceAnswer, row: Row, uid: str, where: str) -> Choice:
    options = answer.options or _row_options(answer.options_from or (), row, where)
    if isinstance(answer.gold, int):
        if answer.gold >= len(options):
            raise DataError(where, f"{len(options)} options", f"the right one in place {answer.gold}, counted from 0")
        order = list(range(len(options)))
        stream(0, "options", uid).shuffle(order)  # of the row alone: the same in every run
        return Choice(tuple(options[i] for i in order), order.index(answer.gold))
    found = lookup(row, answer.gold, where)
    known: Sequence[Any]
    if answer.gold_values is not None:
        known = answer.gold_values
    elif answer.gold_values_from is not None:
        known = lookup(row, answer.gold_values_from, where)
    elif isinstance(found, str):
        found = found.strip()
        by_index = answer.digits_are_index and found.isdecimal()
        known = [str(index) for index in range(len(options))] if by_index else options
    else:
        known = (False, True) if isinstance(found, bool) else range(len(options))
    matches = [i for i, value in enumerate(known) if _same(found, value)]
    if len(matches) != 1 or matches[0] >= len(options):
        indexes = range(len(options)) if known is options else ()
        expected = " or ".join(map(shown, (*indexes, *known)))
        do = "Correct the row or the card's answer."
        if isinstance(found, str) and found in map(str, (*indexes, *known)):
            do = "A CSV column is read as numbers only if every cell is one: look for an empty cell, or name the texts."
        raise DataError(where, f"{answer.gold} = {shown(found)}", expected, do)
    return Choice(options, matches[0])


def _row_options(names: Sequence[str], row: Row, where: str) -> tuple[str, ...]:
    options: list[str] = []
    for name in names:
        value = _field(lookup(row, name, where), name, where)
        options += [value] if isinstance(value, str) else value
    if not all(options):
        raise _Dropped("an empty option")
    if len(set(options)) < len(options):
        raise _Dropped("two equal options")
    if len(options) < 2:
        raise _Dropped("fewer than two options")
    return tuple(options)


def _text(answer: TextAnswer, row: Row, where: str) -> Text:
    value = _field(lookup(row, answer.references, where), answer.references, where)
    references = tuple(text for text in ([value] if isinstance(value, str) else value) if text)
    if not references:
        raise _Dropped("no reference answer")
    return Text(tuple(dict.fromkeys(references)))


def _field(value: Any, name: str, where: str) -> Field:
    if isinstance(value, list | tuple):
        return tuple(_plain(item, name, where) for item in value)
    return _plain(value, name, where)


def _plain(value: Any, name: str, where: str) -> str:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, int | float) and not isinstance(value, bool):
        if isinstance(value, float) and not math.isfinite(value):
            raise _Dropped(f"{name} is {value}")
        return str(value)
    raise DataError(where, f"{name} of type {type(value).__name__}", "text, a number, or a list of them")


def _same(a: Any, b: Any) -> bool:
    """Equal and of one type: True is not 1, and "1" is not 1."""
    return type(a) is type(b) and bool(a == b)


def _row_function(task: Task) -> RowFunction | None:
    if task.card.adapt is None:
        return None
    module, _, name = task.card.adapt.partition(":")
    allowed = [word.strip() for word in os.environ.get(ALLOWED, "").split(",")]
    if module not in (*OWN_FUNCTIONS, *allowed):
        found = f"adapt: {task.card.adapt}, a function of a module that nobody allowed; a card may come from anywhere"
        do = f"Look at the module; to have it run, set the environment variable {ALLOWED}={module}."
        raise CatalogError(task.path, found, f"one of {', '.join(OWN_FUNCTIONS)} or {ALLOWED}", do)
    try:
        function: RowFunction = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as exc:
        raise CatalogError(task.path, f"adapt: {task.card.adapt} ({exc})", "package.module:function") from exc
    return function


def _changed(change: RowFunction | None, row: Row, where: str) -> Row | list[Row]:
    if change is None:
        return row
    try:
        return change(row)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as exc:
        found = f"a row that {change.__name__} cannot read ({type(exc).__name__}: {exc})"
        raise DataError(where, found, "the fields that the card's row function needs") from exc
