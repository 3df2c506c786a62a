"""The answer of a card, read out of the expressions by which others name the right option."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import nodes

from openflan.interop.translate import (
    NotCarried,
    column,
    constant,
    constants,
    mapping,
    only_expression,
    parse_jinja,
    said,
)

MOST_OPTIONS = 10  # of a row with options of its own, where their number is not known

NO_GOLD = "its target names the option in a way that a card has no word for"


def gold_by_index(node: nodes.Node, num_options: int | None) -> dict[str, Any]:
    """The card's keys for an expression whose value is the number of the right option, counted from 0.

    A column that holds it; a column that counts from elsewhere or is text (`label - 1`, `label | int`); a column whose
    values a list or a dict gives numbers (`["A", "B"].index(key)`), or a list of the row (`choices.label.index(key)`).
    """
    num = num_options or MOST_OPTIONS
    if isinstance(node, nodes.Filter) and node.name == "int" and node.node is not None:
        path = column(node.node)
        if path is not None:
            return {"gold": path, "digits_are_index": True}
    if (path := column(node)) is not None:
        return {"gold": path}
    if isinstance(node, nodes.Sub) and isinstance(node.right, nodes.Const) and isinstance(node.right.value, int):
        first, path = node.right.value, column(node.left)
        is_text = isinstance(node.left, nodes.Filter) and node.left.name == "int"
        if path is not None:
            numbers = range(first, first + num)
            return {"gold": path, "gold_values": [str(i) for i in numbers] if is_text else list(numbers)}
    if isinstance(node, nodes.Getitem):
        numbers_of, path = mapping(node.node), column(node.arg)
        if (
            numbers_of is not None
            and path is not None
            and sorted(numbers_of.values(), key=str) == list(range(len(numbers_of)))
        ):
            return {"gold": path, "gold_values": sorted(numbers_of, key=lambda key: int(numbers_of[key]))}
    if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Getattr) and node.node.attr == "index":
        path = column(node.args[0]) if len(node.args) == 1 else None
        values, among = constants(node.node.node), column(node.node.node)
        if path is not None and values is not None:
            return {"gold": path, "gold_values": values}
        if path is not None and among is not None:
            return {"gold": path, "gold_values_from": among}
    raise NotCarried(f"{NO_GOLD}: {said(node)}")


def options_of(source: str) -> dict[str, Any]:
    """The card's keys for options that an expression lists: a list column, several columns, or fixed words."""
    node = only_expression(parse_jinja(source))
    if node is None:
        raise NotCarried("options that are no single expression")
    return options_in(node)


def options_in(node: nodes.Node) -> dict[str, Any]:
    """The same of the expression itself."""
    if (values := constants(node)) is not None:
        return {"options": [str(value) for value in values]}
    if (path := column(node)) is not None:
        return {"options_from": [path]}
    if isinstance(node, nodes.List):
        paths = [column(item) for item in node.items]
        if all(path is not None for path in paths):
            return {"options_from": paths}
    raise NotCarried("options that are computed from several columns")


def answer_by_list(node: nodes.Node | None) -> dict[str, Any] | None:
    """A card's `answer` for `["no", "yes"][label]`, `[sol1, sol2][label]` or `{"n": "no", "y": "yes"}[label]`; None for
    any other expression."""
    if not isinstance(node, nodes.Getitem):
        return None
    words, path = mapping(node.node), column(node.arg)
    if words is not None and path is not None:
        options = [str(word) for word in words.values()]
        return with_gold({"options": options}, {"gold": path, "gold_values": list(words)})
    if not isinstance(node.node, nodes.List):
        return None
    options_keys = options_in(node.node)
    return with_gold(options_keys, gold_by_index(node.arg, len(node.node.items)))


def answer_by_cases(body: Sequence[nodes.Node]) -> dict[str, Any] | None:
    """A card's `answer` for `{% if label == 0 %}no{% elif label == 1 %}yes{% endif %}`, whose branches hold words or
    columns; an `else` stands for the next number. None for any other template."""
    full = [node for node in body if not is_blank(node)]
    if len(full) != 1 or not isinstance(full[0], nodes.If) or not (full[0].elif_ or full[0].else_):
        return None
    values: list[str | int] = []
    paths, options = set(), []
    for case in (full[0], *full[0].elif_):
        test = case.test
        value = constant(test.ops[0].expr) if isinstance(test, nodes.Compare) and test.ops[0].op == "eq" else None
        if value is None or not isinstance(test, nodes.Compare) or (path := column(test.expr)) is None:
            return None
        values.append(value)
        paths.add(path)
        options.append(_said(case.body))
    if full[0].else_:
        rest = _after(values)
        if rest is None:
            return None
        values.append(rest)
        options.append(_said(full[0].else_))
    if len(paths) != 1 or None in options:
        return None
    gold = {"gold": paths.pop(), "gold_values": values}
    kinds = {kind for kind, _ in filter(None, options)}
    said = [text for _, text in filter(None, options)]
    if len(kinds) != 1:
        return None
    return with_gold({"options": said} if kinds == {"text"} else {"options_from": said}, gold)


def _after(values: Sequence[str | int]) -> str | int | None:
    """The number that comes after numbers in a row, as a text where they are texts; None for any other values, and for
    numbers that do not start at 0: what is left may be the 0. (A row with a text that is none of these stops the run.)
    """
    texts = all(isinstance(value, str) and value.isascii() and value.isdigit() for value in values)
    if not texts and not all(isinstance(value, int) for value in values):
        return None
    numbers = [int(value) for value in values]
    if numbers != list(range(numbers[0], numbers[0] + len(numbers))) or (numbers[0] != 0 and not texts):
        return None
    return str(numbers[-1] + 1) if texts else numbers[-1] + 1


def is_blank(node: nodes.Node) -> bool:
    """White space between statements."""
    return isinstance(node, nodes.Output) and all(
        isinstance(part, nodes.TemplateData) and not part.data.strip() for part in node.nodes
    )


def _said(body: Sequence[nodes.Node]) -> tuple[str, str] | None:
    """What one branch says: "text" and its words, or "column" and its name."""
    node = only_expression(body)
    if node is not None:
        value, path = constant(node), column(node)
        return ("text", str(value)) if value is not None else ("column", path) if path is not None else None
    parts = [part for inner in body for part in (inner.nodes if isinstance(inner, nodes.Output) else [inner])]
    words = "".join(part.data for part in parts if isinstance(part, nodes.TemplateData)).strip()
    return ("text", words) if words and all(isinstance(part, nodes.TemplateData) for part in parts) else None


def with_gold(options: Mapping[str, Any], gold: dict[str, Any]) -> dict[str, Any]:
    """A card's `answer`. NotCarried where the numbers of values and of fixed options differ."""
    values = gold.get("gold_values")
    if "options" in options and values is not None and len(values) != len(options["options"]):
        raise NotCarried(f"{len(options['options'])} options and {len(values)} values of {gold['gold']}")
    num_options = len(options.get("options", ())) or len(options["options_from"])
    if values in (list(range(num_options)), list(range(MOST_OPTIONS))):  # what a card takes for granted
        gold = {"gold": gold["gold"]}
    return {"kind": "choice", **options, **gold}
