"""Cards from tasks and groups of lm-evaluation-harness. What their Python functions do stays behind, and is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from openflan.errors import DataError, OpenFlanError
from openflan.interop.lm_eval_task import TEMPLATE, differences, draft_of, read_task_file
from openflan.interop.new_card import Draft, Imported, Note, finish_card, slug, write_cards
from openflan.interop.translate import NotCarried
from openflan.tasks.catalog import Catalog

_DESCRIPTION = "task_description"
_MOST_FILES = 5_000  # beside a group's that may hold its tasks


def import_lm_eval(path: Path, folder: Path, catalog: Catalog, *, cluster: str, name: str | None = None) -> Imported:
    """Write the card that can be made of the task or group in `path` to `folder`, and tell what was left behind.

    The prompt becomes a template, with the options listed where it does not name them, and the card's `completion`, as
    it is. The tasks of a group, which are looked for in the group's folder, become members of one card where they ask
    alike. DataError for a file that is neither.
    """
    config = read_task_file(path)
    group = config.get("group")
    is_group = isinstance(group, str) and isinstance(config.get("task"), list | str) and "doc_to_text" not in config
    if not is_group and (
        not isinstance(config.get("task"), str) or ("doc_to_text" not in config and "class" not in config)
    ):
        found = f"the keys {', '.join(map(str, config))}"
        raise DataError(path, found, "a task of the harness, with `task` and `doc_to_text`, or a group of tasks")
    notes: list[Note] = []
    try:
        if is_group:
            draft, told = _of_group(config, name or slug(str(group)), cluster, catalog, path, notes)
        else:
            notes += differences(config, path)
            draft, told = draft_of(config, name or slug(config["task"]), cluster, catalog, path)
        card = finish_card(draft, folder, catalog)
    except NotCarried as exc:
        return Imported((), (*notes, Note(TEMPLATE, "left out", str(exc))))
    is_choice = draft.keys["answer"]["kind"] == "choice"
    changes = ["options listed"] if TEMPLATE in card.with_options else []
    generates = is_choice and not is_group and config.get("doc_to_choice") is None
    changes += ["a choice where the harness generates"] if generates else []
    carried = Note(TEMPLATE, "changed" if changes else "carried over", ", ".join(changes))
    return Imported(write_cards([card]), (*notes, *told, carried, *card.notes))


def _of_group(
    group: Mapping[str, Any], name: str, cluster: str, catalog: Catalog, path: Path, notes: list[Note]
) -> tuple[Draft, list[Note]]:
    """One card whose members are the tasks of a group: those that ask as its first one does, but for the description,
    which becomes a constant of each member. What is left out is added to `notes`."""
    members: dict[str, dict[str, Any]] = {}
    first: tuple[Draft, list[Note]] | None = None
    for task in _tasks(group, _beside(path, notes), notes, {f"group {group.get('group')}"}):
        title = str(task["task"])
        description = task.get("description") or ""
        try:
            told = differences(task, path)
            placed = task | ({"description": f"{{{{ {_DESCRIPTION} }}}}"} if description else {})
            draft, scored = draft_of(placed, name, cluster, catalog, path)
            if slug(title) in members:
                raise NotCarried(f"a second task named {slug(title)}")
            if first is None:
                first = draft, [*told, *scored]
            elif _asks(draft) != _asks(first[0]):
                raise NotCarried(f"it asks or answers otherwise than {next(iter(members))}")
            constants = {_DESCRIPTION: description} if description else {}
            members[slug(title)] = {"source": draft.keys["source"], **({"constants": constants} if constants else {})}
        except NotCarried as exc:
            notes.append(Note(title, "left out", str(exc)))
    if first is None:
        raise NotCarried("no task of the group can be carried over")
    draft, told = first
    draft.columns.fields.pop(_DESCRIPTION, None)
    keys = {key: value for key, value in draft.keys.items() if key != "source"}
    return replace(draft, keys={**keys, "dataset": name, "members": members}), told


def _asks(draft: Draft) -> Any:
    """What members of a card have in common."""
    keys = {key: value for key, value in draft.keys.items() if key not in ("source", "family")}
    return keys, draft.templates, {k: v for k, v in draft.columns.fields.items() if k != _DESCRIPTION}


def _beside(path: Path, notes: list[Note]) -> dict[str, list[dict[str, Any]]]:
    """Tasks and groups in the folder of a group and below it, by name and by tag."""
    found: dict[str, list[dict[str, Any]]] = {}
    for number, file in enumerate(sorted(path.parent.rglob("*.y*ml"))):
        if number == _MOST_FILES:
            raise DataError(
                path.parent, f"more than {_MOST_FILES:,} YAML files", "a folder with the tasks of one group"
            )
        try:
            config = read_task_file(file)
        except OpenFlanError as exc:
            notes.append(Note(file.name, "left out", f"a file that cannot be read: {exc.found}"))
            continue
        tags = config.get("tag")
        own = config.get("group") if isinstance(config.get("group"), str) else config.get("task")
        for name in {own, *(tags if isinstance(tags, list) else [tags])} if isinstance(own, str) else ():
            if isinstance(name, str):
                found.setdefault(name, []).append(config)
    return found


def _tasks(
    group: Mapping[str, Any], known: Mapping[str, list[dict[str, Any]]], notes: list[Note], seen: set[str]
) -> Iterator[dict[str, Any]]:
    """The tasks of a group, its groups taken apart, each name once; those that are not there are noted."""
    entries = group.get("task")
    for entry in entries if isinstance(entries, list) else [entries]:
        own = {key: value for key, value in entry.items() if key != "task"} if isinstance(entry, dict) else {}
        name = entry.get("task") if isinstance(entry, dict) else entry
        if isinstance(name, list):
            found: list[dict[str, Any]] = [{**own, "task": name}]
        elif str(name) in seen and not own:
            continue
        else:
            seen.add(str(name))
            found = [config | own for config in known.get(str(name), [])]
            found = found or ([{**own, "task": name}] if "doc_to_text" in own else [])
        if not found:
            notes.append(Note(str(name), "left out", "no task, group or tag of that name in the group's folder"))
        for config in found:
            inner = f"group {config.get('group')}"
            if isinstance(config.get("task"), str) and "doc_to_text" in config:
                yield config
            elif isinstance(name, list) or inner not in seen:
                seen.add(inner)
                yield from _tasks(config, known, notes, seen)
