"""Which rows of a source are train, dev and test rows: the paper's split rule (FLAN, section 2.3) in one place.

Dev rows, and test rows where a source has no test split, are cut from `train`. The cut is drawn at random, because many
sources are sorted by label, and belongs to the source: it is the same in every run, and the same for all tasks that
read one split of one source, so that the dev rows of one are no training rows of another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Sized
from typing import Literal

from openflan.errors import DataError, did_you_mean
from openflan.streams import stream
from openflan.tasks.card import DEV_ROWS
from openflan.tasks.catalog import Task

Split = Literal["train", "dev", "test", "samples"]
MOST_OF_A_CUT = 4  # a cut takes at most one row in so many


def home(task: Task, split: Split) -> tuple[str, str]:
    """The source's own name of the split that holds these rows, and the name it has in their uids.

    Rows that are cut from train live there and keep its name. Raises DataError when the task has no such split.
    """
    check_split(task, split)
    chosen = _parts(task)[split]
    if isinstance(chosen, str):
        return chosen, split
    train = task.source.splits.train
    if train is None or chosen in (None, 0):
        raise DataError(task.path, f"no {split} split of {task.name}", "a task that has one", _hint(split))
    return train, "train"


def check_split(task: Task, split: str) -> None:
    """DataError for any other word, with the part that the source's own split of that name plays, or the nearest."""
    parts = _parts(task)
    if split not in (*parts, "samples"):
        own = [part for part, name in parts.items() if name == split]
        do = f"The source's split {split} is {own[0]}." if own else did_you_mean(str(split), [*parts, "samples"])
        raise DataError(task.path, f"the split {split!r}", "train, dev, test or samples", do)


def _parts(task: Task) -> dict[str, str | int | None]:
    splits = task.source.splits
    return {"train": splits.train, "dev": splits.dev_from, "test": splits.test}


def named_splits(task: Task) -> list[str]:
    """The splits of the source that train, test and dev rows come from, each once."""
    splits = task.source.splits
    return list(dict.fromkeys(s for s in (splits.train, splits.test, splits.dev_from) if isinstance(s, str)))


def belongs(task: Task, split: Split, rows: Sized) -> Callable[[int], bool]:
    """Whether the row of that number, from 0, of its home belongs to `split`. `rows` is only counted where a draw needs
    it. Raises DataError when there are too few rows to cut any.
    """
    splits = task.source.splits
    origin = _origin(task, home(task, split)[0])
    if split == "test" and isinstance(splits.test, str):
        return lambda number: True
    if split == "dev" and isinstance(splits.dev_from, str):
        return set(_draw("dev", DEV_ROWS, range(len(rows)), len(rows), origin)).__contains__
    num_dev = splits.dev_from if isinstance(splits.dev_from, int) else 0
    num_test = splits.test if isinstance(splits.test, int) else 0
    if split == "train" and not num_dev and not num_test:
        return lambda number: True
    num_rows = len(rows)
    most = num_rows // MOST_OF_A_CUT
    test = set(_draw("test", min(num_test, most), range(num_rows), num_rows, origin))
    rest = [number for number in range(num_rows) if number not in test] if test else range(num_rows)
    dev = set(_draw("dev", min(num_dev, most), rest, num_rows, origin))
    if split == "train":
        return lambda number: number not in dev and number not in test
    cut = dev if split == "dev" else test
    if not cut:
        found = f"{num_rows} rows of {task.name} in all"
        raise DataError(task.path, found, f"at least {MOST_OF_A_CUT} to cut {split} rows from")
    return cut.__contains__


def _draw(part: str, wanted: int, pool: Sequence[int], num_rows: int, origin: tuple[str, ...]) -> list[int]:
    return stream(0, "split", part, *origin).sample(pool, min(wanted, num_rows))


def _origin(task: Task, name: str) -> tuple[str, ...]:
    source = task.source
    whose = (source.hub, source.config or "") if source.hub else (source.local or task.name,)
    return (*whose, name)


def _hint(split: str) -> str:
    return "It is only evaluated." if split == "train" else f"Name one in the card: `source.splits.{split}`."
