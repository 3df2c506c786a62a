"""Rows from files: JSON Lines, a JSON list, CSV and TSV, each plain or packed (`.gz`, `.zst`), and Parquet.

Files are read row by row, so that a large one is never in memory as a whole, and a row has a greatest size: what a
stranger packed into a few bytes fills no memory, and a file of any length can be read. What is wrong with a file raises
DataError naming the file and the row, counted from 1 without the heading.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from openflan.errors import DataError, did_you_mean
from openflan.tasks.parquet import num_parquet_rows, parquet_rows
from openflan.untrusted import BLOCK_BYTES, check_regular, json_objects, json_value, line_blocks

Row = dict[str, Any]

PACKED = ("", ".gz", ".zst")
SUFFIXES = (*(kind + packed for kind in (".jsonl", ".json", ".csv", ".tsv") for packed in PACKED), ".parquet")

MAX_LINE_BYTES = 16_000_000  # of a file's line, and of a row in a `.json` list
MAX_NESTED = 500_000  # lists and objects in a row of JSON, which take a hundred times the memory of their text
MAX_CELL_CHARACTERS = 10_000_000  # the csv module's own limit is 131,072, less than a long article
MAX_COLUMNS = 5_000  # of CSV and TSV
MAX_BLANK_LINES = 1_000_000  # one after another
CHUNK = 400_000  # characters of a `.json` list that are read at a time
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}")
_BOOLEANS = {"true": True, "false": False}
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})(-[0-9a-f]{16})?")
_UNREADABLE = (
    *(OSError, EOFError, ValueError, zlib.error, csv.Error, RecursionError),
    # Of Arrow: a date after 9999, an unknown time zone, a text that its dictionary does not have.
    *(OverflowError, NotImplementedError, KeyError, IndexError),
    MemoryError,  # a damaged page of Parquet may ask for any size
)
_NO_SPACE = re.compile(r"\S")
_FIRST_KEY = re.compile(r'\{\s*"[^"\\]{0,100}"')
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class RowFiles:
    """The rows of one or several files as one table, with where each of them stands.

    `columns`: those that are needed, by their dotted names, or all. Only Parquet, CSV and TSV leave the others out.
    """

    paths: tuple[Path, ...]
    columns: frozenset[str] | None = None

    def __len__(self) -> int:
        """Number of rows. The files are read for it, but their rows are not kept."""
        return sum(count_rows(path) for path in self.paths)

    def __iter__(self) -> Iterator[tuple[str, Row]]:
        num_rows = 0
        for path in self.paths:
            for number, row in enumerate(read_rows(path, self.columns), start=1):
                num_rows += 1
                yield f"{path}, row {number}", row
        if num_rows == 0:
            raise DataError(self.paths[0], "no rows", "at least one", "Fetch or copy the file again.")


def find_files(folder: Path, name: str) -> tuple[Path, ...]:
    """The files of the split `name` in a folder: `<name>.*`, or all shards `<name>-00000-of-00003.*` in their order.

    Nothing when there are none. Raises DataError when the split is there twice in different forms, and when a shard is
    missing.
    """
    found: dict[str, list[Path]] = {}
    numbers: dict[str, list[int]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        rest = path.name.removeprefix(name)
        shard = _SHARD.match(rest)
        suffix = rest[shard.end() :] if shard else rest
        if not path.name.startswith(name) or suffix not in SUFFIXES:
            continue
        form = f"{name}-*-of-{shard[2]}{suffix}" if shard else f"{name}{suffix}"
        found.setdefault(form, []).append(path)
        numbers.setdefault(form, []).extend([int(shard[1])] if shard else [])
    if len(found) > 1:
        raise DataError(folder, " and ".join(found), f"one form of the split {name!r}", "Keep the one that counts.")
    for form, paths in found.items():
        wanted = list(range(int(form.split("-of-")[1][:5]))) if numbers[form] else []
        if numbers[form] != wanted:
            raise DataError(folder, f"files {numbers[form]} of {form}", f"each of 0 to {len(wanted) - 1}, once")
        return tuple(paths)
    return ()


def suffix_of(path: Path) -> str:
    """The known suffix of a file name; DataError for another."""
    suffix = next((s for s in SUFFIXES if path.name.endswith(s)), None)
    if suffix is None:
        given = path.suffixes[-1] if path.suffixes else "no suffix"
        raise DataError(path, given, "a file whose form is known by its suffix", did_you_mean(given, SUFFIXES))
    return suffix


def read_rows(path: Path, columns: Collection[str] | None = None) -> Iterator[Row]:
    """The rows of one file, in its order. The cells of CSV and TSV are text, with two exceptions: a column whose every
    cell is an integer becomes int, and one whose every cell is `true` or `false` (in any case) becomes bool.
    """
    kind = suffix_of(path).removeprefix(".").partition(".")[0]
    number = 0
    try:
        check_regular(path)
        if kind == "parquet":
            rows = parquet_rows(path, lambda names: _needed(names, columns))
        elif kind in ("csv", "tsv"):
            rows = _typed(path, _dialect(path, kind), columns)
        else:
            rows = _jsonl(path) if kind == "jsonl" else _json(path)
        for row in rows:
            number += 1
            yield row
    except _UNREADABLE as exc:
        raise _damaged(path, number, exc) from exc


def _needed(names: list[str], columns: Collection[str] | None) -> list[str]:
    """Those of a file's columns that dotted names begin with; all where one is missing, for the error to name them."""
    if columns is None:
        return names
    found = {column: {name for name in names if f"{column}.".startswith(f"{name}.")} for column in columns}
    wanted = {name for some in found.values() for name in some}
    return [name for name in names if name in wanted] if all(found.values()) else names


