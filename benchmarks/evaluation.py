"""Evaluation beside lm-evaluation-harness: `python benchmarks/evaluation.py [--shape NAME ...] [--rounds N]`.

Both get the same loaded weights, rows and rendered prompts, in fp32 on the CPU, and take turns in one process. Needs
the extra `bench` and a folder of real rows: OPENFLAN_DATA, or `shared/data` beside the repository.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

import openflan.interop
from build_work import DATA
from machine import measured_with
from openflan import files
from openflan.evaluation.requests import Request, draw_examples, draw_pool, requests_for
from openflan.evaluation.run import evaluate
from openflan.evaluation.settings import EvalSettings
from openflan.models.lm import HuggingFaceModel
from openflan.models.load import load_model
from openflan.models.settings import ModelSettings
from openflan.study.prepare import Rows
from openflan.study.run_one import limits
from openflan.tasks.catalog import load_catalog
from openflan.tokens.encode import Asked, Fitted, Lengths, fit_many
from train import SHAPES, make_model

HERE = Path(__file__).resolve().parent
OURS, THEIRS = "OpenFLAN", "lm_eval"
PACKS, SEQUENCES = (1, 4, 16), (1, 4, 16)  # of which the best is taken: packs of 1,024 positions, sequences


@dataclass(frozen=True)
class Case:
    """A task in its first wording, after exemplars that all prompts share; `tokens` are generated of free text."""

    task: str
    num_shots: int = 0
    tokens: int = 0


CASES = {
    "HellaSwag, 4 options": Case("hellaswag"),
    "ARC challenge, 4 options": Case("arc_challenge"),
    "PIQA, 2 options": Case("piqa"),
    "BoolQ, 2 options": Case("boolq"),
    "ARC easy, 16 shared exemplars": Case("arc_easy", num_shots=16),
    "SQuAD, 32 tokens generated": Case("squad_v1", tokens=32),
}
NUM_ROWS = {"17M, 49k vocabulary": (100, 40), "135M, 49k vocabulary": (32, 8)}  # without exemplars, and with


def main() -> None:
    """Measure all cases, print a table and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", action="append", choices=NUM_ROWS, help="only this one; may be repeated")
    parser.add_argument("--case", action="append", choices=CASES, help="only this one; may be repeated")
    parser.add_argument("--rounds", type=int, default=3, help="paired runs of each case (default: 3)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads (default: all)")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "evaluation.json")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    result = measured_with(given.threads, "torch", "transformers", "lm_eval")
    result["shapes"] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for shape in given.shape or NUM_ROWS:
            folder = Path(scratch) / str(list(SHAPES).index(shape))
            make_model(SHAPES[shape], folder)
            found = result["shapes"][shape] = {}
            for name in given.case or CASES:
                case = CASES[name]
                found[name] = measure(folder, case, NUM_ROWS[shape][case.num_shots > 0], given.rounds)
                print(f"{shape}: {name}: {json.dumps(found[name])}", flush=True)
                files.write_json(given.out, result)
    print(table(result))


