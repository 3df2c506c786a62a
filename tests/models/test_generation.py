"""No text depends on the prompts beside it, whatever an architecture makes of padding and of its cache."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    BartConfig,
    BloomConfig,
    MambaConfig,
    MarianConfig,
    MoshiConfig,
    PegasusConfig,
    PreTrainedConfig,
    RwkvConfig,
    WhisperConfig,
)

from openflan.models.generation import WAYS
from openflan.models.lm import HuggingFaceModel
from openflan.models.load import wrap
from toys import SHAPE, draw_ids, toy_tokenizer, toy_weights

PADDED, SAME_LENGTH, WITHOUT_CACHE = WAYS
PROMPTS = [draw_ids(seed, length) for seed, length in enumerate((3, 17, 1, 9, 17))]
DECODER: dict[str, Any] = {
    "vocab_size": 320, "d_model": 32, "decoder_layers": 2, "decoder_attention_heads": 4, "decoder_ffn_dim": 64,
    "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 64, "is_decoder": True,
    "is_encoder_decoder": False, "init_std": 0.2, "pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 0,
    "decoder_start_token_id": 2, "max_position_embeddings": 128,
}  # fmt: skip
CONFIGS: dict[str, PreTrainedConfig] = {
    "rwkv": RwkvConfig(vocab_size=320, hidden_size=32, num_hidden_layers=2, context_length=128, eos_token_id=0),
    "bart": BartConfig(**DECODER),
    "marian": MarianConfig(**DECODER | {"decoder_vocab_size": 320}),
    "pegasus": PegasusConfig(**DECODER),
    "whisper": WhisperConfig(**DECODER | {"max_target_positions": 128, "max_source_positions": 16}),
    "moshi": MoshiConfig(**SHAPE, head_dim=8, sliding_window=16, audio_vocab_size=8),
    "mamba": MambaConfig(vocab_size=320, hidden_size=32, num_hidden_layers=2, state_size=4),
    "bloom": BloomConfig(vocab_size=320, hidden_size=32, n_layer=2, n_head=4),
}


def wrapped(kind: str) -> HuggingFaceModel:
    weights = toy_weights(CONFIGS[kind])
    torch.manual_seed(1)
    for weight in weights.parameters():  # some architectures draw theirs so small that every text is the same
        torch.nn.init.normal_(weight, std=0.2) if weight.ndim > 1 else None
    return wrap(weights, toy_tokenizer(), Path(kind), needs_packs=False)


def greedy(model: HuggingFaceModel, prompt: list[int], num_new: int) -> list[int]:
    ids = list(prompt)
    while len(ids) < len(prompt) + num_new:
        with torch.inference_mode():
            token = int(model.logits_alone(ids)[-1].argmax())
        if token == model.codec.eos_id:
            break
        ids.append(token)
    return ids[len(prompt) :]


@pytest.mark.parametrize(
    ("kind", "way"),
    [
        ("rwkv", WITHOUT_CACHE),  # what it continues from its state is not what it reads
        ("moshi", WITHOUT_CACHE),  # its cache drops what is beyond a window that its layers do not have
        ("bart", SAME_LENGTH),
        ("marian", SAME_LENGTH),
        ("pegasus", SAME_LENGTH),
        ("whisper", SAME_LENGTH),
        ("mamba", PADDED),
        ("bloom", PADDED),
    ],
)
def test_a_text_is_the_same_alone_and_beside_others(kind, way):
    model = wrapped(kind)
    together = model.generate(PROMPTS, 6)
    assert model.writes == way
    assert together == [greedy(model, prompt, 6) for prompt in PROMPTS]
    assert len({tuple(text) for text in together}) > 2


def test_a_model_that_cannot_be_tried_is_read_as_it_is(monkeypatch):
    model = wrapped("bloom")
    expected = [greedy(model, prompt, 6) for prompt in PROMPTS]
    whole = model.model.generate

    def broken(use_cache: bool = True, **others: Any) -> Any:
        if use_cache:
            raise IndexError("list index out of range")
        return whole(use_cache=use_cache, **others)

    monkeypatch.setattr(model.model, "generate", broken)
    assert model.generate(PROMPTS, 6) == expected
    assert str(model.writes) == "prompts of one length at a time, without a cache"
