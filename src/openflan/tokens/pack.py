"""Packing: several segments in one row of `capacity` positions, none split, none seeing another."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, overload

import numpy as np
from numpy.typing import NDArray

from openflan.errors import DataError

WINDOW = 2048  # how many of the next rows in the plan may fill a pack up


@dataclass(frozen=True, slots=True)
class Segment:
    """What goes into a pack as one whole.

    A segment is a tree of runs of ids: a trunk, and branches that continue it or one another. `ids` holds the trunk and
    then the branches depth first, `branch[i]` is 0 in the trunk and 1, 2, ... in the branches, in the order in which
    they lie there; none is empty. `parents[b - 1]` is what branch b continues, the trunk where it is left out. A branch
    sees all that it continues and itself, and its positions go on where its parent's end. Training segments are all
    trunk. `supervised[i]` marks the ids that are predicted.
    """

    key: int
    ids: tuple[int, ...]
    branch: tuple[int, ...]
    supervised: tuple[bool, ...]
    parents: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)


def plain_segment(key: int, ids: Sequence[int], num_supervised: int) -> Segment:
    """A segment without branches whose last `num_supervised` ids are predicted."""
    n = len(ids)
    return Segment(key, tuple(ids), (0,) * n, (False,) * (n - num_supervised) + (True,) * num_supervised)


def branched_segment(key: int, trunk: Sequence[int], branches: Sequence[Sequence[int]]) -> Segment:
    """A prompt and its options: every option continues the prompt, none sees another.

    DataError for an empty trunk: nothing would predict where the options begin.

    >>> s = branched_segment(0, [5, 6], [[7], [8, 9]])
    >>> s.ids, s.branch, s.supervised
    ((5, 6, 7, 8, 9), (0, 0, 1, 2, 2), (False, False, True, True, True))
    """
    if not trunk:
        raise DataError(f"segment {key}", "an empty prompt", "at least one token before the options")
    ids, branch = list(trunk), [0] * len(trunk)
    for number, ending in enumerate(branches, start=1):
        ids += ending
        branch += [number] * len(ending)
    return Segment(key, tuple(ids), tuple(branch), tuple(b > 0 for b in branch))


def shared_segment(
    key: int, trunk: Sequence[int], prompts: Sequence[tuple[Sequence[int], Sequence[Sequence[int]]]]
) -> Segment:
    """Several prompts that begin alike, each with its options: what they share is the trunk, processed once.

    A prompt is given by how it goes on after the trunk, at least one id. Only options are predicted.

    >>> s = shared_segment(0, [5, 6], [([1], [[7], [8, 9]]), ([2, 3], [[7]])])
    >>> s.ids, s.branch, s.parents
    ((5, 6, 1, 7, 8, 9, 2, 3, 7), (0, 0, 1, 2, 3, 3, 4, 4, 5), (0, 1, 1, 0, 4))
    """
    if not trunk or not all(rest for rest, _ in prompts):
        raise DataError(f"segment {key}", "an empty trunk or prompt", "at least one token before what follows")
    ids, branch, supervised = list(trunk), [0] * len(trunk), [False] * len(trunk)
    parents: list[int] = []
    for rest, options in prompts:
        parents.append(0)
        prompt = len(parents)
        ids += rest
        branch += [prompt] * len(rest)
        supervised += [False] * len(rest)
        for option in options:
            parents.append(prompt)
            ids += option
            branch += [len(parents)] * len(option)
            supervised += [True] * len(option)
    return Segment(key, tuple(ids), tuple(branch), tuple(supervised), tuple(parents))


@dataclass(slots=True)
class Pack:
    """One row of at most `capacity` positions."""

    capacity: int
    segments: list[Segment] = field(default_factory=list)

    @property
    def num_tokens(self) -> int:
        return sum(map(len, self.segments))


def pack(segments: Iterable[Segment], capacity: int) -> list[Pack]:
    """Best-fit decreasing: the longest first, each into the fullest pack that still has room.

    Every segment once, none split. Ties are broken by key, so the result does not depend on the order given. A
    segment longer than `capacity` raises DataError.

    >>> sizes = [3, 6, 2, 5, 4]
    >>> packs = pack([plain_segment(i, range(n), 1) for i, n in enumerate(sizes)], capacity=10)
    >>> [[len(s) for s in p.segments] for p in packs]
    [[6, 4], [5, 3, 2]]
    """
    ordered = sorted(segments, key=lambda segment: segment.key)
    for segment in ordered:
        if len(segment) > capacity:
            raise DataError(f"segment {segment.key}", f"{len(segment)} tokens", f"at most {capacity} in a pack")
    packs = pack_lengths(np.array([len(segment) for segment in ordered], dtype=np.int64), capacity)
    return [Pack(capacity, [ordered[i] for i in indices.tolist()]) for indices in packs]


def pack_lengths(lengths: NDArray[np.integer], capacity: int) -> list[NDArray[np.int32]]:
    """Best-fit decreasing over lengths in tokens: the indices that each pack holds, the longest first, ties by index.

    Work grows with the number of different lengths and not of rows: all rows of one length are laid at once into all
    packs with the same room. DataError for a length that is not from 1 to `capacity`.

    >>> [indices.tolist() for indices in pack_lengths(np.array([3, 6, 2, 5, 4, 2]), 11)]
    [[1, 3], [4, 0, 2, 5]]
    """
    _check_lengths(lengths, capacity)
    order = np.argsort(-np.asarray(lengths, dtype=np.int32), kind="stable").astype(np.int32)
    pack_of = np.empty(len(order), dtype=np.int32)  # of the rows in that order
    # Packs with exactly so many free positions, the one that got there last at the end.
    by_room: dict[int, list[int]] = {}
    rooms = 0  # bit r is set while by_room[r] has a pack
    num_packs = done = 0
    values, counts = np.unique(lengths, return_counts=True)
    for length, num_left in zip(values[::-1].tolist(), counts[::-1].tolist(), strict=True):
        while num_left:
            fitting = rooms >> length
            room = length + (fitting & -fitting).bit_length() - 1 if fitting else capacity
            each = room // length  # so many go into a pack, one after the other, before it is no longer the fullest
            num_used = -(-num_left // each)
            if fitting:
                stack = by_room[room]
                used = stack[: -num_used - 1 : -1]
                del stack[-num_used:]
                if not stack:
                    rooms &= ~(1 << room)
            else:
                used = list(range(num_packs, num_packs + num_used))
                num_packs += num_used
            num_laid = min(num_left, each * len(used))
            pack_of[done : done + num_laid] = np.repeat(used, each)[:num_laid]
            num_left -= num_laid
            done += num_laid
            last = num_laid - each * (len(used) - 1)  # the last pack may get fewer
            for packs, num_rows in ((used[:-1], each), (used[-1:], last)):
                left = room - num_rows * length
                if packs and left:
                    by_room.setdefault(left, []).extend(packs)
                    rooms |= 1 << left
    ends = np.cumsum(np.bincount(pack_of, minlength=num_packs))
    return np.split(order[np.argsort(pack_of, kind="stable")], ends[:-1]) if ends.size else []


def pack_in_order(
    lengths: NDArray[np.integer], capacity: int, window: int = WINDOW
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Rows in the order given, as many as fit; what is left of a pack goes to the longest rows that fit among the next
    `window`. The indices of one pack after the other, and where each pack ends; DataError as `pack_lengths`.

    Training is packed so. Best-fit decreasing fills a little better, but its packs hold either a few long rows or many
    short ones of one task. An update divides its loss by its supervised ids, so a token would count more in the former.

    >>> rows, ends = pack_in_order(np.array([3, 6, 4, 5, 2, 2]), 11)
    >>> [each.tolist() for each in np.split(rows, ends[:-1])]
    [[0, 1, 4], [2, 3, 5]]
    """
    _check_lengths(lengths, capacity)
    sizes = array("i", np.asarray(lengths, dtype=np.int32).tobytes())  # quicker to look into than numpy's
    waiting: dict[int, deque[int]] = {}  # the rows of the window that are in no pack, by length
    present = 0  # bit n is set while waiting[n] has a row
    laid = bytearray(len(sizes))
    rows, ends = array("i"), array("q")
    first = entered = 0  # the first row that is in no pack, and the first behind the window
    while first < len(sizes):
        room = capacity
        while True:
            while first < len(sizes) and laid[first]:
                first += 1
            for row in range(entered, min(first + window, len(sizes))):
                waiting.setdefault(sizes[row], deque()).append(row)
                present |= 1 << sizes[row]
                entered = row + 1
            if first < len(sizes) and sizes[first] <= room:
                size = sizes[first]
            else:
                size = (present & ((2 << room) - 1)).bit_length() - 1  # the longest that fits, -1 if none does
            if size < 0:
                break
            row = waiting[size].popleft()
            if not waiting[size]:
                present &= ~(1 << size)
            laid[row] = 1
            rows.append(row)
            room -= size
        ends.append(len(rows))
    return np.asarray(rows, dtype=np.int32), np.asarray(ends, dtype=np.int64)


