"""Adapters that peft or a stranger wrote: those that change embeddings, and those that mean harm."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from openflan.errors import ModelError
from openflan.models.load import load_model, save_model
from openflan.models.settings import ModelSettings
from openflan.models.tokenizer import train_tokenizer
from toys import TEXTS, toy_config, toy_tokenizer, toy_weights

pytestmark = [
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),  # peft's
    pytest.mark.filterwarnings("ignore:.*:UserWarning:peft"),
]
QUERIES = "model.layers.0.self_attn.q_proj"


def base_of(folder: Path, tied: bool) -> Path:
    config = toy_config("llama")
    config.tie_word_embeddings = tied
    toy_weights(config).save_pretrained(folder)
    toy_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def bases(tmp_path_factory) -> dict[bool, Path]:
    folder = tmp_path_factory.mktemp("bases")
    return {tied: base_of(folder / str(tied), tied) for tied in (False, True)}


def write_adapter(base: Path, folder: Path, num_added: int = 0, **settings: object) -> torch.Tensor:
    """What peft saves, with weights that do something; the logits of its own model."""
    model = AutoModelForCausalLM.from_pretrained(base)
    if num_added:
        model.resize_token_embeddings(320 + num_added)
        tokenizer = train_tokenizer(TEXTS * 3, 319)
        tokenizer.add_tokens([f"<x{n}>" for n in range(num_added)])
        tokenizer.save_pretrained(folder)
    adapter = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=2, init_lora_weights=False, **settings)).eval()
    draw = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for weight in adapter.parameters():
            if weight.requires_grad:
                weight.add_(0.1 * torch.randn(weight.shape, generator=draw))
        adapter.save_pretrained(folder)
        return adapter(input_ids=torch.tensor([[5, 6, 7, 319 + num_added]])).logits[0]


def check_same(folder: Path, expected: torch.Tensor, last: int = 319) -> None:
    with torch.no_grad():
        found = load_model(ModelSettings(path=str(folder))).model(input_ids=torch.tensor([[5, 6, 7, last]])).logits[0]
    assert torch.equal(found, expected)


EMBEDDINGS = {
    "head": ({"target_modules": ["q_proj", "lm_head"]}, 0),
    "embeddings": ({"target_modules": ["q_proj", "embed_tokens"]}, 0),
    "both": ({"target_modules": ["q_proj", "embed_tokens", "lm_head"]}, 0),
    "added tokens": ({"target_modules": ["q_proj"]}, 2),
    "added tokens, trained": ({"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens", "lm_head"]}, 2),
    "some tokens": ({"target_modules": ["q_proj"], "trainable_token_indices": {"embed_tokens": [3, 319]}}, 0),
    "patterns": (
        {
            "target_modules": r".*\.(?:q|v)_proj",
            "exclude_modules": r".*\.1\..*v_proj",
            "rank_pattern": {"q_proj": 3, r".*\.v_proj": 1},
            "alpha_pattern": {r"^model.layers.0.self_attn.q_proj": 5},
            "use_rslora": True,
            "bias": "lora_only",
        },
        0,
    ),
    "layers": ({"target_modules": ["q_proj"], "layers_to_transform": [1], "layers_pattern": "layers"}, 0),
    "all linear": ({"target_modules": "all-linear", "use_dora": True}, 0),
}


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("name", EMBEDDINGS)
def test_an_adapter_of_peft_gives_the_logits_of_peft_and_is_saved_again(name, tied, bases, tmp_path):
    settings, num_added = EMBEDDINGS[name]
    expected = write_adapter(bases[tied], tmp_path / "adapter", num_added, **settings)
    check_same(tmp_path / "adapter", expected, 319 + num_added)
    save_model(load_model(ModelSettings(path=str(tmp_path / "adapter"))), tmp_path / "again")
    check_same(tmp_path / "again", expected, 319 + num_added)


def test_rows_for_one_of_two_tables_are_not_enough(bases, tmp_path):
    write_adapter(bases[False], tmp_path / "adapter", 2, target_modules=["embed_tokens"])
    with pytest.raises(ModelError, match=r"rows for one of the two tables of embeddings.*save_embedding_layers=True"):
        load_model(ModelSettings(path=str(tmp_path / "adapter")))


def test_added_tokens_without_rows_are_not_made_up(bases, tmp_path):
    write_adapter(bases[False], tmp_path / "adapter", 2, target_modules=["q_proj"])
    weights = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    kept = {name: weight for name, weight in weights.items() if "lora" in name}
    save_file(kept, tmp_path / "adapter" / "adapter_model.safetensors")
    with pytest.raises(ModelError, match=r"highest id is 321 and a model with 320 rows.*save_embedding_layers"):
        load_model(ModelSettings(path=str(tmp_path / "adapter")))


@pytest.fixture(scope="module")
def plain(bases, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("plain") / "adapter"
    write_adapter(bases[False], folder, target_modules=["q_proj"])
    return folder


HOSTILE: dict[str, tuple[dict[str, object], str]] = {
    "an unknown kind": ({"peft_type": "NOPE"}, "an adapter of type 'NOPE'; expected LORA or PROMPT_TUNING"),
    "a kind that is a list": ({"peft_type": ["LORA"]}, r"an adapter of type \['LORA'\]"),
    "a kind that is missing": ({"peft_type": None}, "an adapter of type None"),
    "a text as alpha": ({"lora_alpha": "16"}, "lora_alpha: Input should be a valid number"),
    "an endless alpha": ({"lora_alpha": float("inf")}, "lora_alpha: Input should be a finite number"),
    "no rank": ({"r": None}, "r: Input should be a valid integer"),
    "rank zero": ({"r": 0}, "r: Input should be greater than or equal to 1"),
    "a rank of a billion": ({"r": 10**9}, "rank 1000000000; expected at most 32, the longest side of its weights"),
    "a rank of a billion for a layer": ({"rank_pattern": {"q_proj": 10**9}}, "rank 1000000000; expected at most 32"),
    "a list of ranks": ({"rank_pattern": [3]}, "rank_pattern: Input should be a valid dictionary"),
    "a bias of another kind": ({"bias": "nope"}, "bias: Input should be 'none', 'all' or 'lora_only'"),
    "a setting without another": ({"layers_pattern": "h"}, "settings that peft refuses .*layers_to_transform"),
    "a number as target": ({"target_modules": 3}, "target_modules"),
    "a broken pattern": ({"target_modules": "(a"}, r"the pattern '\(a'"),
    "a pattern that looks ahead": ({"target_modules": "(?!x).*"}, "one without backtracking, or a list of names"),
    "a pattern that grows": ({"target_modules": "(?:a{1000}){1000}"}, "the pattern"),
    "an endless pattern": ({"target_modules": "(?:[a-z._0-9]+)+!"}, "adapter: found .*target"),
    "a pattern of a million": ({"target_modules": "a" * 10**6}, "target_modules"),
    "a million targets": ({"target_modules": ["q_proj"] * 10**6}, "target_modules"),
    "weights that need data": ({"init_lora_weights": "eva"}, "init_lora_weights"),
    "LoftQ": ({"init_lora_weights": "loftq"}, "init_lora_weights"),
    "arrow": (
        {"arrow_config": {"top_k": 3}},
        r"arrow_config \{'top_k': 3\}; expected one of the settings of plain LoRA",
    ),
    "layers a billion times": ({"layer_replication": [[0, 10**9]]}, "layer_replication"),
    "Megatron": ({"megatron_config": {"a": 1}, "megatron_core": "os"}, "megatron_config"),
    "another task": ({"task_type": "SEQ_CLS"}, "task_type: Input should be 'CAUSAL_LM'"),
    "a base of 5,000 letters": ({"base_model_name_or_path": "x" * 5000}, "is no model folder here"),
    "a base with a nul": ({"base_model_name_or_path": "a\0b"}, "is no model folder here"),
    "a list as base": ({"base_model_name_or_path": []}, "is no model folder here"),
    "tokens that are not there": ({"trainable_token_indices": [10**9]}, "adapter"),
    "layers that are not there": ({"target_modules": ["nope"]}, "adapter: found .*nope"),
    "no virtual tokens": ({"peft_type": "PROMPT_TUNING"}, "num_virtual_tokens: Field required"),
    "a billion virtual tokens": (
        {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 10**9},
        "num_virtual_tokens 1000000000; expected at most 32",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_settings_that_mean_harm_are_refused_before_peft_reads_them(name, plain, tmp_path):
    changes, message = HOSTILE[name]
    folder = Path(shutil.copytree(plain, tmp_path / "adapter"))
    config = json.loads((folder / "adapter_config.json").read_text()) | changes
    (folder / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=message) as caught:
        load_model(ModelSettings(path=str(folder)))
    assert len(str(caught.value)) < 8_000


@pytest.mark.parametrize("content", ["", "[]", "3", "[" * 100_000, '{"peft_type": ' + '{"a":' * 500])
def test_a_config_that_is_no_object_is_told(content, plain, tmp_path):
    folder = Path(shutil.copytree(plain, tmp_path / "adapter"))
    (folder / "adapter_config.json").write_text(content)
    with pytest.raises(ModelError, match=r"adapter_config.json: found"):
        load_model(ModelSettings(path=str(folder)))


def test_a_pattern_that_never_ends_takes_no_time(plain, tmp_path):
    folder = Path(shutil.copytree(plain, tmp_path / "adapter"))
    config = json.loads((folder / "adapter_config.json").read_text())
    config |= {"target_modules": r"(?:[a-z0-9_]+\.?)+self_attn\.q_proj", "rank_pattern": {"(?:.*.*)*.*!": 1}}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    model = load_model(ModelSettings(path=str(folder)))
    assert f"base_model.model.{QUERIES}.lora_A.weight" in model.state()


def test_the_first_text_of_a_prompt_loads_no_tokenizer(bases, tmp_path):
    """Peft would pass these options on to transformers, which would run the code."""
    folder, trace = tmp_path / "adapter", tmp_path / "trace"
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "code.py").write_text(f"open({str(trace)!r}, 'w')")
    auto = {"auto_map": {"AutoTokenizer": ["code.Words", None]}, "tokenizer_class": "Words"}
    (tmp_path / "words" / "tokenizer_config.json").write_text(json.dumps(auto))
    folder.mkdir()
    save_file({"prompt_embeddings": torch.ones(3, 32)}, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "PROMPT_TUNING",
        "num_virtual_tokens": 3,
        "prompt_tuning_init": "TEXT",
        "task_type": "CAUSAL_LM",
    }
    config |= {"prompt_tuning_init_text": "a", "tokenizer_name_or_path": str(tmp_path / "words")}
    config |= {"tokenizer_kwargs": {"trust_remote_code": True}, "base_model_name_or_path": str(bases[False])}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    assert load_model(ModelSettings(path=str(folder))).codec.before == (320, 321, 322)
    assert not trace.exists()
