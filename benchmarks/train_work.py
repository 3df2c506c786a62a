"""One measurement of `train.py`: `train_work.py FOLDER PACKS UPDATES THREADS WHAT [packing] [checkpointing|selective]`.

Prints one line of JSON. The folder holds a model and `rows.jsonl`.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch

from build_work import peak_mb
from openflan import files
from openflan.models.load import load_model
from openflan.models.settings import ModelSettings
from openflan.tokens.batch import collate
from openflan.tokens.codec import Codec
from openflan.tokens.pack import StorePacks
from openflan.tokens.store import Chunk, stored
from openflan.training.loop import UpdateLog, shuffled_updates, train
from openflan.training.loss import summed_loss
from openflan.training.settings import TrainSettings

PACK = 1024
KINDS_OF_WORK = {
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm"),
    "attention": ("scaled_dot_product",),
    "optimizer and clipping": ("addcdiv", "addcmul", "lerp", "vector_norm", "aten::sqrt"),
    "embedding and clearing": ("embedding", "fill_", "zero_"),
    "softmax and loss": ("softmax", "nll_loss"),
}


def ours(
    folder: Path, num_packs: int, num_updates: int, num_threads: int, checkpointing: bool | Literal["selective"]
) -> dict[str, Any]:
    """Updates of OpenFLAN's own loop; the first is not counted."""
    model = load_model(ModelSettings(path=str(folder)))
    settings = TrainSettings(
        optimizer="adamw",
        packs_per_update=num_packs,
        packs_per_microbatch=1,
        gradient_checkpointing=checkpointing,
        num_threads=num_threads,
        checkpoint_seconds=1e9,
        max_updates=num_updates + 1,
    )
    packs = packs_of_rows(model.codec, folder)
    packs_of, number = shuffled_updates(packs, settings, 0)
    lines: list[UpdateLog] = []
    with tempfile.TemporaryDirectory() as scratch:
        train(model, packs_of, number, settings, Path(scratch), "benchmark", 0, lines.append)
    share = sum(packs.store.num_supervised) / sum(packs.store.lengths)
    return measured([(line.seconds, line.num_tokens) for line in lines[1:]]) | {"supervised_share": round(share, 4)}


def rows_of(folder: Path) -> list[dict[str, str]]:
    """Input and target of every row."""
    return list(files.read_jsonl(folder / "rows.jsonl"))


def packs_of_rows(codec: Codec, folder: Path) -> StorePacks:
    """The rows as OpenFLAN encodes, stores and packs them. Whoever asks first makes the store."""

    def chunks() -> Iterator[Chunk]:
        place, ids, num_supervised = [], [], []
        for number, row in enumerate(rows_of(folder)):
            target = [*codec.target_ids(row["target"]), *codec.end]
            place.append(number)
            ids.append(codec.prompt_ids(row["input"]) + target)
            num_supervised.append(len(target))
        yield Chunk("rows", place, ids, num_supervised)

    return StorePacks(stored(folder, "rows", chunks), PACK)


def theirs(folder: Path, num_packs: int, num_updates: int, packing: bool, checkpointing: bool) -> dict[str, Any]:
    """Updates of TRL's loop; the first is not counted.

    One pack at a time: TRL lays the packs of a microbatch end to end, whose attention on a CPU takes the square of
    their number. Padded rows come eight at a time, as many times as there are packs.
    """
    from transformers import TrainerCallback

    seconds: list[float] = []
    num_tokens: list[int] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            num_tokens.append(0)
            self.began = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            seconds.append(time.perf_counter() - self.began)

    with tempfile.TemporaryDirectory() as scratch:
        trainer = make_trainer(folder, scratch, num_updates + 1, 1 if packing else 8, num_packs, packing, checkpointing)
        step = trainer.training_step

        def counted(model: Any, inputs: Any, *rest: Any, **named: Any) -> Any:
            real = inputs["attention_mask"].sum() if "attention_mask" in inputs else inputs["input_ids"].numel()
            num_tokens[-1] += int(real)
            return step(model, inputs, *rest, **named)

        trainer.training_step = counted
        trainer.add_callback(Clock())
        trainer.train()
    return measured(list(zip(seconds, num_tokens, strict=True))[1:])


