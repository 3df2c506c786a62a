"""Token ids on disk: one Arrow file, read through memory mapping, found again by what decides its content.

A store lies at `<folder>/<key>/tokens.arrow`. It is written in chunks to a file of another name, which takes its place
when it is whole, under a lock: of two processes that need the same store one builds it and the other waits. Its last
record batch has no rows and carries the counts and a fingerprint of everything, with the key, so that neither half a
file nor another store is ever taken for it.
"""

from __future__ import annotations

import json
import os
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from openflan import __version__, files
from openflan.streams import bytes_fingerprint, file_fingerprint, fingerprint
from openflan.tokens.pack import Segment, plain_segment

NAME = "tokens.arrow"
PLACE_VARIABLE = "OPENFLAN_CACHE"
ADVICE = f"Free some space there, or name another folder in the environment variable {PLACE_VARIABLE}."
_SCHEMA = pa.schema(
    {"ids": pa.large_list(pa.int32()), "num_supervised": pa.int32(), "place": pa.int32(), "task": pa.int16()}
)
_IN_MEMORY = {"lengths": np.int32, "num_supervised": np.int32, "place": np.int32, "task": np.int16}
_EMPTY = pa.RecordBatch.from_pylist([], schema=_SCHEMA)


def default_folder() -> Path:
    """`tokens/` in the folder that OPENFLAN_CACHE names, by default `~/.cache/openflan`."""
    return Path(os.environ.get(PLACE_VARIABLE) or Path.home() / ".cache" / "openflan") / "tokens"


def code_fingerprint() -> str:
    """Of the source that decides which ids a row gets, and of the library that encodes."""
    package = Path(__file__).parent.parent
    sources = [file_fingerprint((package / layer).glob("*.py")) for layer in ("tasks", "templates", "tokens")]
    return fingerprint([*sources, __version__, version("tokenizers")])


@dataclass(frozen=True, slots=True)
class Chunk:
    """Prompts of one task on their way to the disk, and what was counted while they were made.

    `place` is each prompt's place in the plan; the last `num_supervised` of its ids are predicted.
    """

    task: str
    place: Sequence[int]
    ids: Sequence[Sequence[int]]
    num_supervised: Sequence[int]
    counts: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class TokenStore:
    """Prompts as ids. Row `i` is the i-th prompt kept, `place[i]` its place in the plan, `tasks[task[i]]` its task.

    `lengths` [rows] in tokens; of these the last `num_supervised[i]` are predicted. `counts` tells what was kept,
    dropped and cut, `counts_by_task` the same for each task. `num_damaged` is 1 where a damaged file lay in the store's
    place, which was built anew.
    """

    path: Path
    counts: dict[str, int]
    counts_by_task: dict[str, dict[str, int]]
    tasks: tuple[str, ...]
    lengths: NDArray[np.int32]
    num_supervised: NDArray[np.int32]
    place: NDArray[np.int32]
    task: NDArray[np.int16]
    num_damaged: int
    _mapped: Any  # a reader of record batches, none of which is touched until one of its rows is read
    _first_rows: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.lengths)

    def ids(self, i: int) -> NDArray[np.int32]:
        """The ids of one row, without a copy."""
        batch = bisect_right(self._first_rows, i) - 1
        column = self._mapped.get_batch(batch).column("ids")
        found: NDArray[np.int32] = column[i - self._first_rows[batch]].values.to_numpy()
        return found

    def segment(self, i: int) -> Segment:
        """One row as a segment with key `i`."""
        return plain_segment(i, self.ids(i).tolist(), int(self.num_supervised[i]))


def stored(folder: Path, key: str, chunks: Callable[[], Iterable[Chunk]]) -> TokenStore:
    """The store called `key`, built from `chunks()` where it is not there yet or is damaged.

    RunError where the folder cannot be written, naming it.
    """
    path = folder / key / NAME
    if (found := _open(path)) is not None:
        return found
    with files.exclusive(path.parent, do=ADVICE):
        if (found := _open(path)) is not None:  # by the process that held the lock
            return found
        num_damaged = int(path.exists())
        for left in path.parent.glob(files.unfinished(path) + "*"):  # its writer was killed: the lock is ours
            left.unlink(missing_ok=True)
        with files.atomic(path, do=ADVICE) as file:
            _write(file, key, chunks())
        built = _open(path, num_damaged)
        assert built is not None, f"{path} cannot be read after it was written"
        return built


