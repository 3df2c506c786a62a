"""One template of promptsource: its two halves around `|||`, its `answer_choices`, and what its target says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import nodes
from jinja2.visitor import NodeTransformer

from openflan.interop.answers import (
    NO_GOLD,
    answer_by_cases,
    answer_by_list,
    gold_by_index,
    is_blank,
    options_of,
    with_gold,
)
from openflan.interop.translate import NotCarried, column, constant, only_expression, parse_jinja, said

Rows = dict[str, dict[str, list[Any]]]  # a card's `drop_if` and `keep_if`
CHOICES = "answer_choices"
NO_LABEL: list[Any] = [-1]
EMPTY: list[Any] = ["", [], None, False, 0]  # what `if` takes for no
_BAR = "|||"


@dataclass(frozen=True, slots=True)
class Wording:
    """One template as the file has it: `prompt` and `target` are its two halves, `rows` the card's keys for the rows
    that it is about. `lists_options`: the file says that the prompt names the choices."""

    name: str
    prompt: list[nodes.Node]
    target: list[nodes.Node]
    rows: Rows
    choices: str | None
    is_original: bool
    lists_options: bool
    metrics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a card, the rows that have one, and what the target says around it."""

    answer: dict[str, Any]
    rows: Rows
    expression: nodes.Expr | None
    around: tuple[str, str] = ("", "")

    @property
    def key(self) -> str:
        """Equal for templates that can share a card: rows without a label are no good to any of them."""
        column_of_answer = self.answer.get("gold") or self.answer["references"]
        rows = {key: dict(fields) for key, fields in self.rows.items()}
        if rows.get("drop_if", {}).get(column_of_answer) == NO_LABEL:
            del rows["drop_if"][column_of_answer]
        return json.dumps([self.answer, {key: fields for key, fields in rows.items() if fields}], sort_keys=True)


def read_wording(name: str, value: Any) -> Wording:
    """One entry of the file's `templates`. NotCarried for one that cannot be taken apart."""
    if not isinstance(value, dict) or not isinstance(value.get("jinja"), str):
        raise NotCarried("no `jinja` text")
    choices = value.get("answer_choices") or None
    choices = f" {_BAR} ".join(map(str, choices)) if isinstance(choices, list) else choices
    if choices is not None and not isinstance(choices, str):
        raise NotCarried("answer choices that are no text")
    halves = _split(parse_jinja(value["jinja"]))
    if halves is None:
        raise NotCarried(f"no `{_BAR}` between prompt and target")
    prompt, target, rows = halves
    _strip_start(prompt)
    if choices is not None and "{" not in choices:
        words = [word.strip() for word in choices.split(_BAR)]
        prompt, target = ([_Words(words).visit(node) for node in half] for half in (prompt, target))
    found = value.get("metadata")
    metadata = found if isinstance(found, dict) else {}
    metrics = metadata.get("metrics")
    return Wording(
        name,
        prompt,
        target,
        rows,
        choices,
        metadata.get("original_task") is not False,
        metadata.get("choices_in_prompt") is True,
        tuple(map(str, metrics)) if isinstance(metrics, list) else (),
    )


def answer_of(wording: Wording) -> Answer:
    """What the target says the answer is. NotCarried for one that a card cannot say."""
    body, rows = _without_condition(wording.target)
    rows = both_rows(wording.rows, rows)
    if wording.choices is None:
        chosen = answer_by_cases(body) or answer_by_list(only_expression(body))
        return _text_answer(body, rows) if chosen is None else Answer(chosen, rows, None)
    by_cases, options = answer_by_cases(body), options_among(wording.choices)
    if by_cases is not None and all(by_cases.get(key) == options.get(key) for key in ("options", "options_from")):
        return Answer(by_cases, rows, None)
    node = only_expression(body)
    if node is None:
        raise NotCarried("a target that is more than one of its answer choices")
    if column(node) is not None and any(picks_choice(each) for part in wording.prompt for each in _expressions(part)):
        return _text_answer(body, rows)  # the choice is in the prompt, and the target is something else
    return Answer(choice_of(node, options), rows, node)


def choice_of(node: nodes.Expr, options: Mapping[str, Any]) -> dict[str, Any]:
    """A card's answer for an expression that names one of the `options` (keys of a card). NotCarried for any other."""
    named = answer_by_list(node)
    if named is not None and all(named.get(key) == options.get(key) for key in ("options", "options_from")):
        return named
    if isinstance(node, nodes.Getitem) and column(node.node) in (CHOICES, *options.get("options_from", ())):
        return with_gold(options, gold_by_index(node.arg, len(options["options"]) if "options" in options else None))
    path, by_name = column(node), options.get("options_from", ())
    if path is None or path == CHOICES or len(by_name) > 1:
        raise NotCarried(f"{NO_GOLD}: {said(node)}")
    values = {"gold_values_from": by_name[0]} if by_name else {"gold_values": options["options"]}
    return with_gold(options, {"gold": path, **values})


