"""Two checkouts of OpenFLAN in turn: `python benchmarks/before_after.py BEFORE [--case NAME ...] [--rounds N]`.

BEFORE is a folder with another checkout, `git worktree add ../before COMMIT` for example; this one is `after`. Both run
with this environment's libraries. Every measurement is a process of its own, and the two take turns, so that a busy
machine slows both. Needs a folder of real rows: OPENFLAN_DATA, or `shared/data` beside the repository.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from build_work import DATA, make
from machine import cpu, versions
from openflan import files
from train import SHAPES, make_model

HERE = Path(__file__).resolve().parent
SHAPE = "17M, 49k vocabulary"
COMMAND = ["-m", "openflan.cli.main"]
CATALOGUE = "from openflan.tasks.catalog import load_catalog; [load_catalog() for _ in range(5)]"


def cases(model: Path, rows: Path, threads: int, limit: int) -> dict[str, list[str]]:
    """Arguments of Python by case; `{tree}` is the checkout and `{scratch}` a folder that is new each time."""
    work = "{tree}/benchmarks"
    evaluation = [*COMMAND, "eval", str(model), "--data-root", str(DATA), "--limit", str(limit), "--out", "{scratch}"]
    plan = ["plan", "{tree}/recipes/real-small.yaml", "--data-root", str(DATA), "--no-tokens"]
    return {
        "the catalogue, five times": ["-c", CATALOGUE],
        "openflan tasks list": [*COMMAND, "tasks", "list"],
        "plan with the overlap gate": [*COMMAND, *plan],
        "build 20,000 prompts": [f"{work}/build_work.py", "OpenFLAN", str(rows), "20000", str(threads)],
        "train": [f"{work}/train_work.py", str(model), "8", "2", str(threads), "openflan"],
        "eval, options": [*evaluation, "--task", "hellaswag", "--task", "arc_challenge", "--task", "boolq"],
        "eval, shared exemplars": [*evaluation, "--task", "piqa", "--shots", "5"],
        "eval, generated text": [*evaluation, "--task", "squad_v1"],
    }


def main() -> None:
    """Measure all cases, print a table and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path, help="another checkout")
    parser.add_argument("--case", action="append", help="only this one; may be repeated")
    parser.add_argument("--rounds", type=int, default=5, help="paired runs of each case (default: 5)")
    parser.add_argument("--limit", type=int, default=16, help="rows of each evaluated task (default: 16)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads (default: all)")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "before_after.json")
    given = parser.parse_args()
    trees = {"before": given.before.resolve(), "after": HERE.parent}
    commits = {name: commit(tree) for name, tree in trees.items()}
    result: dict[str, Any] = {"versions": versions("torch", "transformers"), "cpu": cpu(), "commits": commits}
    result["cases"] = {}
    with tempfile.TemporaryDirectory() as scratch:
        model, rows = Path(scratch) / "model", Path(scratch) / "rows"
        # In processes of their own: the peak of a child begins with what its parent held.
        for work, arguments in ((make_model, (SHAPES[SHAPE], model)), (make, (rows, 20_000, given.threads))):
            process = get_context("spawn").Process(target=work, args=arguments)
            process.start()
            process.join()
        known = cases(model, rows, given.threads, given.limit)
        for name in given.case or known:
            runs: dict[str, list[dict[str, float]]] = {tree: [] for tree in trees}
            for _ in range(given.rounds):
                for tree, place in trees.items():
                    runs[tree].append(run(place, known[name], given.threads))
            result["cases"][name] = summary(runs)
            print(f"{name}: {json.dumps(result['cases'][name])}", flush=True)
            files.write_json(given.out, result)
    print(table(result))


def run(tree: Path, words: list[str], threads: int) -> dict[str, float]:
    """Seconds and the peak memory of one process; seconds are its own where it tells them, else those of the whole."""
    quiet = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true" if threads > 1 else "false"}
    environment = {**os.environ, **quiet, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(tree / "src")}
    with tempfile.TemporaryDirectory() as scratch:
        environment["OPENFLAN_CACHE"] = scratch
        command = [sys.executable, *(word.format(tree=tree, scratch=f"{scratch}/out") for word in words)]
        began = time.perf_counter()
        with open(f"{scratch}/stdout", "w+") as out:
            process = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL, env=environment)
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - began
            out.seek(0)
            lines = out.read().splitlines()
    if status:
        raise SystemExit(f"{' '.join(command)} failed in {tree}")
    told = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    speed = told.get("tokens_per_second")
    return {"seconds": 1e6 / speed if speed else told.get("seconds", seconds), "peak_mb": usage.ru_maxrss / 1000}


def summary(runs: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Medians of both, and the median over the pairs of after over before."""
    pairs = list(zip(runs["before"], runs["after"], strict=True))
    found: dict[str, Any] = {}
    for key in ("seconds", "peak_mb"):
        found[key] = {tree: round(statistics.median(one[key] for one in of), 2) for tree, of in runs.items()}
        found[key]["ratio"] = round(statistics.median(b[key] / a[key] for a, b in pairs), 3)
        found[key]["ratios"] = [round(b[key] / a[key], 3) for a, b in pairs]
    return found


def commit(tree: Path) -> str:
    """The checkout's commit."""
    command = ["git", "-C", str(tree), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def table(result: dict[str, Any]) -> str:
    """What docs/benchmarks.md shows."""
    lines = ["| case | before, s | after, s | time | memory |", "|---|---|---|---|---|"]
    for name, found in result["cases"].items():
        seconds, memory = found["seconds"], found["peak_mb"]
        lines.append(
            f"| {name} | {seconds['before']} | {seconds['after']} | {seconds['ratio']:.2f} | {memory['ratio']:.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
