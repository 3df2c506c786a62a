"""What the comparison of texts can see: `python benchmarks/overlap.py [--speed]`.

Which share of each dataset's test rows each rule of `mixture/overlap.py` can find in training rows, if they are there:
the table of docs/data.md. `--speed` times the gate instead, with natural language inference held out. Needs a folder of
real rows: OPENFLAN_DATA, or `shared/data` beside the repository.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from pathlib import Path

from openflan.mixture.holdout import training_tasks
from openflan.mixture.ngrams import num_words
from openflan.mixture.overlap import SEED_WORDS, HeldOutTexts, Scan, texts_of
from openflan.mixture.shared_runs import RUN_WORDS, WHOLE_WORDS
from openflan.tasks.adapt import load_examples
from openflan.tasks.catalog import Catalog, Task, load_catalog
from openflan.tasks.example import Example
from openflan.tasks.sources import has_rows
from openflan.tasks.splits import Split

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("OPENFLAN_DATA", HERE.parents[1] / "shared" / "data"))
HELD_OUT = "natural_language_inference"
RULES = ("whole row", "a field", "whole text in another", "13 words in a row")


def main() -> None:
    """Print the table, or the seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--speed", action="store_true", help="time the gate")
    given = parser.parse_args()
    catalog = load_catalog()
    if given.speed:
        speed(catalog)
        return
    head = ("dataset", "test rows", *RULES, "only as a whole row", "not at all")
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for task in catalog.tasks.values():
        if task.collection == "flan" and (rows := examples(task, "test")):
            seen = Counter[str]()
            for example in rows:
                rules = rules_for(example)
                seen.update(rules)
                seen["only as a whole row"] += rules == {"whole row"}
                seen["not at all"] += not rules
            shares = (f"{seen[column] / len(rows):.0%}" for column in head[2:])
            print(f"| `{task.name}` | {len(rows):,} | {' | '.join(shares)} |")


def examples(task: Task, split: Split) -> list[Example]:
    return load_examples(task, split, DATA)[0] if has_rows(task, split, DATA) else []


def rules_for(example: Example) -> set[str]:
    """The rules that can find this row in a training row with the same text."""
    texts = texts_of(example)
    longest = max((num_words(text) for text in (*texts.long, *texts.joined)), default=0)
    found = zip(RULES[1:], (SEED_WORDS, WHOLE_WORDS, RUN_WORDS), strict=True)
    return {rule for rule, words in found if longest >= words} | ({RULES[0]} if texts.whole else set())


def speed(catalog: Catalog) -> None:
    tasks = [task for task in catalog.tasks.values() if task.collection == "flan"]
    held_out = [e for task in tasks if task.cluster == HELD_OUT for e in examples(task, "test")]
    trained = [examples(task, "train") for task in training_tasks(catalog, [HELD_OUT], tasks)[0]]
    began = time.process_time()
    texts, num_found = HeldOutTexts(held_out), 0
    indexed = time.process_time()
    for rows in trained:
        scan = Scan(texts)
        for example in rows:
            scan.add(example)
        num_found += len(scan.overlaps())
    ended = time.process_time()
    print(f"{len(held_out):,} held-out rows: {indexed - began:.2f} s")
    print(f"{sum(map(len, trained)):,} training rows: {ended - indexed:.2f} s, {num_found} told")


if __name__ == "__main__":
    main()
