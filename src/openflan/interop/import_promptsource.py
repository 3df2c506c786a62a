"""Cards from promptsource's `templates.yaml`: wordings of one dataset.

A card has one answer. Templates that answer in other words, or choose the right option otherwise, become cards of their
own in the same family. Those that promptsource marks as another task of the dataset are turned around (trained on,
never scored), unless they choose among options of their own: then they have a card of their own, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any

from jinja2 import nodes

from openflan.errors import DataError
from openflan.interop.answers import answer_by_list
from openflan.interop.new_card import (
    NO_LICENCE,
    Draft,
    Finished,
    Imported,
    Note,
    distinct,
    family_of,
    finish_card,
    slug,
    write_cards,
)
from openflan.interop.promptsource_templates import (
    CHOICES,
    Answer,
    Wording,
    answer_of,
    both_rows,
    choice_of,
    is_for_some_rows,
    options_among,
    picks_choice,
    read_wording,
)
from openflan.interop.tagged_yaml import read_tagged
from openflan.interop.translate import Columns, NotCarried, Translator, column, plain_text
from openflan.tasks.catalog import Catalog
from openflan.untrusted import shown

_METRICS = {
    "Accuracy": "exact_match",
    "Squad": "f1",
    "COQA F1": "f1",
    "ROUGE": "rougeL",
    "BLEU": "bleu",
    "Edit Distance": "edit_similarity",
}
_OTHER_TASK = "another task of the dataset"


@dataclass(slots=True)
class _Group:
    """The wordings of one card: those it is scored by, with their answers, and those that are turned around."""

    scored: list[tuple[Wording, Answer]] = field(default_factory=list)
    turned: list[Wording] = field(default_factory=list)


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
    if not isinstance(config, str | None):
        raise DataError(path, f"subset = {shown(config)}", "a text, or none")
    base = name or slug("_".join(str(part) for part in (hub.split("/")[-1], config) if part))
    found = list(value["templates"].values())
    names = distinct([str(each.get("name", "")) if isinstance(each, dict) else "" for each in found])
    groups, notes = _groups(names, found)
    source = {"hub": hub, **({"config": str(config)} if config else {})}
    keys = {"family": family_of(catalog, hub, config, base), "cluster": cluster, "dataset": base, "source": source}
    made_from = f"{path.name} (promptsource, {'/'.join(str(part) for part in (hub, config) if part)})"
    cards: list[Finished] = []
    homeless: list[Wording] = []  # turned around for a card that could not be made
    for group in groups:
        group.turned += homeless
        card, told = _card(f"{base}_{len(cards) + 1}" if cards else base, keys, group, folder, catalog, made_from)
        cards += [card] if card else []
        homeless = [] if card else group.turned
        notes += [note for note in told if all(note.template != each.name for each in homeless)]
    notes += [Note(each.name, "left out", f"{_OTHER_TASK}, and no card for it") for each in homeless]
    return Imported(write_cards(cards), tuple(sorted(notes, key=lambda note: names.index(note.template))))


def _groups(names: Sequence[str], found: Sequence[Any]) -> tuple[list[_Group], list[Note]]:
    """Wordings by what they answer, the largest group first, then those that only have other tasks of the dataset."""
    own: dict[str, _Group] = {}
    others: list[Wording] = []
    notes = []
    for name, each in zip(names, found, strict=True):
        try:
            wording = read_wording(name, each)
            if not wording.is_original:
                others.append(wording)
                continue
            answer = answer_of(wording)
            own.setdefault(answer.key, _Group()).scored.append((wording, answer))
        except NotCarried as exc:
            notes.append(Note(name, "left out", str(exc)))
    groups = sorted(own.values(), key=lambda group: len(group.scored), reverse=True)
    other: dict[str, _Group] = {}
    for wording in others:
        try:
            answer = answer_of(wording)
            if answer.key in own:
                own[answer.key].turned.append(wording)
            elif groups and answer.answer["kind"] == "text" and not answer.rows:
                groups[0].turned.append(wording)
            else:
                other.setdefault(answer.key, _Group()).scored.append((wording, answer))
        except NotCarried as exc:
            if groups and not wording.rows:
                groups[0].turned.append(wording)
            else:
                notes.append(Note(wording.name, "left out", f"{_OTHER_TASK}, and no card for it: {exc}"))
    return [*groups, *sorted(other.values(), key=lambda group: len(group.scored), reverse=True)], notes


def _card(
    name: str, keys: Mapping[str, Any], group: _Group, folder: Path, catalog: Catalog, made_from: str
) -> tuple[Finished | None, list[Note]]:
    """One card from wordings with the same answer, and from those of other tasks turned around."""
    of_card, columns = group.scored[0][1], Columns()
    notes: list[Note] = []
    templates: list[dict[str, Any]] = []
    wordings: list[tuple[Wording, Answer | None]] = [*group.scored, *((each, None) for each in group.turned)]
    for wording, own in wordings:
        before = Columns(dict(columns.fields), dict(columns.lists))
        try:
            templates.append(_template(wording, own, of_card, columns))
        except NotCarried as exc:
            columns.fields, columns.lists = before.fields, before.lists
            notes.append(Note(wording.name, "left out", str(exc)))
    answer = of_card.answer
    if answer["kind"] == "text" and any(not column(own.expression) for _, own in group.scored if own.expression):
        columns.lists[answer["references"]] = 1  # named by an entry of it
    metrics = ["accuracy"]
    if answer["kind"] == "text":
        named = [_METRICS.get(metric, "exact_match") for wording, _ in group.scored for metric in wording.metrics]
        metrics = list(dict.fromkeys(named)) or ["exact_match"]
    rows = reduce(both_rows, (own.rows for _, own in group.scored))
    whole = {**keys, **rows, "answer": answer, "metrics": metrics, "licence": NO_LICENCE}
    lists_options = frozenset(wording.name for wording, _ in group.scored if wording.lists_options)
    draft = Draft(name, whole, columns, tuple(templates), made_from, lists_options=lists_options)
    try:
        card = finish_card(draft, folder, catalog)
    except NotCarried as exc:
        return None, [*notes, *(Note(template["id"], "left out", str(exc)) for template in templates)]
    kept = {template["id"] for template in templates} - {n.template for n in card.notes if n.result == "left out"}
    for wording, own in wordings:
        changes = (
            [] if wording.is_original else [f"{_OTHER_TASK}: {'a card of its own' if own else 'an inverted template'}"]
        )
        changes += ["options listed"] if wording.name in card.with_options else []
        if wording.name in kept:
            notes.append(Note(wording.name, "changed" if changes else "carried over", ", ".join(changes)))
    return card, [*notes, *card.notes]


def _template(wording: Wording, own: Answer | None, of_card: Answer, columns: Columns) -> dict[str, Any]:
    """The template for the card; turned around where the wording has no answer of its `own`."""
    names = _hidden_names(own, of_card) if own else _answer_names(wording, of_card)
    translator = Translator(columns, names)
    source = translator.template(wording.prompt).rstrip()
    if own is None and is_for_some_rows(wording.target):
        raise NotCarried("a target that only some rows have")
    if own is None:
        return {
            "id": wording.name,
            "inverted": True,
            "input": source,
            "target": translator.template(wording.target).strip(),
        }
    template = {"id": wording.name, "input": source}
    before, after = own.around
    if (before + after).strip():
        template["target"] = f"{plain_text(before.lstrip())}{{{{ answer }}}}{plain_text(after.rstrip())}"
    return template


def _hidden_names(own: Answer, of_card: Answer) -> Callable[[nodes.Expr], str | None]:
    """For a prompt that is scored: its choices are the card's options, and nothing in it may be the gold."""
    gold = _column_of(of_card)

    def replaced(node: nodes.Expr) -> str | None:
        if column(node) == CHOICES:
            return "options"
        if node == own.expression or column(node) == gold or _picks_by(node, gold):
            raise NotCarried("the gold in the prompt")
        return None

    return replaced


