"""Selective gradient checkpointing: what is kept of a layer for the backward pass, and what is computed again there."""

from __future__ import annotations

from typing import Any

from torch.utils.checkpoint import CheckpointPolicy
from torch.utils.flop_counter import flop_registry


def keeps(op: Any, *args: Any, **kwargs: Any) -> bool:
    """Whether the output of an operation is kept: of matrix products and attention kernels. These are what torch's own
    FLOP counter counts, and the CPU's attention kernel, which it does not know. Norms, activations, gates and rotary
    positions are computed again.

    An attention kernel that drops out is computed again, too: it draws random numbers, and what a layer draws after it
    would be other numbers if it did not draw its own.
    """
    if getattr(op, "overloadpacket", op) not in flop_registry and "_scaled_dot_product_" not in str(op):
        return False
    given = dict(zip((argument.name for argument in op._schema.arguments), args, strict=False)) | kwargs
    return not given.get("dropout_p")


def policy(_: Any, op: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
    """`keeps` as `torch.utils.checkpoint.create_selective_checkpoint_contexts` asks for it."""
    return CheckpointPolicy.MUST_SAVE if keeps(op, *args, **kwargs) else CheckpointPolicy.PREFER_RECOMPUTE