def options_among(choices: str) -> dict[str, Any]:
    """A card's keys for `answer_choices`: fixed words or columns between bars, or one list column joined by bars."""
    parts = [part.strip() for part in choices.split(_BAR)]
    if "{" not in choices:
        if len(parts) < 2 or len(set(parts)) < len(parts) or not all(parts):
            raise NotCarried("answer choices that are not two or more different words")
        return {"options": parts}
    node = only_expression(parse_jinja(choices))
    if isinstance(node, nodes.Filter) and node.name == "join" and node.node is not None:
        if (path := column(node.node)) is None:
            raise NotCarried("answer choices that are neither words nor columns")
        return {"options_from": [path]}
    paths = [(options_of(part).get("options_from") or [None])[0] for part in parts]
    if len(paths) < 2 or None in paths:
        raise NotCarried("answer choices that are neither words nor columns")
    return {"options_from": paths}


def _text_answer(body: list[nodes.Node], rows: Rows) -> Answer:
    """One column, with text before or after it: its first entry is trained on where it holds a list."""
    parts = _parts(body)
    places = [i for i, part in enumerate(parts) if not isinstance(part, nodes.TemplateData)]
    if len(places) != 1:
        raise NotCarried("a target that is not one column" if places else "a target that names no column")
    node: Any = parts[places[0]]
    before, after = _text(parts[: places[0]]), _text(parts[places[0] + 1 :])
    first = isinstance(node, nodes.Getitem) and constant(node.arg) == 0
    entry = isinstance(node, nodes.Filter) and node.name in ("choice", "first")
    path = column(node.node if first or entry else node)
    if path is None or path == CHOICES:
        raise NotCarried(f"a target that is computed: {said(node)}")
    return Answer({"kind": "text", "references": path}, rows, node, (before, after))


def _without_condition(body: list[nodes.Node]) -> tuple[list[nodes.Node], Rows]:
    """The target within `{% if label != -1 %}...{% endif %}`, and the rows for which it says something."""
    full = [node for node in body if not is_blank(node)]
    if len(full) != 1 or not isinstance(full[0], nodes.If) or answer_by_cases(body) is not None:
        return body, {}
    if full[0].elif_ or full[0].else_:
        raise NotCarried("a target that depends on a condition")
    return full[0].body, _rows_where(full[0].test)


def is_for_some_rows(body: Sequence[nodes.Node]) -> bool:
    """Whether a half says nothing at all of some rows."""
    full = [node for node in body if not is_blank(node)]
    return bool(full) and all(isinstance(node, nodes.If) and not node.else_ for node in full)


def _rows_where(test: nodes.Node) -> Rows:
    """The rows for which a condition is true."""
    if isinstance(test, nodes.And):
        return both_rows(_rows_where(test.left), _rows_where(test.right))
    if (path := column(test)) is not None or (path := _length(test)) is not None:
        return {"drop_if": {path: EMPTY}}
    if isinstance(test, nodes.Compare) and len(test.ops) == 1:
        path, op, right = column(test.expr), test.ops[0].op, test.ops[0].expr
        value: Any = right.value if isinstance(right, nodes.Const) and right.value is not None else constant(right)
        empty = isinstance(right, nodes.List) and not right.items
        if _length(test.expr) is not None and (op, value) in (("gt", 0), ("ne", 0), ("gteq", 1)):
            return {"drop_if": {str(_length(test.expr)): EMPTY}}
        if path is not None and op == "ne" and (value is not None or empty):
            return {"drop_if": {path: EMPTY if empty or value == "" else [value]}}
        if path is not None and op == "eq" and value is not None:
            return {"keep_if": {path: [value]}}
        if path is not None and (op, value) in (("gteq", 0), ("gt", -1)):
            return {"drop_if": {path: NO_LABEL}}
    raise NotCarried(f"rows that a condition passes over, which a card cannot say: {said(test)}")


def _length(node: nodes.Node) -> str | None:
    """The column whose length an expression is."""
    is_length = isinstance(node, nodes.Filter) and node.name in ("length", "count") and node.node is not None
    return column(node.node) if isinstance(node, nodes.Filter) and is_length and node.node is not None else None


def both_rows(one: Rows, other: Rows) -> Rows:
    """The rows that two conditions leave."""
    merged = {key: dict(fields) for key, fields in one.items()}
    for key, fields in other.items():
        for path, values in fields.items():
            inner = merged.setdefault(key, {})
            if path in inner and key == "drop_if":
                inner[path] = [*inner[path], *(value for value in values if value not in inner[path])]
            elif inner.setdefault(path, values) != values:
                raise NotCarried(f"conditions on {path} that exclude each other")
    return merged


