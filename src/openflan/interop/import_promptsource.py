"""Cards from promptsource's `templates.yaml`: wordings of one dataset, their prompt and target parted by `|||`.

A card has one answer. Templates that answer in other words, or choose the right option otherwise, become cards of their
own in the same family; those that promptsource marks as another task of the dataset are carried over as inverted ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import nodes

from openflan.errors import DataError
from openflan.interop.answers import (
    NO_GOLD,
    answer_by_cases,
    answer_by_list,
    gold_by_index,
    is_blank,
    options_of,
    with_gold,
)
from openflan.interop.new_card import (
    NO_LICENCE,
    Draft,
    Imported,
    Note,
    distinct,
    family_of,
    slug,
    with_block,
    write_card,
)
from openflan.interop.tagged_yaml import read_tagged
from openflan.interop.translate import Columns, NotCarried, Translator, column, constant, only_expression, parse_jinja
from openflan.tasks.catalog import Catalog

_METRICS = {
    "Accuracy": "exact_match",
    "Squad": "f1",
    "ROUGE": "rougeL",
    "BLEU": "rougeL",
    "Edit Distance": "edit_similarity",
}
_CHOICES = "answer_choices"


@dataclass(frozen=True, slots=True)
class _Wording:
    """One template as the file has it: `prompt` and `target` are its two halves."""

    name: str
    prompt: list[nodes.Node]
    target: list[nodes.Node]
    choices: str | None
    is_original: bool
    metrics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Answer:
    """The answer of a card, the rows that have none, and what the target says around it."""

    answer: dict[str, Any]
    drop_if: dict[str, list[Any]]
    expression: nodes.Node | None
    around: tuple[str, str] = ("", "")

    @property
    def key(self) -> str:
        return json.dumps(self.answer, sort_keys=True)


def import_promptsource(
    path: Path, folder: Path, catalog: Catalog, *, cluster: str, name: str | None = None
) -> Imported:
    """Write the cards that can be made of `path` to `folder`, and tell what became of every template.

    DataError for a file that is none of promptsource's.
    """
    value = read_tagged(path, ("!Template", "!TemplateMetadata"))
    if not isinstance(value.get("templates"), dict) or not isinstance(value.get("dataset"), str):
        raise DataError(path, f"the keys {', '.join(map(str, value))}", "`dataset` and `templates`, as in promptsource")
    hub, config = value["dataset"], value.get("subset")
    base = name or slug("_".join(str(part) for part in (hub.split("/")[-1], config) if part))
    found = list(value["templates"].values())
    names = distinct([str(each.get("name", "")) if isinstance(each, dict) else "" for each in found])
    notes: list[Note] = []
    scored: dict[str, list[tuple[_Wording, _Answer]]] = {}
    turned: list[_Wording] = []
    for template, each in zip(names, found, strict=True):
        try:
            wording = _wording(template, each)
            if wording.is_original:
                answer = _answer(wording)
                scored.setdefault(answer.key, []).append((wording, answer))
            else:
                turned.append(wording)
        except NotCarried as exc:
            notes.append(Note(template, "left out", str(exc)))
    family = family_of(catalog, hub, config, base)
    source = {"hub": hub, **({"config": str(config)} if config else {})}
    keys = {"family": family, "cluster": cluster, "dataset": base, "source": source}
    cards: list[Path] = []
    groups = sorted(scored.values(), key=len, reverse=True)
    for group in groups or [[]]:
        card_name = base if not cards else f"{base}_{len(cards) + 1}"
        here = turned if not cards else []
        written, told = _card(card_name, keys, group, here, folder, catalog, f"{path.name} (promptsource, {hub})")
        cards += [written] if written else []
        notes += told
        turned = [] if written else turned
    notes += [Note(each.name, "left out", "another task of the dataset, and no card for it") for each in turned]
    return Imported(tuple(cards), tuple(sorted(notes, key=lambda note: names.index(note.template))))


def _wording(name: str, value: Any) -> _Wording:
    if not isinstance(value, dict) or not isinstance(value.get("jinja"), str):
        raise NotCarried("no `jinja` text")
    prompt, bar, target = value["jinja"].partition("|||")
    if not bar or "|||" in target:
        raise NotCarried("not one `|||` between prompt and target")
    found = value.get("metadata")
    metadata = found if isinstance(found, dict) else {}
    choices = value.get("answer_choices")
    return _Wording(
        name,
        parse_jinja(prompt),
        parse_jinja(target),
        " ||| ".join(map(str, choices)) if isinstance(choices, list) else choices or None,
        metadata.get("original_task") is not False,
        tuple(metadata.get("metrics") or ()),
    )


def _answer(wording: _Wording) -> _Answer:
    """What the target says the answer is. NotCarried for one that a card cannot say."""
    body, drop_if = _without_condition(wording.target)
    if wording.choices is None:
        chosen = answer_by_cases(body) or answer_by_list(only_expression(body))
        return _text_answer(body, drop_if) if chosen is None else _Answer(chosen, drop_if, None)
    node = only_expression(body)
    if node is None:
        raise NotCarried("a target that is more than the option")
    options = _options(wording.choices)
    named = answer_by_list(node)
    if named is not None and all(named.get(key) == options.get(key) for key in ("options", "options_from")):
        return _Answer(named, drop_if, node)
    if isinstance(node, nodes.Getitem) and column(node.node) in (_CHOICES, *options.get("options_from", ())):
        gold = gold_by_index(node.arg, len(options["options"]) if "options" in options else None)
    elif (path := column(node)) is not None and path != _CHOICES:
        by_name = options.get("options_from", ())
        if "options" not in options and len(by_name) != 1:
            raise NotCarried(NO_GOLD)
        gold = {"gold": path, **({"gold_values_from": by_name[0]} if by_name else {"gold_values": options["options"]})}
    else:
        raise NotCarried(NO_GOLD)
    return _Answer(with_gold(options, gold), drop_if, node)


def _options(source: str) -> dict[str, Any]:
    """`answer_choices`: fixed words or columns between bars, or one list column joined by bars."""
    parts = [part.strip() for part in source.split("|||")]
    if "{" not in source:
        if len(parts) < 2 or len(set(parts)) < len(parts) or not all(parts):
            raise NotCarried("answer choices that are not two or more different words")
        return {"options": parts}
    node = only_expression(parse_jinja(source))
    if isinstance(node, nodes.Filter) and node.name == "join" and node.node is not None:
        if (path := column(node.node)) is None:
            raise NotCarried("answer choices that are neither words nor columns")
        return {"options_from": [path]}
    paths = [options_of(part).get("options_from", [None])[0] for part in parts]
    if len(paths) < 2 or None in paths:
        raise NotCarried("answer choices that are neither words nor columns")
    return {"options_from": paths}


def _text_answer(body: list[nodes.Node], drop_if: dict[str, list[Any]]) -> _Answer:
    """One column, with text before or after it: its first entry is trained on where it holds a list."""
    parts = [part for node in body for part in (node.nodes if isinstance(node, nodes.Output) else [node])]
    places = [i for i, part in enumerate(parts) if not isinstance(part, nodes.TemplateData)]
    if len(places) != 1:
        raise NotCarried("a target that is not one column" if places else "a target that names no column")
    node: Any = parts[places[0]]
    before, after = _said(parts[: places[0]]), _said(parts[places[0] + 1 :])
    first = isinstance(node, nodes.Getitem) and constant(node.arg) == 0
    entry = isinstance(node, nodes.Filter) and node.name in ("choice", "first")
    path = column(node.node if first or entry else node)
    if path is None or path == _CHOICES:
        raise NotCarried("a target that is computed")
    return _Answer({"kind": "text", "references": path}, drop_if, node, (before, after))


def _said(parts: Sequence[nodes.Node]) -> str:
    return "".join(part.data for part in parts if isinstance(part, nodes.TemplateData))


def _without_condition(body: list[nodes.Node]) -> tuple[list[nodes.Node], dict[str, list[Any]]]:
    """The target within `{% if label != -1 %}...{% endif %}`, and the rows for which it says nothing."""
    full = [node for node in body if not is_blank(node)]
    if len(full) != 1 or not isinstance(full[0], nodes.If) or answer_by_cases(body) is not None:
        return body, {}
    condition, test = full[0], full[0].test
    if not (condition.elif_ or condition.else_) and isinstance(test, nodes.Compare) and len(test.ops) == 1:
        path, op, value = column(test.expr), test.ops[0].op, constant(test.ops[0].expr)
        if path is not None and op == "ne" and value is not None:
            return condition.body, {path: [value]}
        if path is not None and (op, value) in (("gteq", 0), ("gt", -1)):
            return condition.body, {path: [-1]}
    raise NotCarried("a target under a condition")


def _card(
    name: str,
    keys: Mapping[str, Any],
    group: list[tuple[_Wording, _Answer]],
    turned: list[_Wording],
    folder: Path,
    catalog: Catalog,
    made_from: str,
) -> tuple[Path | None, list[Note]]:
    """One card from wordings with the same answer, and from those of other tasks turned around."""
    if not group:
        return None, []
    answer, columns = group[0][1].answer, Columns()
    notes, templates = [], []
    for wording, own in [*group, *((each, group[0][1]) for each in turned)]:
        before = Columns(dict(columns.fields), dict(columns.lists))
        try:
            template, note = _template(wording, own, columns)
        except NotCarried as exc:
            columns.fields, columns.lists = before.fields, before.lists
            notes.append(Note(wording.name, "left out", str(exc)))
        else:
            templates.append(template)
            notes.append(Note(wording.name, "changed" if note else "carried over", note))
    if answer["kind"] == "text" and any(not column(own.expression) for _, own in group if own.expression):
        columns.lists[answer["references"]] = 1  # named by an entry of it
    metrics = ["accuracy"]
    if answer["kind"] == "text":
        named = [_METRICS.get(metric, "exact_match") for wording, _ in group for metric in wording.metrics]
        metrics = list(dict.fromkeys(named)) or ["exact_match"]
    drop_if: dict[str, list[Any]] = {}
    for path, values in (item for _, own in group for item in own.drop_if.items()):
        drop_if[path] = list(dict.fromkeys([*drop_if.get(path, ()), *values]))
    whole = {**keys, "answer": answer, "metrics": metrics, "licence": NO_LICENCE}
    whole |= {"drop_if": drop_if} if drop_if else {}
    try:
        card, told = write_card(Draft(name, whole, columns, tuple(templates), made_from), folder, catalog)
    except NotCarried as exc:
        kept = [note for note in notes if note.result == "left out"]
        return None, [*kept, *(Note(t["id"], "left out", str(exc)) for t in templates)]
    gone = {note.template for note in told}
    return card, [*(note for note in notes if note.template not in gone), *told]


def _template(wording: _Wording, own: _Answer, columns: Columns) -> tuple[dict[str, Any], str]:
    """The template for the card, and what was changed in it."""
    gold = own.answer.get("gold") or own.answer["references"]
    inverted = not wording.is_original

    def replaced(node: nodes.Expr) -> str | None:
        if column(node) == _CHOICES:
            return "options"
        is_gold = node == own.expression or column(node) == gold
        if isinstance(node, nodes.Getitem) and column(node.node) == _CHOICES and not isinstance(node.arg, nodes.Const):
            is_gold = True
        if is_gold and inverted and node == own.expression:
            return "answer"
        if is_gold:
            raise NotCarried("the gold in the prompt" if not inverted else "the gold's number in the wording")
        return None

    translator = Translator(columns, replaced)
    source = translator.template(wording.prompt)
    if inverted:
        return {"id": wording.name, "inverted": True, "input": source, "target": translator.template(wording.target)}, (
            "another task of the dataset: as an inverted template"
        )
    template = {"id": wording.name, "input": source}
    if own.answer["kind"] == "choice":
        template["input"] = with_block(source)
        return template, "" if template["input"] == source else "options listed"
    if any(part.strip() for part in own.around):
        before, after = own.around
        template["target"] = f"{before.lstrip()}{{{{ answer }}}}{after.rstrip()}"
    return template, ""
