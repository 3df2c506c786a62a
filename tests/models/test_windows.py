"""Windows and chunks are kept in packs, after shared beginnings, in training and in generation: as transformers itself
reads each sequence with plain eager attention, at half a window, one, two and three."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    BltConfig,
    Gemma3nConfig,
    Gemma4Config,
    Gemma4UnifiedConfig,
    GotOcr2Config,
    GPTNeoConfig,
    LagunaConfig,
    Llama4Config,
    LlamaConfig,
    MistralConfig,
    MllamaConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen3_5Config,
)

from openflan.errors import ModelError
from openflan.models.lm import HuggingFaceModel
from openflan.models.load import load_model, wrap
from openflan.models.settings import ModelSettings
from openflan.models.windows import NO_LIMIT, OTHER_LIMIT, Windows, described, text_config, windows_of
from openflan.tokens.batch import Window, collate
from openflan.tokens.pack import Pack, Segment, branched_segment, plain_segment, shared_segment
from openflan.training.loss import summed_loss
from toys import HEADS, NUM_IDS, SHAPE, composite_config, draw_ids, toy_tokenizer, toy_weights

WHERE = Path("toy")
WINDOW = 8
LENGTHS = (4, 8, 16, 24)
HALF = {"layer_types": ["sliding_attention", "full_attention"]}
EXPERTS = {"num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4, "num_experts_per_tok": 2}
EXPERTS |= {"moe_intermediate_size": 32, "intermediate_size_mlp": 32, "moe_num_shared_experts": 1}
ANY: dict[str, Any] = SHAPE | HEADS | EXPERTS | {"sliding_window": WINDOW, "use_sliding_window": True}
ANY |= {"pad_token_id": None, "max_window_layers": 0, "query_pre_attn_scalar": 8, "attention_chunk_size": WINDOW}
ANY |= {"vocab_size_per_layer_input": NUM_IDS, "hidden_size_per_layer_input": 8, "num_kv_shared_layers": 0}
# Sparse attention: each query looks at the `index_topk` keys that an indexer ranks first.
SPARSE: dict[str, Any] = {
    "num_key_value_heads": 4, "kv_lora_rank": 16, "q_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8,
    "v_head_dim": 8, "n_shared_experts": 1, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1,
    "index_topk": WINDOW, "index_head_dim": 16, "index_n_heads": 4, "layer_types": ["indexed_attention"] * 2,
    "mlp_layer_types": ["dense", "sparse"],
}  # fmt: skip
COMPRESSED: dict[str, Any] = {
    "num_key_value_heads": 1, "head_dim": 16, "q_lora_rank": 16, "o_groups": 2, "o_lora_rank": 8, "hc_mult": 2,
    "num_hidden_layers": 3, "mlp_layer_types": ["moe"] * 3, "index_topk": 2, "index_head_dim": 16, "index_n_heads": 4,
    "layer_types": ["sliding_attention", "compressed_sparse_attention", "heavily_compressed_attention"],
    "compress_rates": {"compressed_sparse_attention": 4, "heavily_compressed_attention": WINDOW},
}  # fmt: skip
STATES: dict[str, Any] = {
    "layers_block_type": ["linear_attention", "full_attention", "moe", "mlp"], "ssm_state_size": 8, "chunk_size": 8,
    "mamba_num_heads": 4, "mamba_head_dim": 8, "n_groups": 2, "moe_shared_expert_intermediate_size": 16,
}  # fmt: skip
HASHED: dict[str, Any] = {
    "attn_layers": ["local", "local"], "attention_head_size": 8, "axial_pos_embds": False, "feed_forward_size": 64,
    "local_attn_chunk_length": WINDOW, "lsh_attn_chunk_length": WINDOW, "is_decoder": True,
}  # fmt: skip
SMALL = {name: SHAPE[name] for name in ("hidden_size", "intermediate_size", "num_hidden_layers", "initializer_range")}
SMALL |= {"num_attention_heads": 4, "max_position_embeddings": 128}
# Bytes in patches, which end where a small model of its own is less sure than the threshold: here after 1 to 10 ids.
LOCAL = SMALL | {"vocab_size": NUM_IDS, "hidden_size_global": 64}
PATCHES: dict[str, Any] = {
    "encoder_config": LOCAL, "decoder_config": LOCAL, "global_config": SMALL | {"hidden_size": 64},
    "patcher_config": SMALL | {"vocab_size": NUM_IDS, "sliding_window": WINDOW}, "patching_threshold": 5.3,
    "local_attention_window_len": WINDOW, "encoder_hash_byte_group_vocab": 100,
}  # fmt: skip
# Parts for images and sound, which are built and not run.
SEEING = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}
SEEING |= {"image_size": 16, "patch_size": 8}
HEARING = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_blocks": 1, "input_size": 16}
HEARING |= {"ext_pw_out_channel": 16, "depthwise_seperable_out_channel": 16, "nemo_conv_channels": 16}
OWN_IDS = {"pad_token_id": 1, "bos_token_id": 2}
STATEFUL = {"num_key_heads": 2, "num_value_heads": 2, "key_head_dim": 8, "value_head_dim": 8}
ROTARY = {"rope_type": "default", "rope_theta": 10_000.0}
CHANGES: dict[str, dict[str, Any]] = {
    "AXK2Config": SPARSE | {"gated_norm_rank": 8},
    "BltConfig": PATCHES,
    "CohereCompassTextConfig": HALF | {"rope_parameters": dict.fromkeys(HALF["layer_types"], ROTARY)},
    "CwmConfig": {"bos_token_id": 2},
    "DeepseekV32Config": SPARSE,
    "DeepseekV4Config": COMPRESSED,
    "Dots1Config": {"n_shared_experts": 1},
    "Dots3NoteTextConfig": SPARSE
    | {"layer_types": ["sliding_attention", "indexed_attention"], "per_layer_config": None, "head_dim": 16}
    | {"shared_experts_intermediate_size": 32},
    "GlmMoeDsaConfig": SPARSE | {"indexer_types": ["full", "full"]},
    "MiniMaxConfig": {"layer_types": ["full_attention", "linear_attention"], "sliding_window": None},
    "ModernBertDecoderConfig": {"pad_token_id": 1, "bos_token_id": 2, "local_attention": 2 * WINDOW},
    "MllamaTextConfig": {"num_hidden_layers": 3, "cross_attention_layers": [1]},
    "NemotronHConfig": STATES,
    "Phi4MultimodalConfig": OWN_IDS
    | {"vision_config": SEEING | {"num_hidden_layers": 2, "crop_size": 16}, "audio_config": HEARING},
    "Qwen3_5TextConfig": {f"linear_{name}": value for name, value in STATEFUL.items()},
    "RecurrentGemmaConfig": {"num_hidden_layers": 3, "lru_width": 32, "attention_window_size": WINDOW},
    "ReformerConfig": HASHED | {"pad_token_id": 1},
    "ZayaConfig": {"layer_types": ["hybrid_sliding", "hybrid"], "router_hidden_size": 16, "num_experts_per_tok": 1},
}
SHAPE_OF_NEO = {"vocab_size": NUM_IDS, "hidden_size": 32, "num_layers": 2, "num_heads": 4, "initializer_range": 0.2}
SHAPE_OF_NEO |= {"attention_types": [[["global", "local"], 1]], "eos_token_id": 0, "bos_token_id": None}
KINDS, ONE = "a mask for each kind of layer", "one mask"
MODES = {
    f"segments, {KINDS}": "Beam CohereCompassText Cohere2 Cohere2Moe Cwm Dots1 Exaone4 ExaoneMoe Gemma3Text "
    "Gemma3nText Gemma4Text Gemma4UnifiedText Kolibri1 Laguna Llama4Text Mellum Ministral Olmo3 Qwen2 Qwen2Moe Qwen3 "
    "SmolLM3",
    f"segments, {ONE}": "Ministral3 Mistral Mixtral Phi3 Phi4Multimodal Phimoe Qwen3Moe Starcoder2",
    # Soft caps and sinks within attention, or gates on it, are not what torch's sdpa does.
    f"packs, {KINDS}": "Afmoe Flint Gemma2 GptOss GraniteMoeSWA GraniteSWA MiMoV2Flash VaultGemma",
    "alone": "AXK2 Blt DeepseekV32 DeepseekV4 Doge Dots3NoteText GlmMoeDsa GPTNeo HYV4 Inkling2Text InklingText Lfm3 "
    "MiniMax MiniMaxM3VLText ModernBertDecoder Moshi NemotronH RecurrentGemma Reformer Zaya",
}
MODE_OF = {f"{name}Config": mode for mode, names in MODES.items() for name in names.split()}
COMPOSITES = {
    Gemma4Config: f"segments, {KINDS}",
    Gemma4UnifiedConfig: f"segments, {KINDS}",
    GotOcr2Config: f"packs, {KINDS}",
    Llama4Config: f"segments, {KINDS}",
    MllamaConfig: f"segments, {ONE}",
    Qwen3_5Config: "alone",
}
"""Models whose text config lies within their own, and how they read packs."""
QUICK = ("Gemma3TextConfig", "GPTNeoConfig", "GptOssConfig", "Llama4TextConfig", "MistralConfig")


def configs_with_windows() -> dict[str, type[PreTrainedConfig]]:
    """By name: every text config of a causal language model that has a setting of windows or chunks."""
    found = {}
    for outer in MODEL_FOR_CAUSAL_LM_MAPPING:
        try:
            config = text_config(outer())
        except Exception:  # no default configuration is valid
            continue
        kinds = " ".join(map(str, getattr(config, "layer_types", None) or ()))
        if (
            "sliding" in kinds
            or "chunk" in kinds
            or any(OTHER_LIMIT.search(name) and not NO_LIMIT.search(name) for name in vars(config))
        ):
            found[type(config).__name__] = type(config)
    return found


def toy_config(cls: type[PreTrainedConfig], **changes: Any) -> PreTrainedConfig:
    """Two layers, the first with a window where kinds of layers differ; `changes` replace what they name."""
    if cls is GPTNeoConfig:
        return GPTNeoConfig(**SHAPE_OF_NEO, window_size=WINDOW, max_position_embeddings=128)
    default = cls()
    known = {name: value for name, value in ANY.items() if name in vars(default) or hasattr(cls, name)}
    kinds = list(dict.fromkeys(getattr(default, "layer_types", None) or ()))
    if kinds and hasattr(default, "sliding_window") and not any("sliding" in kind for kind in kinds):
        kinds = ["sliding_attention", "full_attention"]
    if kinds and not hasattr(default, "layers_block_type"):
        known["layer_types"] = sorted(kinds, key=lambda kind: "full" in kind)[:2] * (2 if len(kinds) == 1 else 1)
    return cls(**known | CHANGES.get(cls.__name__, {}) | changes)


def toy_composite(cls: type[PreTrainedConfig]) -> PreTrainedConfig:
    """A small text config within one of several parts."""
    text = toy_config(type(text_config(cls())), **OWN_IDS).to_dict()
    return cls(text_config=text, **({"vision_config": SEEING} if getattr(cls(), "vision_config", None) else {}))


def mode(model: HuggingFaceModel) -> str:
    """How packs are read, and with which masks."""
    if model.alone_because is not None:
        return "alone"
    kind = "one mask" if "" in model.windows.by_kind else "a mask for each kind of layer"
    return f"{'segments' if model.attend_in_segments() else 'packs'}, {kind}"


def alone(model: PreTrainedModel, start: list[int], end: list[int]) -> list[float]:
    """Log-probabilities of `end` after `start` as transformers' own eager forward has them."""
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([start + end]), use_cache=False).logits[0].float().log_softmax(-1)
    return [float(logits[len(start) + i - 1, token]) for i, token in enumerate(end)]


