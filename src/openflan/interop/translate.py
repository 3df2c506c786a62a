"""Others' Jinja templates in the language of ours (`templates/pattern.py`), or the reason why one cannot be said in it.

A foreign template names columns of a row, `choices.text` or `answers["text"][0]`; a card gives columns names of their
own, so the translator notes which ones it met and whether they hold lists.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jinja2 import Environment, TemplateError, nodes

from openflan.errors import CatalogError
from openflan.tasks.scaffold import field_name
from openflan.templates.pattern import compile_pattern

_ENVIRONMENT = Environment(autoescape=False, keep_trailing_newline=True)
_STRIPPED = ("strip", "lstrip", "rstrip")  # fields of an example are stripped anyhow
_NO_FILTERS = ("string", "trim", "int", "safe")  # fields are text
_TEXT_FILTERS = ("string", "trim", "lower", "join")
_FILTERS = {"lower": "lower", "length": "length", "count": "length", "join": "join"}
_OPERATORS = {"eq": "==", "ne": "!=", "in": "in", "notin": "not in"}
_SIGNS = {**_OPERATORS, "gt": ">", "gteq": ">=", "lt": "<", "lteq": "<="}
_MOST_LEVELS = 40  # of parts within parts: what follows calls itself
_MOST_PARTS = 2_000
_TOO_DEEP = f"more than {_MOST_LEVELS} levels of parts within parts"
_MOST_COLUMNS = 200
_MOST_SHOWN = 80  # characters of an expression that a reason names


class NotCarried(Exception):
    """This template cannot be said in a card, for the reason given."""


@dataclass(slots=True)
class Columns:
    """The columns that templates named, as the card's `fields` (field to dotted column), and those that hold lists with
    the least number of entries that the templates need."""

    fields: dict[str, str] = field(default_factory=dict)
    lists: dict[str, int] = field(default_factory=dict)

    def name(self, path: str) -> str:
        """The field for a column, a new one where it was not named before."""
        known = {column: name for name, column in self.fields.items()}
        if path not in known:
            if len(known) == _MOST_COLUMNS:
                raise NotCarried(f"more than {_MOST_COLUMNS} columns")
            known[path] = field_name(path, self.fields)
            self.fields[known[path]] = path
        return known[path]


def parse_jinja(source: str) -> list[nodes.Node]:
    """The statements of a foreign template. NotCarried when it is no Jinja, or too large to be a wording."""
    try:
        template = _ENVIRONMENT.parse(source)
    except TemplateError as exc:
        raise NotCarried(f"no Jinja: {exc}") from exc
    except RecursionError as exc:
        raise NotCarried(_TOO_DEEP) from exc
    level: list[nodes.Node] = [template]
    num_parts = 0
    for _ in range(_MOST_LEVELS):
        level = [inner for node in level for inner in node.iter_child_nodes()]
        num_parts += len(level)
        if not level:
            return template.body
        if num_parts > _MOST_PARTS:
            raise NotCarried(f"more than {_MOST_PARTS:,} parts")
    raise NotCarried(_TOO_DEEP)


def column(node: nodes.Node) -> str | None:
    """The dotted column that an expression names, through `.strip()` and the like; None for anything else.

    >>> column(only_expression(parse_jinja("{{ choices['text'] }}")))
    'choices.text'
    """
    if isinstance(node, nodes.Name):
        return node.name
    if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Getattr) and node.node.attr in _STRIPPED:
        return column(node.node.node) if not (node.args or node.kwargs) else None
    if isinstance(node, nodes.Filter) and node.name in _NO_FILTERS and node.node is not None:
        return column(node.node)
    if isinstance(node, nodes.Getattr):
        above, last = column(node.node), node.attr
    elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
        above, last = column(node.node), node.arg.value
    else:
        return None
    return None if above is None else f"{above}.{last}"


def only_expression(body: Sequence[nodes.Node]) -> nodes.Expr | None:
    """The one expression of a template that holds nothing else but white space."""
    parts = [part for node in body for part in (node.nodes if isinstance(node, nodes.Output) else [node])]
    parts = [part for part in parts if not (isinstance(part, nodes.TemplateData) and not part.data.strip())]
    if len(parts) != 1 or isinstance(parts[0], nodes.TemplateData) or not isinstance(parts[0], nodes.Expr):
        return None
    return parts[0]


def plain_text(text: str) -> str:
    """Text as a template that says just that. NotCarried for braces that a template would read as its own."""
    if re.search(r"\{\{|\{%|\{#|\}\}|%\}|#\}", text):
        raise NotCarried("double braces in its text")
    return text


@dataclass(slots=True)
class Translator:
    """Translates templates of one file. `replaced` says what stands for a whole expression: the name that means the
    answer or the options there, or NotCarried for one that would show the gold."""

    columns: Columns
    replaced: Callable[[nodes.Expr], str | None] = lambda node: None
    loop_names: set[str] = field(default_factory=set)
    named: dict[str, nodes.Const] = field(default_factory=dict)

    def template(self, body: Sequence[nodes.Node]) -> str:
        """Our source for a whole template, its text as it stands. NotCarried where our own compiler refuses it."""
        try:
            source = "".join("" if self._sets(node) else self._statement(node) for node in body)
            compile_pattern(source, "the translation")
        except CatalogError as exc:
            raise NotCarried(exc.found) from exc
        return source

    def _sets(self, node: nodes.Node) -> bool:
        """Whether a statement gives a text or a number a name, for the statements after it."""
        if not isinstance(node, nodes.Assign) or not isinstance(node.target, nodes.Name):
            return False
        if constant(node.node) is not None:
            self.named[node.target.name] = nodes.Const(constant(node.node))
        return constant(node.node) is not None

    def _body(self, body: Sequence[nodes.Node]) -> str:
        return "".join(self._statement(node) for node in body)

    def _statement(self, node: nodes.Node) -> str:
        if isinstance(node, nodes.Output):
            return "".join(self._output(part) for part in node.nodes)
        if isinstance(node, nodes.If):
            tests = [(node.test, node.body), *((other.test, other.body) for other in node.elif_)]
            parts = [
                f"{{% {'elif' if i else 'if'} {self._expression(t)} %}}{self._body(b)}"
                for i, (t, b) in enumerate(tests)
            ]
            return "".join(parts) + (f"{{% else %}}{self._body(node.else_)}" if node.else_ else "") + "{% endif %}"
        if isinstance(node, nodes.For) and isinstance(node.target, nodes.Name) and not (node.test or node.else_):
            self._note_list(node.iter)
            over = self._expression(node.iter)
            self.loop_names |= {node.target.name, "loop"}
            inner = self._body(node.body)
            self.loop_names -= {node.target.name, "loop"}
            return f"{{% for {node.target.name} in {over} %}}{inner}{{% endfor %}}"
        raise NotCarried(f"the tag {_tag(node)}")

    def _output(self, node: nodes.Node) -> str:
        node = self._named(node)
        if isinstance(node, nodes.TemplateData):
            return plain_text(node.data)
        if isinstance(node, nodes.Const) and isinstance(node.value, str | int):
            return plain_text(str(node.value))
        if isinstance(node, nodes.Concat):
            return "".join(map(self._output, node.nodes))
        if isinstance(node, nodes.Add) and self._is_text(node):
            return self._output(node.left) + self._output(node.right)
        if isinstance(node, nodes.CondExpr):
            other = f"{{% else %}}{self._output(node.expr2)}" if node.expr2 is not None else ""
            return f"{{% if {self._expression(node.test)} %}}{self._output(node.expr1)}{other}{{% endif %}}"
        return f"{{{{ {self._expression(node)} }}}}"

    def _is_text(self, node: nodes.Node | None) -> bool:
        """Whether the value of an expression is a text for certain, so that `+` beside it means one after the other."""
        node = self._named(node) if node is not None else None
        if isinstance(node, nodes.Add):
            return self._is_text(node.left) or self._is_text(node.right)
        if isinstance(node, nodes.CondExpr):
            return self._is_text(node.expr1) or self._is_text(node.expr2)
        if isinstance(node, nodes.Filter):
            return node.name in _TEXT_FILTERS
        if isinstance(node, nodes.Call):
            return isinstance(node.node, nodes.Getattr) and node.node.attr in (*_STRIPPED, *_TEXT_FILTERS)
        return isinstance(node, nodes.Concat) or (isinstance(node, nodes.Const) and isinstance(node.value, str))

    def _named(self, node: nodes.Node) -> nodes.Node:
        if not isinstance(node, nodes.Name) or node.name in self.loop_names:
            return node
        return self.named.get(node.name, node)

    def _expression(self, node: nodes.Node) -> str:
        node = self._named(node)
        if isinstance(node, nodes.Expr) and (put := self.replaced(node)) is not None:
            return put
        path = column(node)
        if path is not None:
            return self._name(path)
        if isinstance(node, nodes.Const) and type(node.value) in (str, int):
            return json.dumps(node.value, ensure_ascii=False)
        if isinstance(node, nodes.Not):
            return f"not ({self._expression(node.node)})"
        if isinstance(node, nodes.And | nodes.Or):
            word = type(node).__name__.lower()
            return f"({self._expression(node.left)} {word} {self._expression(node.right)})"
        if isinstance(node, nodes.Compare) and len(node.ops) == 1 and node.ops[0].op in _OPERATORS:
            left, right = node.expr, node.ops[0].expr
            return f"{self._side(left, right)} {_OPERATORS[node.ops[0].op]} {self._side(right, left)}"
        if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, int):
            self._note_list(node.node, node.arg.value + 1)
            return f"{self._expression(node.node)}[{node.arg.value}]"
        if isinstance(node, nodes.Filter | nodes.Call):
            return self._call(node)
        raise NotCarried(f"the expression {said(node)}")

    def _call(self, node: nodes.Filter | nodes.Call) -> str:
        """A filter, or a method that means the same."""
        if isinstance(node, nodes.Filter):
            name, of = node.name, node.node
        elif isinstance(node.node, nodes.Getattr):
            name, of = node.node.attr, node.node.node
        else:
            raise NotCarried(f"the function {said(node.node)}")
        if of is None or node.kwargs or (node.args and name != "join"):
            raise NotCarried(f"the filter {name}")
        if name == "first":
            self._note_list(of)
            return f"{self._expression(of)}[0]"
        if name in _NO_FILTERS or (name in _STRIPPED and isinstance(node, nodes.Call)):
            return self._expression(of)
        if name not in _FILTERS or (name in ("join", "length") and isinstance(node, nodes.Call)):
            raise NotCarried(f"the {'filter' if isinstance(node, nodes.Filter) else 'method'} {name}")
        if name == "join":
            self._note_list(of)
            separator = node.args[0] if node.args else nodes.Const("")
            return f"{self._expression(of)} | join({self._expression(separator)})"
        return f"{self._expression(of)} | {_FILTERS[name]}"

    def _side(self, node: nodes.Expr, other: nodes.Expr) -> str:
        """One side of a comparison: a number beside a column is text, as the column is."""
        value = constant(node)
        if type(value) is int and column(other) is not None:
            return json.dumps(str(value))
        return self._expression(node)

    def _name(self, path: str) -> str:
        root, _, rest = path.partition(".")
        if root not in self.loop_names:
            if (name := self.columns.name(path)) in self.loop_names:
                raise NotCarried(f"a loop over items called {name}, as the column {path} is")
            return name
        if rest and root != "loop":
            raise NotCarried(f"a part of an item of a list ({path})")
        return path

    def _note_list(self, node: nodes.Node, num_entries: int = 1) -> None:
        path = column(node) if isinstance(node, nodes.Expr) and self.replaced(node) is None else None
        if path is not None and path not in self.loop_names:
            self.columns.lists[path] = max(num_entries, self.columns.lists.get(path, 0))


def constant(node: nodes.Node) -> str | int | None:
    """The value of a text or a whole number that is written out, -1 among them; None for any other expression."""
    if isinstance(node, nodes.Neg):
        value = constant(node.node)
        return -value if isinstance(value, int) else None
    return node.value if isinstance(node, nodes.Const) and type(node.value) in (str, int) else None


def constants(node: nodes.Node) -> list[str | int] | None:
    """The values of a list of texts and numbers that is written out; None for any other expression."""
    if not isinstance(node, nodes.List | nodes.Tuple):
        return None
    values = [value for item in node.items if (value := constant(item)) is not None]
    return values if len(values) == len(node.items) else None


def mapping(node: nodes.Node) -> Mapping[str | int, str | int] | None:
    """The same of a dict that is written out."""
    if not isinstance(node, nodes.Dict):
        return None
    keys = constants(nodes.List([pair.key for pair in node.items]))
    values = constants(nodes.List([pair.value for pair in node.items]))
    return dict(zip(keys, values, strict=True)) if keys is not None and values is not None else None


def _tag(node: nodes.Node) -> str:
    if isinstance(node, nodes.Assign | nodes.AssignBlock):
        return "set"
    return "for with a condition or several names" if isinstance(node, nodes.For) else type(node).__name__.lower()


def said(node: nodes.Node | None) -> str:
    """An expression as its author may have written it, for reasons.

    >>> said(only_expression(parse_jinja("{{ a[:-1] | join(', ') if b.c == 2 else f(d) }}")))
    "a[:-1] | join(', ') if b.c == 2 else f(d)"
    """
    text = _said(node)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]} ..."


def _said(node: Any) -> str:
    def listed(items: Iterable[Any]) -> str:
        return ", ".join(map(_said, items))

    match node:
        case nodes.Name():
            return str(node.name)
        case nodes.Const():
            return repr(node.value)
        case nodes.TemplateData():
            return repr(node.data)
        case nodes.Getattr():
            return f"{_said(node.node)}.{node.attr}"
        case nodes.Getitem():
            return f"{_said(node.node)}[{_said(node.arg)}]"
        case nodes.Slice():
            parts = ["" if part is None else _said(part) for part in (node.start, node.stop)]
            return ":".join([*parts, _said(node.step)] if node.step else parts)
        case nodes.Filter():
            given = f"({listed(node.args)})" if node.args else ""
            return f"{_said(node.node)} | {node.name}{given}" if node.node is not None else node.name
        case nodes.Test():
            return f"{_said(node.node)} is {node.name}"
        case nodes.Call():
            return f"{_said(node.node)}({listed(node.args)})"
        case nodes.Compare():
            return _said(node.expr) + "".join(f" {_SIGNS[op.op]} {_said(op.expr)}" for op in node.ops)
        case nodes.CondExpr():
            other = f" else {_said(node.expr2)}" if node.expr2 is not None else ""
            return f"{_said(node.expr1)} if {_said(node.test)}{other}"
        case nodes.BinExpr():
            return f"{_said(node.left)} {node.operator} {_said(node.right)}"
        case nodes.UnaryExpr():
            return f"{node.operator}{' ' if node.operator == 'not' else ''}{_said(node.node)}"
        case nodes.Concat():
            return " ~ ".join(map(_said, node.nodes))
        case nodes.List():
            return f"[{listed(node.items)}]"
        case nodes.Tuple():
            return f"({listed(node.items)})"
        case nodes.Dict():
            return "{" + ", ".join(f"{_said(pair.key)}: {_said(pair.value)}" for pair in node.items) + "}"
    return f"({type(node).__name__.lower()})"
