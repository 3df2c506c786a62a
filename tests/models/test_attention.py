from pathlib import Path

import pytest
import torch
from transformers import BloomConfig, MistralConfig

from openflan.errors import ModelError
from openflan.models import attention
from openflan.models.attention import SEGMENTED, flatten
from openflan.models.load import wrap
from openflan.tokens.batch import collate
from openflan.tokens.pack import Pack, branched_segment, plain_segment, shared_segment
from toys import KINDS, NUM_IDS, SHAPE, draw_ids, draw_segments, toy_model, toy_tokenizer, toy_weights

WHERE = Path("some/model")
SEGMENTS = (*KINDS[:5], "gemma", "gemma3")  # Gemma 2 caps scores within attention


def test_segments_lie_one_after_another_without_padding():
    packs = [Pack(8, [plain_segment(0, [5, 6, 7], 1), plain_segment(1, [8, 9], 1)])]
    packs.append(Pack(8, [branched_segment(2, [5], [[6, 7], [8]])]))
    flat = flatten(collate(packs))
    assert flat.input_ids.tolist() == [[5, 6, 7, 8, 9, 5, 6, 7, 8]]
    assert flat.positions.tolist() == [[0, 1, 2, 0, 1, 0, 1, 2, 1]]
    assert [(block.start, block.end) for block in flat.blocks[0]] == [(0, 3), (3, 5), (5, 9)]
    assert [block.allowed is None for block in flat.blocks[0]] == [True, True, False]
    assert flat.blocks[0][2].allowed.int().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 0, 0, 1]]
    assert [flat.places[0, i].item() for i in range(5)] + [flat.places[1, i].item() for i in range(4)] == list(range(9))


def test_prompts_after_a_shared_trunk_do_not_look_at_one_another():
    shared = shared_segment(2, [5, 6], [([7], [[8], [9]]), ([7, 7], [[8]])])
    flat = flatten(collate([Pack(16, [plain_segment(0, [5, 6, 7], 1), shared])]))
    blocks = [(b.start, b.end, b.trunk, b.prefix) for b in flat.blocks[0]]
    assert blocks == [(0, 3, 0, 0), (3, 5, 3, 0), (5, 8, 3, 2), (8, 11, 3, 2)]
    assert flat.blocks[0][2].allowed.int().tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [1, 1, 1, 0, 1]]
    assert flat.blocks[0][3].allowed.int().tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]


def test_a_long_trunk_attends_apart_from_its_options():
    flat = flatten(collate([Pack(999, [branched_segment(0, range(2, 202), [[7, 8], [9]])])]))
    assert [(b.start, b.end, b.trunk, b.prefix) for b in flat.blocks[0]] == [(0, 200, 0, 0), (200, 203, 0, 200)]
    assert flat.blocks[0][1].allowed[:, :200].all()
    assert flat.blocks[0][1].allowed[:, 200:].int().tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]


@pytest.mark.parametrize("kind", SEGMENTS)
def test_the_same_logits_and_gradients_as_under_a_mask(kind, monkeypatch):
    shared = shared_segment(8, draw_ids(8, 9), [([3, 4], [[5], [6, 7]]), ([3], [[5, 5]])])
    packs = [Pack(40, draw_segments([9, 12, 5])), Pack(40, [branched_segment(9, draw_ids(7, 6), [[3, 4], [5, 6, 7]])])]
    packs += [Pack(40, [shared]), Pack(40, [branched_segment(7, draw_ids(6, 30), [[3, 4], [5, 6, 7]])])]
    monkeypatch.setattr(attention, "SPLIT_FROM", 20)
    batch = collate(packs)
    found = []
    for name in ("sdpa", SEGMENTED):
        model = toy_model(kind, name)
        logits = model.logits(model.hidden(batch))
        logits.square().mean().backward()
        gradient = torch.cat([p.grad.flatten() for p in model.model.parameters() if p.grad is not None])
        found.append((logits.detach(), gradient))
    (masked, gradient), (segmented, same) = found
    assert torch.allclose(masked, segmented, atol=2e-5)
    assert torch.allclose(gradient, same, atol=1e-3 * float(gradient.abs().max()))
    assert float(masked.std()) > 0.1


def test_it_is_used_where_the_architecture_lets_it_through():
    mistral = wrap(toy_weights(MistralConfig(**SHAPE, num_key_value_heads=2)), toy_tokenizer(), WHERE)
    assert mistral.attend_in_segments()
    for refused in (toy_model("gemma2"),):
        before = refused.model.config._attn_implementation
        assert not refused.attend_in_segments()
        assert refused.model.config._attn_implementation == before
    with pytest.raises(ModelError):
        wrap(toy_weights(BloomConfig(vocab_size=NUM_IDS, hidden_size=32, n_layer=2, n_head=4)), toy_tokenizer(), WHERE)


def test_attention_that_loses_the_segments_is_not_used(monkeypatch):
    """As in an architecture that hands no unknown arguments down."""
    whole = attention.segmented_attention

    def forgetful(*tensors, segments=None, **others):
        return whole(*tensors, **others)

    monkeypatch.setitem(attention.AttentionInterface._global_mapping, SEGMENTED, forgetful)
    model = toy_model("llama", "sdpa")
    assert not model.attend_in_segments()
    assert model.model.config._attn_implementation == "sdpa"


def test_generation_is_the_same():
    prompts = [draw_ids(1, 5), draw_ids(2, 9)]
    assert toy_model("llama", SEGMENTED).generate(prompts, 6) == toy_model("llama", "sdpa").generate(prompts, 6)