def count_rows(path: Path) -> int:
    """How many rows `read_rows` gives."""
    try:
        check_regular(path)
        if suffix_of(path) == ".parquet":
            return num_parquet_rows(path)
        if suffix_of(path).startswith(".jsonl"):
            return sum(1 for line in _lines(path) if line.strip())
    except _UNREADABLE as exc:
        raise _damaged(path, 0, exc) from exc
    return sum(1 for _ in read_rows(path))


def _damaged(path: Path, num_rows: int, exc: BaseException) -> DataError:
    said = " ".join(str(exc).split()) or type(exc).__name__
    found = f"{said}, after row {num_rows}" if num_rows else said
    kind = suffix_of(path).removeprefix(".").partition(".")[0]
    if isinstance(exc, OverflowError | NotImplementedError | KeyError):
        return DataError(path, found, "values that Python can hold", "Leave the column out, or write it as text.")
    form = "a Parquet file" if kind == "parquet" else f"{kind.upper()} in UTF-8"
    if isinstance(exc, MemoryError):
        found = f"more than the memory can hold ({found})"
    return DataError(path, found, f"{form} that is whole", "Fetch or copy the file again.")


def _open(path: Path) -> gzip.GzipFile | io.BufferedReader:
    if path.suffix == ".gz":
        return gzip.open(path, "rb")
    if path.suffix == ".zst":
        import pyarrow  # its reader notices a truncated file

        return io.BufferedReader(pyarrow.input_stream(str(path), compression="zstd"))
    return path.open("rb")


def _lines(path: Path) -> Iterator[str]:
    """Decoded one by one, so that an error is found where it stands and not a buffer earlier."""
    number = num_blank = 0
    with _open(path) as file:
        while line := file.readline(MAX_LINE_BYTES + 1):
            _check_line(path, number, num_blank, line)
            num_blank = num_blank + 1 if line.isspace() else 0
            yield line.decode("utf-8-sig" if number == 0 else "utf-8")
            number += 1


def _check_line(path: Path, number: int, num_blank: int, line: bytes) -> None:
    """`number` lines stand before this one, the last `num_blank` of them blank."""
    if len(line) > MAX_LINE_BYTES:
        found = f"a line of more than {MAX_LINE_BYTES:,} bytes"
        raise DataError(f"{path}, line {number + 1}", found, "shorter ones", "Write each row on a line of its own.")
    if num_blank > MAX_BLANK_LINES:
        raise DataError(path, f"{num_blank:,} blank lines after line {number - num_blank}", "rows")