def _write(file: BinaryIO, key: str, chunks: Iterable[Chunk]) -> None:
    tasks: dict[str, int] = {}
    counts: dict[str, Counter[str]] = {}
    arrays: list[str] = []
    with pa.ipc.new_file(file, _SCHEMA) as writer:
        for chunk in chunks:
            code = tasks.setdefault(chunk.task, len(tasks))
            batch = _record_batch(chunk, code)
            counted = counts.setdefault(chunk.task, Counter())
            counted.update(num_examples=len(batch), num_tokens=len(batch.column("ids").values))
            counted.update(num_supervised=sum(chunk.num_supervised))
            counted.update(chunk.counts)
            arrays.append(_fingerprint(batch))
            writer.write_batch(batch)
        about = {"counts": counts, "content": fingerprint([key, counts, arrays])}
        writer.write_batch(_EMPTY, custom_metadata={"openflan": json.dumps(about)})


def _record_batch(chunk: Chunk, code: int) -> pa.RecordBatch:
    ends = np.cumsum([0, *map(len, chunk.ids)])
    ids = np.fromiter(chain.from_iterable(chunk.ids), np.int32, ends[-1])
    columns = [
        pa.LargeListArray.from_arrays(pa.array(ends, pa.int64()), pa.array(ids)),
        pa.array(chunk.num_supervised, pa.int32()),
        pa.array(chunk.place, pa.int32()),
        pa.array(np.full(len(chunk.ids), code, dtype=np.int16)),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=_SCHEMA)


def _fingerprint(batch: pa.RecordBatch) -> str:
    ids, *others = batch.columns
    return bytes_fingerprint(each.to_numpy() for each in (ids.offsets, ids.values, *others))


def _open(path: Path, num_damaged: int = 0) -> TokenStore | None:
    """The store in a file; None where there is no file or a damaged one.

    The file is read through once, in pieces, to check it and for all columns but the ids: these are mapped.
    """
    if not path.is_file():
        return None
    first_rows = [0]
    arrays: list[str] = []
    try:
        reader = pa.ipc.open_file(pa.OSFile(str(path)))
        last = reader.get_batch_with_custom_metadata(reader.num_record_batches - 1)
        about: dict[str, Any] = json.loads(last.custom_metadata["openflan"])
        num_rows = sum(counts["num_examples"] for counts in about["counts"].values())
        columns = {name: np.empty(num_rows, kind) for name, kind in _IN_MEMORY.items()}
        for i in range(reader.num_record_batches - 1):
            batch = reader.get_batch(i)
            batch.validate()
            arrays.append(_fingerprint(batch))
            rows = slice(first_rows[-1], first_rows[-1] + batch.num_rows)
            first_rows.append(rows.stop)
            columns["lengths"][rows] = np.diff(batch.column("ids").offsets.to_numpy())
            for name in ("num_supervised", "place", "task"):
                columns[name][rows] = batch.column(name).to_numpy()
        content = fingerprint([path.parent.name, about["counts"], arrays])
        if reader.schema != _SCHEMA or content != about["content"] or first_rows[-1] != num_rows:
            return None
        mapped = pa.ipc.open_file(pa.memory_map(str(path)))
    except Exception:  # of a damaged file whatever the libraries that read it like
        return None
    by_task: dict[str, dict[str, int]] = about["counts"]
    totals: Counter[str] = Counter()
    for counts in by_task.values():
        totals.update(counts)
    return TokenStore(
        path=path,
        counts=dict(totals),
        counts_by_task=by_task,
        tasks=tuple(by_task),
        **columns,
        num_damaged=num_damaged,
        _mapped=mapped,
        _first_rows=tuple(first_rows),
    )
