import functools
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    BertConfig,
    BloomConfig,
    CohereConfig,
    Gemma2Config,
    GenerationConfig,
    GPT2Config,
    GPTNeoConfig,
    GraniteConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    PreTrainedConfig,
)

from openflan.errors import ModelError
from openflan.models import lm
from openflan.models.lm import HuggingFaceModel
from openflan.models.load import wrap
from openflan.models.recompute import keeps
from openflan.tokens.batch import Batch, Window, collate
from openflan.tokens.pack import Pack, branched_segment, plain_segment
from toys import (
    CAPPED,
    KINDS,
    MODELS,
    SHAPE,
    composite_config,
    draw_ids,
    draw_segments,
    toy_config,
    toy_model,
    toy_tokenizer,
    toy_weights,
)

WHERE = Path("some/model")


def wrapped(config: PreTrainedConfig) -> HuggingFaceModel:
    return wrap(toy_weights(config), toy_tokenizer(), WHERE)


@pytest.mark.parametrize(("kind", "attention"), MODELS)
def test_these_shapes_are_accepted(kind, attention):
    model = toy_model(kind, attention)
    assert model.max_positions == 128
    assert model.model.config._attn_implementation == attention


@pytest.mark.parametrize("kind", KINDS)
def test_these_shapes_are_accepted_in_half_precision(kind):
    model = wrap(toy_weights(kind).to(torch.bfloat16), toy_tokenizer(), WHERE)
    batch = collate([Pack(32, draw_segments([9, 12]))])
    logits = model.logits(model.hidden(batch))
    assert (model.model.dtype, logits.dtype, model.log_probs(batch).dtype) == (torch.bfloat16, *[torch.float32] * 2)
    exact = toy_model(kind).log_probs(batch)
    assert 0 < float((model.log_probs(batch) - exact).abs().max()) < 0.2


OUTPUTS = [
    Gemma2Config(**SHAPE, **CAPPED),
    CohereConfig(**SHAPE, num_key_value_heads=2, logit_scale=0.0625),
    GraniteConfig(**SHAPE, num_key_value_heads=2, logits_scaling=4.0),
]


@pytest.mark.parametrize("config", OUTPUTS, ids=["soft cap", "scaled up", "scaled down"])
def test_what_a_head_does_to_its_output_is_done_exactly(config):
    model = wrapped(config)
    batch = collate([Pack(32, draw_segments([9], num_supervised=8))])
    with torch.no_grad():
        found = model.logits(model.hidden(batch))
        expected = model.model(input_ids=batch.input_ids, use_cache=False).logits[0, :-1]
        plain = model.model.get_output_embeddings()(model.hidden(batch))
    assert torch.allclose(found, expected, atol=1e-6)
    assert float((plain - expected).abs().max()) > 0.1


@pytest.mark.parametrize("config", OUTPUTS, ids=["soft cap", "scaled up", "scaled down"])
def test_a_head_that_does_something_unknown_is_refused(config, monkeypatch):
    """The same heads, were it not known what they do."""
    monkeypatch.setattr(HuggingFaceModel, "logits", lambda self, h: self.model.get_output_embeddings()(h).float())
    with pytest.raises(ModelError, match=r"some/model: found packed logits that differ by .* not supported yet"):
        wrapped(config)


