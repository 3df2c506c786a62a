"""Cross-entropy on supervised ids only."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from openflan.models.lm import HuggingFaceModel, logits_at_once
from openflan.tokens.batch import Batch


def summed_loss(
    model: HuggingFaceModel, batch: Batch, id_weights: Tensor | None = None, among_labels: bool = False
) -> Tensor:
    """Sum of -log p over the supervised ids of the batch, in nats, fp32; each times its weight in `id_weights` [N].

    `among_labels`: p is over the ids that the batch predicts somewhere, not over the whole vocabulary.

    Summed, not averaged: the caller divides by the supervised ids of the whole update, so that neither microbatches nor
    packing change the gradient. The head sees only positions that predict something, and of many supervised ids only a
    chunk's logits exist at a time: the backward pass computes them again. Chunks are of one size: the largest decides
    the peak.
    """

    labels, ids = batch.labels, None
    if among_labels:
        ids, labels = labels.unique(return_inverse=True)

    def losses_of(hidden: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(model.logits(hidden, ids), labels, reduction="none")

    hidden, size = model.hidden(batch), logits_at_once(model.codec.vocab_size)
    if len(hidden) <= size:
        losses = losses_of(hidden, labels)
    else:
        num_chunks = math.ceil(len(hidden) / size)
        chunks = zip(hidden.chunk(num_chunks), labels.chunk(num_chunks), strict=True)
        losses = torch.cat([checkpoint(losses_of, *chunk, use_reentrant=False) for chunk in chunks])
    return losses.sum() if id_weights is None else losses @ id_weights