def _split(body: Sequence[nodes.Node]) -> tuple[list[nodes.Node], list[nodes.Node], Rows] | None:
    """What stands before and after the bar, and the rows that have one because it is within an `if`; None without a
    bar. A bar in each branch of an `if` makes two of them, one for each half."""
    parts, found = _parts(body), None
    for i, part in enumerate(parts):
        rows: Rows = {}
        if isinstance(part, nodes.TemplateData) and _BAR in part.data:
            left, _, right = part.data.partition(_BAR)
            inner: tuple[list[nodes.Node], list[nodes.Node]] = ([_data(left)], [_data(right)])
            if _BAR in right:
                raise NotCarried(f"more than one `{_BAR}`")
        elif isinstance(part, nodes.If) and any(_BAR in data.data for data in part.find_all(nodes.TemplateData)):
            *inner, rows = _split_cases(part)  # type: ignore[assignment]
        else:
            continue
        if found is not None:
            raise NotCarried(f"more than one `{_BAR}`")
        before, after = inner
        found = _statements([*parts[:i], *before]), _statements([*after, *parts[i + 1 :]]), rows
    return found


def _split_cases(node: nodes.If) -> tuple[list[nodes.Node], list[nodes.Node], Rows]:
    cases = [_split(body) for body in (node.body, *(other.body for other in node.elif_), node.else_)]
    if cases[0] is not None and len(cases) == 2 and not node.else_:
        return cases[0][0], cases[0][1], both_rows(cases[0][2], _rows_where(node.test))
    if None in cases or any(case is not None and case[2] for case in cases):
        raise NotCarried(f"a condition with `{_BAR}` in only some of its branches")
    halves: list[list[nodes.Node]] = []
    for bodies in ([case[0] for case in cases if case], [case[1] for case in cases if case]):
        if all(body == bodies[0] for body in bodies):
            halves.append(bodies[0])
            continue
        others = [nodes.If(o.test, b, [], [], lineno=1) for o, b in zip(node.elif_, bodies[1:-1], strict=True)]
        halves.append([nodes.If(node.test, bodies[0], others, bodies[-1], lineno=1)])
    return halves[0], halves[1], {}


def picks_choice(node: nodes.Node) -> bool:
    """Whether an expression takes one of the answer choices by what a row says."""
    return (
        isinstance(node, nodes.Getitem)
        and column(node.node) == CHOICES
        and not isinstance(node.arg, nodes.Const | nodes.Slice)
        and "loop" not in {name.name for name in _expressions(node.arg) if isinstance(name, nodes.Name)}
    )


def _expressions(node: nodes.Node) -> Iterator[nodes.Expr]:
    if isinstance(node, nodes.Expr):
        yield node
    yield from node.find_all(nodes.Expr)


def _parts(body: Sequence[nodes.Node]) -> list[nodes.Node]:
    return [part for node in body for part in (node.nodes if isinstance(node, nodes.Output) else [node])]


def _statements(parts: Sequence[nodes.Node]) -> list[nodes.Node]:
    return [nodes.Output([part], lineno=1) if isinstance(part, nodes.Expr) else part for part in parts]


def _data(text: str) -> nodes.TemplateData:
    return nodes.TemplateData(text, lineno=1)


def _text(parts: Sequence[nodes.Node]) -> str:
    return "".join(part.data for part in parts if isinstance(part, nodes.TemplateData))


def _strip_start(body: Sequence[nodes.Node]) -> None:
    """Take away the white space that a rendered half would begin with: promptsource does so."""
    for part in _parts(body):
        if isinstance(part, nodes.TemplateData):
            part.data = part.data.lstrip()
        elif isinstance(part, nodes.If):
            for branch in (part.body, *(other.body for other in part.elif_), part.else_):
                _strip_start(branch)
        if not isinstance(part, nodes.TemplateData) or part.data:
            return


class _Words(NodeTransformer):
    """Puts fixed answer choices in the place of expressions that join some of them or pick one by its number."""

    def __init__(self, words: list[str]) -> None:
        self.words = words

    def visit_Filter(self, node: nodes.Filter) -> nodes.Node:
        separator = constant(node.args[0]) if node.args else ""
        some = self._some(node.node)
        if node.name == "join" and some is not None and isinstance(separator, str):
            return nodes.Const(separator.join(some), lineno=node.lineno)
        self.generic_visit(node)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        number, some = constant(node.arg), self._some(node.node)
        if some is not None and isinstance(number, int) and -len(some) <= number < len(some):
            return nodes.Const(some[number], lineno=node.lineno)
        self.generic_visit(node)
        return node

    def _some(self, node: nodes.Node | None) -> list[str] | None:
        """The choices, or some of them next to each other."""
        if isinstance(node, nodes.Name) and node.name == CHOICES:
            return self.words
        if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice) and node.arg.step is None:
            some = self._some(node.node)
            start, stop = (None if end is None else constant(end) for end in (node.arg.start, node.arg.stop))
            whole = (start is None) == (node.arg.start is None) and (stop is None) == (node.arg.stop is None)
            if some is not None and whole and not isinstance(start, str) and not isinstance(stop, str):
                return some[start:stop]
        return None