def measure(folder: Path, case: Case, num_rows: int, num_rounds: int) -> dict[str, Any]:
    """Both on one case, each at its best batch size."""
    settings = ModelSettings(path=str(folder), max_input_tokens=1792, max_target_tokens=256)
    model = load_model(settings)
    lengths = Lengths(1792, case.tokens) if case.tokens else limits(settings, model.max_positions)
    requests = requests_of(case, num_rows)
    prompts = fitted(requests, model, lengths)
    options = [model.codec.target_ids(option) for each in prompts for option in each.prompt.options]
    least = sum(map(len, options)) + sum(len(each.input_ids) for each in prompts)
    harness = HFLM(pretrained=model.model, tokenizer=model.tokenizer, max_length=model.max_positions, backend="causal")
    contestants: dict[str, Callable[[int, slice], Run]] = {
        OURS: lambda size, part: ours(model, requests[part], size, lengths),
        THEIRS: lambda size, part: theirs(harness, prompts[part], size, case.tokens, model.codec.separator),
    }
    sizes = {OURS: SEQUENCES if case.tokens else PACKS, THEIRS: SEQUENCES}
    best = {}
    for name, run in contestants.items():
        run(1, slice(4))
        some = slice(max(8, len(requests) // 3))
        best[name] = min(sizes[name], key=lambda size: run(size, some).seconds)
    runs: dict[str, list[Run]] = {name: [] for name in contestants}
    for _ in range(num_rounds):
        for name, run in contestants.items():
            runs[name].append(run(best[name], slice(None)))
    pairs = list(zip(runs[OURS], runs[THEIRS], strict=True))
    values = zip(pairs[0][0].values, pairs[0][1].values, strict=True)
    if case.tokens:
        agreement: dict[str, Any] = {"different_texts": sum(a != b for a, b in values)}
    else:
        agreement = {
            "worst_difference": max(abs(a - b) for a, b in values),
            "tokens_over_least": {name: round(of[0].num_tokens / least, 3) for name, of in runs.items()},
        }
    return {
        "num_prompts": len(requests),
        "mean_prompt_tokens": round(statistics.fmean(len(each.input_ids) for each in prompts), 1),
        "batch_size": best,
        "seconds": {name: [round(run.seconds, 2) for run in of] for name, of in runs.items()},
        "speed": round(statistics.median(b.seconds / a.seconds for a, b in pairs), 2),
        **agreement,
    }


def requests_of(case: Case, num_rows: int) -> list[Request]:
    """The first rows of a sample, all after the same exemplars."""
    task, rows = load_catalog().task(case.task), Rows(DATA)
    settings = EvalSettings(max_examples_per_task=num_rows, num_shots=case.num_shots, exemplars="fixed")
    pool = draw_pool(task, rows.of(task, "train"), 0) if case.num_shots else []
    examples = draw_examples(list(rows.of(task, "test")), settings, 0)
    requests = requests_for([task], {task.name: examples}, settings, {task.name: pool}, 0)
    return [request for request in requests if request.template is task.scored_templates[0]]


def fitted(requests: Sequence[Request], model: HuggingFaceModel, lengths: Lengths) -> list[Fitted]:
    """The prompts as OpenFLAN cuts them, so that the harness cuts none."""
    asked = [Asked(r.example, r.template, r.exemplars) for r in requests]
    found = fit_many(asked, requests[0].task, model.codec, lengths)
    return [each for each in found if isinstance(each, Fitted)]


@dataclass(frozen=True)
class Run:
    """One evaluation: its time, the positions that the model read, and log-probs or texts."""

    seconds: float
    num_tokens: int
    values: list[Any]


@contextmanager
def counted(model: Any) -> Iterator[list[int]]:
    """How many positions go through the embedding while the block runs."""
    count = [0]

    def add(module: object, inputs: tuple[torch.Tensor, ...]) -> None:
        count[0] += inputs[0].numel()

    hook = model.get_input_embeddings().register_forward_pre_hook(add)
    try:
        yield count
    finally:
        hook.remove()


def ours(model: HuggingFaceModel, requests: Sequence[Request], size: int, lengths: Lengths) -> Run:
    """From rows to stored predictions: rendering, encoding, scoring, writing."""
    settings = EvalSettings(packs_per_batch=size, texts_per_batch=size, exemplars="fixed")
    with tempfile.TemporaryDirectory() as scratch, counted(model.model) as count:
        began = time.perf_counter()
        found = evaluate(model, requests, settings, lengths, Path(scratch) / "predictions.jsonl")
        seconds = time.perf_counter() - began
    values = [value for p in found if not p.unscored for value in (p.logprobs or [p.text])]
    return Run(seconds, count[0], values)


def theirs(harness: HFLM, prompts: Sequence[Fitted], size: int, num_tokens: int, separator: str) -> Run:
    """From rendered prompts to log-probs or texts; rendering, metrics and writing are left out."""
    harness.batch_size_per_gpu = size
    instances: list[Any] = []
    for number, each in enumerate(prompts):
        if num_tokens:
            kwargs = {"until": [], "do_sample": False, "max_gen_toks": num_tokens}
            instances.append(Instance("generate_until", {}, (each.prompt.input + separator, kwargs), number))
        else:
            prompt = PROMPT(each.prompt.input, separator)
            instances += [Instance("loglikelihood", {}, (prompt, text), number) for text in each.prompt.options]
    with counted(harness.model) as count:
        began = time.perf_counter()
        if num_tokens:
            values = [text.strip() for text in harness.generate_until(instances, disable_tqdm=True)]
        else:
            values = [value for value, _ in harness.loglikelihood(instances, disable_tqdm=True)]
        seconds = time.perf_counter() - began
    return Run(seconds, count[0], values)


def _prompt_class() -> Any:
    """What makes the harness encode prompt and option apart, as `openflan export lm-eval` ships it."""
    path = Path(openflan.interop.__file__).with_name("openflan_task.py.txt")
    loader = SourceFileLoader("openflan_task", str(path))
    spec = importlib.util.spec_from_loader("openflan_task", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module.Prompt


PROMPT = _prompt_class()


def table(result: dict[str, Any]) -> str:
    """What docs/benchmarks.md shows."""
    lines = [
        "| shape | case | OpenFLAN, s | lm_eval, s | speed | tokens over least | lm_eval's |",
        "|---|" + "---|" * 6,
    ]
    for shape, found in result["shapes"].items():
        for case, one in found.items():
            seconds = " | ".join(f"{statistics.median(one['seconds'][name]):.1f}" for name in (OURS, THEIRS))
            tokens = one.get("tokens_over_least", {})
            shares = " | ".join(f"{tokens[name]:.2f}" if tokens else "" for name in (OURS, THEIRS))
            lines.append(f"| {shape} | {case} | {seconds} | {one['speed']} | {shares} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
