"""A model that is made from nothing."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from openflan.models.settings import ModelShape
from openflan.streams import seed_of

SHIFT_SCORE = 10.0
"""The score, after the division by sqrt(head size), that a shift head gives to the token it looks at."""
FAST = 0.2
"""Rotary frequencies from here on, in radians a position, tell neighbours apart."""


def make_model(shape: ModelShape, seed: int, eos_id: int, pad_id: int) -> LlamaForCausalLM:
    """A new model with random weights. Embeddings start at 1/sqrt(width); outputs of residual blocks are divided by
    sqrt(2 * layers), so that depth does not change the scale of the stream. With shift heads all of attention has
    biases."""
    config = LlamaConfig(
        vocab_size=shape.vocab_size,
        hidden_size=shape.hidden_size,
        intermediate_size=shape.mlp_size,
        num_hidden_layers=shape.num_layers,
        num_attention_heads=shape.num_heads,
        num_key_value_heads=shape.num_heads,
        max_position_embeddings=shape.max_positions,
        attention_bias=shape.num_shift_heads > 0,
        tie_word_embeddings=True,
        initializer_range=1 / math.sqrt(shape.hidden_size),
        bos_token_id=None,
        eos_token_id=eos_id,
        pad_token_id=pad_id,
    )
    torch.manual_seed(seed_of(seed, "initial weights"))
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.div_(math.sqrt(2 * shape.num_layers))
        for head in range(shape.num_shift_heads):
            _look_back(model, head, num_tokens=head + 1)
    return model


def _look_back(model: LlamaForCausalLM, head: int, num_tokens: int) -> None:
    """Let a head of the first layer begin as one that looks at the token `num_tokens` before.

    Its biases alone do it: the query's are a vector u on the fast rotary frequencies, the key's are u turned by
    `num_tokens` positions, so that the rotary embedding makes their product largest at that distance. The weights begin
    small beside them, and everything is trained. Such heads let what two neighbouring words say together be looked up,
    which tiny models otherwise take very long to find (`docs/embedded-world.md`).
    """
    attention = model.model.layers[0].self_attn
    frequencies: Tensor = model.model.rotary_emb.inv_freq
    size = attention.head_dim
    fast = frequencies >= FAST
    part = slice(head * size, (head + 1) * size)
    u = fast.float() * math.sqrt(SHIFT_SCORE * math.sqrt(size) / (2 * int(fast.sum())))
    turned = frequencies * num_tokens
    # Pairs of dimensions that turn together lie half a head apart, and u is the same in both halves.
    attention.q_proj.bias[part] = torch.cat([u, u])
    attention.k_proj.bias[part] = torch.cat([u * (turned.cos() - turned.sin()), u * (turned.cos() + turned.sin())])
    attention.q_proj.weight[part] *= 0.1
    attention.k_proj.weight[part] *= 0.1
