"""What training a model takes, before any of it is done: parameters, arithmetic, memory, time. Reads no weights.

The model is built from its config alone, with tensors that have shapes and no content. Its parameters are counted, and
one forward pass over a microbatch shows what autograd keeps for the backward pass, so that the figures follow from the
architecture and not from a table of architectures.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import Embedding, Parameter
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from openflan.errors import ModelError
from openflan.models.folder import base_folder, model_folder
from openflan.models.lm import logits_at_once
from openflan.models.load import load_config
from openflan.models.recompute import keeps
from openflan.models.settings import ModelSettings
from openflan.models.windows import text_config

EFFICIENCY = 0.5
"""Share of the measured matmul rate that a whole update is taken to reach; the rest goes to everything but matmuls."""
MEASURING_SECONDS = 0.5
MOST_MEASURED = 4096
"""Matrices that are wider are multiplied at the same rate."""
LOGITS_COPIES = 3
"""Logits, their log-softmax and their gradient."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What `estimate` returns. `flops` and `seconds` are for all the tokens asked about, `memory_bytes` is the peak."""

    num_parameters: int
    num_trainable: int
    flops: float
    memory_bytes: int
    seconds: float
    matmul_flops_per_second: float


def estimate(
    model: ModelSettings,
    num_tokens: int,
    num_supervised: int,
    tokens_per_microbatch: int,
    optimizer: Literal["adafactor", "adamw", "muon"],
    gradient_checkpointing: bool | Literal["selective"] = False,
    mixed_precision: Literal["no", "bf16"] = "no",
    pack_tokens: int = 1024,
    num_processes: int = 1,
    sharded: bool = False,
    num_threads: int | None = None,
) -> Estimate:
    """What training on `num_tokens` positions, padding included, takes on this machine; of one update or of all.

    Arithmetic, for N weights in matrices (embeddings and head not counted) of which M are trained, T positions in a
    pack, L layers whose heads are W wide together, a head of H weights, each position and each supervised one (s):

        forward                     2 N + 4 L T W       s: 2 H
        gradients of activations    2 N + 8 L T W       s: 2 H
        gradients of weights        2 M                 s: 2 H where the head is trained
        forward once more           2 N + 4 L T W       with gradient checkpointing that is not selective

    Full tuning is thus the usual 6 N for each position. The attention term has every pair of positions of a pack:
    masked pairs are computed, too. A mixture of experts is counted as if every expert read every position.

    Memory, of each process: weights, gradients and optimizer state, or its part of them where they are `sharded`; what
    autograd keeps of a microbatch; the logits of a chunk of its supervised positions. Python, libraries, the
    optimizer's passing needs and the whole weights that rank 0 keeps beside its part are not in it.

    Time: the arithmetic at `EFFICIENCY` times the matmul rate that is measured now: on as many threads as the processes
    have together, all cores where `num_threads` of each is not given, or on one of as many GPUs. A lower bound would
    have it at the whole rate.

    ModelError: see `load_config`; also an architecture whose forward pass cannot be followed without weights.
    """
    folder = base_folder(model_folder(model.path, needs_weights=False), needs_weights=False)
    config = load_config(folder)
    text = text_config(config)
    num_layers, width = text.num_hidden_layers, text.hidden_size
    pack_tokens = min(pack_tokens, tokens_per_microbatch)
    num_packs = tokens_per_microbatch // pack_tokens
    with torch.device("meta"):
        try:
            shape = AutoModelForCausalLM.from_config(
                config,
                attn_implementation=model.attention,
                dtype=getattr(torch, model.dtype),
                trust_remote_code=False,
            )
        except Exception as exc:  # settings that do not go together raise whatever the architecture happens to raise
            found = f"settings that make no model ({' '.join(str(exc).split())[:200]})"
            raise ModelError(folder, found, "those of a causal language model") from exc
        num_parameters = _num(shape.parameters())
        if model.adapter is not None:
            from openflan.models.adapters import adapter_config, inject

            inject(shape, adapter_config(shape, model.adapter))
    try:
        kept, in_products = _kept_bytes(shape, num_packs, pack_tokens, mixed_precision)
    except Exception as exc:
        found = f"a model that cannot be followed without weights ({' '.join(str(exc).split())[:200]})"
        raise ModelError(folder, found, "one whose forward pass depends on shapes alone") from exc
    if gradient_checkpointing:  # the input of each layer, and all of one layer at a time
        element = 2 if mixed_precision == "bf16" else shape.dtype.itemsize
        kept = num_layers * num_packs * pack_tokens * width * element + kept // num_layers
        kept += in_products if gradient_checkpointing == "selective" else 0

    head = shape.get_output_embeddings().weight
    tables = {id(p) for m in shape.modules() if isinstance(m, Embedding) for p in m.parameters()} | {id(head)}
    matrices = [p for p in shape.parameters() if p.ndim >= 2 and id(p) not in tables]
    trained = [p for p in shape.parameters() if p.requires_grad]
    attention = 4 * num_layers * pack_tokens * text.num_attention_heads * _head_width(text)
    # The gradients of activations take as much as a forward pass.
    num_forward = 3 if gradient_checkpointing is True else 2
    flops = num_tokens * (num_forward * 2 * _num(matrices) + (num_forward + 1) * attention)
    flops += num_tokens * 2 * _num(p for p in matrices if p.requires_grad)
    flops += num_supervised * 2 * head.numel() * (2 + head.requires_grad)

    num_logits = min(
        logits_at_once(head.shape[0]), math.ceil(tokens_per_microbatch * num_supervised / max(1, num_tokens))
    )
    memory = sum(p.numel() * p.element_size() for p in shape.parameters())
    memory += sum((p.numel() + _num_in_state(p, optimizer, id(p) in tables)) * p.element_size() for p in trained)
    memory = memory // num_processes if sharded else memory
    memory += kept + LOGITS_COPIES * num_logits * head.shape[0] * 4
    half = mixed_precision == "bf16" or model.dtype == "bfloat16"
    dtype = torch.bfloat16 if half else torch.float32
    rate = measure_matmul(
        min(tokens_per_microbatch, 2048), min(width, MOST_MEASURED), dtype, num_threads and num_threads * num_processes
    )
    rate *= num_processes if torch.cuda.is_available() else 1
    return Estimate(num_parameters, _num(trained), flops, memory, flops / (rate * EFFICIENCY), rate)


