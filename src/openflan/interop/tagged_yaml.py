"""Others' YAML, which has tags of its own: read as plain data, and nothing that a tag names is ever run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openflan.errors import DataError
from openflan.files import read_yaml
from openflan.untrusted import Tags


@dataclass(frozen=True, slots=True)
class Function:
    """A Python function that a file names by `!function module.name`."""

    name: str


def read_tagged(path: Path, objects: Sequence[str] = ()) -> dict[str, Any]:
    """The mapping that a file holds. `objects` are tags whose mappings are read as plain ones; `!function` becomes a
    `Function`. An alias may stand for a small mapping: PyYAML writes one for an object that it meets twice. DataError
    for any other tag or alias, and for a file that is no mapping."""
    tags: Tags = {"!function": _function, "tag:yaml.org,2002:null": lambda _: None, **dict.fromkeys(objects, _mapping)}
    value = read_yaml(path, DataError, tags)
    if not isinstance(value, dict):
        raise DataError(path, f"a {type(value).__name__}", "a mapping of keys to values")
    return value


def _function(value: Any) -> Function:
    if not isinstance(value, str):
        raise ValueError("!function before something that is no name")
    return Function(value)


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("the tag of an object before something that is no mapping")
    return value
