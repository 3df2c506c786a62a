"""Sample rows for a card that no row came with, made up from the names of its columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from openflan.errors import OpenFlanError
from openflan.interop.translate import Columns, NotCarried
from openflan.tasks.adapt import lookup

_ORDINALS = (
    *("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"),
    *(f"{number}th" for number in range(11, 27)),
)


def made_up_rows(keys: Mapping[str, Any], columns: Columns) -> list[dict[str, Any]]:
    """Rows in the form that the card expects, one for each label, or two where options are the row's own."""
    answer = keys["answer"]
    if answer["kind"] == "text":
        golds: list[Any] = ["one answer", "another answer"]
    else:
        golds = list(range(len(answer.get("options") or (0, 1))))
    rows = [_sample(i, gold, answer, columns) for i, gold in enumerate(golds)]
    for row in rows:
        for path in keys.get("drop_if", ()):
            try:
                lookup(row, path)
            except OpenFlanError:
                _put(row, path, "kept")
        for path, values in keys.get("keep_if", {}).items():
            _put(row, path, values[0])
    return rows


def _sample(number: int, gold: Any, answer: Mapping[str, Any], columns: Columns) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, path in columns.fields.items():
        word = f"{name.replace('_', ' ')} of the {_ORDINALS[number % len(_ORDINALS)]} sample"
        num_entries = max(columns.lists.get(path, 0), 3)
        _put(row, path, [f"{part} {word}" for part in _ORDINALS[:num_entries]] if path in columns.lists else word)
    options_from: Sequence[str] = answer.get("options_from") or ()
    if len(options_from) > len(_ORDINALS):
        raise NotCarried(f"{len(options_from)} options")
    num_options = len(options_from)
    if num_options == 1:
        last = answer["gold"] if isinstance(answer["gold"], int) else 2
        num_options = max(columns.lists.get(options_from[0], 0), 3, last + 1)
    row_options = [f"{word} option" for word in _ORDINALS[:num_options]]
    for i, path in enumerate(options_from):
        _put(row, path, row_options if len(options_from) == 1 else row_options[i])
    if answer["kind"] == "text":
        _put(row, answer["references"], [gold] if answer["references"] in columns.lists else gold)
        return row
    if (among := answer.get("gold_values_from")) is not None:
        if among not in options_from:
            _put(row, among, list(ascii_uppercase[: len(answer.get("options") or row_options)]))
        gold = f"{_ORDINALS[gold]} option" if among in options_from else ascii_uppercase[gold % 26]
    elif (values := answer.get("gold_values")) is not None:
        gold = values[gold]
    if isinstance(answer["gold"], str):
        _put(row, answer["gold"], gold)
    return row


def _put(row: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for part in parents:
        row = row.setdefault(part, {})
        if not isinstance(row, dict):
            raise NotCarried(f"the column {path}, which is both a text and an object")
    row[last] = value
