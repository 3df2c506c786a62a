"""Training beside TRL's SFTTrainer: `python benchmarks/train.py [--shape NAME ...] [--rounds N] [--threads N]`.

Both train the same model on the same rows, rendered to the same text, in fp32 on the CPU with AdamW. Every measurement
is a process of its own (`train_work.py`), and the contestants take turns. Needs the extra `bench` and a folder of real
rows: OPENFLAN_DATA, or `shared/data` beside the repository.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from build_work import make
from machine import measured_with
from openflan import files

HERE = Path(__file__).resolve().parent
NUM_ROWS = 6000
LLAMA = {"hidden_size": 256, "intermediate_size": 688, "num_hidden_layers": 6, "num_attention_heads": 4}
SMOL = {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9}
# `packs`: of 1,024 positions in an update.
SHAPES: dict[str, dict[str, int]] = {
    "17M, 49k vocabulary": {**LLAMA, "num_key_value_heads": 4, "vocab_size": 49_152, "packs": 8},
    "135M, 49k vocabulary": {**SMOL, "num_key_value_heads": 3, "vocab_size": 49_152, "packs": 2},
    "5M, 2k vocabulary": {**LLAMA, "num_key_value_heads": 4, "vocab_size": 2_048, "packs": 8},
}
AGAIN, SOME = ", gradient checkpointing", ", selective checkpointing"
OURS, PACKED, PADDED = "OpenFLAN", "TRL packed", "TRL padded"
CONTESTANTS = {
    OURS: ["openflan"],
    OURS + SOME: ["openflan", "selective"],
    OURS + AGAIN: ["openflan", "checkpointing"],
    PACKED: ["trl", "packing"],
    PACKED + AGAIN: ["trl", "packing", "checkpointing"],
    PADDED: ["trl"],
}
PAIRS = (
    *((OURS, PACKED), (OURS, PADDED), (OURS + SOME, PACKED), (OURS + AGAIN, PACKED)),
    *((OURS + SOME, PACKED + AGAIN), (OURS + AGAIN, PACKED + AGAIN)),
)


def main() -> None:
    """Measure all contestants in turn, print a table and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", action="append", choices=SHAPES, help="only this one; may be repeated")
    parser.add_argument("--rounds", type=int, default=3, help="paired runs of each shape (default: 3)")
    parser.add_argument("--updates", type=int, default=1, help="updates that count in each run, after one (default: 1)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads (default: all)")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "train.json")
    given = parser.parse_args()
    numbers = [given.updates, given.threads]
    result = measured_with(given.threads, "torch", "transformers", "trl", "accelerate", "datasets", "tokenizers")
    result["shapes"] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for shape in given.shape or SHAPES:
            folder = Path(scratch) / str(list(SHAPES).index(shape))
            make_model(SHAPES[shape], folder)
            loss = run(folder, SHAPES[shape]["packs"], *numbers, "loss")  # makes the store of token ids, too
            runs: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTESTANTS}
            for _ in range(given.rounds):
                for name, words in CONTESTANTS.items():
                    runs[name].append(run(folder, SHAPES[shape]["packs"], *numbers, *words))
                    print(f"{shape}: {name}: {json.dumps(runs[name][-1])}", flush=True)
            share = runs[OURS][0]["supervised_share"]
            found: dict[str, Any] = {
                "supervised_share": share,
                "contestants": {name: summary(of) for name, of in runs.items()},
                "pairs": ratios(runs),
                "loss": loss,
            }
            found["limit"] = run(folder, SHAPES[shape]["packs"], *numbers, "limit")
            result["shapes"][shape] = found
            files.write_json(given.out, result)
    print(table(result))


def run(folder: Path, num_packs: int, num_updates: int, num_threads: int, *words: str) -> dict[str, Any]:
    """One measurement in a process of its own."""
    numbers = map(str, (num_packs, num_updates, num_threads))
    command = [sys.executable, str(HERE / "train_work.py"), str(folder), *numbers, *words]
    quiet = {"OMP_NUM_THREADS": str(num_threads), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | quiet, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def make_model(shape: dict[str, int], folder: Path) -> None:
    """The rows, a tokenizer (the embedded one, or one trained on them), and a Llama of random weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from openflan.models.tokenizer import load_tokenizer

    size = {name: value for name, value in shape.items() if name != "packs"}
    make(folder, NUM_ROWS, 1, 0 if shape["vocab_size"] == 2_048 else shape["vocab_size"])
    tokenizer = load_tokenizer(str(folder))
    ids = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    torch.manual_seed(0)
    config = LlamaConfig(**size, **ids, tie_word_embeddings=True, max_position_embeddings=2048)
    LlamaForCausalLM(config).save_pretrained(folder)


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over the rounds, and all rounds."""
    keys = ("tokens_per_second", "peak_mb")
    return {key: round(statistics.median(run[key] for run in runs), 1) for key in keys} | {"runs": runs}


def ratios(runs: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Ours over theirs, the median over the rounds.

    Rows and text are the same, and with them the share of supervised ids, so this is the ratio for supervised ids, too.
    Counting those of a few updates would compare the luck of the draw.
    """
    found = []
    for ours, theirs in PAIRS:
        pairs = list(zip(runs[ours], runs[theirs], strict=True))
        speed = statistics.median(a["tokens_per_second"] / b["tokens_per_second"] for a, b in pairs)
        memory = statistics.median(a["peak_mb"] / b["peak_mb"] for a, b in pairs)
        found.append({"ours": ours, "theirs": theirs, "speed": round(speed, 2), "memory": round(memory, 2)})
    return found


def table(result: dict[str, Any]) -> str:
    """What docs/benchmarks.md shows."""
    lines = ["| shape | contestant | supervised tokens/s | tokens/s | peak MB |", "|---|---|---|---|---|"]
    for shape, found in result["shapes"].items():
        for name, one in found["contestants"].items():
            supervised = one["tokens_per_second"] * found["supervised_share"]
            speeds = f"{supervised:,.0f} | {one['tokens_per_second']:,.0f}"
            lines.append(f"| {shape} | {name} | {speeds} | {one['peak_mb']:,.0f} |")
    lines += ["", "| shape | ours | theirs | speed | memory |", "|---|---|---|---|---|"]
    for shape, found in result["shapes"].items():
        for pair in found["pairs"]:
            lines.append(f"| {shape} | {pair['ours']} | {pair['theirs']} | {pair['speed']} | {pair['memory']} |")
    for shape, found in result["shapes"].items():
        lines.append(f"{shape}: loss {json.dumps(found['loss'])}, limit {json.dumps(found['limit'])}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
