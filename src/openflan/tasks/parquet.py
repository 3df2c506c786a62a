"""Rows of a Parquet file, in bounded memory whatever it holds.

A file may say in a few bytes that a text of megabytes stands in each of a million rows. So texts are read as Parquet
keeps them, each once, and rows are made of as many at a time as MAX_BYTES allow.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from openflan.errors import DataError
from openflan.tasks.parquet_footer import RowGroup, row_groups

MAX_BYTES = 16_000_000  # of one row, and of the rows that are made at a time
MAX_ROWS = 1000  # made at a time
MAX_VALUES = 1_000_000  # of one column in one row


def num_parquet_rows(path: Path) -> int:
    """How many rows a file has."""
    return sum(group.num_rows for group in row_groups(path))


def parquet_rows(path: Path, choose: Callable[[list[str]], Collection[str]]) -> Iterator[dict[str, Any]]:
    """The rows, with those of the file's columns that `choose` gives."""
    groups = row_groups(path)
    with _open(path) as file:
        names, schema = file.schema_arrow.names, file.schema
        twice = sorted({name for name in names if names.count(name) > 1}) if len({*names}) < len(names) else []
        if twice:
            raise DataError(path, f"the column {twice[0]!r} twice", "columns that differ in their names")
        chosen = choose(names)
        parts = {name.split(".")[0] for name in chosen}
        leaves = [i for i, leaf in enumerate(map(schema.column, range(len(schema)))) if _top(leaf.path) in parts]
        texts = [leaf.path for leaf in map(schema.column, leaves) if leaf.physical_type == "BYTE_ARRAY"]
        plain = _plain(file.schema_arrow, chosen)
        num_columns = len(schema)
    num_rows = _rows_at_once(path, groups, num_columns, leaves)
    number = 0
    with _open(path, read_dictionary=texts) as file:
        for batch in file.iter_batches(batch_size=num_rows, columns=chosen):
            for part in _small(batch, path, number):
                yield from part.cast(plain).to_pylist()  # written out, which is quicker than text by text
            number += len(batch)
    if number != sum(group.num_rows for group in groups):
        found, told = f"{number:,} rows", f"{sum(group.num_rows for group in groups):,}, as its footer says"
        raise DataError(path, found, told, "Fetch or copy the file again.")


def _open(path: Path, **options: Any) -> Any:
    from pyarrow.parquet import ParquetFile  # takes a tenth of a second to load

    return ParquetFile(path, **options)


def _top(path: str) -> str:
    return path.split(".")[0]


def _plain(schema: Any, chosen: Collection[str]) -> Any:
    """The schema of the chosen columns, texts as they are and not as places in a list of texts."""
    import pyarrow as pa

    kinds = [(name, schema.field(name).type) for name in chosen]
    return pa.schema([(name, kind.value_type if pa.types.is_dictionary(kind) else kind) for name, kind in kinds])


def _rows_at_once(path: Path, groups: Collection[RowGroup], num_columns: int, leaves: Collection[int]) -> int:
    """How many rows take MAX_BYTES at most, by the sizes that the file gives; DataError for rows too large."""
    rows = MAX_ROWS
    for group in groups:
        if len(group.columns) != num_columns:
            found = f"{len(group.columns)} columns in one group of rows and {num_columns} in all"
            raise DataError(path, found, "as many", "Fetch or copy the file again.")
        for column in map(group.columns.__getitem__, leaves):
            num_values = column.num_values / max(group.num_rows, 1)
            num_bytes = column.num_bytes / max(group.num_rows, 1)
            if num_values > MAX_VALUES or num_bytes > MAX_BYTES:
                found = f"rows of {num_values:,.0f} values and {num_bytes:,.0f} bytes in {column.path}"
                raise DataError(path, found, f"at most {MAX_VALUES:,} values and {MAX_BYTES:,} bytes in a row")
            rows = min(rows, max(1, int(MAX_VALUES // num_values))) if num_values else rows
            rows = min(rows, max(1, int(MAX_BYTES // num_bytes))) if num_bytes else rows
    return rows


def _small(batch: Any, path: Path, number: int) -> Iterator[Any]:
    """The batch, halved until each part is small; `number` rows stand before it."""
    num_bytes = sum(map(_num_bytes, batch.columns))
    if num_bytes <= MAX_BYTES:
        yield batch
    elif len(batch) > 1:
        half = len(batch) // 2
        yield from _small(batch.slice(0, half), path, number)
        yield from _small(batch.slice(half), path, number + half)
    else:
        found = f"a row of {num_bytes:,} bytes"
        raise DataError(f"{path}, row {number + 1}", found, f"at most {MAX_BYTES:,} bytes in a row")


def _num_bytes(array: Any) -> int:
    """What the values of an Arrow array take when each is written out."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = array.type
    if pa.types.is_dictionary(kind):
        return int(pc.sum(pc.take(pc.binary_length(array.dictionary), array.indices)).as_py() or 0)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind):
        return int(pc.sum(pc.binary_length(array)).as_py() or 0)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_map(kind):
        return _num_bytes(array.flatten() if not pa.types.is_map(kind) else array.items) + 8 * len(array)
    if pa.types.is_struct(kind):
        return sum(map(_num_bytes, array.flatten()))
    return int(array.nbytes)
