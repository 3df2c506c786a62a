"""Attention segment by segment: no mask of positions times positions, and no position that only pads.

A pack of a thousand positions holds several short segments, and a model that multiplies everything with everything in
it and then masks does several times the work. Here the segments of all packs lie one after another in a single row, and
each attends on its own, and so does each prompt after a trunk that it shares with others. transformers hands the blocks
through every architecture to the attention function; whether it really did is seen by the parity check when a model is
loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface

from openflan.tokens.batch import Batch, Window

SEGMENTED = "segmented"
"""The name under which transformers knows this attention."""

SPLIT_FROM = 128
"""A trunk of so many positions attends apart from its branches: below that one masked kernel is faster than two."""


@dataclass(frozen=True, slots=True)
class Block:
    """Positions `start` to `end` attend to the `prefix` positions from `trunk` on and then to themselves.

    allowed: who sees whom, bool [end - start, prefix + end - start]; None where that is plainly causal.
    """

    start: int
    end: int
    trunk: int
    prefix: int
    allowed: Tensor | None


@dataclass(frozen=True, slots=True)
class FlatBatch:
    """A batch without padding, its segments one after another in one row of `N` positions.

    input_ids, positions [1, N]. places [B, T]: where each position of the batch went. blocks: from first to last, for
    each of `windows`, where None is a layer that sees all that came before.
    """

    input_ids: Tensor
    positions: Tensor
    places: Tensor
    windows: tuple[Window | None, ...]
    blocks: tuple[tuple[Block, ...], ...]

    def mask(self, window: Window | None) -> Tensor:
        """What transformers is given as the mask of the layers with this window, and hands to their attention: the
        number of their blocks. Four dimensions keep it from making a mask of its own, of N times N."""
        return torch.full((1, 1, 1, 1), float(self.windows.index(window)))


def flatten(batch: Batch, windows: Sequence[Window | None] = (None,)) -> FlatBatch:
    """All segments of a batch in one row, those of the first pack first."""
    real = batch.segment > 0
    rows = torch.arange(len(real), device=real.device)[:, None] * real.shape[1]
    lengths = torch.unique_consecutive((batch.segment + rows)[real], return_counts=True)[1].tolist()
    places = (real.flatten().cumsum(0) - 1).view(real.shape)
    # The column before `until` is the last one that sees a position, and is no padding.
    until = places.gather(1, (batch.until - 1).clamp(max=real.shape[1] - 1))[real] + 1
    blocks: list[Block] = []
    for ends in until.split(lengths):
        blocks += _blocks(blocks[-1].end if blocks else 0, ends)
    positions = batch.positions[real]
    longest = int(positions.max()) + 1 if any(windows) else 0
    of_windows = [
        tuple(near for block in blocks for near in _within(block, window, positions))
        if window and window.size < longest
        else tuple(blocks)
        for window in windows
    ]
    return FlatBatch(batch.input_ids[real][None], positions[None], places, tuple(windows), tuple(of_windows))


def _within(block: Block, window: Window, positions: Tensor) -> Iterator[Block]:
    """The block without what lies outside a window: a plainly causal one in pieces as long as the window, each with
    the positions before it that it sees; another one with a narrower mask."""
    if block.allowed is None:
        for start in range(block.start, block.end, window.size):
            end = min(start + window.size, block.end)
            first = start if window.chunked else max(block.start, start - window.size + 1)
            own, seen = positions[start:end], positions[first:end]
            near = (seen <= own[:, None]) & window.sees(own[:, None], seen)
            yield Block(start, end, first, start - first, near if first < start else None)
        return
    own = positions[block.start : block.end]
    seen = torch.cat([positions[block.trunk : block.trunk + block.prefix], own])
    near = block.allowed & window.sees(own[:, None], seen)
    hidden = int(near.any(0)[: block.prefix].long().cumsum(0).eq(0).sum())  # of the trunk, from its start
    yield replace(block, trunk=block.trunk + hidden, prefix=block.prefix - hidden, allowed=near[:, hidden:])


def _blocks(start: int, until: Tensor) -> Iterator[Block]:
    """The blocks of one segment that begins at `start`: one, or the trunk, and what continues it."""
    end = start + len(until)
    if bool((until == end).all()):
        yield Block(start, end, start, 0, None)
        return
    trunk = int((until == end).long().argmin())
    ends = until.tolist()
    children = [start + trunk]
    while children[-1] < end:
        children.append(ends[children[-1] - start])
    shared = any(bool((until[a - start : b - start] != b).any()) for a, b in pairwise(children))
    if not shared and trunk < SPLIT_FROM:
        yield Block(start, end, start, 0, _allowed(start, until))
        return
    yield Block(start, start + trunk, start, 0, None)
    # Options alone are short: all of them together. Prompts that share a trunk do not look at one another.
    for a, b in pairwise(children if shared else (children[0], end)):
        allowed = _allowed(a, until[a - start : b - start])
        yield Block(a, b, start, trunk, torch.cat([torch.ones(b - a, trunk, dtype=torch.bool), allowed], dim=1))


def _allowed(start: int, until: Tensor) -> Tensor:
    place = torch.arange(start, start + len(until))
    return (place[:, None] < until[None, :]).tril()


def segmented_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    segments: FlatBatch | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """What transformers calls in place of its own attention: query [1, heads, N, d] to output [1, N, heads, d].

    key and value may have fewer heads. Without `segments`, as generation calls it, it is transformers' "sdpa".
    """
    if segments is None:
        found: tuple[Tensor, None] = AttentionInterface()["sdpa"](
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **others
        )
        return found
    assert attention_mask is not None
    parts = [
        scaled_dot_product_attention(
            query[:, :, block.start : block.end],
            _seen(key, block),
            _seen(value, block),
            attn_mask=block.allowed,
            is_causal=block.allowed is None,
            dropout_p=dropout,
            scale=scaling,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        for block in segments.blocks[int(attention_mask)]
    ]
    return torch.cat(parts, dim=2).transpose(1, 2), None


def _seen(tensor: Tensor, block: Block) -> Tensor:
    """The keys or values that a block attends to; without a copy where they lie together."""
    own = block.start - block.prefix
    if own == block.trunk:
        return tensor[:, :, own : block.end]
    trunk = tensor[:, :, block.trunk : block.trunk + block.prefix]
    return torch.cat([trunk, tensor[:, :, block.start : block.end]], dim=2)


AttentionInterface.register(SEGMENTED, segmented_attention)
AttentionMaskInterface.register(SEGMENTED, AttentionMaskInterface()["sdpa"])
