"""A card made from another project's file: written only when it loads and its templates show and train on what they
should. What the check finds amiss in the style of a wording is told and kept: it is its author's.

What the file does not say stays the user's: the licence, and samples. Samples that no person wrote stand for the form
of a row; a comment in the card says so.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from openflan import files
from openflan.errors import CatalogError, OpenFlanError
from openflan.interop.made_up import made_up_rows
from openflan.interop.translate import Columns, NotCarried
from openflan.tasks.adapt import adapt
from openflan.tasks.card import Card
from openflan.tasks.catalog import Catalog, Task
from openflan.tasks.example import Example
from openflan.tasks.same_data import DataNames
from openflan.tasks.scaffold import flow_yaml
from openflan.templates.lint import Finding, lint
from openflan.templates.render import render
from openflan.untrusted import yaml_value

BLOCK = "{{ options_block }}"
NO_LICENCE = "unknown (look it up before you pass rows on)"
_BLOCK_TEXT = re.compile(r"\S.*\n")  # several lines; PyYAML writes white space at the start of a block wrongly
_CUE = re.compile(r"\n[^\n{}]{1,40}:$")  # a last line such as "Answer:"


@dataclass(frozen=True, slots=True)
class Note:
    """What became of one template, or of a key of the file (`template` is its name then): `result` and why.

    "carried over" means that the wording is what it was, byte for byte."""

    template: str
    result: Literal["carried over", "left out", "changed", "warning"]
    reason: str


@dataclass(frozen=True, slots=True)
class Imported:
    """The cards that were written, and what became of every template of the file."""

    cards: tuple[Path, ...]
    notes: tuple[Note, ...]


@dataclass(frozen=True, slots=True)
class Draft:
    """A card that is still to be checked: its keys but for `fields` and `samples`; `samples` only where the file has
    rows of its own. `lists_options` are templates of which the file says that they list the options themselves."""

    name: str
    keys: Mapping[str, Any]
    columns: Columns
    templates: tuple[dict[str, Any], ...]
    made_from: str
    samples: tuple[dict[str, Any], ...] = ()
    completion: dict[str, str] | None = None
    lists_options: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Finished:
    """A card that may be written: its text, the templates that got an options block, and what was found."""

    path: Path
    text: str
    with_options: frozenset[str]
    notes: tuple[Note, ...]


def slug(text: str) -> str:
    """A name for a card or a template.

    >>> slug("GPT-3 style, plain!")
    'gpt-3-style-plain'
    """
    return re.sub(r"[^a-z0-9_]+", "-", text.lower()).strip("-_")[:64].rstrip("-_") or "unnamed"


def distinct(names: Sequence[str]) -> list[str]:
    """Slugs that differ.

    >>> distinct(["Plain", "plain 2", "plain"])
    ['plain', 'plain-2', 'plain-3']
    """
    found: dict[str, None] = {}
    for name in map(slug, names):
        numbered = (name if number == 1 else f"{name[:59]}-{number}" for number in itertools.count(1))
        found[next(each for each in numbered if each not in found)] = None
    return list(found)


def with_block(source: str) -> str:
    """A prompt with the options listed, before a last line such as "Answer:". Without the block it is what it was.

    >>> with_block("Is it so?\\nAnswer:")
    'Is it so?\\n{{ options_block }}\\nAnswer:'
    """
    if BLOCK in source:
        return source
    cue = _CUE.search(source)
    if cue is None:
        return f"{source}\n\n{BLOCK}"
    before = source[: cue.start()].rstrip("\n")
    gap = source[len(before) : cue.start() + 1]
    return f"{before}{gap}{BLOCK}{gap}{cue[0][1:]}"


def family_of(catalog: Catalog, hub: str, config: str | None, name: str) -> str:
    """The family of the catalogue's task with the same data, so that both are held out together; else `name`."""
    return min(DataNames(catalog.tasks.values()).families_on_hub(hub, config), default=name)


def shows_options(prompt: str, options: Sequence[str]) -> bool:
    """Whether a prompt names every option as a word or words of its own. Capital letters count only in options of a
    single letter.

    >>> shows_options("True or false? Say so.", ["True", "False"])
    True
    >>> shows_options("Now, is it not known? Yes or:", ["yes", "no"])
    False
    """
    for option in sorted(options, key=len, reverse=True):  # "not entailed" before "entailed"
        flags = re.IGNORECASE if len(option) > 1 else 0
        prompt, count = re.subn(rf"(?<!\w){re.escape(option)}(?!\w)", " ", prompt, count=1, flags=flags)
        if not count:
            return False
    return True


