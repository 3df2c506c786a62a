"""Models of two layers and width 32, a tokenizer trained on the spot, and tasks: what several folders of tests share.

Weights are drawn wide (standard deviation 0.2), so that logits are some units apart and a leak cannot hide in rounding.
"""

import copy
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3Config,
    Gemma3TextConfig,
    GemmaConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

from openflan.models.attention import SEGMENTED
from openflan.models.lm import HuggingFaceModel
from openflan.models.load import wrap
from openflan.models.tokenizer import train_tokenizer
from openflan.tasks.card import Card
from openflan.tasks.catalog import Task
from openflan.tasks.example import Choice, Example, Text
from openflan.tokens.pack import Segment, plain_segment

NUM_IDS = 320
TEXTS = (
    "The cat sat on the mat.\nDid the cat sit? Yes, the cat sat on the mat.",
    "A dog ran to the river in 1984.\nDid the dog sleep? No, the dog ran.",
    "Tom likes the red boat.\nDoes Tom like it? Yes. It is not known why.",
)
SHAPE: dict[str, Any] = {
    "vocab_size": NUM_IDS,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    "initializer_range": 0.2,
    "bos_token_id": None,
    "eos_token_id": 0,
}
GROUPED: dict[str, Any] = {"num_key_value_heads": 2}
HEADS = GROUPED | {"head_dim": 8}
CAPPED = HEADS | {"query_pre_attn_scalar": 8, "final_logit_softcapping": 2.0, "sliding_window": 64}
OTHERS = {"neox": {}, "qwen3": HEADS, "gemma": HEADS, "gemma2": CAPPED, "gemma3": CAPPED}
CONFIGS: dict[str, Any] = {
    "llama": LlamaConfig,
    "gpt2": GPT2Config,
    "neox": GPTNeoXConfig,
    "qwen2": Qwen2Config,
    "qwen3": Qwen3Config,
    "gemma": GemmaConfig,
    "gemma2": Gemma2Config,
    "gemma3": Gemma3TextConfig,
}
KINDS = tuple(CONFIGS)
# Gemma 2's soft cap within attention is what torch's sdpa cannot do.
MODELS = [(kind, a) for kind in KINDS for a in ("eager", "sdpa", "segmented") if kind != "gemma2" or a == "eager"]


@functools.cache
def toy_tokenizer() -> PreTrainedTokenizerFast:
    """The project's own kind of tokenizer, with at most `NUM_IDS` ids; `<|end|>` is 0, `<|pad|>` is 1."""
    return train_tokenizer(TEXTS * 3, NUM_IDS - 1)


def toy_config(kind: str) -> PreTrainedConfig:
    """GPT-2 counts positions absolutely and has dropout and tied embeddings; the others rotate; Llama, Qwen and Gemma
    group heads. Gemma 2 and 3 have layers with a sliding window and put a soft cap on logits."""
    if kind == "gpt2":
        names = {"hidden_size": "n_embd", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head"}
        names |= {"intermediate_size": "n_inner", "max_position_embeddings": "n_positions"}
        return GPT2Config(**{names.get(name, name): value for name, value in SHAPE.items()})
    return CONFIGS[kind](**SHAPE, **OTHERS.get(kind, GROUPED))


def toy_weights(config: str | PreTrainedConfig, attention: str | None = None, seed: int = 0) -> PreTrainedModel:
    """A transformers model with random weights, in evaluation mode; without `attention` the kind it chooses itself."""
    torch.manual_seed(seed)
    # A copy: models of one config would share the attention that either of them is set to.
    config = toy_config(config) if isinstance(config, str) else copy.deepcopy(config)
    return AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()


def toy_model(kind: str, attention: str | None = None, seed: int = 0) -> HuggingFaceModel:
    """The same as the project uses it; `segmented` is the project's own attention."""
    if attention != SEGMENTED:
        return wrap(toy_weights(kind, attention, seed), toy_tokenizer(), Path(f"toy {kind}"))
    model = toy_model(kind, seed=seed)
    assert model.attend_in_segments()
    return model


def draw_ids(seed: int, num_ids: int) -> list[int]:
    """Ordinary ids: neither end of text nor padding."""
    return torch.randint(2, NUM_IDS, (num_ids,), generator=torch.Generator().manual_seed(seed)).tolist()


def draw_segments(lengths: Sequence[int], num_supervised: int = 3) -> list[Segment]:
    """Training segments with keys 0, 1, ... of these lengths, each with its own ids."""
    return [plain_segment(key, draw_ids(key, n), num_supervised) for key, n in enumerate(lengths)]


def toy_task(name: str = "mood", kind: str = "choice", **changes: Any) -> Task:
    """A task of the user with two scored templates and an inverted one; `changes` replace keys of its card."""
    answer = {"kind": "choice", "options_from": ["a", "b"], "gold": "label"}
    card = {
        "family": name,
        "cluster": "sentiment",
        "source": {},
        "fields": {"text": "text"},
        "answer": answer if kind == "choice" else {"kind": "text", "references": "answer"},
        "metrics": ["accuracy" if kind == "choice" else "exact_match"],
        "licence": "CC0-1.0",
        "samples": [{"text": "Fine!", "label": 1}],
        "templates": [
            {"id": "after", "input": "Read this: {{ text }} What is right?"},
            {"id": "before", "input": "What is right? {{ text }}"},
            {"id": "invent", "input": "Make up a text about {{ answer }}.", "target": "{{ text }}", "inverted": True},
        ],
    }
    if kind == "choice":
        card["templates"][0]["input"] += "\n\n{{ options_block }}"
    parsed = Card.model_validate(card | changes)
    return Task(name, "user", parsed, parsed.source, {}, Path(f"{name}.yaml"))


def choice_example(number: int, text: str, options: tuple[str, ...], gold: int = 0, task: str = "mood") -> Example:
    return Example(f"{task}/test/{number}", task, {"text": text}, Choice(options, gold))


def text_example(number: int, text: str, references: tuple[str, ...], task: str = "name") -> Example:
    return Example(f"{task}/test/{number}", task, {"text": text}, Text(references))


def composite_config(window: int | None = 16) -> Gemma3Config:
    """Text and images: the text model is Gemma 3's, whose settings lie in a config of their own."""
    text = SHAPE | HEADS | {"sliding_window": window, "layer_types": ["sliding_attention", "full_attention"]}
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}
    vision |= {"image_size": 16, "patch_size": 8}
    images = {"image_token_id": 5, "boi_token_id": 6, "eoi_token_id": 7}
    return Gemma3Config(text_config=text, vision_config=vision, **images)