def asked() -> tuple[list[Segment], list[tuple[list[int], list[int]]]]:
    """Alone, branched into options, and prompts that share a beginning; what is predicted after what, in order."""
    segments: list[Segment] = []
    paths = []
    for number, length in enumerate(LENGTHS):
        a, b, c, d = (draw_ids(10 * number + i, n) for i, n in enumerate((length, 5, 3, 2)))
        segments.append(plain_segment(3 * number, a + c, 3))
        segments.append(branched_segment(3 * number + 1, a, [c, d, c + d]))
        segments.append(shared_segment(3 * number + 2, a, [(b, [c, d]), (c, [d])]))
        paths += [(a, c), (a, c), (a, d), (a, c + d), (a + b, c), (a + b, d), (a + c, d)]
    return segments, paths


def check_all(config: PreTrainedConfig, num_new: int = 5) -> str:
    """Ranking, training and generation against the plain model; how the model reads packs."""
    plain = toy_weights(config, "eager")
    model = wrap(toy_weights(config), toy_tokenizer(), WHERE, needs_packs=False)
    found = mode(model)
    segments, paths = asked()
    expected = [value for start, end in paths for value in alone(plain, start, end)]
    for packs in ([Pack(999, segments)], [Pack(999, [segment]) for segment in segments]):
        assert model.log_probs(collate(packs)).tolist() == pytest.approx(expected, abs=2e-4)
    if model.alone_because is None:
        trained = [plain_segment(n, draw_ids(n, length), 3) for n, length in enumerate(LENGTHS)]
        with torch.no_grad():
            loss = float(summed_loss(model, collate([Pack(99, trained[:2]), Pack(99, trained[2:])])))
        every = [alone(plain, list(s.ids[:-3]), list(s.ids[-3:])) for s in trained]
        assert loss == pytest.approx(-sum(map(sum, every)), abs=1e-3)
    prompts = [draw_ids(n, length) for n, length in enumerate(LENGTHS)]
    assert model.generate(prompts, num_new) == [greedy(plain, prompt, num_new) for prompt in prompts]
    return found


