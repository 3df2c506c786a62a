"""A model's config is data from strangers: what it asks for is looked at before anything of that size is made."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig

from openflan.errors import ModelError
from openflan.models.windows import text_config

MOST = {"layer": 2_000, "depth": 2_000, "head": 1 << 20, "expert": 1 << 20, "position": 1 << 40}
"""The most of what a setting counts, by a word in its name."""
MOST_OF_ANY = 1 << 26
"""The most of everything else: widths and vocabularies of real models are at most a hundredth of that."""
SIZE = re.compile("size|dim|hidden|embd|inner|d_model|width|layer|depth|head|expert|position|ffn|block|channel|rank")
"""What the names of settings that decide how much is built have in them; ids of tokens do not count, nor does theta."""
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
