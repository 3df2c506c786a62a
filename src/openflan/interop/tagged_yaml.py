"""Others' YAML, which has tags of its own: read as plain data, and nothing that a tag names is ever run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from openflan.errors import DataError
from openflan.files import MAX_YAML_BYTES


@dataclass(frozen=True, slots=True)
class Function:
    """A Python function that a file names by `!function module.name`."""

    name: str


def read_tagged(path: Path, objects: Sequence[str] = ()) -> dict[str, Any]:
    """The mapping that a file holds. `objects` are tags whose mappings are read as plain ones; `!function` becomes a
    `Function`. DataError for any other tag, an alias, and a file that is no mapping."""

    class Loader(yaml.SafeLoader):
        def compose_node(self, parent: Any, index: int) -> Any:
            if self.check_event(yaml.AliasEvent):
                event: Any = self.peek_event()  # type: ignore[no-untyped-call]
                raise yaml.YAMLError(f"an alias, line {event.start_mark.line + 1}")
            return super().compose_node(parent, index)

    def mapping(loader: Any, node: Any) -> Any:
        return loader.construct_mapping(node, deep=True)

    for tag in objects:
        Loader.add_constructor(tag, mapping)
    Loader.add_constructor("!function", lambda loader, node: Function(str(node.value)))
    try:
        if path.stat().st_size > MAX_YAML_BYTES:
            raise DataError(path, f"{path.stat().st_size:,} bytes", f"at most {MAX_YAML_BYTES:,} bytes of YAML")
        value = yaml.load(path.read_text(encoding="utf-8"), Loader=Loader)
    except OSError as exc:
        raise DataError(path, exc.strerror or str(exc), "a readable YAML file") from exc
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as exc:
        raise DataError(path, " ".join(str(exc).split()), "YAML in UTF-8 with known tags and without aliases") from exc
    if not isinstance(value, dict):
        raise DataError(path, f"a {type(value).__name__}", "a mapping of keys to values")
    return value
