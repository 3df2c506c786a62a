"""Optimizers and schedules, all of them torch's own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from torch.nn import Embedding, Module
from torch.optim import Adafactor, AdamW, Muon, Optimizer

from openflan.training.settings import TrainSettings
from openflan.training.shard import ShardedAdafactor

MUON_SCALE = 10.0
"""Muon's learning rate over AdamW's: its updates are orthogonal matrices, not signs."""
BETAS = (0.9, 0.98)
ADAFACTOR_EPS = (1e-15, 1e-3)
"""Floors under squared gradients and under the size of a weight. torch's own first one, 1e-7, is above the squared
gradients of a large model (docs/decisions/009-adafactor.md)."""


def make_optimizers(model: Module, settings: TrainSettings) -> list[Optimizer]:
    """The optimizers whose steps together make one update. Norms and embeddings get no weight decay."""
    rate, decay = settings.learning_rate, settings.weight_decay
    weights = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if settings.optimizer == "adafactor":
        sharded = [weight for weight in weights.values() if isinstance(weight, DTensor)]
        kind: Any = ShardedAdafactor if sharded else Adafactor
        return [kind(sharded or weights.values(), lr=rate, weight_decay=decay, eps=ADAFACTOR_EPS)]
    tables = {id(p) for module in model.modules() if isinstance(module, Embedding) for p in module.parameters()}
    matrices = [
        p
        for name, p in weights.items()
        if p.ndim == 2 and id(p) not in tables and "embed" not in name and "head" not in name
    ]
    chosen = {id(p) for p in matrices}
    others = [p for p in weights.values() if id(p) not in chosen]
    if settings.optimizer == "adamw":
        groups = [{"params": matrices, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
        return [AdamW(groups, lr=rate, betas=BETAS, fused=True)]
    muon = [Muon(matrices, lr=rate * MUON_SCALE, weight_decay=decay, momentum=0.95)] if matrices else []
    return [*muon, *([AdamW(others, lr=rate, betas=BETAS, weight_decay=0.0, fused=True)] if others else [])]


def rate_factor(settings: TrainSettings, update: int, num_updates: int) -> float:
    """What the learning rate is multiplied by at `update` (counted from 0); a function of nothing else.

    >>> s = TrainSettings(schedule="linear", num_warmup_updates=2)
    >>> [round(rate_factor(s, u, 6), 2) for u in range(6)]
    [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    """
    if update < settings.num_warmup_updates:
        return (update + 1) / settings.num_warmup_updates
    left = num_updates - update
    if settings.schedule == "linear":
        return left / max(1, num_updates - settings.num_warmup_updates)
    if settings.schedule == "cosine":
        done = 1 - left / max(1, num_updates - settings.num_warmup_updates)
        return (1 + math.cos(math.pi * done)) / 2
    if settings.schedule == "trapezoid":
        return min(1.0, left / max(1, num_updates // 4))
    return 1.0


def scale_rates(optimizers: Sequence[Optimizer], factor: float) -> None:
    """Give every parameter group its initial rate times `factor`."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
            group["lr"] = group["initial_lr"] * factor


def clip_gradients(model: Module, limit: float) -> float:
    """Clip all gradients together to `limit` (L2) and return the norm they had."""
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), limit)
    return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)
