"""Checks an adapter_config.json before peft reads it.

Peft takes what it finds: a rank of a billion is memory, a pattern can match for ever, and the initial text of a prompt
loads a tokenizer by a name and options in the file. Here a setting has its type and its range, ranks and prompts are no
larger than the weights beside them, patterns become lists of layers, and how weights begin is left to the weights.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from peft import LoraConfig, PeftConfig, PromptTuningConfig, TaskType
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedModel

from openflan import files
from openflan.errors import ModelError
from openflan.models.folder import ADAPTER, ADAPTER_WEIGHTS
from openflan.untrusted import shown

KINDS = ("LORA", "PROMPT_TUNING")
TOLD = ("task_type", "peft_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision")
"""Settings of peft that decide nothing here."""
DO = "Save the adapter again with peft, without this setting."
Shapes = Mapping[str, tuple[int, ...]]
Name = Annotated[str, Field(min_length=1, max_length=500)]
Names = Annotated[list[Name], Field(max_length=5_000)]
Pattern = Annotated[str, Field(min_length=1, max_length=5_000)]


class _Checked(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)


class LoraFile(_Checked):
    """The settings of LoRA that are read; names and meaning are peft's."""

    task_type: Literal["CAUSAL_LM"] | None = "CAUSAL_LM"
    r: int = Field(8, ge=1)
    lora_alpha: float = 8
    lora_dropout: float = Field(0.0, ge=0, le=1)
    target_modules: Names | Pattern | None = None
    exclude_modules: Names | Pattern | None = None
    rank_pattern: dict[Pattern, Annotated[int, Field(ge=1)]] = Field({}, max_length=5_000)
    alpha_pattern: dict[Pattern, float] = Field({}, max_length=5_000)
    bias: Literal["none", "all", "lora_only"] = "none"
    modules_to_save: Names | None = None
    layers_to_transform: list[int] | int | None = None
    layers_pattern: list[Annotated[str, Field(pattern=r"^\w{1,100}$")]] | str | None = None
    trainable_token_indices: list[int] | dict[Name, list[int]] | None = None
    fan_in_fan_out: bool = False
    use_rslora: bool = False
    use_dora: bool = False
    lora_bias: bool = False
    ensure_weight_tying: bool = False
    init_lora_weights: bool | Literal["gaussian", "orthogonal", "pissa", "olora"] = True


class PromptFile(_Checked):
    """The settings of prompt tuning that are read."""

    task_type: Literal["CAUSAL_LM"] | None = "CAUSAL_LM"
    num_virtual_tokens: int = Field(ge=1)


def read_shapes(folder: Path) -> Shapes:
    """The name and shape of each tensor of an adapter, without its values."""
    path = folder / ADAPTER_WEIGHTS
    try:
        with safe_open(path, framework="pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as exc:
        raise ModelError(path, str(exc), "the weights of an adapter") from exc
    if not shapes:
        raise ModelError(path, "no tensor", "the weights of an adapter", "Save it again.")
    return shapes


def read_adapter_config(folder: Path, model: PreTrainedModel, shapes: Shapes) -> PeftConfig:
    """The settings of the adapter in a folder for its base `model`, as peft takes them. `shapes` are its weights'.

    ModelError: another kind of adapter, a setting that is not supported, of another type or out of range.
    """
    where = folder / ADAPTER
    value = files.read_json_object(where, ModelError, "Save the adapter again.")
    kind = value.get("peft_type")
    if kind not in KINDS:
        raise ModelError(folder, f"an adapter of type {shown(kind)}", " or ".join(KINDS))
    longest = max((size for shape in shapes.values() for size in shape), default=0)
    if kind == "PROMPT_TUNING":
        prompt = files.parse(PromptFile, value, where, ModelError)
        _check_size(where, "num_virtual_tokens", prompt.num_virtual_tokens, longest)
        return PromptTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=prompt.num_virtual_tokens)
    lora = files.parse(LoraFile, value, where, ModelError)
    _check_unsupported(where, value)
    for rank in (lora.r, *lora.rank_pattern.values()):
        _check_size(where, "rank", rank, longest)
    names = [name for name, _ in model.named_modules() if name]
    plain = {
        **lora.model_dump(),
        "task_type": TaskType.CAUSAL_LM,
        "target_modules": _layers(where, lora.target_modules, names),
        "exclude_modules": _layers(where, lora.exclude_modules, names),
        "rank_pattern": _by_layer(where, lora.rank_pattern, names),
        "alpha_pattern": _by_layer(where, lora.alpha_pattern, names),
    }
    try:
        return LoraConfig(**plain)
    except (TypeError, ValueError) as exc:  # peft knows which settings need one another
        raise ModelError(where, f"settings that peft refuses ({exc})", "some that go together", DO) from exc


def _check_size(where: Path, name: str, size: int, longest: int) -> None:
    if size > longest:
        raise ModelError(where, f"{name} {size}", f"at most {longest}, the longest side of its weights", DO)


def _check_unsupported(where: Path, value: Mapping[str, Any]) -> None:
    """Refuse a setting that peft knows and this file does not read, where it is not peft's default."""
    default = LoraConfig()
    for field in fields(LoraConfig):
        name = field.name
        if name in LoraFile.model_fields or name in (*TOLD, "inference_mode", "qalora_group_size", "megatron_core"):
            continue
        found = value.get(name)
        if found and found != getattr(default, name) and any(found.values() if isinstance(found, dict) else [found]):
            raise ModelError(where, f"{name} {shown(found)}", "one of the settings of plain LoRA", DO)


def _layers(where: Path, target: Sequence[str] | str | None, names: Sequence[str]) -> list[str] | str | None:
    """What peft may match by itself: the ends of names, or the names of all layers that a pattern matches."""
    if target is None or target == "all-linear":
        return target
    if isinstance(target, str):
        return _matching(where, target, names)
    return list(target)


def _by_layer(where: Path, values: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The value of each layer that a pattern matches, by its whole name; the first pattern counts, as in peft."""
    found: dict[str, Any] = {}
    for pattern, value in values.items():
        for name in _matching(where, rf"(?:.*\.)?(?:{pattern})", names):
            found.setdefault(re.escape(name), value)
    return found


def _matching(where: Path, pattern: str, names: Iterable[str]) -> list[str]:
    """The names that a pattern matches as a whole, in linear time: Arrow's expressions never go back."""
    array = pa.array(names, pa.string())
    try:
        matched = pc.match_substring_regex(array, pattern=rf"\A(?:{pattern})\z")
    except pa.ArrowException as exc:
        found = f"the pattern {shown(pattern)} ({' '.join(str(exc).split())[:200]})"
        raise ModelError(where, found, "one without backtracking, or a list of names", DO) from exc
    return [name for name, is_match in zip(array.to_pylist(), matched.to_pylist(), strict=True) if is_match]
