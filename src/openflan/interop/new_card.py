"""A card made from another project's file: written only when it loads and its templates pass the check.

What the file does not say stays the user's: the licence, and samples. Samples that no person wrote stand for the form
of a row; a comment in the card says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from openflan import files
from openflan.errors import CatalogError
from openflan.interop.answers import NO_GOLD
from openflan.interop.translate import Columns, NotCarried
from openflan.tasks.adapt import adapt
from openflan.tasks.card import Card
from openflan.tasks.catalog import Catalog, Task
from openflan.tasks.same_data import DataNames
from openflan.tasks.scaffold import flow_yaml
from openflan.templates.lint import Finding, lint

BLOCK = "{{ options_block }}"
NO_LICENCE = "unknown (look it up before you pass rows on)"
_CUE = re.compile(r"\n[^\n{}]{1,40}:$")  # a last line such as "Answer:"
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


@dataclass(frozen=True, slots=True)
class Note:
    """What became of one template, or of a key of the file (`template` is its name then): `result` and why."""

    template: str
    result: Literal["carried over", "left out", "changed"]
    reason: str


@dataclass(frozen=True, slots=True)
class Imported:
    """The cards that were written, and what became of every template of the file."""

    cards: tuple[Path, ...]
    notes: tuple[Note, ...]


@dataclass(frozen=True, slots=True)
class Draft:
    """A card that is still to be checked: its keys but for `fields` and `samples`; `samples` only where the file has
    rows of its own."""

    name: str
    keys: Mapping[str, Any]
    columns: Columns
    templates: tuple[dict[str, Any], ...]
    made_from: str
    samples: tuple[dict[str, Any], ...] = ()
    completion: dict[str, str] | None = None


def slug(text: str) -> str:
    """A name for a card or a template.

    >>> slug("GPT-3 style, plain!")
    'gpt-3-style-plain'
    """
    return re.sub(r"[^a-z0-9_]+", "-", text.lower()).strip("-_")[:64].rstrip("-_") or "unnamed"


def distinct(names: Sequence[str]) -> list[str]:
    """Slugs that differ: a second `plain` becomes `plain-2`."""
    found: list[str] = []
    for name in map(slug, names):
        number = 1 + sum(each == name or re.fullmatch(rf"{re.escape(name)}-\d+", each) is not None for each in found)
        found.append(name if number == 1 else f"{name[:60]}-{number}")
    return found


def with_block(source: str) -> str:
    """A prompt with the options listed, before a last line such as "Answer:".

    >>> with_block("Is it so?\\nAnswer:")
    'Is it so?\\n\\n{{ options_block }}\\n\\nAnswer:'
    """
    if BLOCK in source:
        return source
    cue = _CUE.search(source)
    if cue is None:
        return f"{source}\n\n{BLOCK}"
    return f"{source[: cue.start()].rstrip()}\n\n{BLOCK}\n\n{cue[0].strip()}"


def family_of(catalog: Catalog, hub: str, config: str | None, name: str) -> str:
    """The family of the catalogue's task with the same data, so that both are held out together; else `name`."""
    return min(DataNames(catalog.tasks.values()).families_on_hub(hub, config), default=name)


def write_card(draft: Draft, folder: Path, catalog: Catalog) -> tuple[Path, list[Note]]:
    """Check the card, leave out the templates with findings, and write the rest.

    CatalogError when the name is taken, a file is there, or the card cannot be used; NotCarried when no template is
    left.
    """
    path = folder / f"{draft.name}.yaml"
    if draft.name in catalog.tasks:
        found = f"the name {draft.name!r}, which {catalog.tasks[draft.name].path} has"
        raise CatalogError("import", found, "a name of its own", "Give one with --name.")
    if path.exists():
        raise CatalogError(path, "a file that is there already", "a new name", "Give one with --name, or move it away.")
    columns = draft.columns
    samples = list(draft.samples) or _made_up(draft.keys["answer"], columns)
    templates = list(draft.templates)
    notes: list[Note] = []
    while True:
        if not any(not template.get("inverted") for template in templates):
            raise NotCarried("; ".join(dict.fromkeys(note.reason for note in notes)) or "no template that is scored")
        value = {**draft.keys, "fields": dict(columns.fields), "samples": samples, "templates": templates}
        value |= {"completion": draft.completion} if draft.completion else {}
        findings = {finding.template: finding for finding in _findings(draft.name, path, value)}
        if not findings:
            break
        if "" in findings:
            raise NotCarried(_reason(findings[""]))
        for name, finding in findings.items():
            notes.append(Note(name, "left out", _reason(finding)))
        draft = replace(draft, completion=None) if "completion" in findings else draft
        templates = [template for template in templates if template["id"] not in findings]
    files.write_text(path, _header(draft) + _yaml(value))
    return path, notes


