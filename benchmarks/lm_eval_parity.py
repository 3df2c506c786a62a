"""Log-probs and accuracies of lm-evaluation-harness beside ours: `python benchmarks/lm_eval_parity.py`.

Needs the extra `bench`, GPT-2's tokenizer files (`--gpt2`) and a folder of datasets (`--data`). One thread, on the CPU.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import lm_eval
import torch
from lm_eval.tasks import TaskManager
from tokenizers import ByteLevelBPETokenizer, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from openflan import files
from openflan.evaluation.metrics import credit
from openflan.evaluation.requests import Request, draw_examples
from openflan.evaluation.run import evaluate
from openflan.evaluation.settings import EvalSettings
from openflan.interop.export_lm_eval import export_lm_eval
from openflan.models.folder import model_folder
from openflan.models.load import load_model
from openflan.models.settings import ModelSettings
from openflan.study.run_one import limits
from openflan.tasks.adapt import load_examples
from openflan.tasks.catalog import load_catalog

TASKS = ("rte", "boolq", "hellaswag", "arc_easy", "arc_challenge", "piqa", "openbookqa")
SHARED = Path(os.environ.get("OPENFLAN_DATA", Path(__file__).parents[2] / "shared" / "data"))
TOLERANCE = 1e-4  # nats
MODELS = ("base", "gpt2", "joining")
# The model's dtype, and what the harness takes softmax and sum in (`softmax_dtype`); ours are summed in float64. In
# float64 nothing is left of the rounding that two orders of the same additions differ by in float32.
DTYPES = (("float32", None), ("float32", "float64"), ("float64", "float64"))
RUNS = tuple((name, *dtypes) for dtypes in DTYPES for name in MODELS)
END = "<|endoftext|>"
# As Llama 3 and Qwen split: a line break belongs to the punctuation before it.
JOINING = r"""[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""


def main() -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100, help="rows of each dataset (default: 100)")
    parser.add_argument("--templates", type=int, default=2, help="templates of each dataset (default: 2)")
    parser.add_argument("--data", type=Path, default=SHARED, help="folder of datasets")
    parser.add_argument("--gpt2", type=Path, default=SHARED.parent / "weights" / "gpt2_bpe_tokenizer")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "lm_eval_parity.json")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        folders = make_models(Path(scratch), given.gpt2)
        for name, dtype, softmax in RUNS:
            folder = Path(scratch) / f"tasks-{name}-{dtype}-{softmax}"
            rows += measure(name, folders[name], folder, dtype, softmax, given)
    result = {
        "benchmark": "lm_eval_parity",
        "unit": "nats",
        "tolerance": TOLERANCE,
        "environment": {
            **{package: version(package) for package in ("openflan", "lm_eval", "torch", "transformers")},
            "python": platform.python_version(),
        },
        "models": {_title(*run): _summary([row for row in rows if row["run"] == _title(*run)]) for run in RUNS},
        "equal_accuracies": all(row["accuracy"] == row["harness_accuracy"] for row in rows),
        "rows": rows,
    }
    files.write_json(given.out, result)
    print(given.out, result["models"])


def _title(name: str, dtype: str, softmax: str | None) -> str:
    return f"{name} {dtype}" + (f", softmax in {softmax}" if softmax not in (None, dtype) else "")


def _summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    found = {key: sum(row[key] for row in rows) for key in ("num_prompts", "num_options", "num_beyond_tolerance")}
    return {**found, "worst_difference": max(row["worst_difference"] for row in rows)}


