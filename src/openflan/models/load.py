"""Loading and saving models: with `models/tokenizer.py` the only place that knows transformers' loaders."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from openflan import files
from openflan.errors import ModelError, RunError
from openflan.finished import check_finished
from openflan.models.folder import (
    CONFIG,
    PROMPT_FORMAT,
    base_folder,
    end_ids,
    is_adapter,
    model_folder,
    prompt_format,
    unloadable,
)
from openflan.models.lm import HuggingFaceModel
from openflan.models.settings import ModelSettings
from openflan.models.sizes import check_sizes, check_weights
from openflan.models.tokenizer import codec_of, load_tokenizer

LOADABLE = "a causal language model that transformers can load"


def quiet() -> None:
    """Keep transformers' own progress bars out of ours."""
    transformers_logging.disable_progress_bar()


def load_config(folder: Path) -> PreTrainedConfig:
    """The shape of the model in a folder, without its weights. ModelError when it is no causal language model."""
    quiet()
    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as exc:  # a damaged file raises whatever the library that reads it likes
        raise unloadable(folder, exc, LOADABLE) from exc
    if "/" in str(config._attn_implementation or ""):
        found = f"a config that asks for attention from the hub ({config._attn_implementation}), which is never run"
        raise ModelError(folder, found, "sdpa, eager or nothing", "Take attn_implementation out of config.json.")
    if getattr(config, "is_encoder_decoder", False):
        raise ModelError(folder, f"an encoder-decoder model ({config.model_type})", "a causal language model")
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise ModelError(folder, f"a model of type {config.model_type}", "a causal language model")
    check_sizes(config, folder)
    return config


def load_model(settings: ModelSettings, needs_packs: bool = True) -> HuggingFaceModel:
    """The model with its tokenizer, in evaluation mode, checked to isolate packed segments.

    Without `needs_packs` a model that does not isolate them is no error: it reads one sequence after the other, and
    `alone_because` says why.

    A folder that holds an adapter gives its base model with the adapter: only the adapter's weights can be trained.
    `settings.adapter` is not applied here: it is what tuning adds (`models/adapters.py`).

    ModelError: no such folder, a damaged or incomplete one, not a causal language model, a tokenizer with ids the model
    does not have, an adapter without its base.
    """
    folder = model_folder(settings.path)
    base = base_folder(folder)
    for each in {folder, base}:
        check_finished(each)
    check_weights(load_config(base), base)
    model = _load_weights(base, getattr(torch, settings.dtype), settings.attention)
    if is_adapter(folder):
        from openflan.models.adapters import load_adapter, resize_for_adapter

        resize_for_adapter(model, folder)
    tokenizer, ends = tokenizer_of(folder, base)
    loaded = wrap(model, tokenizer, folder, settings.separator, settings.chat_template, needs_packs, ends)
    if is_adapter(folder):
        load_adapter(loaded, folder)
        loaded.check_parity(folder, needs_packs)
    if settings.attention is None and loaded.alone_because is None:
        loaded.attend_in_segments()
    return loaded


def tokenizer_of(folder: Path, base: Path) -> tuple[PreTrainedTokenizerBase, tuple[int, ...]]:
    """The tokenizer of a model folder, and the ids at which it ends a text; the base's where an adapter brings none."""
    own = folder if (folder / "tokenizer_config.json").is_file() else base
    return load_tokenizer(str(own)), end_ids(folder) or end_ids(base)


def _load_weights(folder: Path, dtype: torch.dtype, attention: str | None) -> PreTrainedModel:
    try:
        found: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=dtype,
            attn_implementation=attention,
            output_loading_info=True,
        )
    except Exception as exc:
        raise unloadable(folder, exc, LOADABLE) from exc
    model: PreTrainedModel = found[0]
    missing = sorted(found[1]["missing_keys"])
    if missing:  # transformers fills them with random numbers
        text = f"no weights for {', '.join(missing[:3])}"
        raise ModelError(folder, text, "all weights of a causal language model", "Save the model again.")
    known = set(model.state_dict())
    more = [name for name in sorted(found[1]["unexpected_keys"]) if re.sub(r"\.\d+\.", ".0.", name, count=1) in known]
    if more:  # transformers would load a part of the model
        text = f"weights of more layers than {CONFIG} asks for ({', '.join(more[:3])})"
        raise ModelError(folder, text, "a config that fits the weights", f"Correct the number of layers in {CONFIG}.")
    return model


