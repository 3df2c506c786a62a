"""A plan as token ids: rendered, encoded and kept on disk, one task's examples in memory at a time."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TypeVar

from openflan.config import RunConfig
from openflan.errors import ConfigError
from openflan.mixture.plan import PlanRow
from openflan.mixture.pool import content_fingerprint, content_number
from openflan.streams import fingerprint
from openflan.study.prepare import Prepared
from openflan.tasks.catalog import Task
from openflan.tasks.example import Example
from openflan.templates.render import Style
from openflan.tokens.codec import Codec
from openflan.tokens.encode import Asked, Fitted, Lengths, fit_many, training_ids
from openflan.tokens.pack import StorePacks
from openflan.tokens.store import Chunk, TokenStore, code_fingerprint, stored

ROWS_PER_CHUNK = 512
COUNTS = (
    "num_dropped_too_long_prompt",
    "num_dropped_too_long_target",
    "num_with_cut_field",
    "num_cut_words",
    "num_exemplars_dropped",
)

T = TypeVar("T")


def encode_plan(
    prepared: Prepared,
    config: RunConfig,
    codec: Codec,
    lengths: Lengths,
    shuffled: bool,
    cache: Path,
    on_chunk: Callable[[int], None] = lambda num_rows: None,
) -> TokenStore:
    """The prompts of the plan in a store below `cache`, built if it is not there yet.

    Rows that do not fit whole are dropped; what is dropped and cut is counted by task, see COUNTS. The store is found
    by everything that decides its ids: plan, content of the rows, wordings, style, tokenizer, limits and code. How
    prompts are packed is not among them. `on_chunk` is told how many rows of the plan were just done.
    """
    shuffled = shuffled or config.mixture.labels == "shuffled"
    style = config.mixture.style

    def chunks() -> Iterator[Chunk]:
        for task in prepared.trained:
            examples = prepared.examples_of(task.name, shuffled)
            for rows in _in_chunks(prepared.plan.of_task(task.name), ROWS_PER_CHUNK):
                with _without_collection():
                    chunk = _encode(rows, task, examples, codec, lengths, style)
                yield chunk
                on_chunk(len(rows))

    return stored(cache, _key(prepared, style, codec, lengths, shuffled), chunks)


def pack_store(store: TokenStore, pack_tokens: int) -> tuple[StorePacks, dict[str, float]]:
    """The packs of a store, and all there is to tell about both. ConfigError when no prompt fits into a pack."""
    packs = StorePacks(store, pack_tokens)
    if not len(packs):
        dropped = store.counts.get(COUNTS[0], 0) + store.counts.get(COUNTS[1], 0)
        found = f"none of {packs.num_too_long + dropped} prompts within the limits and {pack_tokens} tokens"
        raise ConfigError("train.pack_tokens", found, "prompts that fit", "Raise train.pack_tokens or model.max_*.")
    counts = {
        "num_dropped_longer_than_pack": packs.num_too_long,
        "num_packs": len(packs),
        "real_share": round(packs.real_share, 4),
        "num_damaged_stores": store.num_damaged,
    }
    return packs, store.counts | counts


def _encode(
    rows: Sequence[tuple[int, PlanRow]],
    task: Task,
    examples: Mapping[str, Example],
    codec: Codec,
    lengths: Lengths,
    style: Style,
) -> Chunk:
    templates = {template.id: template for template in task.templates}
    asked = [
        Asked(examples[row.uid], templates[row.template], [examples[uid] for uid in row.exemplars]) for _, row in rows
    ]
    counts = Counter(dict.fromkeys(COUNTS, 0))
    place, ids, num_supervised = [], [], []
    for (number, row), fitted in zip(rows, fit_many(asked, task, codec, lengths, style), strict=True):
        if not isinstance(fitted, Fitted):
            counts[f"num_dropped_{fitted}"] += 1
            continue
        row_ids, num = training_ids(fitted, codec)
        place.append(number)
        ids.append(row_ids)
        num_supervised.append(num)
        counts["num_with_cut_field"] += fitted.cut_words > 0
        counts["num_cut_words"] += fitted.cut_words
        counts["num_exemplars_dropped"] += len(row.exemplars) - fitted.num_exemplars
    return Chunk(task.name, place, ids, num_supervised, counts)


@contextmanager
def _without_collection() -> Iterator[None]:
    """Python does not look for cycles: a chunk's prompts and ids have none, and looking for some among all rows of a
    task takes a sixteenth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _key(prepared: Prepared, style: Style, codec: Codec, lengths: Lengths, shuffled: bool) -> str:
    """The fingerprint of everything that decides the ids; labels count by what they make of the examples."""

    def content(name: str) -> str:
        if not shuffled:
            return prepared.data[f"{name}/train"]
        return content_fingerprint(map(content_number, prepared.examples_of(name, shuffled).values()))

    tasks = [
        [task.name, list(task.card.fields), task.templates, content(task.name)]
        for task in prepared.trained
        if task.name in prepared.plan.tasks
    ]
    return fingerprint([code_fingerprint(), codec.fingerprint, lengths, style, prepared.plan.fingerprint, tasks])


def _in_chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk
