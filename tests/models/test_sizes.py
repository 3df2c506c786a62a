import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoConfig, GPTNeoConfig, GPTNeoForCausalLM, PreTrainedModel

from openflan.errors import ModelError
from openflan.models import estimate as estimate_module
from openflan.models.estimate import estimate
from openflan.models.load import load_config, load_model
from openflan.models.settings import ModelSettings
from openflan.models.sizes import check_sizes
from toys import composite_config, toy_config, toy_tokenizer, toy_weights

TOO_MUCH: list[tuple[str, Any]] = [
    ("num_hidden_layers", 100_000),
    ("num_hidden_layers", 10**8),
    ("hidden_size", 10**9),
    ("hidden_size", 10**20),
    ("vocab_size", 10**12),
    ("intermediate_size", 10**12),
    ("num_key_value_heads", 10**9),
    ("max_position_embeddings", 10**30),
]
WRONG: list[tuple[str, Any]] = [
    ("num_hidden_layers", "2"),
    ("num_hidden_layers", {}),
    ("num_hidden_layers", [2]),
    ("hidden_size", 0),
    ("hidden_size", -4),
    ("vocab_size", -1),
    ("num_key_value_heads", 0),
    ("hidden_act", "nope"),
    ("rope_parameters", {"rope_type": 5}),
    ("rope_parameters", {"rope_type": "dynamic", "factor": "x"}),
    ("text_config", "x"),
    ("text_config", {"model_type": "x"}),
]


def folder_with(folder: Path, name: str, value: Any, kind: str = "llama") -> Path:
    config = json.loads((composite_config() if kind == "composite" else toy_config(kind)).to_json_string())
    part = config["vision_config"] if kind == "composite" else config
    part[name] = value
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(("name", "value"), TOO_MUCH)
def test_more_than_any_model_has_is_refused_before_it_is_built(name, value, tmp_path):
    folder = folder_with(tmp_path, name, value)
    with pytest.raises(ModelError, match=rf"{name} .*; expected at most"):
        load_config(folder)


def test_so_it_is_in_a_part_of_a_composite_model(tmp_path):
    with pytest.raises(ModelError, match="num_hidden_layers 100,000; expected at most 2,000"):
        load_config(folder_with(tmp_path, "num_hidden_layers", 100_000, "composite"))


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_settings_of_the_wrong_kind_are_one_error(name, value, tmp_path, monkeypatch):
    monkeypatch.setattr(estimate_module, "MEASURING_SECONDS", 0.01)
    folder = folder_with(tmp_path, name, value)
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError):
        estimate(ModelSettings(path=str(folder)), 1000, 100, 64, "adafactor", pack_tokens=32)
    with pytest.raises(ModelError):
        load_model(ModelSettings(path=str(folder)))


def test_sizes_of_real_models_pass(tmp_path):
    for name, value in [("vocab_size", 262_144), ("max_position_embeddings", 10_485_760), ("rope_theta", 10**11)]:
        assert load_config(folder_with(tmp_path, name, value)).model_type == "llama"


@pytest.mark.parametrize("kind", ["llama", "gemma3n", "gemma4", "granite_swa", "granitemoe_swa", "deepseek_v3"])
def test_what_transformers_builds_by_default_passes(kind):
    check_sizes(AutoConfig.for_model(kind), Path(kind))


def saved(folder: Path, kind: PreTrainedModel, **changes: object) -> Path:
    kind.save_pretrained(folder)
    toy_tokenizer().save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_a_config_far_larger_than_its_weights_is_refused_before_it_is_built(tmp_path):
    folder = saved(tmp_path, toy_weights("llama"), hidden_size=2**16, vocab_size=2**20)
    with pytest.raises(ModelError, match=r"asks for 137,.* weights beside files with"):
        load_model(ModelSettings(path=str(folder)))


def test_a_mask_of_a_million_positions_squared_is_refused_before_it_is_built(tmp_path):
    shape = {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]]}
    shape |= {"vocab_size": 320, "bos_token_id": None, "eos_token_id": 0}
    neo = GPTNeoForCausalLM(GPTNeoConfig(max_position_embeddings=64, **shape))
    folder = saved(tmp_path, neo, max_position_embeddings=1_000_000)
    save_file({"table": torch.zeros(32, 1_000_000, dtype=torch.float8_e4m3fn)}, folder / "more.safetensors")
    with pytest.raises(ModelError, match="asks for 2,000,000,000,000 bytes besides the weights"):
        load_model(ModelSettings(path=str(folder)))
