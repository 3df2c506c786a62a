"""The language of templates: a small, closed part of Jinja2, compiled once and filled many times.

A template comes from a file that anybody may have written, a field's value from any dataset. So a template may only
name fields, choose (`if`), repeat (`for`, not nested) and apply the filters below; anything else is refused when it is
compiled, a sandbox stands behind that, and size, work and output are bounded. Values are text, or lists of texts: they
are never templates themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, Undefined, nodes
from jinja2.meta import find_undeclared_variables
from jinja2.sandbox import ImmutableSandboxedEnvironment

from openflan.errors import CatalogError, did_you_mean

MAX_SOURCE_CHARACTERS = 20_000
MAX_NODES = 2_000  # of the syntax tree; the largest of promptsource's 2,073 wordings has 407, and nests 16 levels deep
MAX_DEPTH = 40
MAX_ADDED_CHARACTERS = 100_000  # how much longer than the values it is given an output may be
MAX_WORK = 1_000_000_000  # characters that the filters and comparisons of one rendering may read
FEW_READINGS = 20  # not worth counting: no row is so long

_ALLOWED = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.If, nodes.For, nodes.Filter,
    nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.CondExpr, nodes.Getitem, nodes.Getattr,
)  # fmt: skip
_LOOP = frozenset({"index", "first", "last"})


def _lower(value: Any) -> str:
    return _text(value, "lower").lower()


def _upper_first(value: Any) -> str:
    """Unlike `capitalize`, leaves the rest of the text as it is."""
    text = _text(value, "upper_first")
    return text[:1].upper() + text[1:]


def _lower_first(value: Any) -> str:
    text = _text(value, "lower_first")
    return text[:1].lower() + text[1:]


def _without_stop(value: Any) -> str:
    """Without a final full stop (or two, a common slip), for a sentence within another; an ellipsis stays."""
    text = _text(value, "without_stop")
    return text if text.endswith("...") else text.rstrip(".")


def _join(items: Any, separator: Any = ", ") -> str:
    _check_defined(items)
    if not isinstance(items, str | tuple | list):
        raise TypeError(f"{_kind(items)} before `join`, which needs a list")
    if len(items) * len(_text(separator, "join")) > MAX_ADDED_CHARACTERS:
        raise ValueError(f"more than {MAX_ADDED_CHARACTERS:,} characters between the items of a `join`")
    return str(separator.join(items))


def _length(value: Any) -> int:
    _check_defined(value)
    return len(value)


def _text(value: Any, filter_name: str) -> str:
    if isinstance(value, str):
        return value
    _check_defined(value)
    hint = "; write a list with `| join`" if isinstance(value, tuple | list) else ""
    raise TypeError(f"{_kind(value)} where the filter {filter_name} needs text{hint}")


def _kind(value: Any) -> str:
    names = {tuple: "a list", list: "a list", int: "a number", float: "a number", bool: "true or false"}
    return names.get(type(value), type(value).__name__)


def _check_defined(value: Any) -> None:
    if isinstance(value, Undefined):
        str(value)  # raises the error that says what is missing


FILTERS: dict[str, Callable[..., Any]] = {
    "join": _join,
    "length": _length,
    "lower": _lower,
    "lower_first": _lower_first,
    "upper_first": _upper_first,
    "without_stop": _without_stop,
}
_READING = (nodes.Filter, nodes.Compare)  # what reads a whole value, however long


def _output(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise TypeError(f"{_kind(value)} where text belongs; write a list with `| join`")


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True, finalize=_output, loader=None
    )
    environment.globals.clear()
    environment.tests = {}
    environment.filters = dict(FILTERS)
    return environment


_ENVIRONMENT = _environment()


@dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled template. `names` are the values it needs; `compares` when what it says depends on what they are.

    `num_readings` counts the filters and comparisons; `loops` has, of each loop with any in it, what it goes over (None
    for anything but a name) and how many. How much a rendering reads at most follows from these.
    """

    names: frozenset[str]
    compares: bool
    num_readings: int
    loops: tuple[tuple[str | None, int], ...]
    template: Template

    def fill(self, values: dict[str, Any], where: str) -> str:
        """The text. Raises CatalogError, naming `where`, for an unknown name, a wrong type or an endless output."""
        if not self.names <= values.keys():
            raise _unknown(sorted(self.names - values.keys()), values, where)
        if self.loops or self.num_readings > FEW_READINGS:
            self._check_work(values, where)
        parts: list[str] = []
        length, limit = 0, MAX_ADDED_CHARACTERS
        try:
            context = self.template.new_context(values, shared=True)  # shared: a template cannot write into it
            for part in self.template.root_render_func(context):
                parts.append(part)
                length += len(part)
                if length > limit:
                    limit = MAX_ADDED_CHARACTERS + _num_characters(values)
                    if length > limit:
                        expected = f"at most {MAX_ADDED_CHARACTERS:,} more than its fields have"
                        raise CatalogError(where, f"more than {limit:,} characters of output", expected)
        except (TemplateError, TypeError, ValueError) as exc:
            raise CatalogError(where, str(exc), "a template that fits this row's fields") from exc
        return "".join(parts)

    def _check_work(self, values: dict[str, Any], where: str) -> None:
        times = self.num_readings
        for name, num_readings in self.loops:
            times += num_readings * (len(values[name]) if name in values else max(map(len, values.values()), default=0))
        if times * _num_characters(values) > MAX_WORK:
            found = f"{times:,} filters and comparisons, loops counted, of {_num_characters(values):,} characters"
            raise CatalogError(where, found, f"at most {MAX_WORK:,} characters of work", "Take loops over texts out.")