def _reason(finding: Finding) -> str:
    return f"{finding.problem}: {' '.join(finding.text.split())}"


def _findings(name: str, path: Path, value: Mapping[str, Any]) -> list[Finding]:
    card = files.parse(Card, value, path, CatalogError)
    assert card.source is not None  # an import makes no members
    task = Task(name, "user", card, card.source, {}, path)
    examples, dropped = adapt(task, card.samples, "samples")
    if dropped:
        raise NotCarried("; ".join(dropped))
    return lint(task, examples)


def _made_up(answer: Mapping[str, Any], columns: Columns) -> list[dict[str, Any]]:
    """Rows in the form that the card expects, one for each label, or two where options are the row's own."""
    if answer["kind"] == "text":
        golds: list[Any] = ["one answer", "another answer"]
    else:
        golds = list(range(len(answer.get("options") or (0, 1))))
    return [_sample(i, gold, answer, columns) for i, gold in enumerate(golds)]


def _sample(number: int, gold: Any, answer: Mapping[str, Any], columns: Columns) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, path in columns.fields.items():
        word = f"{name.replace('_', ' ')} of the {_ORDINALS[number % 10]} sample"
        num_entries = max(columns.lists.get(path, 0), 3)
        _put(row, path, [f"{part} {word}" for part in _ORDINALS[:num_entries]] if path in columns.lists else word)
    options_from: Sequence[str] = answer.get("options_from") or ()
    for i, path in enumerate(options_from):
        several = [f"{word} option" for word in _ORDINALS[: max(columns.lists.get(path, 0), 3)]]
        _put(row, path, several if len(options_from) == 1 else f"{_ORDINALS[i]} option")
    if answer["kind"] == "text":
        _put(row, answer["references"], [gold] if answer["references"] in columns.lists else gold)
        return row
    if (among := answer.get("gold_values_from")) is not None:
        if among not in options_from:
            _put(row, among, list("ABCDEFGHIJ"[: max(columns.lists.get(options_from[0], 0), 3)]))
        gold = ("first option", "second option")[gold] if among in options_from else ("A", "B")[gold]
    elif (values := answer.get("gold_values")) is not None:
        gold = values[gold]
    _put(row, answer["gold"], gold)
    return row


def _put(row: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for part in parents:
        row = row.setdefault(part, {})
        if not isinstance(row, dict):
            raise NotCarried(NO_GOLD)  # one column both as a text and as an object
    row[last] = value


class _Literal(str):
    """A text of several lines that YAML writes as such."""


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(
    _Literal, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style="|")
)


def _header(draft: Draft) -> str:
    lines = [f"# Made from {draft.made_from} by `openflan import`."]
    if not draft.samples:
        lines.append(
            "# The samples are made up from the names of the columns: put rows of your own writing in their place."
        )
    if draft.keys["licence"] == NO_LICENCE:
        lines.append("# The file names no licence of the rows.")
    return "".join(f"{line}\n" for line in lines)


def _yaml(value: Mapping[str, Any]) -> str:
    """Keys with lists and short mappings on one line, as in the package's cards, and templates in full."""
    return "".join(_lines(value))


def _lines(value: Mapping[str, Any]) -> Iterator[str]:
    for key, inner in value.items():
        if key == "samples":
            yield "samples:\n" + "".join(f"  - {flow_yaml(row)}\n" for row in inner)
        elif key in ("templates", "completion"):
            literal = [_literal(each) for each in inner] if isinstance(inner, list) else _literal(inner)
            yield yaml.dump({key: literal}, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000)
        else:
            yield f"{key}: {flow_yaml(inner)}\n"


def _literal(template: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _Literal(v) if isinstance(v, str) and "\n" in v else v for key, v in template.items()}