def _check_lengths(lengths: NDArray[np.integer], capacity: int) -> None:
    for place in np.flatnonzero((lengths < 1) | (lengths > capacity))[:1]:
        raise DataError(f"row {place}", f"{lengths[place]} tokens", f"from 1 to {capacity} in a pack")


class Segments(Protocol):
    """Segments that are made one by one, such as the rows of a `TokenStore`."""

    @property
    def lengths(self) -> NDArray[np.int32]: ...

    @property
    def place(self) -> NDArray[np.int32]: ...

    def segment(self, i: int) -> Segment: ...


class StorePacks(Sequence[Pack]):
    """The packs of a store, each made when it is asked for, in the order of the plan.

    Rows are packed by their `place` in the plan, so the order in which they are stored does not matter. Rows longer
    than `capacity` are in no pack: `num_too_long` of them.
    """

    def __init__(self, store: Segments, capacity: int) -> None:
        self.store = store
        self.capacity = capacity
        rows = np.argsort(store.place, kind="stable").astype(np.int32)
        rows = rows[store.lengths[rows] <= capacity]
        self.num_too_long = len(store.place) - len(rows)
        self.num_tokens = int(store.lengths[rows].sum(dtype=np.int64))
        grouped, self._ends = pack_in_order(store.lengths[rows], capacity)
        self._rows = rows[grouped]

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, i: int) -> Pack: ...

    @overload
    def __getitem__(self, i: slice) -> list[Pack]: ...

    def __getitem__(self, i: int | slice) -> Pack | list[Pack]:
        if isinstance(i, slice):
            return [self[k] for k in range(*i.indices(len(self)))]
        i = range(len(self))[i]  # counts from the end, too, and knows where the end is
        rows = self._rows[self._ends[i - 1] if i else 0 : self._ends[i]]
        return Pack(self.capacity, [self.store.segment(row) for row in rows.tolist()])

    @property
    def real_share(self) -> float:
        """The part of all positions (0-1) that hold a token and no padding."""
        return self.num_tokens / (len(self) * self.capacity) if len(self) else 0.0
