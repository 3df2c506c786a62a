"""The JSON files of a model's folder and of an adapter's, as strangers may write them."""

import json
import shutil
from pathlib import Path

import pytest

from fuzz.mutate import fuzz, json_files, only_openflan_errors
from openflan.models import chat_template, tokenizer_limits
from openflan.models.adapters import load_adapter
from openflan.models.folder import base_folder, end_ids, prompt_format
from openflan.models.load import load_config, save_model
from openflan.models.settings import LoraSettings
from openflan.models.tokenizer import codec_of, load_tokenizer
from toys import toy_config, toy_model, toy_tokenizer

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # what other libraries say of such files
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
LORA = {
    "peft_type": "LORA",
    "task_type": "CAUSAL_LM",
    "base_model_name_or_path": "base",
    "r": 2,
    "lora_alpha": 4,
    "lora_dropout": 0.0,
    "target_modules": ["q_proj"],
    "exclude_modules": None,
    "rank_pattern": {"v_proj": 2},
    "alpha_pattern": {},
    "bias": "none",
    "modules_to_save": None,
    "layers_to_transform": None,
    "layers_pattern": None,
    "init_lora_weights": True,
    "use_dora": False,
    "use_rslora": False,
    "trainable_token_indices": None,
}
CONFIG = json.loads(toy_config("llama").to_json_string(use_diff=False))
TOKENIZER = json.loads(toy_tokenizer().backend_tokenizer.to_str())
NAMES = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|end|>", "pad_token": "<|pad|>"}
NAMES |= {"model_max_length": 128, "clean_up_tokenization_spaces": False, "added_tokens_decoder": {}}
NAMES |= {"chat_template": "{% for m in messages %}{{ m.content }}<|end|>{% endfor %}", "bos_token": None}


@pytest.fixture(scope="module")
def adapter(tmp_path_factory) -> Path:
    from openflan.models.adapters import add_adapter
    from openflan.models.load import load_model
    from openflan.models.settings import ModelSettings

    folder = tmp_path_factory.mktemp("adapter")
    save_model(toy_model("llama"), folder / "base")
    model = load_model(ModelSettings(path=str(folder / "base")))
    add_adapter(model, LoraSettings(rank=2, targets=("q_proj",)), 0)
    save_model(model, folder / "adapter")
    (folder / "adapter" / "adapter_base.json").unlink()  # whose fingerprint would be asked first
    return folder / "adapter"


@fuzz(json_files(LORA), share=0.5)
def test_adapter_config(adapter, content):
    (adapter / "adapter_config.json").write_bytes(content)

    def load() -> None:
        base_folder(adapter)
        load_adapter(toy_model("llama"), adapter)

    only_openflan_errors(load)


@fuzz(json_files({"path": "base", "fingerprint": "a" * 16}))
def test_record_of_a_base(tmp_path, content):
    (tmp_path / "adapter_config.json").write_text(json.dumps({**LORA, "base_model_name_or_path": "nowhere"}))
    (tmp_path / "adapter_base.json").write_bytes(content)
    only_openflan_errors(base_folder, tmp_path)


@fuzz(json_files(CONFIG))
def test_config(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    only_openflan_errors(load_config, tmp_path)


@fuzz(json_files({"eos_token_id": [0, 3], "pad_token_id": 1, "do_sample": True}))
def test_generation_config(tmp_path, content):
    (tmp_path / "generation_config.json").write_bytes(content)
    only_openflan_errors(end_ids, tmp_path)


@fuzz(json_files({"separator": "\n", "chat_template": True}))
def test_prompt_format(tmp_path, content):
    (tmp_path / "prompt_format.json").write_bytes(content)
    only_openflan_errors(prompt_format, tmp_path)


@pytest.fixture(autouse=True, scope="module")
def in_this_process():
    """A process for each of thousands of templates and tokenizers would take hours; theirs are tested in
    `test_chat_template.py` and `test_tokenizer_limits.py`."""

    def rendered(asked: str, seconds: float) -> str:
        try:
            return chat_template.fill(asked)
        except Exception as exc:  # which ends the other process
            raise ValueError(str(exc)) from exc

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chat_template, "_rendered", rendered)
        patch.setattr(tokenizer_limits, "run_apart", lambda *asked: "")
        yield


def read_tokenizer(folder: Path) -> None:
    codec = codec_of(load_tokenizer(str(folder)), folder, chat_template=True)
    codec.decode([*codec.prompt_ids("The cat\nsat."), *codec.encode_targets(["Yes"])[0]])


@fuzz(json_files(TOKENIZER), share=0.5)
def test_tokenizer(tmp_path, content):
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(NAMES))
    (tmp_path / "tokenizer.json").write_bytes(content)
    only_openflan_errors(read_tokenizer, tmp_path)


@fuzz(json_files(NAMES), share=0.5)
def test_tokenizer_config(tmp_path, content):
    shutil.rmtree(tmp_path, ignore_errors=True)
    toy_tokenizer().save_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").write_bytes(content)
    only_openflan_errors(read_tokenizer, tmp_path)


def test_what_is_not_damaged_is_read(adapter, tmp_path):
    """Or else the tests above would show nothing."""
    (adapter / "adapter_config.json").write_text(json.dumps({**LORA, "base_model_name_or_path": "base"}))
    load_adapter(toy_model("llama"), adapter)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    assert load_config(tmp_path).hidden_size == 32
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(NAMES))
    (tmp_path / "tokenizer.json").write_text(json.dumps(TOKENIZER))
    read_tokenizer(tmp_path)
