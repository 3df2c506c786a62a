"""Where a task's rows come from: files of a data root, the hub, the embedded world, or the samples of its card."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from openflan.errors import DataError
from openflan.files import as_path
from openflan.tasks.card import DEV_ROWS
from openflan.tasks.catalog import Task
from openflan.tasks.readers import RowFiles, find_files, suffix_of
from openflan.tasks.splits import Split, belongs, check_split, home, named_splits


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A row as the source holds it. `uid` is `<task>/<split>/<number from 0>`; `where` names file and row."""

    uid: str
    where: str
    row: Mapping[str, Any]


def iter_rows(
    task: Task, split: Split, data_root: str | Path | None = None, columns: frozenset[str] | None = None
) -> Iterator[SourceRow]:
    """The rows of one split one by one, in the source's own order and field names. `columns`: see `RowFiles`.

    Files in `<data_root>/<name>/` come before the hub, `<name>` being the card's `local` or the task's name. A folder
    that is there stands for the whole dataset; in it, `test.*` serves for a split `test_r1` that has no file of its
    own. Rows cut from train keep its uids. Raises DataError naming what was looked for.
    """
    check_split(task, split)
    data_root = as_path(data_root) if data_root is not None else None
    if split == "samples":
        for i, sample in enumerate(task.samples):
            yield SourceRow(f"{task.name}/samples/{i}", f"{task.name}, samples row {i + 1}", copy.deepcopy(sample))
    elif task.source.world is not None:
        yield from _world_rows(task, split)
    else:
        name, role = home(task, split)
        rows = _local(task, name, data_root, columns)
        if rows is None:
            rows = _hub(task, name, data_root)
        chosen = belongs(task, split, rows)
        for i, (where, row) in enumerate(rows):
            if chosen(i):
                yield SourceRow(f"{task.name}/{role}/{i}", where, row)


def has_rows(task: Task, split: Split, data_root: Path | None = None) -> bool:
    """Whether the split is there without asking the hub: no row is read.

    DataError where something is there that cannot be read: it must not pass for a split that is absent.
    """
    if split == "samples":
        return True
    if lacks_split(task, split, data_root):
        return False
    return task.source.world is not None or _local(task, home(task, split)[0], data_root) is not None


def lacks_split(task: Task, split: Split, data_root: Path | None = None) -> bool:
    """Whether the task has no such rows, and nothing is wrong with it: its card names no such split, or the folder of
    its dataset has no file of that name, readable or not. The hub is not asked."""
    if split == "samples" or task.source.world is not None:
        return False
    try:
        name, _ = home(task, split)
    except DataError:
        return True
    folder = data_root / folder_name(task) if data_root else None
    return (
        folder is not None and folder.is_dir() and not split_files(folder, name) and not any(folder.glob(f"{name}.*"))
    )


def folder_name(task: Task) -> str:
    """The task's folder below a data root. Tasks of the same source may share one."""
    return task.source.local or task.name


def split_files(folder: Path, name: str) -> tuple[Path, ...]:
    """The files of a split in its dataset's folder; `test.*` serves for `test_r1`."""
    return find_files(folder, name) or find_files(folder, name.partition("_")[0])


def _local(task: Task, name: str, data_root: Path | None, columns: frozenset[str] | None = None) -> RowFiles | None:
    """The files of a split; None when the data root has neither a folder nor a file of the dataset."""
    if data_root is None:
        return None
    if not data_root.is_dir():
        raise DataError(data_root, "no folder", "a folder of rows", "Change --data-root.")
    folder = data_root / folder_name(task)
    if folder.is_dir():
        paths = split_files(folder, name)
        if not paths:
            for path in sorted(folder.glob(f"{name}.*")):
                suffix_of(path)
            do = f"Put them there, or try `openflan data fetch {task.name} --to {data_root}`."
            raise DataError(f"{folder}/{name}.*", "no such file", f"the rows of {task.name}, split {name!r}", do)
        return RowFiles(paths, columns)
    paths = find_files(data_root, folder_name(task))
    if paths and named_splits(task) != [name]:
        found = f"one file for the splits {', '.join(named_splits(task))} of {task.name}"
        do = "Or let the card cut dev and test rows from it: `splits: {train: train, dev: 200, test: 500}`."
        raise DataError(paths[0], found, "a folder with one file for each", do)
    return RowFiles(paths, columns) if paths else None


def _hub(task: Task, name: str, data_root: Path | None) -> Any:
    if task.source.hub is not None and task.source.manual is None:
        from openflan.tasks.hub import open_split

        return open_split(task.source, name, task.name)
    looked_for = f"{data_root or '<data root>'}/{folder_name(task)}/{name}.*"
    raise DataError(
        looked_for,
        "no such file",
        f"the rows of {task.name}, split {name!r}",
        task.source.manual or "Put them there and give the folder with --data-root DIR.",
    )


def _world_rows(task: Task, split: Split) -> Iterator[SourceRow]:
    """The world's dev rows are the train rows that would come next, so that having them costs no train row."""
    from openflan.world.generate import NUM_ROWS  # the generator is only loaded for tasks of the world

    part: Literal["train", "test"] = "test" if split == "test" else "train"
    first, last = (NUM_ROWS["train"], NUM_ROWS["train"] + DEV_ROWS) if split == "dev" else (0, NUM_ROWS[part])
    for i, row in enumerate(_generated(str(task.source.world), part, last)[first:], start=first):
        yield SourceRow(f"{task.name}/{part}/{i}", f"{task.name}, {part} row {i + 1}", dict(row))


@cache  # the world is small, and making it takes longer than reading a file of its size
def _generated(name: str, part: Literal["train", "test"], num_rows: int) -> tuple[dict[str, Any], ...]:
    from openflan.world.generate import rows

    return tuple(rows(name, part, num_rows))
