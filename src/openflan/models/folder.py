"""Where a model lies and which one it is. No torch here: a study names its model before it loads any weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from openflan.errors import ModelError
from openflan.streams import file_fingerprint, fingerprint

EMBEDDED = Path(__file__).parent / "base"
CONFIG, ADAPTER, ADAPTER_WEIGHTS = "config.json", "adapter_config.json", "adapter_model.safetensors"
ADAPTER_BASE = "adapter_base.json"
"""Written beside an adapter: the path and fingerprint of the model that it was trained on."""
PROMPT_FORMAT = "prompt_format.json"
"""Written beside tuned weights: `separator` and `chat_template`, without which the model is asked what it never saw."""
PARTS = ("*.safetensors", CONFIG, ADAPTER, "tokenizer.json", "tokenizer_config.json")


def model_folder(path: str, needs_weights: bool = True) -> Path:
    """The folder that a model path means: of a whole model, or of an adapter. ModelError when it holds neither."""
    folder = EMBEDDED if path == "base" else Path(path)
    if is_adapter(folder):
        if not (folder / ADAPTER_WEIGHTS).is_file():
            raise ModelError(folder, f"no {ADAPTER_WEIGHTS}", "weights in safetensors format", "Save it again.")
        return folder
    if not (folder / CONFIG).is_file():
        found = "no such folder" if not folder.is_dir() else f"a folder without {CONFIG}"
        raise ModelError(
            folder, found, "a model folder in Hugging Face format", "Check model.path (`base` is built in)."
        )
    if needs_weights and not any(folder.glob("*.safetensors")):
        raise ModelError(folder, "no *.safetensors file", "weights in safetensors format", "Save the model again.")
    return folder


def is_adapter(folder: Path) -> bool:
    """Whether the folder holds an adapter in peft's format, whose base model lies elsewhere."""
    return (folder / ADAPTER).is_file()


def base_folder(folder: Path, needs_weights: bool = True) -> Path:
    """The folder of the whole model: `folder` itself, or the base of the adapter in it.

    ModelError when the base is gone, is an adapter itself, or is not the model that the adapter was trained on.
    """
    if not is_adapter(folder):
        return folder
    record = _read(folder / ADAPTER_BASE) if (folder / ADAPTER_BASE).is_file() else {}
    named = "base" if record.get("path") == "base" else str(_read(folder / ADAPTER).get("base_model_name_or_path"))
    do = f"Put it back, or change base_model_name_or_path in {ADAPTER}."
    base = EMBEDDED if named == "base" else Path(named)
    if is_adapter(base) or not (base / CONFIG).is_file():
        raise ModelError(folder, f"an adapter whose base model {named} is no model folder here", "its base model", do)
    base = model_folder(str(base), needs_weights)
    known = record.get("fingerprint")
    if known and needs_weights and known != model_fingerprint(str(base)):
        found = f"an adapter whose base model {named} has changed since"
        raise ModelError(folder, found, f"the model with fingerprint {known}", do)
    return base


def model_fingerprint(path: str) -> str:
    """Changes whenever weights, shape or tokenizer in the folder do; an adapter's also with its base model."""
    folder = model_folder(path)
    own = file_fingerprint(file for pattern in PARTS for file in folder.glob(pattern))
    return fingerprint([own, model_fingerprint(str(base_folder(folder)))]) if is_adapter(folder) else own


def prompt_format(folder: Path) -> dict[str, Any]:
    """The settings of `ModelSettings` that the model in the folder was tuned with; none where nothing tells."""
    found = _read(folder / PROMPT_FORMAT) if (folder / PROMPT_FORMAT).is_file() else {}
    return {name: found[name] for name in ("separator", "chat_template") if name in found}


def unloadable(folder: Path, exc: BaseException, expected: str) -> ModelError:
    """The error for a folder that transformers or tokenizers could not read, whatever they raised."""
    if "trust_remote_code" in str(exc):
        found = "a folder whose model or tokenizer is code of its own (`auto_map`), which is never run"
        do = "Use a model whose architecture transformers has itself, or save it in such a form."
        return ModelError(folder, found, expected, do)
    return ModelError(folder, " ".join(str(exc).split())[:300] or type(exc).__name__, expected)


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise ModelError(path, f"a file that cannot be read ({exc})", "JSON", "Save the adapter again.") from exc
    if not isinstance(value, dict):
        raise ModelError(path, type(value).__name__, "an object in JSON", "Save the adapter again.")
    return value
