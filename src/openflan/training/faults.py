"""Which rows are to blame for a loss that is not finite."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NoReturn

import torch
from torch.nn import Module

from openflan.errors import ModelError
from openflan.tokens.batch import collate
from openflan.tokens.pack import Pack
from openflan.training.ranks import Ranks, nothing

NUM_NAMED = 3


def trains_nothing(update: int, norm: float, num_supervised: int) -> bool:
    """Whether the first gradient of a training is exactly zero though something is predicted: no weight gets any part
    of it. Later a gradient, or a loss, may become zero because the rows are learned by heart."""
    return update == 0 and norm == 0.0 and num_supervised > 0


def tell_fault(
    where: str,
    found: str,
    wrapped: Module,
    packs: Sequence[Sequence[Pack]],
    ranks: Ranks,
    describe: Callable[[int], str],
) -> NoReturn:
    """ModelError that names the rows whose own loss is not finite, or all rows of the update where none is on its own.

    `packs` are this rank's. Each segment is read alone, because in a pack one that is not finite spoils its neighbours.
    All ranks call this and read equally many.
    """
    own = [segment for part in packs for pack in part for segment in pack.segments if segment.key >= 0]
    [most] = ranks.highest(len(own))
    broken = []
    with torch.no_grad(), ranks.accelerator.autocast():
        for place in range(int(most)):
            pack = Pack(len(own[place]), [own[place]]) if place < len(own) else nothing()
            batch = collate([pack]).to(ranks.device)
            if not math.isfinite(float(wrapped(batch))):
                broken.append(own[place].key)
    keys = ranks.gather(broken) or ranks.gather(segment.key for segment in own)
    named = ", ".join(describe(key) for key in keys[:NUM_NAMED])
    more = f" and {len(keys) - NUM_NAMED} more" if len(keys) > NUM_NAMED else ""
    rows = f"{len(keys)} row{'s' if len(keys) > 1 else ''}"
    do = "Look at these rows, or lower the learning rate; the last checkpoint is untouched."
    ranks.fail(ModelError(where, f"{found} in {rows}: {named}{more}", "finite numbers", do))