def _jsonl(path: Path) -> Iterator[Row]:
    number = num_blank = 0
    with _open(path) as file:
        for block in line_blocks(file, MAX_LINE_BYTES):
            rows = json_objects(block)
            if rows is not None:
                yield from rows
                number += len(rows)
                num_blank = 0
                continue
            for line in block.split(b"\n"):
                _check_line(path, number, num_blank, line)
                text = line.decode("utf-8-sig" if number == 0 else "utf-8")
                number += 1
                if text and not text.isspace():
                    yield _object(text, path, "line", number)
                    num_blank = 0
                else:
                    num_blank += 1


def _object(text: str, path: Path, what: str, number: int) -> Row:
    try:
        _check_count(text)
        row = json_value(text, keys_once=True)
    except ValueError as exc:
        found = f"text that is not JSON ({exc})"
        raise DataError(f"{path}, {what} {number}", found, "one JSON object") from exc
    if not isinstance(row, dict):
        raise DataError(f"{path}, {what} {number}", f"a {type(row).__name__}", "one JSON object")
    return row


def _check_count(text: str) -> None:
    if len(text) > MAX_NESTED and text.count("[") + text.count("{") > MAX_NESTED:
        raise ValueError(f"more than {MAX_NESTED:,} lists and objects")


def _json(path: Path) -> Iterator[Row]:
    """The objects of one list, of which no more than a chunk is in memory."""
    with io.TextIOWrapper(_open(path), encoding="utf-8-sig", newline="") as file:
        chunks = _Chunks(file)
        if chunks.next() != "[":
            raise _no_list(path, chunks)
        chunks.at += 1
        number = 0
        while not (number == 0 and chunks.next() == "]"):
            chunks.next()
            if rows := chunks.objects():
                yield from rows
                number += len(rows)
            else:
                number += 1
                yield _object(chunks.item(), path, "row", number)
            mark = chunks.next()
            if mark == "]":
                break
            if mark != ",":
                raise ValueError("Expecting ',' delimiter" if mark else "a list without an end")
            chunks.at += 1
        chunks.at += 1
        if chunks.next():
            raise ValueError("Extra data")


@dataclass(slots=True)
class _Chunks:
    """A long text, `at` a place in what is read of it."""

    file: TextIO
    text: str = ""
    at: int = 0
    end: int = 0
    """Where the last value ended."""
    tried: int = 0
    """Up to where `objects` has looked."""

    def next(self) -> str:
        """Goes to the next character that is no white space and gives it; "" at the end."""
        num_blank = 0
        while (found := _NO_SPACE.search(self.text, self.at)) is None:
            num_blank += len(self.text)
            if num_blank > MAX_LINE_BYTES:
                raise ValueError(f"{num_blank:,} blanks")
            self.text, self.at, self.end, self.tried = self.file.read(CHUNK), 0, 0, 0
            if not self.text:
                return ""
        self.at = found.start()
        return found[0]

    def item(self) -> str:
        """The text of the JSON value here; reads on for one that goes on."""
        while True:
            try:
                end = _DECODER.raw_decode(self.text, self.at)[1]
            except json.JSONDecodeError as exc:
                size = len(self.text) - self.at
                if size > MAX_LINE_BYTES:
                    raise ValueError(f"a row of more than {MAX_LINE_BYTES:,} characters, or {exc.msg}") from exc
                more = self.file.read(max(CHUNK, 3 * size))
                if not more:
                    raise ValueError(exc.msg) from exc
                self.text, self.at, self.end, self.tried = self.text[self.at :] + more, 0, 0, 0
                _check_count(self.text)
            else:
                start, self.at, self.end = self.at, end, end
                return self.text[start:end]

    def objects(self) -> list[Row] | None:
        """Some from here on, up to a place where one begins as this one does, if all of them are plain."""
        begins = _FIRST_KEY.match(self.text, self.at)
        if begins is None or not self.end or self.at < self.tried:
            return None
        joint = self.text[self.end - 1 : self.at] + begins[0]  # the end of the one before, a comma, the first key
        end = self.text.rfind(joint, self.at, self.at + BLOCK_BYTES) + 1
        self.tried = end or self.at + BLOCK_BYTES
        rows = json_objects(f"[{self.text[self.at : end]}]".encode(), is_list=True) if end else None
        if rows is not None:  # else the place may be within an object
            self.at = self.end = end
        return rows


