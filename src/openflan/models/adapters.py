"""Adapters from peft: low-rank matrices and learned prompts, trained while the model stays as it is.

Both work within packs, because both change the model's own layers. LoRA stands beside linear layers. A learned prompt
is `num_tokens` ids beyond the vocabulary: every prompt begins with them (`Codec.before`), and the table of input
embeddings answers for them with the learned rows. So training, scoring and generation see them without knowing of them.
"""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace
from pathlib import Path

import torch
from peft import (
    LoraConfig,
    PeftConfig,
    PeftModel,
    PeftType,
    PromptTuningConfig,
    TaskType,
    get_peft_model,
    set_peft_model_state_dict,
)
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import Embedding, Module
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from openflan import files
from openflan.errors import ModelError
from openflan.models.adapter_config import read_adapter_config, read_shapes
from openflan.models.folder import ADAPTER_BASE, ADAPTER_WEIGHTS, EMBEDDED, recorded_fingerprint, unloadable
from openflan.models.lm import HuggingFaceModel
from openflan.models.settings import LoraSettings, PromptTuningSettings
from openflan.streams import fingerprint, seed_of

NAME = "default"
"""Peft's name for the only adapter of a model."""


class PromptedEmbedding(Module):
    """A table of embeddings whose ids go on beyond the vocabulary, with the rows of a learned prompt."""

    def __init__(self, table: Embedding, prompt: Embedding) -> None:
        super().__init__()
        self.table, self.prompt = table, prompt
        self.num_words = table.num_embeddings

    def forward(self, ids: Tensor) -> Tensor:
        """[..., width] for ids of any shape, in the table's dtype."""
        beyond = ids - self.num_words
        words: Tensor = self.table(ids.masked_fill(beyond >= 0, 0))
        learned = self.prompt(beyond.clamp(min=0)).to(words.dtype)
        return torch.where((beyond >= 0)[..., None], learned, words)


def add_adapter(model: HuggingFaceModel, settings: LoraSettings | PromptTuningSettings, seed: int) -> None:
    """Put a new adapter on the model, in place; from then on nothing but its weights asks for a gradient.

    A learned prompt also changes `model.codec`, so this comes before anything is encoded. LoRA starts as no change at
    all; the prompt's rows start as random as the model's own embeddings are.

    ModelError: the model already has an adapter, does not come from a folder, or has no layers of the names given.
    """
    where = model.model.name_or_path
    if model.adapter is not None:
        do = "Leave model.adapter out: tuning then goes on with the one that is there."
        raise ModelError(where, "a model that has an adapter already", "one without", do)
    if not where or not Path(where).is_dir():
        raise ModelError(where or "adapter", "a base model without a folder", "one that was loaded from a folder")
    with torch.random.fork_rng():
        torch.manual_seed(seed_of(seed, "adapter"))
        attach(model, adapter_config(model.model, settings))
        table = model.model.get_input_embeddings()
        if isinstance(table, PromptedEmbedding):
            some = torch.arange(min(1024, table.num_words), device=model.model.device)
            torch.nn.init.normal_(table.prompt.weight, std=float(table(some).detach().std()))


def adapter_config(model: PreTrainedModel, settings: LoraSettings | PromptTuningSettings) -> PeftConfig:
    """The settings in peft's terms."""
    if isinstance(settings, PromptTuningSettings):
        return PromptTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=settings.num_tokens)
    return LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=settings.rank,
        lora_alpha=settings.alpha,  # type: ignore[arg-type]  # divided by r, so a fraction will do
        lora_dropout=settings.dropout,
        target_modules=settings.targets if isinstance(settings.targets, str) else list(settings.targets),
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),  # GPT-2's layers are transposed
    )


def inject(model: PreTrainedModel, config: PeftConfig) -> PeftModel:
    """Change the model's layers as `config` says, and freeze what was there before."""
    table = model.get_input_embeddings()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning)  # peft asks transformers by names of yesterday
            # A pattern may match layers that have no adapter: their entries are named one by one here.
            warnings.filterwarnings("ignore", "The following (rank|alpha)_pattern keys", RuntimeWarning)
            adapter = get_peft_model(model, config)
    except ValueError as exc:
        raise ModelError("model.adapter", " ".join(str(exc).split())[:300], "names of layers of this model") from exc
    assert isinstance(adapter, PeftModel)
    if config.peft_type == PeftType.PROMPT_TUNING:
        prompt = adapter.prompt_encoder[NAME].embedding
        assert isinstance(table, Embedding) and isinstance(prompt, Embedding)
        model.set_input_embeddings(PromptedEmbedding(table, prompt))
    model.eval()  # peft's new layers begin in training mode
    return adapter


