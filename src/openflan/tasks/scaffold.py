"""A first card for a dataset, guessed from the columns of its rows. What only a person can write is left to fill in.

No row is copied into the card: the samples are the user's own to write.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from openflan.errors import DataError
from openflan.tasks.card import RESERVED
from openflan.tasks.catalog import FILL_IN

MAX_LABELS = 10  # a column with more distinct values is no label
MAX_KEPT = 50  # distinct values of a column that are remembered
LABEL_NAMES = ("label", "labels", "answer", "answerkey", "gold", "class", "target", "correct", "category", "sentiment")
TEXT_NAMES = ("answer", "answers", "target", "output", "response", "summary", "completion", "translation", "highlights")
SHORT_ANSWER_WORDS = 5
OWN_OPTIONS = "each row has options of its own"
_ID = re.compile(r"(^|_)(id|idx|index|uid|uuid|guid|hash)$")
_NUMBERED = re.compile(r"^(.*?)_?(?:(\d)|([A-E]))$")


@dataclass(frozen=True, slots=True)
class Column:
    """A column by its dotted name. `kind`: text, int, bool or list (of texts or numbers); "" for anything else.
    `distinct` are its values in the order of their first row, at most MAX_KEPT of them."""

    name: str
    kind: str
    distinct: tuple[Any, ...]
    num_words: float

    @property
    def is_label(self) -> bool:
        return self.kind in ("text", "int", "bool") and len(self.distinct) <= MAX_LABELS

    @property
    def is_id(self) -> bool:
        return bool(_ID.search(self.name.rpartition(".")[2].lower()))


@dataclass(frozen=True, slots=True)
class Guess:
    """The parts of a card that columns can tell: `fields` and `answer`, columns that hold lists, and those left out."""

    fields: dict[str, str]
    lists: frozenset[str]
    answer: dict[str, Any]
    answer_note: str
    left_out: tuple[str, ...]
    metric: str


def columns_of(rows: Sequence[Mapping[str, Any]], where: object) -> list[Column]:
    """The columns that every row has, objects reached into by dotted names. DataError when there are none."""
    if not rows:
        raise DataError(where, "no rows", "at least one")
    flat = [dict(_flat(row)) for row in rows]
    columns = [_column(name, [row[name] for row in flat]) for name in flat[0] if all(name in row for row in flat)]
    if not any(column.kind for column in columns):
        told = ", ".join(f"{column.name} has {_what(row.get(column.name) for row in flat)}" for column in columns[:5])
        do = "Fill in what is missing, or give a card a row function (`adapt`) that makes texts of it."
        found = f"no column of texts, numbers or lists of them{told and f': {told}'}"
        raise DataError(where, found, "rows that a card can name", do)
    return columns


def _what(values: Iterable[Any]) -> str:
    """What keeps a column from being used, in words."""
    kept = list(values)
    if any(value is None for value in kept):
        return "nulls"
    if any(isinstance(value, list) for value in kept):
        return "lists of objects"
    return " and ".join(sorted({type(value).__name__ for value in kept}))


def guess(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> Guess:
    """Which columns the templates may name, and which one is the answer and how."""
    by_name = {column.name: column for column in columns if column.kind}
    usable = [column for column in by_name.values() if not column.is_id]
    flat = [dict(_flat(row)) for row in rows]
    found = _own_options(flat, usable) or _labels(len(rows), usable) or _free_text(usable)
    if found is None:
        raise DataError("the columns", ", ".join(by_name) or "none", "one that can be an answer")
    answer, note, used = found
    metric = "accuracy"
    if answer["kind"] == "text":
        metric = "exact_match" if by_name[answer["references"]].num_words <= SHORT_ANSWER_WORDS else "rougeL"
    fields: dict[str, str] = {}
    for column in usable:
        if column.name not in used:
            fields[field_name(column.name, fields)] = column.name
    lists = frozenset(column.name for column in usable if column.kind == "list")
    return Guess(fields, lists, answer, note, tuple(c.name for c in columns if c.is_id or not c.kind), metric)


def card_text(name: str, source: Mapping[str, Any], guessed: Guess, made_from: str, clusters: Sequence[str]) -> str:
    """The card as YAML with comments. Places to fill in hold `<fill in: ...>`."""
    choice = guessed.answer["kind"] == "choice"
    joined = {field: " | join(', ')" if path in guessed.lists else "" for field, path in guessed.fields.items()}
    shown = "\n".join(f"      {{{{ {field}{join} }}}}" for field, join in joined.items())
    block = "\n\n      {{ options_block }}" if choice else ""
    used = (*guessed.fields.values(), *_answer_columns(guessed.answer))
    sample_keys = {path: ["...", "..."] if path in guessed.lists else "..." for path in used}
    left_out = f"  # not used: {', '.join(guessed.left_out)}\n" if guessed.left_out else ""
    return f"""\