def finish_card(draft: Draft, folder: Path, catalog: Catalog) -> Finished:
    """Check the card, list the options where a template does not, and leave out templates with findings that are no
    matter of style.

    CatalogError when the name is taken, a file is there, or the card cannot be used; NotCarried when no template is
    left. Nothing is written.
    """
    path = folder / f"{draft.name}.yaml"
    if draft.name in catalog.tasks:
        found = f"the name {draft.name!r}, which {catalog.tasks[draft.name].path} has"
        raise CatalogError("import", found, "a name of its own", "Give one with --name.")
    taken = sorted({*draft.keys.get("members", ())} & {*catalog.tasks})
    if taken:
        raise CatalogError("import", f"the name {taken[0]!r}", "names of its own", "The catalogue has this task.")
    if path.exists():
        raise CatalogError(path, "a file that is there already", "a new name", "Give one with --name, or move it away.")
    columns = draft.columns
    samples = list(draft.samples) or made_up_rows(draft.keys, columns)
    fixed = {**draft.keys, "made_from": draft.made_from, "fields": dict(columns.fields), "samples": samples}
    fixed |= {"completion": draft.completion} if draft.completion else {}
    notes: list[Note] = []
    templates = list(draft.templates)
    with_options: frozenset[str] = frozenset()
    if draft.keys["answer"]["kind"] == "choice" and any(not template.get("inverted") for template in templates):
        with_options = _without_options(draft, path, {**fixed, "templates": templates})
        templates = [
            {**each, "input": with_block(each["input"])} if each["id"] in with_options else each for each in templates
        ]
    while True:
        if not any(not template.get("inverted") for template in templates):
            raise NotCarried("; ".join(dict.fromkeys(note.reason for note in notes)) or "no template that is scored")
        value = {**fixed, "templates": templates}
        found_now = _findings(draft.name, path, value)
        refused = {finding.template: finding for finding in found_now if not finding.is_warning}
        if not refused:
            break
        if "" in refused:
            raise NotCarried(_reason(refused[""]))
        notes += [Note(name, "left out", _reason(finding)) for name, finding in refused.items()]
        if "completion" in refused:
            del fixed["completion"]
        templates = [template for template in templates if template["id"] not in refused]
    told = [finding for finding in found_now if finding.template != "completion"]  # a template says the same
    notes += [Note(finding.template, "warning", _reason(finding)) for finding in told]
    return Finished(path, _header(draft) + _checked_yaml(value), with_options, tuple(notes))


def write_cards(cards: Sequence[Finished]) -> tuple[Path, ...]:
    """Write all of them, or none where one cannot be written."""
    try:
        for card in cards:
            files.write_text(card.path, card.text)
    except BaseException:
        for card in cards:
            card.path.unlink(missing_ok=True)  # none was there before
        raise
    return tuple(card.path for card in cards)


def _reason(finding: Finding) -> str:
    return f"{finding.problem}: {finding.text!r}"


def _without_options(draft: Draft, path: Path, value: Mapping[str, Any]) -> frozenset[str]:
    """The scored templates that do not list the options, neither by name nor in words, on any of the samples."""
    task, examples = _read(draft.name, path, value)
    if draft.samples:  # rows of somebody's may name an option by accident
        examples = [replace(example, fields=dict.fromkeys(example.fields, "")) for example in examples]
    lacking = set()
    for template in task.scored_templates:
        if template.id in draft.lists_options:
            continue
        for example in examples:
            try:
                prompt = render(example, task, template)
            except OpenFlanError:
                break  # a finding later on
            if not shows_options(prompt.input, prompt.options):
                lacking.add(template.id)
                break
    return frozenset(lacking)


def _findings(name: str, path: Path, value: Mapping[str, Any]) -> list[Finding]:
    return lint(*_read(name, path, value))


def _read(name: str, path: Path, value: Mapping[str, Any]) -> tuple[Task, list[Example]]:
    try:
        card = files.parse(Card, value, path, CatalogError)
        member = next(iter(card.members.values()), None)  # their templates are the same
        source, constants = (card.source, {}) if member is None else (member.source, dict(member.constants))
        assert source is not None  # a card has one, or members
        task = Task(name, "user", card, source, constants, path)
        examples, dropped = adapt(task, card.samples, "samples")
    except OpenFlanError as exc:
        raise NotCarried(exc.found) from exc
    if dropped:
        raise NotCarried("; ".join(dropped))
    return task, examples


class _Literal(str):
    """A text of several lines that YAML writes as such."""


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(
    _Literal, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style="|")
)


def _header(draft: Draft) -> str:
    lines = ["# Made by `openflan import`."]
    if not draft.samples:
        lines.append(
            "# The samples are made up from the names of the columns: put rows of your own writing in their place."
        )
    if draft.keys["licence"] == NO_LICENCE:
        lines.append("# The file names no licence of the rows.")
    return "".join(f"{line}\n" for line in lines)


def _checked_yaml(value: Mapping[str, Any]) -> str:
    """The card's text. NotCarried when it would not be read as what it says: YAML has limits."""
    text = _yaml(value)
    try:
        same = yaml_value(text) == value
    except ValueError as exc:
        raise NotCarried(f"a card that cannot be written ({exc})") from exc
    if not same:
        raise NotCarried("a card whose texts YAML does not keep")
    return text


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
    return {key: _Literal(v) if isinstance(v, str) and _BLOCK_TEXT.match(v) else v for key, v in template.items()}