def make_trainer(
    folder: Path, scratch: str, num_updates: int, num_rows: int, accumulation: int, packing: bool, checkpointing: bool
) -> Any:
    """TRL's trainer on the same rows, with the loss on completions only."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    rows = Dataset.from_list([{"prompt": r["input"] + "\n", "completion": r["target"]} for r in rows_of(folder)])
    config = SFTConfig(
        output_dir=scratch,
        per_device_train_batch_size=num_rows,
        gradient_accumulation_steps=accumulation,
        max_length=PACK,
        packing=packing,
        packing_strategy="bfd",
        completion_only_loss=True,
        max_steps=num_updates,
        learning_rate=3e-5,
        lr_scheduler_type="constant",
        optim="adamw_torch_fused",
        max_grad_norm=1.0,
        gradient_checkpointing=checkpointing,
        bf16=False,
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
    )
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return SFTTrainer(model=model, args=config, train_dataset=rows, processing_class=tokenizer)


def measured(updates: list[tuple[float, int]]) -> dict[str, Any]:
    """The record of one run, from seconds and ids (padding not counted) of each update."""
    return {
        "tokens_per_second": round(sum(update[1] for update in updates) / sum(update[0] for update in updates), 2),
        "seconds": [round(update[0], 3) for update in updates],
        "peak_mb": peak_mb(),
    }


def losses(folder: Path) -> dict[str, float]:
    """The loss of both on one pack of the same ids, in nats per supervised id."""
    model = load_model(ModelSettings(path=str(folder)))
    chosen = packs_of_rows(model.codec, folder)[5]
    with torch.no_grad():
        batch = collate([chosen])
        mine = float(summed_loss(model, batch)) / len(batch.labels)
    ids = torch.tensor([[i for s in chosen.segments for i in s.ids]])
    wanted = torch.tensor([[w for s in chosen.segments for w in s.supervised]])
    inputs = {"input_ids": ids, "labels": ids.masked_fill(~wanted, -100)}
    inputs["position_ids"] = torch.tensor([[p for s in chosen.segments for p in range(len(s))]])
    with tempfile.TemporaryDirectory() as scratch, torch.no_grad():
        trainer = make_trainer(folder, scratch, 1, 1, 1, True, False)
        num_wanted = torch.tensor(len(batch.labels))
        their = float(trainer.compute_loss(trainer.model.train(), inputs, num_items_in_batch=num_wanted))
    return {"openflan": mine, "trl": their, "difference": abs(mine - their)}


def limit(folder: Path, num_packs: int, num_updates: int) -> dict[str, Any]:
    """How near an update comes to the time of its matrix products alone, and where its time goes."""
    from torch.profiler import ProfilerActivity, profile
    from torch.utils.flop_counter import FlopCounterMode

    model = load_model(ModelSettings(path=str(folder)))
    model.model.train()
    packs = packs_of_rows(model.codec, folder)
    packs = packs[5 : 5 + num_packs]
    optimizer = torch.optim.AdamW(model.model.parameters(), lr=3e-5, fused=True)

    def update() -> None:
        for each in packs:
            (summed_loss(model, collate([each])) / 100).backward()
        torch.nn.utils.clip_grad_norm_(model.model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    with FlopCounterMode(display=False) as counter:
        update()
    seconds = []
    for _ in range(num_updates + 2):
        began = time.perf_counter()
        update()
        seconds.append(time.perf_counter() - began)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        update()
    spent = dict.fromkeys([*KINDS_OF_WORK, "other"], 0.0)
    for event in profiler.key_averages():
        kind = next((k for k, names in KINDS_OF_WORK.items() if any(n in event.key for n in names)), "other")
        spent[kind] += event.self_cpu_time_total
    rate = matmul_rate(model.model.config)
    achieved = counter.get_total_flops() / statistics.median(seconds)
    return {
        "gflop_per_update": round(counter.get_total_flops() / 1e9, 1),
        "gflops": round(achieved / 1e9, 1),
        "matmul_gflops": round(rate / 1e9, 1),
        "share_of_matmul_rate": round(achieved / rate, 3),
        "time": {kind: round(value / sum(spent.values()), 3) for kind, value in spent.items()},
    }


def matmul_rate(config: Any) -> float:
    """FLOP/s of a pack times the MLP's weights, forwards and both ways back: the best of ten tries."""
    x, y = torch.randn(PACK, config.hidden_size), torch.randn(PACK, config.intermediate_size)
    weight = torch.randn(config.hidden_size, config.intermediate_size)
    best = 0.0
    for _ in range(10):
        began = time.perf_counter()
        for _ in range(10):
            x @ weight
            y @ weight.T
            x.T @ y
        best = max(best, 10 * 3 * 2 * PACK * weight.numel() / (time.perf_counter() - began))
    return best


def main() -> None:
    """What the words on the command line say."""
    folder, (num_packs, num_updates, num_threads), words = Path(sys.argv[1]), map(int, sys.argv[2:5]), sys.argv[5:]
    torch.set_num_threads(num_threads)
    checkpointing = "checkpointing" in words
    if words[0] == "openflan":
        again: bool | Literal["selective"] = "selective" if "selective" in words else checkpointing
        found = ours(folder, num_packs, num_updates, num_threads, again)
    elif words[0] == "trl":
        found = theirs(folder, num_packs, num_updates, "packing" in words, checkpointing)
    else:
        found = losses(folder) if words[0] == "loss" else limit(folder, num_packs, num_updates)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
