"""Reading and writing files, and the names inside a run directory. Nothing else opens a file for writing.

Writes are atomic: a reader sees the old content or the new, never half of it, also after `kill -9` or a full disk.
"""

from __future__ import annotations

import gzip
import json
import os
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from openflan.errors import ConfigError, DataError, OpenFlanError, RunError, did_you_mean

# The names inside a run directory, in the order in which a run writes them.
RUN = "run.yaml"
ENVIRONMENT = "env.json"
PLAN = "plan.jsonl"
PLAN_SUMMARY = "plan.json"
OVERLAP = "overlap.jsonl"
TRAIN_LOG = "train.jsonl"
CHECKPOINTS = "checkpoints"
MODEL = "model"
PREDICTIONS = "predictions"
RESULTS = "results.json"
REPORT = "report.html"
DONE = "DONE"

LOCK = ".lock"

MAX_YAML_BYTES = 1_000_000

M = TypeVar("M", bound=BaseModel)


# libyaml reads a catalogue about eight times faster than the pure Python loader, which serves where it is missing.
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _StrictLoader(_SafeLoader):  # type: ignore[misc]
    """Safe YAML in which no key stands twice in one mapping."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for i, key in enumerate(keys):
            if key in keys[:i]:
                raise yaml.YAMLError(f"the key {key!r} twice, line {node.start_mark.line + 1}")
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return mapping


def read_yaml(path: Path, error: type[OpenFlanError] = ConfigError) -> Any:
    """The content of a YAML file, loaded safely and without aliases. Raises `error` naming the file and the line."""
    try:
        if path.stat().st_size > MAX_YAML_BYTES:
            raise error(path, f"{path.stat().st_size:,} bytes", f"at most {MAX_YAML_BYTES:,} bytes of YAML")
        text = path.read_text(encoding="utf-8")
        if "&" in text:  # an anchor may be part of a YAML bomb; a card needs none
            for event in yaml.parse(text, Loader=_SafeLoader):
                if isinstance(event, yaml.AliasEvent):
                    raise yaml.YAMLError(
                        f"an alias (*name), line {event.start_mark.line + 1 if event.start_mark else 0}"
                    )
        return yaml.load(text, Loader=_StrictLoader)
    except OSError as exc:
        raise error(path, exc.strerror or str(exc), "a readable YAML file") from exc
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as exc:
        found = " ".join(str(exc).split())
        raise error(path, found, "plain YAML in UTF-8 without aliases") from exc


def parse(model: type[M], value: Any, where: object, error: type[OpenFlanError] = ConfigError) -> M:
    """Validate `value` as `model`. All problems of one file are told at once, each with its key."""
    try:
        return model.model_validate(value)
    except ValidationError as exc:
        problems = []
        for item in exc.errors():
            key = ".".join(str(part) for part in item["loc"])
            hint = ""
            if item["type"] == "extra_forbidden":
                hint = f" (unknown key; {did_you_mean(str(item['loc'][-1]), _keys(model, item['loc'])).rstrip('.')})"
                problems.append(f"{key}{hint}")
            else:
                problems.append(f"{key or 'the file'}: {item['msg']}")
        raise error(where, "; ".join(problems), f"a valid {model.__name__}", "Correct these keys and repeat.") from exc


def _keys(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """The keys that the model nested at `loc` knows, in a list, a dict or a union, too."""
    current = [model]
    for part in loc[:-1]:
        inner = [m for each in current if part in each.model_fields for m in _models(each.model_fields[str(part)])]
        current = inner or [each for each in current if each.__name__ == part] or current
    return [key for each in current for key in each.model_fields]


def _models(annotation: Any) -> list[type[BaseModel]]:
    annotation = getattr(annotation, "annotation", annotation)  # a field's own
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models(inner)]


def read_json(path: Path) -> Any:
    """The content of a JSON file; a damaged one is an error that names it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise RunError(path, f"a file that cannot be read ({exc})", "JSON", "Remove it to make it anew.") from exc


def read_jsonl(path: Path, still_written: bool = False) -> Iterator[dict[str, Any]]:
    """The rows of a JSON Lines file, plain or `.gz`. A bad line raises DataError naming file and line.

    Of a file that is `still_written`, or was when its writer was killed, a last line without its end is passed over.
    """
    line_number = 0
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            for line_number, line in enumerate(file, start=1):
                if line.strip() and not (still_written and not line.endswith("\n")):
                    yield _object(path, line_number, line)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as exc:
        found = f"{exc or type(exc).__name__} after line {line_number}"
        raise DataError(path, found, "whole JSON Lines in UTF-8", "Fetch or copy the file again.") from exc


def _object(path: Path, line_number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as exc:
        raise DataError(f"{path}, line {line_number}", f"text that is not JSON ({exc})", "one JSON object") from exc
    if not isinstance(row, dict):
        raise DataError(f"{path}, line {line_number}", f"a {type(row).__name__}", "one JSON object")
    return row


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically, making its folder; RunError when the disk refuses."""
    _write(path, [text])


def _write(path: Path, texts: Iterable[str]) -> None:
    """Write one text after the other, packed when the name ends in `.gz`: the same bytes for the same texts."""
    with atomic(path) as file:
        if path.suffix == ".gz":
            with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
                packed.writelines(text.encode() for text in texts)
        else:
            file.writelines(text.encode() for text in texts)


@contextmanager
def atomic(path: Path, do: str = "Choose another --out.") -> Iterator[BinaryIO]:
    """A file that becomes `path` when the block ends well, and is gone when it does not. Makes the folder.

    RunError, with `do` as its advice, when the disk refuses.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=unfinished(path))
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as exc:
        raise RunError(path, exc.strerror or str(exc), "a place that can be written", do) from exc


@contextmanager
def exclusive(folder: Path, wait: bool = True, do: str = "Choose another --out.") -> Iterator[None]:
    """Hold the lock of a folder, made if need be. Where another process holds it: wait for it, or RunError."""
    import fcntl  # not on Windows, where the rest of this file works

    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR)
    except OSError as exc:
        raise RunError(folder, exc.strerror or str(exc), "a place that can be written", do) from exc
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as exc:
            raise RunError(
                folder, "another process at work", "one at a time", "Wait, or choose another --out."
            ) from exc
        except OSError as exc:
            raise RunError(folder, f"no locks ({exc.strerror})", "a place where files can be locked", do) from exc
        yield
    finally:
        os.close(handle)


def unfinished(path: Path) -> str:
    """How the names begin of what is still being written to become `path`, or was when its writer was killed."""
    return f".{path.name}."


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically, keys in the order given."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def write_yaml(path: Path, value: Any) -> None:
    """Write YAML atomically, keys in the order given."""
    write_text(path, yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120))


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]], default: Callable[[Any], Any] | None = None) -> None:
    """Write JSON Lines atomically and one by one, packed when the name ends in `.gz`. `default` makes JSON of a value
    that is none, as in `json.dumps`."""
    _write(path, (json.dumps(row, ensure_ascii=False, default=default) + "\n" for row in rows))


def append_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Append whole lines and flush them to the disk."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as exc:
        raise RunError(path, exc.strerror or str(exc), "a place that can be written", "Choose another --out.") from exc


def cut_half_line(path: Path) -> None:
    """Take away what follows the last line break: a line that its writer, being killed, could not finish."""
    with path.open("rb+") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            file.truncate(whole)