# {name}: <what is given, what is asked>. Guessed from the columns of {made_from}.
# Fill in what is marked, then run `openflan tasks check {name}.yaml`, which lists what is left.
family: {name}
cluster: {flow_yaml(f"{FILL_IN}: one of {', '.join(clusters)}>")}
source: {flow_yaml(source)}
fields:  # name in templates: name in the row
{"".join(f"  {field}: {flow_yaml(path)}{chr(10)}" for field, path in guessed.fields.items())}{left_out}\
answer: {flow_yaml(guessed.answer)}  # {guessed.answer_note}
metrics: [{guessed.metric}]
licence: {flow_yaml(f"{FILL_IN}: the licence of the rows>")}
# Rows of your own writing in the form of the source, two or more, every label covered. Never copied from the data.
samples: {flow_yaml(f"{FILL_IN}: rows in the form below>")}
#  - {flow_yaml(_nested(sample_keys))}
templates:  # several wordings are better than one; see docs/add-a-dataset.md
  - id: first
    input: |-
{shown}

      {FILL_IN}: what is asked, in words of your own>{block}
"""


def _answer_columns(answer: Mapping[str, Any]) -> list[str]:
    names = [
        answer.get("references"),
        *answer.get("options_from", ()),
        answer.get("gold_values_from"),
        answer.get("gold"),
    ]
    return list(dict.fromkeys(name for name in names if name))


def _flat(row: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in row.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _column(name: str, values: Sequence[Any]) -> Column:
    kinds = {_kind(value) for value in values}
    kind = kinds.pop() if len(kinds) == 1 else ""
    distinct: dict[Any, None] = {}
    for value in values if kind in ("text", "int", "bool") else ():
        if len(distinct) >= MAX_KEPT:
            break
        distinct.setdefault(value)
    texts = [str(v[0] if isinstance(v, list) and v else v) for v in values]
    return Column(name, kind, tuple(distinct), sum(len(text.split()) for text in texts) / len(texts))


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int"
    if isinstance(value, str | float):
        return "text"
    if isinstance(value, list) and all(_kind(item) in ("text", "int") for item in value):
        return "list"
    return ""


Found = tuple[dict[str, Any], str, set[str]]


def _own_options(flat: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> Found | None:
    """A row's own options: in a list, whose right one another column names or counts, or in numbered columns."""
    lists = [c.name for c in columns if c.kind == "list" and all(len(row[c.name]) > 1 for row in flat)]
    golds = sorted((c.name for c in columns if c.kind in ("text", "int")), key=_label_rank)
    for gold in golds:
        for names in lists:
            if all(row[names].count(row[gold]) == 1 for row in flat):
                alike = [other for other in lists if all(len(row[other]) == len(row[names]) for row in flat)]
                options = max(alike, key=lambda name: sum(len(str(item)) for row in flat for item in row[name]))
                answer = {"kind": "choice", "options_from": [options], "gold": gold, "gold_values_from": names}
                return answer, OWN_OPTIONS, {options, names, gold}
            if all(type(row[gold]) is int and 0 <= row[gold] < len(row[names]) for row in flat):
                return {"kind": "choice", "options_from": [names], "gold": gold}, OWN_OPTIONS, {names, gold}
    return _numbered_options(columns, golds)


