"""What a packing does to the weight of a token: `python benchmarks/packing.py [--prompts N] [--pack-tokens N]`.

A plan of real rows is packed as training packs it, by best-fit decreasing over the whole plan, and row after row. An
update divides its loss by its supervised ids, so what a token weighs is one over their number: the less it varies from
update to update, the better. Needs a folder of real rows: OPENFLAN_DATA, or `shared/data` beside the repository.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openflan.config import load_recipe
from openflan.models.tokenizer import codec_of, load_tokenizer
from openflan.streams import stream
from openflan.study.encode import encode_plan
from openflan.study.prepare import Rows, prepare
from openflan.tasks.catalog import load_catalog
from openflan.tokens.encode import Lengths
from openflan.tokens.pack import pack_in_order, pack_lengths

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("OPENFLAN_DATA", HERE.parents[1] / "shared" / "data"))
TASKS = (
    *("boolq", "openbookqa", "copa", "piqa", "trec", "wic", "arc_easy", "arc_challenge", "ag_news_subset", "sst2"),
    *("cola", "cosmos_qa", "multirc", "common_gen", "e2e_nlg", "hellaswag", "squad_v1", "rte"),
)
PACKS_PER_UPDATE = 8
SHUFFLES = 50
Ints = NDArray[np.integer]


def main() -> None:
    """Pack in each way, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=8_000, help="prompts of the plan (default: 8,000)")
    parser.add_argument("--pack-tokens", type=int, default=1024, help="positions of a pack (default: 1,024)")
    given = parser.parse_args()
    lengths, supervised, task = rows_of_plan(given.prompts, given.pack_tokens)
    ways: dict[str, Callable[[], list[Ints]]] = {
        "best-fit decreasing, whole plan": lambda: list(pack_lengths(lengths, given.pack_tokens)),
        "in order, nothing fills up": lambda: in_order(lengths, given.pack_tokens, 1),
        "in order, filled up from a window": lambda: in_order(lengths, given.pack_tokens),
    }
    head = ("packing", "packs", "filled", "supervised ids of an update vary by", "weight p95/p5", "one task's share")
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for name, way in ways.items():
        began = time.perf_counter()
        packs = way()
        seconds = time.perf_counter() - began
        numbers = [f"{len(packs):,}", f"{lengths.sum() / (len(packs) * given.pack_tokens):.1%}"]
        numbers += [*weights(packs, supervised), f"{np.mean([largest_share(task[each]) for each in packs]):.0%}"]
        print(f"| {name} | {' | '.join(numbers)} |", f"<!-- {seconds:.2f} s -->", flush=True)


def rows_of_plan(num_prompts: int, pack_tokens: int) -> tuple[Ints, Ints, Ints]:
    """Length, supervised ids and task of each prompt in the order of the plan."""
    changes = {"held_out": "[coreference]", "data.tasks": f"[{','.join(TASKS)}]", "data.evaluate": "[wsc273]"}
    changes |= {"data.root": str(DATA), "mixture.num_examples": str(num_prompts), "mixture.overlap": "remove"}
    recipe = HERE.parent / "recipes" / "real-small.yaml"
    config = load_recipe(recipe, [f"{key}={value}" for key, value in changes.items()])
    prepared = prepare(config, load_catalog(), Rows(config.data.root), "coreference")
    with tempfile.TemporaryDirectory() as cache:
        codec = codec_of(load_tokenizer("base"), None)
        store = encode_plan(prepared, config, codec, Lengths(), False, Path(cache))
        kept = np.argsort(store.place)
        kept = kept[store.lengths[kept] <= pack_tokens]
        return store.lengths[kept], np.asarray(store.num_supervised)[kept], np.asarray(store.task)[kept]


def in_order(lengths: Ints, capacity: int, *window: int) -> list[Ints]:
    rows, ends = pack_in_order(lengths, capacity, *window)
    return list(np.split(rows, ends[:-1]))


def weights(packs: list[Ints], supervised: Ints) -> list[str]:
    """Standard deviation over mean of the supervised ids of an update, and the 95th over the 5th percentile of what a
    token weighs: means over `SHUFFLES` orders of the packs, as training shuffles them."""
    spreads, ratios = [], []
    for seed in range(SHUFFLES):
        ids = [int(supervised[each].sum()) for each in packs]
        stream(seed, "pack order").shuffle(ids)
        whole = len(ids) // PACKS_PER_UPDATE * PACKS_PER_UPDATE
        per_update = np.reshape(ids[:whole], (-1, PACKS_PER_UPDATE)).sum(axis=1)
        low, high = np.quantile(np.repeat(1 / per_update, per_update), (0.05, 0.95))
        spreads.append(per_update.std() / per_update.mean())
        ratios.append(high / low)
    return [f"{np.mean(spreads):.0%}", f"{np.mean(ratios):.2f}"]


def largest_share(tasks: Ints) -> float:
    return float(np.unique(tasks, return_counts=True)[1].max() / len(tasks))


if __name__ == "__main__":
    main()
