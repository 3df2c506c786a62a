"""Models made from nothing."""

import pytest
import torch
from pydantic import ValidationError

from openflan.models.make import make_model
from openflan.models.settings import ModelShape

TINY = ModelShape(vocab_size=320, hidden_size=32, num_layers=2, num_heads=2, mlp_size=64, max_positions=128)
SHIFTED = ModelShape(vocab_size=320, hidden_size=96, num_layers=2, num_heads=3, mlp_size=64, num_shift_heads=3)


def test_a_new_model_is_decided_by_shape_and_seed():
    one, same, other = (make_model(TINY, seed, 0, 1).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["model.embed_tokens.weight"], other["model.embed_tokens.weight"])
    assert one["model.embed_tokens.weight"].shape == (320, 32)


def test_residual_outputs_start_smaller():
    weights = make_model(TINY, 0, 0, 1).state_dict()
    embedding, out = weights["model.embed_tokens.weight"].std(), weights["model.layers.0.self_attn.o_proj.weight"].std()
    assert float(embedding) == pytest.approx(1 / 32**0.5, rel=0.05)
    assert float(out) == pytest.approx(1 / 32**0.5 / 2, rel=0.1)  # two layers: divided by the square root of 4


def test_shift_heads_begin_by_looking_one_two_three_tokens_back():
    model = make_model(SHIFTED, 0, 0, 1)
    model.set_attn_implementation("eager")
    ids = torch.randint(2, 320, (4, 40), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        first, second = model(ids, output_attentions=True).attentions
    for head in range(3):
        back = first[:, head].diagonal(offset=-(head + 1), dim1=-2, dim2=-1)[:, 4:]
        assert back.mean() > 0.7
        assert second[:, head].diagonal(offset=-(head + 1), dim1=-2, dim2=-1).mean() < 0.2


def test_without_them_attention_has_no_biases_and_begins_flat():
    model = make_model(SHIFTED.model_copy(update={"num_shift_heads": 0}), 0, 0, 1)
    assert [name for name in model.state_dict() if name.endswith("bias")] == []
    model.set_attn_implementation("eager")
    with torch.no_grad():
        first = model(torch.arange(2, 42)[None], output_attentions=True).attentions[0]
    assert first.diagonal(offset=-1, dim1=-2, dim2=-1)[..., 8:].mean() < 0.3


def test_more_shift_heads_than_heads_are_refused():
    with pytest.raises(ValidationError, match=r"num_shift_heads is 3, expected at most num_heads \(2\)"):
        ModelShape(num_heads=2, num_shift_heads=3)
