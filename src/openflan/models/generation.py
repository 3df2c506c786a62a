"""Generates for prompts of different lengths at once without one changing another's text. Which way works is tried.

Not every architecture honours an attention mask that hides padding on the left, and not every cache continues as the
model itself would.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from openflan.models.parity import MAX_TRIED, distance, draw_ids, tolerance
from openflan.models.windows import other_limits, shrunk

if TYPE_CHECKING:
    from openflan.models.lm import HuggingFaceModel

NUM_STEPS = 3


class Way(NamedTuple):
    """Prompts padded on the left to the longest, or only prompts of one length together; with a cache or without."""

    padded: bool
    cached: bool

    def __str__(self) -> str:
        together = "prompts padded on the left" if self.padded else "prompts of one length at a time"
        return together + ("" if self.cached else ", without a cache")


WAYS = (Way(padded=True, cached=True), Way(padded=False, cached=True), Way(padded=False, cached=False))
"""The fastest first; the last is how the model reads one sequence, and needs no trial."""


def find_way(model: HuggingFaceModel) -> Way:
    """The fastest way to write that has, at every step and for every prompt, the logits of that sequence alone."""
    return next((way for way in WAYS[:-1] if _is_right(model, way)), WAYS[-1])


def _is_right(model: HuggingFaceModel, way: Way) -> bool:
    """Short texts; then ones longer than each window, made small for that; then ones longer than any other limit.

    A cache may drop what a layer still looks at.
    """
    if not _is_as_alone(model, way):
        return False
    for window in model.windows.distinct:
        with shrunk(model.model, model.windows, window):
            if not _is_as_alone(model, way):
                return False
    limits = [limit for limit in other_limits(model.model, model.windows).values() if limit < model.max_positions]
    return all(limit <= MAX_TRIED and _is_as_alone(model, way, limit) for limit in limits)


def _is_as_alone(model: HuggingFaceModel, way: Way, limit: int = 0) -> bool:
    longest = min(max(11, limit + 4), model.max_positions - NUM_STEPS - len(model.codec.before))
    lengths = (3, longest, 7) if way.padded else (longest, longest)
    before = model.codec.before
    prompts = [[*before, *draw_ids(model, f"generation {i}", n)] for i, n in enumerate(lengths)]
    try:
        tokens, logits = _written(model, prompts, way)
    except Exception:  # an architecture that cannot raises whatever its own code happens to raise
        return False
    return all(
        distance(found, model.logits_alone(prompt + new)[len(prompt) - 1 : -1]) < tolerance(model)
        for prompt, new, found in zip(prompts, tokens, logits, strict=True)
    )


def _written(model: HuggingFaceModel, prompts: list[list[int]], way: Way) -> tuple[list[list[int]], Tensor]:
    """The new ids of each prompt, and their logits [prompts, NUM_STEPS, vocabulary]."""
    inputs = padded_left(prompts, model.codec.eos_id, model.model.device)
    out = model.model.generate(
        **inputs,
        max_new_tokens=NUM_STEPS,
        min_new_tokens=NUM_STEPS,
        do_sample=False,
        use_cache=way.cached,
        pad_token_id=model.codec.eos_id,
        return_dict_in_generate=True,
        output_logits=True,
    )
    return out.sequences[:, -NUM_STEPS:].tolist(), torch.stack(out.logits, dim=1).float()


def padded_left(prompts: list[list[int]], pad_id: int, device: torch.device) -> dict[str, Tensor]:
    """`input_ids` and `attention_mask` [prompts, longest]."""
    width = max(map(len, prompts))
    ids = [[pad_id] * (width - len(prompt)) + prompt for prompt in prompts]
    mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return {"input_ids": torch.tensor(ids, device=device), "attention_mask": torch.tensor(mask, device=device)}