@pytest.mark.parametrize(
    ("config", "longest"),
    [
        (GPTNeoConfig(vocab_size=320, hidden_size=32, num_layers=2, attention_types=[[["global", "local"], 1]],
                      num_heads=4, window_size=32, max_position_embeddings=128), 128),
        (LlamaConfig(**SHAPE, rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0,
                                               "original_max_position_embeddings": 48}), 48),
        (LlamaConfig(**SHAPE, rope_parameters={"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}), 128),
        (composite_config(window=16), 128),
        (MistralConfig(**SHAPE, num_key_value_heads=2, sliding_window=16), 128),
    ],
    ids=["local attention", "positions that depend on the longest", "positions that do not", "a composite model",
         "a sliding window"],
)  # fmt: skip
def test_other_limits_of_length(config, longest):
    assert wrapped(config).max_positions == longest


def test_a_model_that_looks_both_ways_is_refused():
    with pytest.raises(ModelError, match="found a model that looks ahead; expected a causal language model"):
        wrapped(BertConfig(**SHAPE))


@pytest.mark.parametrize(
    "config",
    [
        BloomConfig(vocab_size=320, hidden_size=32, n_layer=2, n_head=4),
        MambaConfig(vocab_size=320, hidden_size=32, num_hidden_layers=2, state_size=4),
    ],
    ids=["bloom", "mamba"],
)
def test_a_model_that_takes_no_positions_or_mask_is_refused(config):
    with pytest.raises(ModelError, match="some/model: found a model that cannot read packs"):
        wrapped(config)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_attention_that_leaks_is_refused(kind, monkeypatch):
    whole = Batch.attention_mask

    def leaking(batch: Batch, dtype: torch.dtype, window: Window | None = None) -> torch.Tensor:
        mask = whole(batch, dtype)
        return mask.masked_fill(torch.ones_like(mask, dtype=torch.bool).tril(), 0.0)  # causal and nothing else

    monkeypatch.setattr(Batch, "attention_mask", leaking)
    with pytest.raises(ModelError, match="packed logits that differ"):
        toy_model(kind)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_positions_that_go_on_are_refused(kind, monkeypatch):
    model = toy_weights(kind)
    forward = type(model.base_model).forward

    def counting(self, *args, position_ids=None, **kwargs):
        if position_ids is not None:
            position_ids = torch.arange(position_ids.shape[1])[None]
        return forward(self, *args, position_ids=position_ids, **kwargs)

    monkeypatch.setattr(type(model.base_model), "forward", counting)
    with pytest.raises(ModelError, match="packed logits that differ"):
        wrap(model, toy_tokenizer(), WHERE)


@pytest.mark.parametrize(("kind", "attention"), MODELS)
def test_selective_checkpointing_leaves_the_gradients_as_they_are_bit_for_bit(kind, attention):
    """With dropout where the architecture has it; no matrix product and no attention is computed twice."""
    found, num_bytes, num_flops = [], [], []
    for again in (False, True):
        model = toy_model(kind, attention)
        model.model.train()
        if again:
            model.use_gradient_checkpointing(selective=True)
        kept: dict[int, torch.Tensor] = {}

        def keep(tensor: torch.Tensor, kept: dict[int, torch.Tensor] = kept) -> torch.Tensor:
            kept[tensor.untyped_storage()._cdata] = tensor
            return tensor

        torch.manual_seed(0)
        with FlopCounterMode(display=False) as counter:
            with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
                hidden = model.hidden(collate([Pack(32, draw_segments([9, 12]))]))
            model.logits(hidden).square().sum().backward()
        num_flops.append(counter.get_total_flops())
        num_bytes.append(sum(tensor.untyped_storage().nbytes() for tensor in kept.values()))
        found.append({n: p.grad for n, p in model.model.named_parameters() if p.grad is not None})
    assert num_flops[0] == num_flops[1] > 0
    assert num_bytes[1] < num_bytes[0] / 2
    assert len(found[0]) > 10 and found[0].keys() == found[1].keys()
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_attention_that_drops_out_is_computed_again():
    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default
    tensors = [torch.ones(1, 1, 2, 8)] * 3
    assert keeps(attention, *tensors) and keeps(attention, *tensors, 0.0) and keeps(torch.ops.aten.mm.default)
    assert not keeps(attention, *tensors, 0.1) and not keeps(attention, *tensors, dropout_p=0.1)
    assert not keeps(torch.ops.aten.silu.default)


@pytest.mark.parametrize(("kind", "attention"), MODELS)
def test_gradient_checkpointing_leaves_the_gradients_as_they_are(kind, attention):
    found = []
    for again in (False, True):
        model = toy_model(kind, attention)
        for dropout in (m for m in model.model.modules() if isinstance(m, torch.nn.Dropout)):
            dropout.p = 0.0
        model.model.train()
        if again:
            model.use_gradient_checkpointing()
        saved: list[torch.Tensor] = []

        def keep(tensor: torch.Tensor, saved: list[torch.Tensor] = saved) -> torch.Tensor:
            saved.append(tensor)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            logits = model.logits(model.hidden(collate([Pack(32, draw_segments([9, 12]))])))
        logits.square().sum().backward()
        found.append((len(saved), {n: p.grad for n, p in model.model.named_parameters() if p.grad is not None}))
    (num_saved, plain), (num_saved_again, checkpointed) = found
    assert num_saved_again < num_saved / 2
    assert len(plain) > 10 and plain.keys() == checkpointed.keys()
    assert all(torch.allclose(plain[name], checkpointed[name], atol=1e-4) for name in plain)


def test_a_model_that_cannot_checkpoint_says_so(monkeypatch):
    model = toy_model("llama")
    monkeypatch.setattr(type(model.model), "supports_gradient_checkpointing", False)
    with pytest.raises(ModelError, match=r"llama: found no gradient checkpointing; .* train.gradient_checkpointing"):
        model.use_gradient_checkpointing()


def test_the_end_of_text_learns_although_it_pads():
    """torch leaves out the gradient of the padding row, which in many models is that of the end of text."""
    config = toy_config("llama")
    config.pad_token_id = config.eos_token_id
    config.tie_word_embeddings = False
    model = wrapped(config)
    model.model.zero_grad()
    batch = collate([Pack(8, [plain_segment(0, [5, 0, 6, 7], 2)])], pad_id=0)
    model.logits(model.hidden(batch)).square().sum().backward()
    gradient = model.model.get_input_embeddings().weight.grad
    assert float(gradient[0].abs().max()) > 0.01
    assert float(gradient[8].abs().max()) == 0.0


def one_by_one(model: HuggingFaceModel, prompt: list[int], max_new_tokens: int) -> list[int]:
    """Greedy text without cache, padding or `generate`."""
    ids = list(prompt)
    for _ in range(max_new_tokens):
        with torch.inference_mode():
            token = int(model.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
        if token == model.codec.eos_id:
            break
        ids.append(token)
    return ids[len(prompt) :]


PROMPTS = [draw_ids(seed, length) for seed, length in enumerate((3, 17, 1, 9, 30))]


@pytest.mark.parametrize("kind", KINDS)
def test_padded_together_as_each_prompt_alone(kind):
    model = toy_model(kind)
    together = model.generate(PROMPTS, 12)
    assert together == [one_by_one(model, prompt, 12) for prompt in PROMPTS]
    assert together == [model.generate([prompt], 12)[0] for prompt in PROMPTS]
    assert len({tuple(text) for text in together}) == 5


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_it_stops_at_the_end_of_text_and_leaves_it_out(kind):
    model = toy_model(kind)
    text = model.generate(PROMPTS[:1], 12)[0]
    assert len(text) == 12
    stop = text[5]
    object.__setattr__(model.codec, "eos_id", stop)
    object.__setattr__(model.codec, "ends", (stop,))
    stopped = model.generate(PROMPTS, 12)
    assert stopped[0] == text[: text.index(stop)]
    assert stopped == [one_by_one(model, prompt, 12) for prompt in PROMPTS]
    assert all(stop not in answer for answer in stopped)


@pytest.mark.parametrize("limit", [1, 2, 7])
def test_no_more_than_max_new_tokens(limit):
    model = toy_model("llama")
    longest = [one_by_one(model, prompt, 12) for prompt in PROMPTS]
    assert model.generate(PROMPTS, limit) == [text[:limit] for text in longest]


def test_the_folders_own_generation_settings_do_not_reach_the_text():
    expected = toy_model("llama").generate(PROMPTS, 12)
    weights = toy_weights("llama")
    weights.generation_config = GenerationConfig(repetition_penalty=5.0, no_repeat_ngram_size=2, min_new_tokens=12)
    assert wrap(weights, toy_tokenizer(), WHERE).generate(PROMPTS, 12) == expected


@pytest.mark.parametrize("positions", ["learned", "alibi"])
def test_without_need_of_packs_a_model_that_leaks_reads_one_sequence_at_a_time(positions, monkeypatch):
    if positions == "alibi":
        weights = toy_weights(BloomConfig(vocab_size=320, hidden_size=32, n_layer=2, n_head=4))
        model = wrap(weights, toy_tokenizer(), WHERE, needs_packs=False)
        assert "cannot read packs" in model.alone_because
    else:
        whole = Batch.attention_mask
        monkeypatch.setattr(Batch, "attention_mask", lambda self, dtype, window: torch.zeros_like(whole(self, dtype)))
        model = wrap(toy_weights("gpt2"), toy_tokenizer(), WHERE, needs_packs=False)
        assert "packed logits that differ" in model.alone_because
    trunk, first, second = draw_ids(1, 9), draw_ids(2, 3), draw_ids(3, 1)
    found = model.log_probs(collate([Pack(64, [branched_segment(0, trunk, [first, second])])]))
    expected = []
    for option in (first, second):
        log_p = model.model(input_ids=torch.tensor([trunk + option])).logits[0].detach().log_softmax(-1)
        expected += [float(log_p[len(trunk) + i - 1, token]) for i, token in enumerate(option)]
    assert found.tolist() == pytest.approx(expected, abs=1e-5)


def test_whatever_a_model_raises_at_packs_it_is_read_one_sequence_at_a_time(monkeypatch):
    def broken(self, *args, position_ids=None, **kwargs):
        if position_ids is not None:
            raise AttributeError("no last hidden state")
        return forward(self, *args, **kwargs)

    weights = toy_weights("llama")
    forward = type(weights.base_model).forward
    monkeypatch.setattr(type(weights.base_model), "forward", broken)
    model = wrap(weights, toy_tokenizer(), WHERE, needs_packs=False)
    assert model.alone_because == "a model that cannot read packs (no last hidden state)"
    with pytest.raises(ModelError, match="cannot read packs"):
        wrap(weights, toy_tokenizer(), WHERE)


def test_a_model_that_looks_both_ways_is_refused_without_need_of_packs():
    with pytest.raises(ModelError, match="looks ahead"):
        wrap(toy_weights(BertConfig(**SHAPE)), toy_tokenizer(), WHERE, needs_packs=False)


def test_head_and_softmax_take_few_positions_at_once(monkeypatch):
    model = toy_model("llama")
    batch = collate([Pack(64, draw_segments([9, 12, 20], num_supervised=8))])
    expected = model.log_probs(batch)
    monkeypatch.setattr(lm, "MAX_LOGITS", 5 * 320)
    sizes = []
    head = model.logits
    monkeypatch.setattr(model, "logits", lambda hidden: sizes.append(len(hidden)) or head(hidden))
    assert torch.allclose(model.log_probs(batch), expected, atol=1e-6)
    assert sum(sizes) == 24 and max(sizes) == 5


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_generation_ends_at_a_stop_text(kind, monkeypatch):
    model = toy_model(kind)
    prompts = [draw_ids(1, 5), draw_ids(2, 9), draw_ids(3, 3)]
    whole = model.generate(prompts, 24)
    texts = [model.codec.decode(ids) for ids in whole]
    stop = texts[0][4:6]
    steps = []
    forward = type(model.model).forward

    @functools.wraps(forward)  # what it takes decides what it is given
    def counting(*args, **kwargs):
        steps.append(1)
        return forward(*args, **kwargs)

    monkeypatch.setattr(type(model.model), "forward", counting)
    for ids, full, text in zip(model.generate(prompts, 24, [stop, "nowhere"]), whole, texts, strict=True):
        assert full[: len(ids)] == ids
        if stop in text:
            assert model.codec.decode(ids).index(stop) == text.index(stop)
        else:
            assert ids == full
    steps.clear()
    alone = model.generate(prompts[:1], 24, [stop])
    assert len(steps) == len(alone[0]) < 24


def gpt2_of(num_positions: int) -> GPT2Config:
    return GPT2Config(n_positions=num_positions, n_embd=32, n_layer=1, n_head=2, vocab_size=SHAPE["vocab_size"])


@pytest.mark.parametrize("num_positions", [1, 8, 22])
def test_too_few_positions_to_try_anything(num_positions):
    with pytest.raises(ModelError, match=f"found {num_positions} positions; expected at least 23"):
        wrapped(gpt2_of(num_positions))


def test_few_positions_are_enough():
    assert wrapped(gpt2_of(23)).max_positions == 23
