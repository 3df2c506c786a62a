"""What the footer of a Parquet file says about the sizes of its columns, read without Arrow.

Python's Arrow ends the process where the footer of a damaged file does not say what it should about a column of a group
of rows, and takes gigabytes for a footer of many empty entries. So the footer is read here, before Arrow sees it: a
struct in the compact protocol of Apache Thrift, of which no more is kept than what is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

MAX_FOOTER_BYTES = 16_000_000
MAX_STRUCTS = 500_000  # in a footer; Arrow takes up to a kilobyte for each

_MARK = b"PAR1"
_TAIL = 8  # bytes behind the footer: its length and the mark

# Parquet's numbers of the fields that are kept: of the file its groups (4), of a group its columns (1) and its number
# of rows (3), of a column what it holds (3): its path (3), its number of values (5), its bytes when unpacked (6).
_KEPT: Mapping[int, Any] = {4: {1: {3: {3: {}, 5: {}, 6: {}}}, 3: {}}}

# Thrift's kinds of values.
_TEXT, _LIST, _SET, _MAP, _STRUCT = 8, 9, 10, 11, 12
_INTEGERS = (4, 5, 6)
_BYTES = {1: 1, 2: 1, 3: 1, 7: 8, 13: 16}  # of the others; true (1) and false (2) take one in lists and maps alone


class ColumnSize(NamedTuple):
    """One column in one group of rows."""

    path: str
    num_values: int
    num_bytes: int
    """Unpacked, each text of a dictionary once."""


@dataclass(frozen=True, slots=True)
class RowGroup:
    """A group of rows and its columns, in the order of the file's."""

    num_rows: int
    columns: tuple[ColumnSize, ...]


def row_groups(path: Path) -> tuple[RowGroup, ...]:
    """The groups of rows of a file. ValueError for a footer that is damaged or too large."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(size - _TAIL, 0))
        tail = file.read()
        num_bytes = int.from_bytes(tail[:4], "little")
        if tail[4:] != _MARK or num_bytes > size - _TAIL:
            raise ValueError("a file that does not end as a Parquet file does")
        if num_bytes > MAX_FOOTER_BYTES:
            raise ValueError(f"a footer of {num_bytes:,} bytes where at most {MAX_FOOTER_BYTES:,} can be read")
        file.seek(size - _TAIL - num_bytes)
        footer = file.read(num_bytes)
    try:
        return tuple(map(_row_group, _Footer(footer).struct(0, _KEPT)[0][4]))
    except (IndexError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise ValueError("a footer without the sizes of its columns") from exc


def _row_group(group: Mapping[int, Any]) -> RowGroup:
    contents = [column[3] for column in group[1]]
    columns = tuple(ColumnSize(b".".join(each[3]).decode(), int(each[5]), int(each[6])) for each in contents)
    num_rows = int(group[3])
    if num_rows < 0:
        raise ValueError(f"a group of {num_rows:,} rows in the footer")
    return RowGroup(num_rows, columns)


class _Footer:
    """Values of the compact protocol. `at` is where one begins; what a method gives ends with where the next begins."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.num_structs = 0

    def struct(self, at: int, kept: Mapping[int, Any]) -> tuple[dict[int, Any], int]:
        """The fields of a struct that are `kept`, with those within them; all else is passed over."""
        found: dict[int, Any] = {}
        field = 0
        self._count()
        while header := self.content[at]:
            at += 1
            if header > 15:
                field += header >> 4
            else:
                field, at = self._integer(at)
            if field in kept:
                found[field], at = self._value(header & 15, at, kept[field])
            elif header & 15 > 2:  # no boolean, which is in its header
                at = self._end(header & 15, at)
        return found, at + 1

    def _value(self, kind: int, at: int, kept: Mapping[int, Any]) -> tuple[Any, int]:
        if kind in _INTEGERS:
            return self._integer(at)
        if kind == _TEXT:
            num_bytes, at = self._unsigned(at)
            return self.content[at : at + num_bytes], at + num_bytes
        if kind == _STRUCT:
            return self.struct(at, kept)
        if kind == _LIST:
            kind, num, at = self._head_of_list(at)
            items = []
            for _ in range(num):
                item, at = self._value(kind, at, kept)
                items.append(item)
            return items, at
        raise ValueError(f"a value of kind {kind} in a footer, where there is none")

    def _end(self, kind: int, at: int) -> int:
        """Where a value ends. It is the hot path: most of a footer is passed over."""
        content = self.content
        if kind in _INTEGERS:
            while content[at] > 127:
                at += 1
            return at + 1
        if kind == _TEXT:
            num_bytes, at = self._unsigned(at)
            return at + num_bytes
        if kind == _STRUCT:
            self._count()
            while header := content[at]:
                at += 1
                if header < 16:
                    _, at = self._unsigned(at)
                if header & 15 > 2:
                    at = self._end(header & 15, at)
            return at + 1
        if kind in (_LIST, _SET):
            kind, num, at = self._head_of_list(at)
            for _ in range(num):
                at = self._end(kind, at)
            return at
        if kind == _MAP:
            num, at = self._unsigned(at)
            kinds, at = (content[at], at + 1) if num else (0, at)
            for _ in range(num):
                at = self._end(kinds & 15, self._end(kinds >> 4, at))
            return at
        if kind in _BYTES:
            return at + _BYTES[kind]
        raise ValueError(f"a value of kind {kind} in a footer, where there is none")

    def _count(self) -> None:
        self.num_structs += 1
        if self.num_structs > MAX_STRUCTS:
            raise ValueError(f"a footer of more than {MAX_STRUCTS:,} entries")

    def _head_of_list(self, at: int) -> tuple[int, int, int]:
        """The kind of the items, their number, and where the first begins."""
        header = self.content[at]
        num, at = (header >> 4, at + 1) if header < 0xF0 else self._unsigned(at + 1)
        return header & 15, num, at

    def _integer(self, at: int) -> tuple[int, int]:
        number, at = self._unsigned(at)
        return (number >> 1) ^ -(number & 1), at

    def _unsigned(self, at: int) -> tuple[int, int]:
        number = self.content[at]
        if number < 128:
            return number, at + 1
        number &= 127
        for shift in range(7, 70, 7):
            at += 1
            number |= (self.content[at] & 127) << shift
            if self.content[at] < 128:
                return number, at + 1
        raise ValueError("a number of more than 64 bits in a footer")