def _answer_names(wording: Wording, of_card: Answer) -> Callable[[nodes.Expr], str | None]:
    """For a wording that is turned around: where it says what the card's answer says, it names the answer."""
    gold, answer = _column_of(of_card), of_card.answer
    options: dict[str, Any] = {}
    no_options = "its own answer choices, where its card has others"
    if wording.choices is not None:
        try:
            options = options_among(wording.choices)
        except NotCarried as exc:
            no_options = str(exc)

    def replaced(node: nodes.Expr) -> str | None:
        if column(node) == CHOICES or _picks_by(node, gold):
            if not options or not options.items() <= answer.items():
                raise NotCarried(no_options)
            if column(node) == CHOICES:
                return "options"
        if _says(node, options, of_card):
            return "answer"
        if column(node) == gold:
            raise NotCarried(
                f"what is in {gold}, where its card has {'an option' if 'gold' in answer else 'a part of it'}"
            )
        return None

    return replaced


def _says(node: nodes.Expr, options: Mapping[str, Any], of_card: Answer) -> bool:
    """Whether an expression is the card's answer."""
    if of_card.answer["kind"] == "text":
        return node == of_card.expression
    try:
        named = choice_of(node, options) if options else answer_by_list(node)
    except NotCarried:
        return False
    return named == of_card.answer


def _column_of(answer: Answer) -> str:
    return str(answer.answer.get("gold") or answer.answer["references"])


def _picks_by(node: nodes.Expr, gold: str) -> bool:
    """Whether an expression takes one of the answer choices by what is in the column `gold`."""
    return picks_choice(node) and any(column(each) == gold for each in node.find_all(nodes.Expr))
