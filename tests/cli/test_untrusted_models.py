"""A model's folder may hold code: no command runs it, whatever is typed or piped into the question about it."""

import io
import json
import shutil
import sys
from pathlib import Path

import pytest

from openflan.errors import ModelError
from openflan.models.load import load_config

CODE = """
from pathlib import Path
Path({trace!r}).write_text("the code ran")
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
class Config(LlamaConfig):
    model_type = "code-of-its-own"
class Model(LlamaForCausalLM):
    config_class = Config
class Words(PreTrainedTokenizerFast):
    pass
"""
CLASSES = {
    "AutoConfig": "code.Config",
    "AutoModelForCausalLM": "code.Model",
    "AutoTokenizer": ["code.Words", "code.Words"],
}
YES = "y\n" * 1000
NEVER_RUN = "which is never run"


def change_json(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.fixture
def trace(tmp_path) -> Path:
    """What would be there if any code had run."""
    return tmp_path / "trace"


@pytest.fixture
def with_code(own_place, trace) -> Path:
    """A model whose config, weights and tokenizer all name code in the folder."""
    folder = own_place.model
    (folder / "code.py").write_text(CODE.format(trace=str(trace)))
    change_json(folder / "config.json", auto_map=CLASSES, model_type="code-of-its-own")
    change_json(folder / "tokenizer_config.json", auto_map=CLASSES, tokenizer_class="Words")
    return folder


@pytest.fixture
def told_yes(monkeypatch):
    """Standard input of a command behind `yes |`."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(YES))


def check_refused(ended, trace: Path) -> None:
    assert ended.code == 2, ended.out + ended.err
    assert ended.err.startswith("openflan: ") and ended.err.count("\n") == 1
    assert NEVER_RUN in ended.err and "auto_map" in ended.err
    assert not trace.exists()


@pytest.mark.usefixtures("told_yes")
@pytest.mark.parametrize("command", ["eval", "baseline", "preview", "plan", "export", "server"])
def test_no_command_runs_code_of_a_folder(command, with_code, own_place, recipe, call, trace, tmp_path):
    task = (*own_place.arguments, "--task", "mood")
    ended = {
        "eval": lambda: call("eval", with_code, *task, "--out", tmp_path / "out"),
        "baseline": lambda: call("eval", "base", "--baseline", with_code, *task, "--limit", 1, "--out", tmp_path / "o"),
        "preview": lambda: call("preview", "world_sst", "--model", with_code),
        "plan": lambda: call("plan", recipe, "--set", f"model.path={with_code}"),
        "export": lambda: call("export", "lm-eval", tmp_path / "out", "--task", "world_sst", "--model", with_code),
        "server": lambda: call("eval", "http://127.0.0.1:1/v1", "--tokenizer", with_code, *task),
    }[command]()
    check_refused(ended, trace)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["run", "train"])
def test_no_run_runs_code_of_a_folder(command, with_code, recipe, openflan_command, trace, tmp_path):
    given = "--set", f"model.path={with_code}", "--out", tmp_path / "run"
    check_refused(openflan_command(command, recipe, *given, stdin=YES), trace)


def test_an_adapter_brings_no_code_of_its_base_or_its_own(with_code, own_place, trace, call, tmp_path, told_yes):
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_model.safetensors").write_bytes(b"")
    (adapter / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "base_model_name_or_path": str(with_code), "auto_mapping": CLASSES})
    )
    shutil.copy(with_code / "code.py", adapter)
    task = (*own_place.arguments, "--task", "mood", "--out", tmp_path / "out")
    check_refused(call("eval", adapter, *task), trace)


def test_a_tokenizer_alone_brings_no_code(own_place, trace, call, told_yes, tmp_path):
    """Beside a config that transformers knows its own class may serve instead; the code does not."""
    folder = own_place.model
    (folder / "code.py").write_text(CODE.format(trace=str(trace)))
    change_json(folder / "tokenizer_config.json", auto_map=CLASSES, tokenizer_class="Words")
    ended = call("eval", folder, *own_place.arguments, "--task", "mood", "--limit", 1, "--out", tmp_path / "out")
    assert ended.code in (0, 2), ended.err
    assert not trace.exists()


def test_known_architectures_are_read_without_the_code_beside_them(own_place, trace, call, tmp_path):
    folder = own_place.model
    (folder / "code.py").write_text(CODE.format(trace=str(trace)))
    change_json(folder / "config.json", auto_map=CLASSES)
    ended = call("eval", folder, *own_place.arguments, "--task", "mood", "--limit", 1, "--out", tmp_path / "out")
    assert ended.code == 0, ended.err
    assert not trace.exists()


def test_attention_from_the_hub_is_refused(own_place):
    change_json(own_place.model / "config.json", attn_implementation="somebody/attention")
    with pytest.raises(ModelError, match=r"asks for attention from the hub \(somebody/attention\)"):
        load_config(own_place.model)