def make_models(scratch: Path, gpt2: Path) -> dict[str, str]:
    """The embedded Llama-shaped model, a random GPT-2-shaped one with GPT-2's own tokenizer, and a random Llama-shaped
    one whose tokenizer joins punctuation with the line break after it."""
    torch.manual_seed(0)
    byte_level = ByteLevelBPETokenizer(str(gpt2 / "encoder.json"), str(gpt2 / "vocab.bpe"))
    own = PreTrainedTokenizerFast(tokenizer_object=byte_level._tokenizer, eos_token=END, bos_token=END)
    shape = {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 1024, "initializer_range": 0.1}
    config = GPT2Config(vocab_size=len(own), bos_token_id=None, eos_token_id=own.eos_token_id, **shape)
    GPT2LMHeadModel(config).save_pretrained(scratch / "gpt2")
    own.save_pretrained(scratch / "gpt2")

    joining = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(JOINING), behavior="isolated")
    joining.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
    joining.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=2000, special_tokens=[END], initial_alphabet=alphabet, show_progress=False)
    catalog = load_catalog()
    texts = [template.input for task in catalog.tasks.values() for template in task.templates]
    joining.train_from_iterator([*texts, *("Is it so?\nNo.\nWhy not!\n",) * 50], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=joining, eos_token=END)
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    llama = LlamaConfig(vocab_size=len(fast), max_position_embeddings=2048, initializer_range=0.1, **shape)
    llama.bos_token_id, llama.eos_token_id = None, fast.eos_token_id
    LlamaForCausalLM(llama).save_pretrained(scratch / "joining")
    fast.save_pretrained(scratch / "joining")
    return {"base": "base", "gpt2": str(scratch / "gpt2"), "joining": str(scratch / "joining")}


def measure(
    name: str, path: str, folder: Path, dtype: str, softmax: str | None, given: argparse.Namespace
) -> list[dict[str, Any]]:
    """Both on every task and template: the greatest difference of an option's log-prob, and both accuracies."""
    settings = ModelSettings(path=path)
    model = load_model(settings)
    model.model.to(getattr(torch, dtype))
    lengths = limits(settings, model.max_positions)
    catalog = load_catalog()
    requests, exported = [], []
    for task in map(catalog.task, TASKS):
        eval_settings = EvalSettings(max_examples_per_task=given.rows)
        examples = draw_examples(load_examples(task, "test", given.data)[0], eval_settings, seed=0)
        templates = task.scored_templates[: given.templates]
        exported += export_lm_eval(folder, task, templates, examples, limits=(model.codec, lengths))
        requests += [Request(task, example, template) for template in templates for example in examples]
    began = time.perf_counter()
    predictions = evaluate(model, requests, eval_settings, lengths, folder / "predictions.jsonl")
    print(f"{_title(name, dtype, softmax)}: ours {time.perf_counter() - began:.0f} s")
    began = time.perf_counter()
    found = lm_eval.simple_evaluate(
        model="hf",
        model_args={"pretrained": str(model_folder(path)), "dtype": dtype, "softmax_dtype": softmax},
        tasks=[one.name for one in exported],
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        batch_size=16,
        device="cpu",
        log_samples=True,
        bootstrap_iters=0,
    )
    print(f"{_title(name, dtype, softmax)}: harness {time.perf_counter() - began:.0f} s")
    rows = []
    for one in exported:
        ours = {p.uid: p for p in predictions if f"openflan_{p.task}__{p.template}" == one.name and p.gold is not None}
        theirs = {sample["doc"]["uid"]: sample["filtered_resps"] for sample in found["samples"][one.name]}
        assert ours.keys() == theirs.keys() and len(ours) == one.num_prompts
        pairs = [
            (mine, float(other))
            for uid, prediction in ours.items()
            for mine, (other, _) in zip(prediction.logprobs, theirs[uid], strict=True)
        ]
        credits = [credit(prediction, "accuracy") for prediction in ours.values()]
        rows.append(
            {
                "run": _title(name, dtype, softmax),
                "task": one.name,
                "num_prompts": one.num_prompts,
                "num_cut": one.num_cut,
                "num_left_out": one.num_left_out,
                "num_options": len(pairs),
                "worst_difference": max(abs(a - b) for a, b in pairs),
                "num_beyond_tolerance": sum(abs(a - b) > TOLERANCE for a, b in pairs),
                "mean_logprob": sum(a for a, _ in pairs) / len(pairs),
                "accuracy": sum(credits) / len(credits),
                "harness_accuracy": float(found["results"][one.name]["acc,none"]),
            }
        )
        print(rows[-1])
    return rows


if __name__ == "__main__":
    main()
