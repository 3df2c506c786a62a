"""How far back the layers of a model look, and how many positions it has: what its config and its layers say."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from openflan.tokens.batch import Window

POSITIONS = ("max_position_embeddings", "n_positions", "max_target_positions", "max_seq_len")
SIZES = {"sliding_window": False, "attention_chunk_size": True}
"""The settings that transformers makes masks from, and whether they are the size of a chunk."""
OTHER_LIMIT = re.compile("window|attention_chunk_size|attn_chunk|index_topk")
"""Names of settings beyond which a layer may do something else than before."""
NO_LIMIT = re.compile("pattern|layers|use_")
SHRUNK = 5
"""The size to which windows are set to see whether packs keep them, whatever their real size is."""


def text_config(config: PreTrainedConfig) -> PreTrainedConfig:
    """Where the settings of the language model lie: of a composite model (text and images) one level down."""
    return config.get_text_config(decoder=True)


def max_positions(config: PreTrainedConfig) -> int:
    """The longest sequence that a model of this shape takes, in tokens. A sliding window is no such limit."""
    config = text_config(config)
    limits = [getattr(config, name, None) for name in POSITIONS]
    given = getattr(config, "rope_parameters", None) or {}
    for rope in (given, *(some for some in given.values() if isinstance(some, dict))):  # one for each kind of layer
        if rope.get("rope_type") in ("dynamic", "longrope"):  # a long neighbour would change a short one's positions
            limits.append(rope.get("original_max_position_embeddings"))
    return min((int(limit) for limit in limits if isinstance(limit, int | float) and limit > 0), default=1 << 30)


@dataclass(frozen=True, slots=True)
class Windows:
    """The window of each kind of layer, as a config's `layer_types` names the kinds; None where a kind sees all that
    came before. The kind "" is every layer: such a model takes one mask, others a mask for each kind."""

    by_kind: Mapping[str, Window | None]

    @property
    def distinct(self) -> tuple[Window, ...]:
        """Every window that there is, once."""
        return tuple(dict.fromkeys(window for window in self.by_kind.values() if window))

    def masks(self, make: Callable[[Window | None], Tensor]) -> Tensor | dict[str, Tensor]:
        """What the model takes as `attention_mask`, made once for each window."""
        made = {window: make(window) for window in dict.fromkeys(self.by_kind.values())}
        if "" in self.by_kind:
            return made[self.by_kind[""]]
        return {kind: made[window] for kind, window in self.by_kind.items()}


def windows_of(config: PreTrainedConfig) -> list[Windows]:
    """How the model may keep its windows; which way it is, only trying can tell. Without windows there is one way."""
    config = text_config(config)
    sizes = {chunked: Window(size, chunked) for name, chunked in SIZES.items() if (size := _size(config, name))}
    kinds = dict.fromkeys(getattr(config, "layer_types", None) or ())
    by_kind = {kind: sizes.get("chunk" in kind) if "sliding" in kind or "chunk" in kind else None for kind in kinds}
    found = [Windows(by_kind)] if any(by_kind.values()) else []
    if False in sizes and (found or not kinds):
        found.append(Windows({"": sizes[False]}))
    return found or [Windows({"": None})]


def other_limits(model: PreTrainedModel, known: Windows) -> dict[str, int]:
    """What else in the text config or in a layer looks like a limit of how far a layer sees: names and sizes."""
    config = text_config(model.config)
    sizes = {window.size for window in known.distinct}
    found: dict[str, int] = {}
    for holder in (config, *model.modules()):
        for name in vars(holder):
            if not OTHER_LIMIT.search(name) or NO_LIMIT.search(name) or (name in SIZES and _is_unused(config, name)):
                continue
            size = (_size(holder, name) or 0) * (_size(config, "index_block_size") or 1 if "blocks" in name else 1)
            if size and size not in sizes:
                found[name] = size
    return found


def _is_unused(config: PreTrainedConfig, name: str) -> bool:
    """Whether there are kinds of layers, and none that the setting is for."""
    kinds = getattr(config, "layer_types", None) or ()
    word = "chunk" if SIZES[name] else "sliding"
    return bool(kinds) and not any(word in kind for kind in kinds)


def _size(holder: Any, name: str) -> int | None:
    value = getattr(holder, name, None)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


@contextmanager
def shrunk(model: PreTrainedModel, windows: Windows, window: Window) -> Iterator[Windows]:
    """Within the block the model has this one of its windows so small that a few tokens are longer than it.

    Masks are made from the config, so this tells of a model of any size, in no time, whether packs keep its window.
    """
    name = next(name for name, chunked in SIZES.items() if chunked == window.chunked)
    # Parts of a composite model have copies of the config of their own.
    configs = {id(c): c for m in model.modules() if isinstance(c := getattr(m, "config", None), PreTrainedConfig)}
    text = text_config(model.config)
    configs[id(text)] = text
    changed = [config for config in configs.values() if getattr(config, name, None) == window.size]
    small = Window(SHRUNK, window.chunked)
    try:
        for config in changed:
            setattr(config, name, SHRUNK)
        yield Windows({kind: small if each == window else each for kind, each in windows.by_kind.items()})
    finally:
        for config in changed:
            setattr(config, name, window.size)


def described(config: PreTrainedConfig, windows: Windows) -> str:
    """The windows and the number of positions in words.

    >>> config = PreTrainedConfig(layer_types=["full", "slide"], max_position_embeddings=2048)
    >>> described(config, Windows({"full": None, "slide": Window(512)}))
    'sliding window of 512 tokens in 1 of 2 layers, at most 2,048 positions'
    """
    kinds = Counter(getattr(text_config(config), "layer_types", None) or ())
    parts = []
    for window in windows.distinct:
        number = sum(kinds[kind] for kind, each in windows.by_kind.items() if each == window)
        where = f" in {number} of {kinds.total()} layers" if 0 < number < kinds.total() else ""
        parts.append(f"{'chunks' if window.chunked else 'sliding window'} of {window.size:,} tokens{where}")
    longest = max_positions(config)
    parts.append(f"at most {longest:,} positions" if longest < 1 << 30 else "any number of positions")
    return ", ".join(parts)