def greedy(model: PreTrainedModel, prompt: list[int], num_new: int) -> list[int]:
    ids = list(prompt)
    for _ in range(num_new):
        with torch.inference_mode():
            token = int(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax())
        if token == 0:
            break
        ids.append(token)
    return ids[len(prompt) :]


def test_every_architecture_with_a_window_is_in_the_list():
    assert configs_with_windows().keys() == MODE_OF.keys()
    assert len(MODE_OF) == 58


@pytest.mark.parametrize("name", QUICK)
def test_windows_are_kept(name):
    assert check_all(toy_config(configs_with_windows()[name])) == MODE_OF[name]


@pytest.mark.slow
def test_windows_are_kept_in_every_architecture():
    found = {}
    for name, cls in configs_with_windows().items():
        if name not in QUICK:
            try:
                found[name] = check_all(toy_config(cls))
            except Exception as exc:
                raise AssertionError(name) from exc
    assert found == {name: mode for name, mode in MODE_OF.items() if name not in QUICK}


def test_windows_of_a_composite_model_are_kept():
    assert check_all(composite_config(window=WINDOW)) == f"segments, {KINDS}"


@pytest.mark.parametrize("cls", COMPOSITES)
def test_a_composite_model_reads_as_it_does_alone(cls):
    config = toy_composite(cls)
    assert text_config(config) is not config
    assert check_all(config) == COMPOSITES[cls]