def attach(model: HuggingFaceModel, config: PeftConfig) -> None:
    """Put an adapter on the model, in place; where it is a prompt, the codec begins every prompt with it."""
    model.adapter = inject(model.model, config)
    table = model.model.get_input_embeddings()
    if isinstance(table, PromptedEmbedding):
        ids = tuple(table.num_words + i for i in range(table.prompt.num_embeddings))
        identity = fingerprint([model.codec.fingerprint, ids])
        model.codec = replace(model.codec, before=(*ids, *model.codec.before), fingerprint=identity)


def save_adapter(model: HuggingFaceModel, folder: Path) -> None:
    """Write the adapter as peft does, and beside it which base model it belongs to. ModelError when it is empty."""
    assert model.adapter is not None
    # A copy of each: tied ones share their memory, which a file of safetensors does not allow.
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in model.state().items()}
    if not tensors or not all(tensor.numel() for tensor in tensors.values()):
        raise ModelError(folder, "an adapter without weights", "what was trained", "Gather sharded weights first.")
    base = Path(model.model.name_or_path).resolve()
    embedded = base == EMBEDDED.resolve()
    config = copy.copy(model.adapter.peft_config[NAME])
    config.base_model_name_or_path, config.inference_mode = str(base), True
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})
    config.save_pretrained(str(folder))
    record = {"path": "base" if embedded else str(base), "fingerprint": recorded_fingerprint(base)}
    files.write_json(folder / ADAPTER_BASE, record)


def resize_for_adapter(model: PreTrainedModel, folder: Path) -> None:
    """Give a base model as many rows of embeddings as the adapter was trained with, where it brings rows of its own.

    ModelError where it brings them for one of two tables alone: the new rows of the other would be random.
    """
    table, head = model.get_input_embeddings(), model.get_output_embeddings()
    places = [
        f"base_model.model.{name}." for name, module in model.named_modules() if module is table or module is head
    ]
    weights = {n: shape for n, shape in read_shapes(folder).items() if n.endswith("weight") and ".lora_" not in n}
    rows = [next((shape[0] for n, shape in weights.items() if n.startswith(place)), None) for place in places]
    sizes = {number for number in rows if number and number != table.num_embeddings}
    if not sizes:
        return
    tied = head is None or head.weight is table.weight
    if len(sizes) > 1 or (not tied and not all(rows)):
        do = "Save the adapter again with modules_to_save for both, or with peft's save_embedding_layers=True."
        found = "a resized vocabulary, with rows for one of the two tables of embeddings"
        raise ModelError(folder / ADAPTER_WEIGHTS, found, "input embeddings and output head", do)
    model.resize_token_embeddings(sizes.pop(), mean_resizing=False)


def load_adapter(model: HuggingFaceModel, folder: Path) -> None:
    """Put the adapter of a folder on its base model, in place. ModelError: another kind, or not all of its weights."""
    config = read_adapter_config(folder, model.model, read_shapes(folder))
    config.base_model_name_or_path = model.model.name_or_path
    try:
        attach(model, config)
    except ModelError:
        raise
    except Exception as exc:  # of settings that are right by themselves and not for this model
        raise unloadable(folder, exc, "an adapter for its base model") from exc
    load_adapter_weights(model, folder)


def load_adapter_weights(model: HuggingFaceModel, folder: Path) -> None:
    """Replace the weights of the model's adapter by those in `folder`. ModelError unless they are the same by name and
    shape; those of resized or adapted embeddings may be among them, and are then part of the adapter from now on."""
    try:
        tensors = load_file(folder / ADAPTER_WEIGHTS)
    except (OSError, SafetensorError) as exc:
        raise ModelError(folder / ADAPTER_WEIGHTS, str(exc), "the weights of an adapter") from exc
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state().items()}
    model.keeps_embeddings = model.keeps_embeddings or bool(found.keys() - shapes.keys())
    allowed = {name: tuple(tensor.shape) for name, tensor in model.state().items()}
    differing = sorted(dict((shapes.items() - found.items()) | (found.items() - allowed.items())))
    if differing:
        model.keeps_embeddings = False
        text = f"other weights than its settings ask for ({', '.join(differing[:3])})"
        raise ModelError(folder / ADAPTER_WEIGHTS, text, f"{len(shapes)} tensors of their shapes", "Save it again.")
    set_peft_model_state_dict(model.adapter, tensors)