def _unknown(names: Sequence[str], values: Iterable[str], where: str) -> CatalogError:
    if "answer" in names:
        do = "Mark the template `inverted: true`, or take the answer out of its input."
        return CatalogError(where, "`answer` in the input", "a scored prompt that does not show its gold", do)
    hint = did_you_mean(names[0], values)
    return CatalogError(where, f"the unknown name {names[0]!r}", "a field of the card", hint)


def _num_characters(values: Mapping[str, Any]) -> int:
    return sum(len(value) if isinstance(value, str) else sum(map(len, value)) for value in values.values())


def compile_pattern(source: str, where: str) -> Pattern:
    """Compile a template, once for each distinct source. Raises CatalogError naming `where`.

    >>> compile_pattern("Is {{ who }} here?", "an example").fill({"who": "Ann"}, "an example")
    'Is Ann here?'
    """
    try:
        return _compiled(source)
    except (TemplateError, ValueError, RecursionError, SyntaxError) as exc:
        expected = "text, {{ field }}, {% if %}, {% for %} and the filters " + ", ".join(FILTERS)
        raise CatalogError(where, f"a template that cannot be used ({exc})", expected) from exc


@cache
def _compiled(source: str) -> Pattern:
    if len(source) > MAX_SOURCE_CHARACTERS:
        raise ValueError(f"{len(source):,} characters; at most {MAX_SOURCE_CHARACTERS:,}")
    tree = _ENVIRONMENT.parse(source)
    _check_size(tree)
    _refuse(tree, inside_loop=False)
    names = frozenset(find_undeclared_variables(tree))
    readings, loops = list(tree.find_all(_READING)), []
    for loop in tree.find_all(nodes.For):
        inside = sum(1 for part in (*loop.body, *([loop.test] if loop.test else ())) for _ in _each(part, _READING))
        if inside:
            loops.append((loop.iter.name if isinstance(loop.iter, nodes.Name) else None, inside))
    compares = any(isinstance(node, nodes.Compare) for node in readings)
    return Pattern(names, compares, len(readings), tuple(loops), _ENVIRONMENT.from_string(source))


def _each(node: nodes.Node, kinds: tuple[type[nodes.Node], ...]) -> Iterator[nodes.Node]:
    """The node itself and all below it, of these kinds."""
    if isinstance(node, kinds):
        yield node
    yield from node.find_all(kinds)


def _check_size(tree: nodes.Node) -> None:
    """ValueError for what Python would not compile, or would take long to."""
    num_nodes, depth, level = 0, 0, [tree]
    while level:
        num_nodes, depth = num_nodes + len(level), depth + 1
        if num_nodes > MAX_NODES:
            raise ValueError(f"more than {MAX_NODES:,} parts")
        if depth > MAX_DEPTH:
            raise ValueError(f"more than {MAX_DEPTH} levels, one in the other")
        level = [child for node in level for child in node.iter_child_nodes()]


def _refuse(node: nodes.Node, inside_loop: bool) -> None:
    """ValueError for anything that a template may not do."""
    name = type(node).__name__.lower()
    if not isinstance(node, _ALLOWED):
        raise ValueError(f"line {node.lineno}: {name} is not allowed")
    if isinstance(node, nodes.Getattr) and not (
        isinstance(node.node, nodes.Name) and node.node.name == "loop" and node.attr in _LOOP
    ):
        raise ValueError(f"line {node.lineno}: the attribute .{node.attr} is not allowed")
    if isinstance(node, nodes.Getitem) and not (isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, int)):
        raise ValueError(f"line {node.lineno}: an index must be a number")
    if isinstance(node, nodes.Filter) and (node.name not in FILTERS or node.kwargs or node.dyn_args or node.dyn_kwargs):
        raise ValueError(f"line {node.lineno}: the filter {node.name} is not allowed here")
    if isinstance(node, nodes.Const) and isinstance(node.value, str):
        node.value.encode()  # an escape may make half of a surrogate pair: UnicodeEncodeError
    if isinstance(node, nodes.For) and inside_loop:
        raise ValueError(f"line {node.lineno}: a loop in a loop is not allowed")
    for child in node.iter_child_nodes():
        _refuse(child, inside_loop or isinstance(node, nodes.For))