@pytest.mark.skipif(find_spec("timm") is not None, reason="timm is there, so the model can be built")
def test_a_composite_gemma_3n_without_timm_is_refused_in_words(tmp_path):
    """Its part for images is built by timm, which nothing here depends on. The text model is in the list above."""
    toy_composite(Gemma3nConfig).save_pretrained(tmp_path)
    toy_tokenizer().save_pretrained(tmp_path)
    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=r"requires the timm library .* `pip install timm`"):
        load_model(ModelSettings(path=str(tmp_path)))
    assert MODE_OF["Gemma3nTextConfig"] == f"segments, {KINDS}"


def test_patches_of_bytes_are_of_several_lengths_in_the_toy():
    """Else the model would be an ordinary one."""
    model = toy_weights(toy_config(BltConfig))
    config, ids = model.config, torch.tensor([draw_ids(3, LENGTHS[-1])])
    _, lengths, _ = model.model.patcher(
        ids, patch_size=config.patch_size, threshold=config.patching_threshold, device=ids.device
    )
    assert {1, 2} < set(lengths[0].tolist())


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_windows_are_kept_under_a_mask(attention):
    """As on a GPU."""
    plain = toy_weights(composite_config(window=WINDOW), "eager")
    model = wrap(toy_weights(composite_config(window=WINDOW), attention), toy_tokenizer(), WHERE)
    segments, paths = asked()
    expected = [value for start, end in paths for value in alone(plain, start, end)]
    assert model.log_probs(collate([Pack(999, segments)])).tolist() == pytest.approx(expected, abs=2e-4)