def _numbered_options(columns: Sequence[Column], golds: Sequence[str]) -> Found | None:
    stems: dict[str, list[str]] = {}
    for column in columns:
        match = _NUMBERED.match(column.name)
        if match and column.kind == "text" and not column.is_label:
            stems.setdefault(match[1], []).append(column.name)
    by_name = {column.name: column for column in columns}
    for names in stems.values():
        names.sort()
        num = len(names)
        for gold in golds:
            values = set(by_name[gold].distinct)
            if num < 2 or gold in names or not values:
                continue
            answer: dict[str, Any] = {"kind": "choice", "options_from": names, "gold": gold}
            counted: list[list[Any]] = [list(range(1, num + 1)), [str(i) for i in range(1, num + 1)]]
            counted += [[str(i) for i in range(num)], list("ABCDE")[:num], names]
            if by_name[gold].kind == "int" and values <= set(range(num)):
                return answer, OWN_OPTIONS, {gold, *names}
            for known in counted:
                if {(type(v), v) for v in values} <= {(type(v), v) for v in known}:
                    return {**answer, "gold_values": known}, OWN_OPTIONS, {gold, *names}
    return None


def _labels(num_rows: int, columns: Sequence[Column]) -> Found | None:
    """One of few values in every row: a label, unless nearly every row has another one."""
    labels = [c for c in columns if c.is_label and len(c.distinct) >= 2 and 2 * len(c.distinct) <= num_rows]
    named = [column for column in labels if _label_rank(column.name) < len(LABEL_NAMES)]
    if not labels or (not named and any(_text_rank(c.name) < len(TEXT_NAMES) for c in columns)):
        return None
    column = min(named, key=lambda c: _label_rank(c.name)) if named else labels[-1]
    answer: dict[str, Any] = {"kind": "choice"}
    note = f"{column.name} has {len(column.distinct)} values; options are words, in the order of the labels"
    if column.kind == "bool":
        answer |= {"options": ["no", "yes"], "gold": column.name}
    elif column.kind == "int" and {*column.distinct, -1} == set(range(-1, max(column.distinct) + 1)):
        answer["options"] = [f"{FILL_IN}: what {i} means>" for i in range(max(column.distinct) + 1)]
        answer["gold"] = column.name
        note += "; rows labelled -1 need `drop_if`" if -1 in column.distinct else ""
    else:
        values = sorted(column.distinct)
        words = [v if isinstance(v, str) else f"{FILL_IN}: what {v} means>" for v in values]
        answer |= {"options": words, "gold": column.name, "gold_values": values}
    return answer, note, {column.name}


def _free_text(columns: Sequence[Column]) -> Found | None:
    texts = [column for column in columns if column.kind in ("text", "list", "int")]
    if not texts:
        return None
    best = min(reversed(texts), key=lambda column: (_text_rank(column.name), not column.name.endswith("text")))
    return {"kind": "text", "references": best.name}, "free text; a list counts each entry as right", {best.name}


def _label_rank(name: str) -> int:
    return _rank(name, LABEL_NAMES)


def _text_rank(name: str) -> int:
    return _rank(name, TEXT_NAMES)


def _rank(name: str, known: Sequence[str]) -> int:
    parts = {name.lower(), *re.split(r"[._]", name.lower())}
    return next((i for i, word in enumerate(known) if word in parts), len(known))


def field_name(path: str, taken: Mapping[str, str]) -> str:
    """A name for templates: the last part of the path, the whole path where that is taken or means something else."""
    for candidate in (path.rpartition(".")[2], path, f"{path}_field"):
        name = re.sub(r"\W+", "_", candidate).strip("_").lower()
        name = f"field_{name}" if not name or name[0].isdigit() else name
        if name not in taken and name not in RESERVED:
            return name
    return f"field_{len(taken) + 1}"


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for path, value in values.items():
        *parents, last = path.split(".")
        inner = nested
        for part in parents:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return nested


def flow_yaml(value: Any) -> str:
    """YAML on one line; JSON is YAML."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{flow_yaml(key)}: {flow_yaml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(flow_yaml(item) for item in value) + "]"
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z_][\w./]*", value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)


_WORDS = frozenset({"yes", "no", "true", "false", "on", "off", "null", "y", "n"})
