"""DONE marks a finished step. It holds the fingerprints of its files, which are compared before the files are used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from openflan import files
from openflan.errors import RunError
from openflan.streams import file_fingerprint, fingerprint

CHECK = "check"
ANEW = "Put it back, or remove it and repeat the command: it is made anew."


def finish(folder: Path, names: Iterable[str], made_from: str = "", facts: Mapping[str, Any] | None = None) -> None:
    """Mark the step whose files are `names` in `folder` as finished. `facts` are kept with the record."""
    known = {name: file_fingerprint([folder / name]) for name in sorted(names)}
    files.write_json(folder / files.DONE, signed({"made_from": made_from, "files": known, "facts": facts or {}}))


def record_of(folder: Path) -> dict[str, Any] | None:
    """What `finish` wrote: `made_from`, `files` and `facts`; None where the step is not finished."""
    path = folder / files.DONE
    if not path.exists():
        return None
    do = "Remove it and repeat the command, which makes it anew; or remove it to take the folder as it is."
    record = checked(files.read_json_object(path, do=do), path, do)
    if not all(isinstance(record.get(name), dict) for name in ("files", "facts")):  # a stranger can sign, too
        raise RunError(path, "a record without files", "the record of a finished step", do)
    return record


def is_finished(folder: Path, made_from: str = "", do: str = ANEW) -> bool:
    """Whether the step is finished and all its files are there.

    RunError, naming the file, where one has changed since, and where it was `made_from` something else.
    """
    record = record_of(folder)
    if record is None:
        return False
    if made_from and record["made_from"] != made_from:
        found = "files that were made from other settings or rows than those of this command"
        do = "Choose another --out, or remove it and repeat the command: what is missing is made anew."
        raise RunError(folder / files.DONE, found, "what this run made", do)
    return not [name for name in record["files"] if not _is_there(folder, name, record, do)]


def check_file(folder: Path, name: str, do: str) -> None:
    """RunError where a file of a finished step is not there, or has changed since. Before the end it passes."""
    record = record_of(folder)
    if record is not None and name in record["files"] and not _is_there(folder, name, record, do):
        raise RunError(folder / name, "no such file", "what was finished", do)


def _is_there(folder: Path, name: str, record: Mapping[str, Any], do: str) -> bool:
    path = folder / name
    try:
        found = file_fingerprint([path]) if path.is_file() else None
    except OSError as exc:
        raise RunError(path, exc.strerror or str(exc), "a file that can be read", do) from exc
    if found not in (None, record["files"][name]):
        raise RunError(path, "a file that has changed since it was finished", "the file as it was", do)
    return found is not None


def check_finished(folder: Path) -> None:
    """RunError where `folder` holds what a step made, and not all of it is as it was. Any other folder passes."""
    do = f"Put it back; or remove {files.DONE} beside it, if the change is meant."
    if (folder / files.DONE).exists() and not is_finished(folder, do=do):
        missing = [name for name in (record_of(folder) or {})["files"] if not (folder / name).is_file()]
        raise RunError(folder, f"no {', '.join(missing)}", "all files of what was finished", do)


def signed(value: Mapping[str, Any]) -> dict[str, Any]:
    """A record with `check`, the fingerprint of the rest of it."""
    return {**value, CHECK: fingerprint(value)}


def checked(record: Mapping[str, Any], where: object, do: str) -> dict[str, Any]:
    """A record as it was before it was signed; RunError where it is no longer that.

    >>> checked(signed({"seed": 1}), "x.json", "")
    {'seed': 1}
    """
    value = {name: part for name, part in record.items() if name != CHECK}
    if record.get(CHECK) != fingerprint(value):
        raise RunError(where, "a record that has changed since it was written", "the record as it was", do)
    return value
