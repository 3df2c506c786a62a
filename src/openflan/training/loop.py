"""The training loop: packs in, weights changed in place."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn import Module

from openflan.errors import ModelError
from openflan.models.lm import HuggingFaceModel
from openflan.streams import seed_of, stream
from openflan.tokens.batch import collate
from openflan.tokens.pack import Pack
from openflan.training.checkpoint import Checkpoints
from openflan.training.faults import tell_fault, trains_nothing
from openflan.training.heap import give_back_large_tensors
from openflan.training.interrupt import Interrupt, stop
from openflan.training.log import TrainingLog, UpdateLog
from openflan.training.objective import id_weights, normaliser
from openflan.training.optim import clip_gradients, make_optimizers, rate_factor, scale_rates
from openflan.training.ranks import Ranks
from openflan.training.settings import TrainSettings

PacksOf = Callable[[int], Sequence[Pack]]

PAUSE_PER_SAVING = 20  # checkpoints by the clock take no more than a twentieth of the time


def shuffled_updates(packs: Sequence[Pack], settings: TrainSettings, seed: int) -> tuple[PacksOf, int]:
    """Passes over the packs, each in a seeded order of its own: the packs of each update, and the number of updates.

    An update never holds packs of two passes: the last of a pass may be short.
    """
    size = settings.packs_per_update
    updates_per_epoch = math.ceil(len(packs) / size)

    @functools.lru_cache(maxsize=1)
    def order_of(epoch: int) -> list[int]:
        order = list(range(len(packs)))
        stream(seed, "pack order", *([epoch] if epoch else [])).shuffle(order)
        return order

    def packs_of(update: int) -> list[Pack]:
        epoch, place = divmod(update, updates_per_epoch)
        return [packs[i] for i in order_of(epoch)[place * size : (place + 1) * size]]

    num_updates = updates_per_epoch * settings.num_epochs
    return packs_of, min(num_updates, settings.max_updates or num_updates)


def train(
    model: HuggingFaceModel,
    packs_of: PacksOf,
    num_updates: int,
    settings: TrainSettings,
    folder: Path,
    identity: str,
    seed: int,
    on_update: Callable[[UpdateLog], None] = lambda _: None,
    describe: Callable[[int], str] = lambda key: f"row {key}",
    among_labels: Callable[[int], bool] = lambda update: False,
) -> None:
    """Make `num_updates` updates, going on from the newest checkpoint in `folder` if there is one.

    Every process of the training calls this with the same arguments; `packs_of` gives all packs of an update, and each
    process takes its part. The trained weights are in `model` afterwards: on rank 0 where they were sharded.

    The result depends on `identity`, packs, settings and seed alone: an interrupted run that is repeated ends with the
    same weights, bit for bit. On SIGTERM and SIGINT the update in hand is finished and saved, then SystemExit (143) or
    KeyboardInterrupt ends the run. ModelError as soon as a loss or a gradient is not finite, naming update and rows,
    which `describe` words from their keys. `among_labels` says in which updates the softmax is over the predicted ids
    alone (`summed_loss`).
    """
    ranks = Ranks(settings, folder)
    if settings.gradient_checkpointing:
        model.use_gradient_checkpointing(selective=settings.gradient_checkpointing == "selective")
        if ranks.device.type == "cpu":
            give_back_large_tensors()
    objective, wrapped = ranks.wrap(model)
    weights = objective.weights
    optimizers = make_optimizers(weights, settings)
    checkpoints = Checkpoints(folder, identity, settings.keep_checkpoints, ranks)
    start = checkpoints.load(weights, optimizers)
    log = TrainingLog(folder, start, settings, ranks)
    weights.train()
    saved, pause = time.monotonic(), settings.checkpoint_seconds
    with Interrupt() as interrupt:
        for update in range(start, num_updates):
            began = time.monotonic()
            # Each rank drops out other activations, rank 0 those that a process alone would.
            torch.manual_seed(seed_of(seed, "dropout", update, *([ranks.rank] if ranks.rank else [])))
            factor = rate_factor(settings, update, num_updates)
            scale_rates(optimizers, factor)
            packs = ranks.microbatches(packs_of(update), settings.packs_per_microbatch)
            loss, sizes = _accumulate(wrapped, packs, settings, ranks, among_labels(update))
            norm = clip_gradients(weights, settings.max_gradient_norm)
            if not (math.isfinite(loss) and math.isfinite(norm)):
                found = f"loss {loss} and gradient norm {norm}"
                tell_fault(f"update {update}", found, wrapped, packs, ranks, describe)
            if trains_nothing(update, norm, sizes.num_supervised):
                do = "No weight takes part in the loss, or the model knows all of these rows by heart already."
                ranks.fail(ModelError("update 0", f"loss {loss} and a gradient of zero", "something to train", do))
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            now = time.monotonic()
            line = UpdateLog(
                update=update,
                loss=round(loss, 6),
                gradient_norm=round(norm, 6),
                learning_rate=settings.learning_rate * factor,
                num_supervised=sizes.num_supervised,
                num_tokens=sizes.num_tokens,
                num_padding=sizes.num_positions - sizes.num_tokens,
                supervised_per_second=round(sizes.num_supervised / max(now - began, 1e-9), 1),
                seconds=round(now - began, 4),
            )
            log.write(line)
            on_update(line)
            signalled, due = ranks.highest(interrupt.number, ranks.is_main and now - saved > pause)
            if signalled or due or (settings.checkpoint_updates and (update + 1) % settings.checkpoint_updates == 0):
                checkpoints.save(update + 1, weights, optimizers)
                saved = time.monotonic()
                pause = max(settings.checkpoint_seconds, (saved - now) * PAUSE_PER_SAVING)
            if signalled:
                log.close()
                stop(int(signalled))
    log.close()
    weights.eval()
    ranks.unwrap(objective, model)


@dataclass(frozen=True, slots=True)
class _Sizes:
    """What an update holds, over all ranks; `num_positions` counts padding, too."""

    num_supervised: int
    num_tokens: int
    num_positions: int


def _accumulate(
    wrapped: Module, packs: Sequence[Sequence[Pack]], settings: TrainSettings, ranks: Ranks, among_labels: bool
) -> tuple[float, _Sizes]:
    """Leave the gradient of an update in the weights; its loss and its sizes. `packs` are this rank's microbatches."""
    batches = [collate(part) for part in packs]
    divisor, *sizes = ranks.sums(
        normaliser(batches, settings),
        sum(len(batch.labels) for batch in batches),
        sum(len(segment) for part in packs for pack in part for segment in pack.segments if segment.key >= 0),
        sum(batch.input_ids.numel() for batch in batches),
    )
    losses = []
    for number, batch in enumerate(batches, start=1):
        batch = batch.to(ranks.device)
        with ranks.accumulating(wrapped, last=number == len(batches)):
            with ranks.accelerator.autocast():
                loss = wrapped(batch, id_weights(batch, settings), among_labels) / max(divisor, 1.0)
            # DDP and FSDP average gradients over ranks; what is wanted is their sum.
            (loss * ranks.num_processes).backward()
        losses.append(loss.detach())
    [total] = ranks.sums(float(torch.stack(losses).sum()))
    return total, _Sizes(*map(int, sizes))
