"""What a plan comes to on this machine before any weights are loaded: tokens, padding, updates, memory, time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from openflan.config import RunConfig
from openflan.study.prepare import Prepared

if TYPE_CHECKING:
    from openflan.models.settings import ModelSettings
    from openflan.tokens.codec import Codec
    from openflan.tokens.encode import Lengths


@dataclass(frozen=True, slots=True)
class Measured:
    """The tokens of one plan, and what training on them takes.

    `counts` are those of the token store (`study/encode.py`) and of its packs, `by_task` the store's for each task:
    what was kept, what was dropped for which reason, what was cut. `padding_alone` is the share of positions (0-1) that
    would be padding without packing: prompts in training order, as many to an update as packing puts there on average,
    each in a row of its own that is as long as the longest of its update. `padding_packed` is the same of the packs.
    `most_change` is the share of its own size (0-1) by which Adafactor changes a weight at most, all updates together;
    None for the other optimizers, whose steps are not relative. `memory_bytes`, of each of `num_processes`, and
    `seconds` are estimates for this machine (`models/estimate.py`).
    """

    counts: dict[str, float]
    by_task: dict[str, dict[str, int]]
    padding_alone: float
    padding_packed: float
    num_updates: int
    most_change: float | None
    num_processes: int
    num_parameters: int
    memory_bytes: int
    seconds: float
    reading: str


def measure(prepared: Prepared, config: RunConfig) -> Measured:
    """Encode and pack the plan as training will, with the tokenizer and the shape of the recipe's model.

    The tokens are kept where training looks for them. ConfigError when no prompt fits.
    """
    from openflan.models.estimate import estimate
    from openflan.study.encode import encode_plan, pack_store
    from openflan.tokens.store import default_folder
    from openflan.training.loop import shuffled_updates

    codec, lengths, reading = _without_weights(config.model)
    store = encode_plan(prepared, config, codec, lengths, shuffled=False, cache=default_folder())
    train = config.train
    packs, counts = pack_store(store, train.pack_tokens)
    _, num_updates = shuffled_updates(packs, train, config.seed)
    updates_per_epoch = math.ceil(len(packs) / train.packs_per_update)
    num_epochs = num_updates / updates_per_epoch
    packed = store.lengths <= train.pack_tokens
    packs_of_rank = math.ceil(min(len(packs), train.packs_per_update) / train.num_processes)
    taken = estimate(
        config.model,
        num_tokens=round(num_epochs * len(packs) * train.pack_tokens),
        num_supervised=round(num_epochs * int(store.num_supervised[packed].sum(dtype=np.int64))),
        tokens_per_microbatch=min(train.packs_per_microbatch, packs_of_rank) * train.pack_tokens,
        optimizer=train.optimizer,
        gradient_checkpointing=train.gradient_checkpointing,
        mixed_precision=train.mixed_precision,
        pack_tokens=train.pack_tokens,
        num_processes=train.num_processes,
        sharded=train.sharding == "full",
        num_threads=train.num_threads,
    )
    in_order = store.lengths[packed][np.argsort(store.place[packed], kind="stable")]
    return Measured(
        counts=counts,
        by_task=store.counts_by_task,
        padding_alone=padding_alone(in_order, updates_per_epoch),
        padding_packed=1 - packs.real_share,
        num_updates=num_updates,
        most_change=num_updates * train.learning_rate if train.optimizer == "adafactor" else None,
        num_processes=train.num_processes,
        num_parameters=taken.num_parameters,
        memory_bytes=taken.memory_bytes,
        seconds=taken.seconds,
        reading=reading,
    )


def padding_alone(lengths: NDArray[Any], num_updates: int) -> float:
    """See `Measured.padding_alone`.

    Two updates of two prompts: 4 + 4 and 8 + 8 positions hold 2 + 4 and 8 + 6 tokens.

    >>> round(padding_alone(np.array([2, 4, 8, 6]), 2), 3)
    0.167
    """
    updates = [update for update in np.array_split(lengths, num_updates) if update.size]
    positions = sum(int(update.max()) * update.size for update in updates)
    return 1 - int(lengths.sum()) / positions


def _without_weights(model: ModelSettings) -> tuple[Codec, Lengths, str]:
    from openflan.models.folder import base_folder, model_folder
    from openflan.models.load import load_config, tokenizer_of
    from openflan.models.tokenizer import codec_of
    from openflan.models.windows import described, max_positions, windows_of
    from openflan.study.run_one import limits

    folder = model_folder(model.path, needs_weights=False)
    base = base_folder(folder, needs_weights=False)
    tokenizer, ends = tokenizer_of(folder, base)
    codec = codec_of(tokenizer, folder, model.separator, model.chat_template, ends)
    config = load_config(base)
    return codec, limits(model, max_positions(config)), described(config, windows_of(config)[0])
