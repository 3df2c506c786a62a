"""What is minimised, as one module: the loss of a microbatch goes through whatever wraps the module."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import Module

from openflan.models.lm import HuggingFaceModel
from openflan.tokens.batch import Batch
from openflan.training.loss import summed_loss
from openflan.training.settings import TrainSettings


class Objective(Module):
    """A model and its loss. DDP and FSDP gather weights and average gradients around one `forward`, so all that needs a
    weight happens in there."""

    def __init__(self, model: HuggingFaceModel) -> None:
        super().__init__()
        self.weights = model.model  # registered: the parameters of this module are the model's
        self.model = model

    def forward(self, batch: Batch, id_weights: Tensor | None = None, among_labels: bool = False) -> Tensor:
        """Sum of -log p over the supervised ids, each times its weight in `id_weights` [N]; a scalar in nats. For
        `among_labels` see `summed_loss`."""
        return summed_loss(self.model, batch, id_weights, among_labels)


def id_weights(batch: Batch, settings: TrainSettings) -> Tensor | None:
    """What each supervised id counts [N]: None for one each, or so much that the ids of an example add up to one.

    >>> from openflan.tokens.batch import collate
    >>> from openflan.tokens.pack import Pack, plain_segment
    >>> batch = collate([Pack(8, [plain_segment(4, [7, 8, 9], 2), plain_segment(5, [7, 8], 1)])])
    >>> id_weights(batch, TrainSettings(loss="example_mean")).tolist()
    [0.5, 0.5, 1.0]
    """
    if settings.loss == "token_mean":
        return None
    num_ids, example = _ids_of_examples(batch)
    return 1.0 / num_ids[example]


def normaliser(batches: Sequence[Batch], settings: TrainSettings) -> int:
    """What the summed losses of these microbatches are to be divided by: their supervised ids, or their examples."""
    if settings.loss == "token_mean":
        return sum(len(batch.labels) for batch in batches)
    return sum(len(_ids_of_examples(batch)[0]) for batch in batches)


def _ids_of_examples(batch: Batch) -> tuple[Tensor, Tensor]:
    """How many supervised ids each example of the batch has, and which example each id belongs to."""
    place = torch.stack([batch.predict_from[:, 0], batch.keys])  # the same row of the plan may stand in two packs
    _, example, num_ids = torch.unique(place, dim=1, return_inverse=True, return_counts=True)
    return num_ids, example
