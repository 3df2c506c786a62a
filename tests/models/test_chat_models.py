"""Models that are asked through a chat template: what is saved is asked the same way."""

from pathlib import Path

import pytest
import torch

from openflan.errors import ModelError
from openflan.models.adapters import add_adapter
from openflan.models.folder import prompt_format
from openflan.models.lm import HuggingFaceModel
from openflan.models.load import load_model, save_model
from openflan.models.settings import LoraSettings, ModelSettings, PromptTuningSettings
from openflan.models.tokenizer import train_tokenizer
from toys import TEXTS, toy_weights

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft's

CHAT = {"separator": "\n", "chat_template": True}
TEMPLATES = {
    "ChatML": "{% for m in messages %}<|im|>{{ m.role }}\n{{ m.content }}<|end|>\n{% endfor %}",
    "a system text": "<|im|>Be kind.<|end|>{% for m in messages %}{{ m.role }}: {{ m.content }}<|end|>{% endfor %}",
    "plain text": "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}",
    "a date": "It is {{ strftime_now('%d %B %Y') }}.\n{% for m in messages %}{{ m.content }}<|end|>\n{% endfor %}",
}
ADAPTERS = {"all weights": None, "lora": LoraSettings(rank=2), "prompt": PromptTuningSettings(num_tokens=3)}


def chat_folder(folder: Path, template: str) -> Path:
    tokenizer = train_tokenizer(TEXTS * 3, 310)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im|>"]})
    tokenizer.chat_template = template
    toy_weights("llama").save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def chat_model(folder: Path, **settings: object) -> HuggingFaceModel:
    return load_model(ModelSettings(path=str(folder), chat_template=True, **settings))


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("template", TEMPLATES)
def test_a_tuned_chat_model_is_saved_and_asked_with_its_template(template, adapter, tmp_path):
    tuned = chat_model(chat_folder(tmp_path / "base", TEMPLATES[template]))
    if settings := ADAPTERS[adapter]:
        add_adapter(tuned, settings, seed=0)
    with torch.no_grad():
        for weight in tuned.model.parameters():
            if weight.requires_grad:
                weight.add_(0.01 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    save_model(tuned, tmp_path / "tuned", asked_with=CHAT)
    again = load_model(ModelSettings(path=str(tmp_path / "tuned"), **prompt_format(tmp_path / "tuned")))
    assert prompt_format(tmp_path / "tuned") == CHAT
    assert again.codec.prompt_ids("The cat sat.") == tuned.codec.prompt_ids("The cat sat.")
    assert (again.codec.end, len(again.codec.before) > 0) == (tuned.codec.end, True)
    assert torch.equal(again.probe(), tuned.probe())


def test_a_template_that_is_not_saved_is_an_error(tmp_path, monkeypatch):
    tuned = chat_model(chat_folder(tmp_path / "base", TEMPLATES["ChatML"]))
    other = train_tokenizer(TEXTS * 3, 310)
    other.add_special_tokens({"additional_special_tokens": ["<|im|>"]})
    other.chat_template = TEMPLATES["plain text"]
    tuned.tokenizer = other
    with pytest.raises(ModelError, match="a tokenizer that makes other ids than before it was saved"):
        save_model(tuned, tmp_path / "tuned", asked_with=CHAT)
