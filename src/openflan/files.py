"""Reading and writing files, and the names inside a run directory. Nothing else opens a file for writing.

Writes are atomic: a reader sees the old content or the new, never half of it, also after `kill -9` or a full disk.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from openflan.errors import ConfigError, DataError, OpenFlanError, RunError, did_you_mean
from openflan.untrusted import (
    MAX_JSON_BYTES,
    MAX_YAML_BYTES,
    Tags,
    json_objects,
    json_value,
    line_blocks,
    path_text,
    read_regular,
    shown,
    yaml_value,
)

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

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
CARD = "README.md"

LOCK = ".lock"

MAX_LINE_BYTES = 32_000_000  # of JSON Lines
MAX_PROBLEMS = 20  # of one file that an error lists

M = TypeVar("M", bound=BaseModel)


def as_path(given: str | os.PathLike[str]) -> Path:
    """The path that somebody gave, as text perhaps, with `~` written out; ConfigError when no file can have it."""
    try:
        return Path(path_text(given))
    except ValueError as exc:
        raise ConfigError(shown(os.fspath(given)), str(exc), "the path of a file or folder") from exc


def real_path(path: Path) -> Path:
    """Without links and from the root, as `Path.resolve`; a loop of links, which that refuses, stays as it is."""
    return Path(os.path.realpath(path))


def read_yaml(path: Path, error: type[OpenFlanError] = ConfigError, tags: Tags | None = None) -> Any:
    """The plain values of a YAML file (`untrusted.yaml_value`). Raises `error` naming the file and the line."""
    try:
        return yaml_value(read_regular(path, MAX_YAML_BYTES), tags)
    except OSError as exc:
        raise error(path, exc.strerror or str(exc), "a readable YAML file") from exc
    except ValueError as exc:
        raise error(path, str(exc), "plain YAML in UTF-8 without aliases") from exc


def parse(model: type[M], value: Any, where: object, error: type[OpenFlanError] = ConfigError) -> M:
    """Validate `value` as `model`. All problems of one file are told at once, each with its key."""
    try:
        return model.model_validate(value)
    except ValidationError as exc:
        found = exc.errors()
        problems = [_problem(model, item) for item in found[:MAX_PROBLEMS]]
        if len(found) > MAX_PROBLEMS:
            problems.append(f"and {len(found) - MAX_PROBLEMS:,} more")
        raise error(where, "; ".join(problems), f"a valid {model.__name__}", "Correct these keys and repeat.") from exc


def _problem(model: type[BaseModel], item: ErrorDetails) -> str:
    key = ".".join(map(str, item["loc"])) or "the file"
    if item["type"] != "extra_forbidden":
        return f"{key}: {item['msg']}"
    return f"{key} (unknown key; {did_you_mean(str(item['loc'][-1]), _keys(model, item['loc'])).removesuffix('.')})"


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


def read_json(path: Path, error: type[OpenFlanError] = RunError, do: str = "Remove it to make it anew.") -> Any:
    """The value of a JSON file (`untrusted.json_value`: at most 100 levels, no huge integers, no half characters).

    Whatever is wrong with the file is an `error` that names it: absent, no regular file, too large, damaged.
    """
    try:
        return json_value(read_regular(path, MAX_JSON_BYTES))
    except (OSError, ValueError) as exc:
        found = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        raise error(path, f"a file that cannot be read ({found})", "JSON", do) from exc


def read_json_object(
    path: Path, error: type[OpenFlanError] = RunError, do: str = "Remove it to make it anew."
) -> dict[str, Any]:
    """`read_json` of a file that must hold an object: a list, a text or a number is an `error`, too."""
    value = read_json(path, error, do)
    if not isinstance(value, dict):
        raise error(path, f"a {type(value).__name__}", "an object in JSON", do)
    return value


def read_jsonl(path: Path, still_written: bool = False) -> Iterator[dict[str, Any]]:
    """The rows of a JSON Lines file, plain or `.gz`. A bad line raises DataError naming file and line.

    Of a file that is `still_written`, or was when its writer was killed, a last line without its end is passed over.
    """
    line_number = 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for block in line_blocks(file, MAX_LINE_BYTES, with_half_line=not still_written):
                rows = json_objects(block, keys_once=False)
                if rows is not None:
                    yield from rows
                    line_number += len(rows)
                    continue
                for line in block.split(b"\n"):
                    if len(line) > MAX_LINE_BYTES:
                        raise ValueError(f"a line of more than {MAX_LINE_BYTES:,} bytes")
                    line_number += 1
                    if text := line.decode().strip():
                        yield _object(path, line_number, text)
    except (OSError, EOFError, zlib.error, ValueError) as exc:
        found = f"{exc or type(exc).__name__} after line {line_number}"
        raise DataError(path, found, "whole JSON Lines in UTF-8", "Fetch or copy the file again.") from exc


def _object(path: Path, line_number: int, line: str) -> dict[str, Any]:
    try:
        row = json_value(line)
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
                packed.writelines(_encoded(text) for text in texts)
        else:
            file.writelines(_encoded(text) for text in texts)


def _encoded(text: str) -> bytes:
    """In UTF-8; half of a surrogate pair, which that cannot write, as its escape: in JSON it comes back the same."""
    return text.encode(errors="backslashreplace")


@contextmanager
def atomic(path: Path, do: str = "Choose another --out.") -> Iterator[BinaryIO]:
    """A file that becomes `path` when the block ends well, and is gone when it does not. Makes the folder.

    RunError, with `do` as its advice, when the disk refuses or `path` is a device or a pipe, which it would replace.
    """
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        raise RunError(path, "a device or a pipe", "a place for a file", do)
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


def check_name(folder: Path) -> None:
    """RunError for a folder in which libraries that are not Python's could write nothing: they take names in UTF-8."""
    try:
        os.fspath(folder).encode()
    except UnicodeEncodeError as exc:
        found = f"a name with bytes that are no text in {sys.getfilesystemencoding()}, this terminal's encoding"
        do = "Set the environment variable PYTHONUTF8=1, or choose another --out."
        raise RunError(folder, found, "a name in UTF-8", do) from exc


def check_place(folder: Path, do: str = "Choose another --out.") -> None:
    """RunError where a folder cannot be written or made. Leaves no trace, nor the folder."""
    there = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    try:
        tempfile.TemporaryFile(dir=there).close()
    except OSError as exc:
        raise RunError(folder, exc.strerror or str(exc), "a place that can be written", do) from exc


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
            file.write(_encoded("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)))
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
