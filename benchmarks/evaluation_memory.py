"""Peak memory of `openflan eval` as examples grow: `python benchmarks/evaluation_memory.py [--examples N ...]`.

The embedded model on the eight wordings that ARC easy is scored in; its rows come again with a number before the
question. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from build_work import DATA
from machine import cpu, versions
from openflan import files

TASK = "arc_easy"
LIMIT_MB = 2000


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, nargs="+", default=[1_250, 12_500], help="(default: 1250 12500)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "evaluation_memory.json")
    given = parser.parse_args()
    runs = []
    for num_examples in given.examples:
        runs.append(measure(num_examples))
        print(json.dumps(runs[-1]), flush=True)
    result = {"versions": versions("torch", "transformers"), "cpu": cpu(), "limit_mb": LIMIT_MB, "runs": runs}
    files.write_json(given.out, result)


def measure(num_examples: int) -> dict[str, Any]:
    """One evaluation in a process of its own, on a folder of `num_examples` rows."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "data" / TASK
        folder.mkdir(parents=True)
        files.write_jsonl(folder / "test.jsonl", rows(num_examples))
        out = Path(scratch) / "out"
        command = [sys.executable, "-m", "openflan.cli.main", "eval", "base", "--task", TASK, "--json"]
        command += ["--data-root", str(folder.parent), "--limit", str(num_examples), "--out", str(out)]
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        if status:
            raise SystemExit("The evaluation failed.")
        num_prompts = sum(1 for path in out.glob("*/test.jsonl") for _ in path.open(encoding="utf-8"))
    peak_mb = round(usage.ru_maxrss / 1000)
    return {"num_examples": num_examples, "num_prompts": num_prompts, "peak_mb": peak_mb, "seconds": round(seconds)}


def rows(number: int) -> Iterator[dict[str, Any]]:
    """The test rows again and again, no two with the same text."""
    found = list(files.read_jsonl(DATA / TASK / "test.jsonl.gz"))
    for i, row in enumerate(islice(cycle(found), number)):
        yield {**row, "id": str(i), "question": f"{i}: {row['question']}"}


if __name__ == "__main__":
    main()