def test_a_window_that_counts_columns_reads_alone_but_can_be_trained():
    """GPT-Neo's, which no branches precede in training."""
    config = GPTNeoConfig(**SHAPE_OF_NEO, window_size=32, max_position_embeddings=128)
    model = wrap(toy_weights(config), toy_tokenizer(), WHERE)
    assert model.alone_because.startswith("packed logits that differ by")
    plain = toy_weights(config, "eager")
    lengths = (40, 70, 12)
    batch = collate([Pack(199, [plain_segment(n, draw_ids(n, length), 9) for n, length in enumerate(lengths)])])
    with torch.no_grad():
        loss = float(summed_loss(model, batch))
    every = [alone(plain, draw_ids(n, length)[:-9], draw_ids(n, length)[-9:]) for n, length in enumerate(lengths)]
    assert loss == pytest.approx(-sum(map(sum, every)), abs=1e-3)


def test_a_limit_that_is_too_long_to_be_tried_is_named():
    config = GPTNeoConfig(**SHAPE_OF_NEO, window_size=600)
    model = wrap(toy_weights(config), toy_tokenizer(), WHERE, needs_packs=False)
    assert model.alone_because == "layers with a window size of 600 tokens"
    with pytest.raises(ModelError, match=r"window size of 600 tokens; expected at most 512"):
        wrap(toy_weights(config), toy_tokenizer(), WHERE)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (MistralConfig(**SHAPE, sliding_window=WINDOW), [{"": (8, False)}]),
        (MistralConfig(**SHAPE, sliding_window=None), [{"": None}]),
        (composite_config(WINDOW), [{"sliding_attention": (8, False), "full_attention": None}, {"": (8, False)}]),
        (LlamaConfig(**SHAPE), [{"": None}]),
        (LagunaConfig(), [{"": None}]),  # it has a window, and no layer that uses it
    ],
)
def test_the_ways_to_keep_windows(config, expected):
    assert [windows.by_kind for windows in windows_of(config)] == expected


def test_the_config_is_as_it_was_after_the_check():
    model = wrap(toy_weights(composite_config(WINDOW)), toy_tokenizer(), WHERE)
    configs = [module.config for module in model.model.modules() if hasattr(module, "config")]
    assert {c.sliding_window for c in map(text_config, configs) if hasattr(c, "sliding_window")} == {WINDOW}


def test_what_was_found_in_words():
    config = composite_config(1024)
    found = "sliding window of 1,024 tokens in 1 of 2 layers, at most 128 positions"
    assert described(config, windows_of(config)[0]) == found
    assert described(config, Windows({"": Window(8192, True)})) == "chunks of 8,192 tokens, at most 128 positions"
    model = wrap(toy_weights(config), toy_tokenizer(), WHERE)
    assert model.reading == f"packs under a mask, {found}"
    assert model.attend_in_segments() and model.reading == f"packs segment by segment, {found}"
    neo = toy_weights(toy_config(GPTNeoConfig))
    reading = wrap(neo, toy_tokenizer(), WHERE, needs_packs=False).reading
    assert reading == "one sequence at a time, at most 128 positions"
