"""Refuses a config with sizes that no model has, before anything of that size is made."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, PreTrainedConfig

from openflan.errors import ModelError
from openflan.models.windows import text_config

MOST = {"layer": 2_000, "depth": 2_000, "head": 1 << 20, "expert": 1 << 20, "position": 1 << 40}
"""The most of what a setting counts, by a word in its name."""
MOST_OF_ANY = 1 << 26
"""The most of everything else: widths and vocabularies of real models are at most a hundredth of that."""
SIZE = re.compile("size|dim|hidden|embd|inner|d_model|width|layer|depth|head|expert|position|ffn|block|channel|rank")
"""What the names of settings that decide how much is built have in them; ids of tokens do not count, nor does theta."""
MOST_BUFFERS = 1 << 30
"""Bytes of what a model makes besides weights, such as a mask of all positions by all positions."""
DEPTH = 8
"""How deep configs of parts may lie within each other."""


def check_sizes(config: PreTrainedConfig, where: Path) -> None:
    """ModelError for a config with a size that no model has, or without a language model's part."""
    if not isinstance(text_config(config), PreTrainedConfig):
        raise ModelError(where, f"a text config that is {type(text_config(config)).__name__}", "settings by name")
    for name, value in _numbers(config.to_dict()):
        counted = name.partition("_per_")[0]  # vocab_size_per_layer_input counts no layers
        most = next((most for word, most in MOST.items() if word in counted), MOST_OF_ANY)
        if SIZE.search(counted) and not name.endswith("theta") and value > most:
            found = f"{value:,}" if value < 10**15 else "10^15 or more"
            raise ModelError(where, f"{name} {found}", f"at most {most:,}", "Choose another model.")


def check_weights(config: PreTrainedConfig, folder: Path) -> None:
    """ModelError for a config that asks for far more than the folder's *.safetensors hold, before memory is taken."""
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False, attn_implementation="eager")
        stored = sum(_num_stored(path) for path in folder.glob("*.safetensors"))
    except Exception:
        return  # loading says better what is wrong
    asked = sum(weight.numel() for weight in model.parameters())
    if asked > 2 * stored:  # a table that embeds and predicts is stored once
        found = f"a config that asks for {asked:,} weights beside files with {stored:,}"
        raise ModelError(folder, found, "a config that fits the weights", "Download or save the model again.")
    buffers = sum(buffer.nbytes for buffer in model.buffers())
    if buffers > MOST_BUFFERS:
        found = f"a config that asks for {buffers:,} bytes besides the weights"
        do = "Set max_position_embeddings in config.json to what the model was trained with."
        raise ModelError(folder, found, f"at most {MOST_BUFFERS:,}", do)


def _num_stored(path: Path) -> int:
    """How many weights a file holds at most: an integer may pack up to sixteen."""
    total = 0
    with safe_open(path, "pt") as file:
        for name in file.keys():  # noqa: SIM118, it is no mapping
            part = file.get_slice(name)
            packed = 16 if re.match("[UI]", part.get_dtype()) else 1
            total += packed * math.prod(part.get_shape())
    return total


def _numbers(values: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, float]]:
    """Every number of the settings with the name that it has, or that its list has."""
    if depth > DEPTH:
        return
    if isinstance(values, int | float) and not isinstance(values, bool):
        yield name, values
    elif isinstance(values, Mapping):
        for key, value in values.items():
            yield from _numbers(value, str(key), depth + 1)
    elif isinstance(values, list | tuple):
        if len(values) > MOST["layer"] and "layer" in name:
            yield name, len(values)
        for value in values:
            yield from _numbers(value, name, depth + 1)