def load_weights(model: HuggingFaceModel, folder: Path) -> None:
    """Replace the weights of `model` by those in `folder`, which `save_model` wrote from the same shape; of a model
    with an adapter, those of the adapter."""
    if model.adapter is not None:
        from openflan.models.adapters import load_adapter_weights

        load_adapter_weights(model, folder)
    else:
        saved = _load_weights(folder, model.model.dtype, None)
        model.model.load_state_dict(saved.state_dict())


def wrap(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    where: Path,
    separator: str = "\n",
    chat_template: bool = False,
    needs_packs: bool = True,
    ends: Sequence[int] = (),
) -> HuggingFaceModel:
    """A loaded model and tokenizer as the project uses them; `needs_packs` as in `load_model`, `ends` the ids at which
    its folder ends a text."""
    codec = codec_of(tokenizer, where, separator, chat_template, ends)
    rows = int(model.get_input_embeddings().num_embeddings)  # type: ignore[arg-type]
    if codec.vocab_size > rows:
        do = (
            "Use the tokenizer the model was trained with; save an adapter with its embeddings (save_embedding_layers)."
        )
        found = f"a tokenizer whose highest id is {codec.vocab_size - 1} and a model with {rows} rows of embeddings"
        raise ModelError(where, found, "every id to have an embedding", do)
    wrapped = HuggingFaceModel(model, tokenizer, codec)
    wrapped.check_parity(where, needs_packs)
    return wrapped


def save_model(
    model: HuggingFaceModel,
    folder: Path,
    dtype: torch.dtype | None = None,
    asked_with: Mapping[str, object] | None = None,
) -> None:
    """Write an ordinary Hugging Face folder with tokenizer and generation config, or, of a model with an adapter, the
    adapter in peft's format; then load it again and compare.

    `dtype` is that of the weights on the disk, the model's own when not given. `asked_with` are the settings that make
    its prompts, for `folder.prompt_format` to find. ModelError when what was loaded differs in any weight, in the ids
    of a prompt or, in the same dtype, in any logit; RunError when the disk refuses.
    """
    quiet()
    try:
        (folder / files.DONE).unlink(missing_ok=True)  # which speaks of what lay there before
        if model.adapter is not None:
            from openflan.models.adapters import save_adapter

            save_adapter(model, folder)
        else:
            _save_weights(model.model, model.state(dtype), folder, dtype or model.model.dtype)
        model.tokenizer.save_pretrained(folder)
        if asked_with is not None:
            files.write_json(folder / PROMPT_FORMAT, dict(asked_with))
    except (OSError, SafetensorError) as exc:
        raise RunError(folder, str(exc), "room for the weights", "Free some space and repeat the command.") from exc
    _compare(model, folder, dtype or model.model.dtype)


def _save_weights(model: PreTrainedModel, weights: dict[str, Tensor], folder: Path, dtype: torch.dtype) -> None:
    before = model.config.dtype
    model.config.dtype = dtype
    model.save_pretrained(folder, state_dict=weights)
    model.config.dtype = before


def _ids_of_probe(model: HuggingFaceModel) -> tuple[object, ...]:
    codec = model.codec
    return codec.before, codec.encode("Zoë's bill of 1984:\n$12.50!"), codec.between, codec.end


def _compare(model: HuggingFaceModel, folder: Path, dtype: torch.dtype) -> None:
    attention = model.model.config._attn_implementation
    settings = ModelSettings(
        **prompt_format(folder),
        path=str(folder),
        dtype="bfloat16" if dtype is torch.bfloat16 else "float32",
        attention=attention if attention in ("sdpa", "eager") else None,
    )
    again = load_model(settings)
    again.model.to(model.model.device)
    weights, read = model.state(dtype), again.state(dtype)
    differing = [name for name in weights if name not in read or not torch.equal(read[name], weights[name])]
    if differing:
        raise ModelError(folder, f"weights that changed on the disk ({', '.join(differing[:3])})", "what was trained")
    if _ids_of_probe(again) != _ids_of_probe(model):
        raise ModelError(folder, "a tokenizer that makes other ids than before it was saved", "what was trained")
    if dtype is model.model.dtype and not torch.equal(model.probe(), again.probe()):
        raise ModelError(folder, "other logits than before it was saved", "what was trained")