def _no_list(path: Path, chunks: _Chunks) -> DataError:
    value = json_value(chunks.item())
    if chunks.next():
        do = "Name it .jsonl if it has one JSON object on each line (JSON Lines)."
        return DataError(path, "several JSON values one after another", "a list of JSON objects", do)
    return DataError(path, f"a {type(value).__name__}", "a list of JSON objects")


def _dialect(path: Path, kind: str) -> dict[str, Any]:
    """How cells are told apart. In CSV, cells in double quotes may hold commas, line breaks and doubled quotes (RFC
    4180). In TSV a quote is a character like any other, as in the files of GLUE, unless the file was plainly written
    the other way, as pandas does it: every cell with a quote in it is quoted, and one of them has doubled quotes."""
    if kind == "csv":
        return {"strict": True}
    doubled = False
    for line in _lines(path):
        for cell in line.rstrip("\r\n").split("\t") if '"' in line else ():
            if '"' in cell:
                inner = cell[1:-1]
                if len(cell) < 2 or cell[0] != '"' or cell[-1] != '"' or '"' in inner.replace('""', ""):
                    return {"delimiter": "\t", "quoting": csv.QUOTE_NONE}
                doubled = doubled or '"' in inner
    return {"delimiter": "\t", "strict": True} if doubled else {"delimiter": "\t", "quoting": csv.QUOTE_NONE}


def _typed(path: Path, dialect: dict[str, Any], columns: Collection[str] | None) -> Iterator[Row]:
    """Reads the file twice: what a column is, only its last cell decides."""
    csv.field_size_limit(MAX_CELL_CHARACTERS)
    integer, boolean = set[str](), set[str]()
    for number, cells in enumerate(_cells(path, dialect, columns)):
        if number == 0:
            integer, boolean = set(cells), set(cells)
        integer = {name for name in integer if _INTEGER.fullmatch(cells[name])}
        boolean = {name for name in boolean if cells[name].lower() in _BOOLEANS}
    for cells in _cells(path, dialect, columns):
        row: Row = dict(cells)
        row.update({name: int(cells[name]) for name in integer})
        row.update({name: _BOOLEANS[cells[name].lower()] for name in boolean})
        yield row


def _cells(path: Path, dialect: dict[str, Any], columns: Collection[str] | None) -> Iterator[dict[str, str]]:
    """Text by column. Line breaks within cells are line feeds alone."""
    table = _records(path, dialect)
    heading = next(table, [])
    if len(heading) > MAX_COLUMNS:
        raise DataError(path, f"{len(heading):,} columns", f"at most {MAX_COLUMNS:,}")
    twice = sorted(name for name, count in Counter(heading).items() if count > 1)
    if twice:
        raise DataError(path, f"the column {twice[0]!r} twice", "columns that differ in their names")
    needed = set(_needed(heading, columns))
    places = [(i, name) for i, name in enumerate(heading) if name in needed]
    number = 0
    for cells in table:
        if not cells:  # a blank line
            continue
        number += 1
        if len(cells) != len(heading):
            found = f"{len(cells):,} cells"
            raise DataError(f"{path}, row {number}", found, f"{len(heading)}, one for each column of the heading")
        yield {name: cells[i].replace("\r\n", "\n") for i, name in places}


def _records(path: Path, dialect: dict[str, Any]) -> Iterator[list[str]]:
    reader = csv.reader(_lines(path), **dialect)
    try:
        yield from reader
    except csv.Error as exc:
        if "new-line" not in str(exc):
            raise
        where, do = f"{path}, line {reader.line_num}", "Write the line ends anew."
        raise DataError(where, "a carriage return without a line feed", "lines that end in a line feed", do) from exc