def measure_matmul(num_rows: int, width: int, dtype: torch.dtype, num_threads: int | None = None) -> float:
    """FLOP/s of [num_rows, width] times [width, 4 width] on the device that trains here, over `MEASURING_SECONDS`; on
    a CPU with so many threads, all of torch's when not given."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(num_threads or before, os.cpu_count() or 1))
    try:
        return _matmul_rate(num_rows, width, dtype)
    finally:
        torch.set_num_threads(before)


def _matmul_rate(num_rows: int, width: int, dtype: torch.dtype) -> float:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    a, b = (
        torch.ones(num_rows, width, device=device, dtype=dtype),
        torch.ones(width, 4 * width, device=device, dtype=dtype),
    )
    out = a @ b  # the first call makes ready what later ones use
    num_calls, began = 0, time.perf_counter()
    while time.perf_counter() - began < MEASURING_SECONDS:
        torch.matmul(a, b, out=out)
        if device == "cuda":
            torch.cuda.synchronize()
        num_calls += 1
    return num_calls * 2 * num_rows * width * 4 * width / (time.perf_counter() - began)


def _kept_bytes(model: PreTrainedModel, num_packs: int, pack_tokens: int, mixed_precision: str) -> tuple[int, int]:
    """What autograd keeps of a forward pass over `num_packs` packs until the backward pass, parameters not counted; and
    what selective checkpointing keeps of it.

    Fake tensors behave as those of the CPU do, so that the pass takes the ways it takes there; `model` is made of them
    afterwards.
    """
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    half = torch.autocast("cpu", torch.bfloat16, enabled=mixed_precision == "bf16")
    products = _Products()
    with FakeTensorMode(), products, half, saved_tensors_hooks(keep, lambda tensor: tensor):
        _make_fake(model)
        ids = torch.zeros(num_packs, pack_tokens, dtype=torch.long)
        mask = torch.zeros(num_packs, 1, pack_tokens, pack_tokens, dtype=model.dtype)
        model.train().base_model(input_ids=ids, position_ids=ids, attention_mask=mask, use_cache=False)
    weights = {p.untyped_storage()._cdata for p in model.parameters()}
    all_kept = sum(tensor.untyped_storage().nbytes() for storage, tensor in kept.items() if storage not in weights)
    return all_kept, products.num_bytes


class _Products(TorchDispatchMode):
    """Adds up the outputs of the operations that selective checkpointing keeps (`models/recompute.py`)."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.num_bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if keeps(func, *args, **(kwargs or {})):
            outputs = found if isinstance(found, tuple) else (found,)
            self.num_bytes += sum(out.nbytes for out in outputs if isinstance(out, Tensor))
        return found


def _make_fake(model: PreTrainedModel) -> None:
    """Give every parameter and buffer a place on the CPU, within a FakeTensorMode; tied ones stay tied."""
    made: dict[Tensor, Tensor] = {}
    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is not None:
                    empty = torch.empty(tensor.shape, dtype=tensor.dtype)
                    if isinstance(tensor, Parameter):
                        empty = Parameter(empty, requires_grad=tensor.requires_grad)
                    tensors[name] = made.setdefault(tensor, empty)  # type: ignore[assignment]


def _num(parameters: Iterable[Parameter]) -> int:
    return sum(p.numel() for p in parameters)


def _head_width(config: PreTrainedConfig) -> int:
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def _num_in_state(parameter: Parameter, optimizer: str, is_table: bool) -> int:
    """Numbers that the optimizer keeps for a parameter: two moments of each weight; Adafactor those of rows and columns
    of a matrix, Muon one moment, where a weight is neither in a table nor in a vector."""
    if optimizer == "adafactor" and parameter.ndim >= 2:
        return parameter.numel() // parameter.shape[-1] + parameter.numel() // parameter.shape[-2]
    if optimizer == "adafactor" or (optimizer == "muon" and parameter.ndim == 2 and not is_table):
        return parameter.numel()
    return 2 * parameter.numel()
