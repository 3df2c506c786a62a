"""Packs as tensors: ids, positions, the mask that keeps segments apart, and where to predict what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from openflan.tokens.pack import Pack, Segment

Array = NDArray[np.int64]


class Window(NamedTuple):
    """How far back a layer looks: over the last `size` positions, its own included; or, where attention is `chunked`,
    over those of its own chunk, chunks being the positions 0 to size - 1, size to 2 size - 1, ..."""

    size: int
    chunked: bool = False

    def sees(self, query: Tensor, key: Tensor) -> Tensor:
        """Whether the position `query` is near enough to look at the position `key`, which is not later; bool."""
        if self.chunked:
            return query // self.size == key // self.size
        return query - key < self.size


@dataclass(frozen=True, slots=True)
class Batch:
    """`B` packs of `T` positions (T is the longest pack's length).

    input_ids, positions, segment (0 = padding): int64 [B, T]. until [B, T]: the column before which a position is seen,
    from itself on: where the last branch ends that continues it.
    predict_from [N, 2]: (row, column) of the position whose output predicts the N-th supervised id.
    labels [N]: those ids. keys [N], branches [N]: the segment and the branch they belong to.
    """

    input_ids: Tensor
    positions: Tensor
    segment: Tensor
    until: Tensor
    predict_from: Tensor
    labels: Tensor
    keys: Tensor
    branches: Tensor

    def attention_mask(self, dtype: torch.dtype, window: Window | None = None) -> Tensor:
        """Additive mask [B, 1, T, T]: 0 where position i may look at j, the lowest finite number elsewhere.

        i sees j when j is not later and i lies before `until[j]`: in j's segment, in its branch or one that continues
        it; and within the `window`, which counts positions and not columns. Padding sees itself, so that no row of the
        softmax is empty.
        """
        column = torch.arange(self.input_ids.shape[1], device=self.until.device)
        allowed = (column[None, :] <= column[:, None]) & (column[:, None] < self.until[:, None, :])
        if window and window.size < len(column):
            allowed &= window.sees(self.positions[:, :, None], self.positions[:, None, :])
        mask = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
        return mask.masked_fill_(~allowed, torch.finfo(dtype).min)[:, None]

    def paths(self) -> Iterator[tuple[list[int], Tensor]]:
        """Every branch with something to predict as a sequence of its own, for a model that reads no packs: the ids of
        all that it continues and its own, and which of `labels` are its last ids, in their order.

        >>> from openflan.tokens.pack import branched_segment
        >>> batch = collate([Pack(9, [branched_segment(0, [5, 6], [[7], [8, 9]])])])
        >>> [(ids, places.tolist()) for ids, places in batch.paths()]
        [([5, 6, 7], [0]), ([5, 6, 8, 9], [1, 2])]
        """
        column = torch.arange(self.input_ids.shape[1])
        branches = torch.stack([self.predict_from[:, 0], self.keys, self.branches], dim=1)
        for branch in branches.unique(dim=0):
            places = (branches == branch).all(1).nonzero()[:, 0]
            row, last = self.predict_from[places[-1]].tolist()
            before = (column <= last) & (self.until[row] > last)
            yield [*self.input_ids[row, before].tolist(), int(self.labels[places[-1]])], places

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device; to a GPU through pinned memory, while the host goes on."""
        device = torch.device(device)
        if device == self.input_ids.device:
            return self
        tensors = [getattr(self, each.name) for each in fields(self)]
        if device.type == "cuda":
            tensors = [tensor.pin_memory() for tensor in tensors]
        return Batch(*(tensor.to(device, non_blocking=True) for tensor in tensors))


def collate(packs: Sequence[Pack], pad_id: int = 0) -> Batch:
    """Lay packs out as tensors.

    A supervised id at the start of a branch is predicted from the last position of what the branch continues, any other
    from the id before it; the first id of a segment has nothing before it and is never predicted.
    """
    B, T = len(packs), max(pack.num_tokens for pack in packs)
    pieces = [piece for pack in packs for piece in pack.segments]
    lengths = np.array([len(piece) for piece in pieces], dtype=np.int64)
    total = int(lengths.sum())
    ids, branch, supervised = (
        np.fromiter(chain.from_iterable(values), np.int64, total)
        for values in zip(*((piece.ids, piece.branch, piece.supervised) for piece in pieces), strict=True)
    )

    # By segment: its pack, its number in it from 1 and the column where it begins. Then by token, in the same order.
    row = np.repeat(np.arange(B), [len(pack.segments) for pack in packs])
    first_of_pack = np.searchsorted(row, np.arange(B))
    ends = np.cumsum(lengths)
    begin = ends - lengths
    column = begin - begin[first_of_pack][row]
    of = np.repeat(np.arange(len(pieces)), lengths)
    i = np.arange(total) - begin[of]
    new_branch = (i == 0) | (branch != np.roll(branch, 1))
    runs = _runs(pieces, np.flatnonzero(new_branch), branch, of)
    run = np.cumsum(new_branch) - 1
    position = np.arange(total) - runs.begin[run] + runs.position[run]
    previous = np.where(new_branch, runs.previous[run], np.arange(total) - 1)

    number = of - first_of_pack[row][of] + 1
    place = row[of] * T + column[of] + i
    until = runs.until[run] - begin[of] + column[of]
    grids = [_laid_out(values, place, B, T, pad_id if values is ids else 0) for values in (ids, position, number)]
    grids.append(_laid_out(until, place, B, T, np.tile(np.arange(1, T + 1), B)))
    predicted = np.flatnonzero((supervised == 1) & (i > 0))
    source = (column[of] - begin[of])[predicted] + previous[predicted]
    predict_from = np.stack([row[of][predicted], source], axis=1)
    keys = np.array([piece.key for piece in pieces], dtype=np.int64)[of[predicted]]
    return Batch(*map(torch.from_numpy, (*grids, predict_from, ids[predicted], keys, branch[predicted])))


@dataclass(frozen=True, slots=True)
class _Runs:
    """Trunks and branches of all segments in their order. By run: the token where it begins, that token's position, the
    token that it continues, and the token before which the last branch ends that continues it."""

    begin: Array
    position: Array
    previous: Array
    until: Array


def _runs(pieces: Sequence[Segment], begin: Array, branch: Array, of: Array) -> _Runs:
    end = np.append(begin[1:], len(branch))
    position, previous, until = np.zeros_like(begin), begin - 1, end.copy()
    parent_of: dict[int, int] = {}
    branches = np.flatnonzero(branch[begin])  # training has none, and loses no time here
    for run, number, piece in zip(
        *(x.tolist() for x in (branches, branch[begin][branches], of[begin][branches])), strict=True
    ):
        parents = pieces[piece].parents
        parent = parent_of[run] = run - number + (parents[number - 1] if parents else 0)
        position[run] = position[parent] + end[parent] - begin[parent]
        previous[run] = end[parent] - 1
    for run, parent in reversed(parent_of.items()):
        until[parent] = max(until[parent], until[run])
    return _Runs(begin, position, previous, until)


def _laid_out(values: Array, place: Array, B: int, T: int, fill: int | Array) -> Array:
    grid = np.full(B * T, fill, dtype=np.int64)
    grid[place] = values
    return grid.reshape(B, T)
