"""Where a model lies and which one it is. No torch here: a study names its model before it loads any weights."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from openflan import files
from openflan.errors import ModelError, did_you_mean
from openflan.streams import file_fingerprint, fingerprint
from openflan.untrusted import shown

EMBEDDED = Path(__file__).parent / "base"
CONFIG, ADAPTER, ADAPTER_WEIGHTS = "config.json", "adapter_config.json", "adapter_model.safetensors"
ADAPTER_BASE = "adapter_base.json"
"""Written beside an adapter: the path and fingerprint of the model that it was trained on."""
PROMPT_FORMAT = "prompt_format.json"
"""Written beside tuned weights: `separator` and `chat_template`, without which the model is asked what it never saw."""
GENERATION = "generation_config.json"
WEIGHTS = ("*.safetensors", "*.safetensors.index.json")
SHAPE = (CONFIG, ADAPTER)
WORDS = (
    *("tokenizer*", "vocab*", "merges*", "special_tokens_map.json", "added_tokens.json", "*.model", "*.tiktoken"),
    *("chat_template*", "additional_chat_templates/*"),
)
"""The files that decide which ids a text gets, under the names that transformers' tokenizers give them."""
RECORDED = ("*.safetensors", *SHAPE, "tokenizer.json", "tokenizer_config.json")
"""What an adapter's record of its base model is made of; those of older adapters stay valid."""
POINTER = b"version https://git-lfs"


def model_folder(path: str, needs_weights: bool = True) -> Path:
    """The folder that a model path means: of a whole model, or of an adapter. ModelError when it holds neither, or when
    one of its files is a link to nothing or a pointer to a file that was not downloaded."""
    folder = EMBEDDED if path == "base" else Path(path)
    check_files(folder, needs_weights)
    if is_adapter(folder):
        if not os.path.isfile(folder / ADAPTER_WEIGHTS):
            raise ModelError(folder, f"no {ADAPTER_WEIGHTS}", "weights in safetensors format", "Save it again.")
        return folder
    if not os.path.isfile(folder / CONFIG):
        hint = f" {near}" if (near := did_you_mean(path, ["base"])).startswith("Did") else ""
        found = "no such folder" if not os.path.isdir(folder) else f"a folder without {CONFIG}"
        raise ModelError(
            folder, found, "a model folder in Hugging Face format", f"Check model.path (`base` is built in).{hint}"
        )
    if needs_weights and not any(folder.glob("*.safetensors")):
        raise ModelError(folder, "no *.safetensors file", "weights in safetensors format", "Save the model again.")
    return folder


def check_files(folder: Path, needs_weights: bool = True) -> None:
    """See that each file of a model or tokenizer is there, whole; without `needs_weights` weights may be missing."""
    try:
        for path in _matching(folder, (*(WEIGHTS if needs_weights else ()), *SHAPE, *WORDS, GENERATION)):
            if not path.exists():
                do = "Download the model again: the target of the link is gone."
                raise ModelError(path, "a link to a file that is not there", "the file", do)
            if not path.is_file():
                raise ModelError(path, "no regular file", "a file of a model", "Save the model again.")
            with path.open("rb") as file:
                if file.read(len(POINTER)) == POINTER:
                    do = "Run `git lfs pull` in the folder, or download the file itself."
                    raise ModelError(path, "a pointer of Git LFS in place of the file", "the file", do)
    except OSError as exc:
        found = f"a folder that cannot be read ({exc.strerror or exc})"
        raise ModelError(folder, found, "the folder of a model", "Check the path.") from exc


def _matching(folder: Path, patterns: Iterable[str]) -> list[Path]:
    if not os.path.isdir(folder):  # false, too, for a path of a form that no folder can have
        return []
    found: set[Path] = set()
    for pattern in patterns:
        if "*" in pattern:
            found.update(folder.glob(pattern))
        elif os.path.lexists(folder / pattern):  # glob passes over a name whose link leads nowhere
            found.add(folder / pattern)
    return sorted(path for path in found if not path.is_dir())


def is_adapter(folder: Path) -> bool:
    """Whether the folder holds an adapter in peft's format, whose base model lies elsewhere."""
    return os.path.isfile(folder / ADAPTER)  # which takes paths that no folder can have, too


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
    if is_adapter(base) or not os.path.isfile(base / CONFIG):
        found = f"an adapter whose base model {named[:200]} is no model folder here"
        raise ModelError(folder, found, "its base model", do)
    base = model_folder(str(base), needs_weights)
    known = record.get("fingerprint")
    if known and needs_weights and known != recorded_fingerprint(base):
        found = f"an adapter whose base model {named} has changed since"
        raise ModelError(folder, found, f"the model with fingerprint {known}", do)
    return base


def model_fingerprint(path: str) -> str:
    """Changes whenever weights, shape, tokenizer, chat template or end-of-text ids in the folder do; an adapter's also
    with its base model."""
    folder = model_folder(path)
    own = [file_fingerprint(_matching(folder, (*WEIGHTS, *SHAPE, *WORDS))), end_ids(folder)]
    return fingerprint([*own, model_fingerprint(str(base_folder(folder)))] if is_adapter(folder) else own)


def recorded_fingerprint(base: Path) -> str:
    """Of the weights and the tokenizer that an adapter was trained with."""
    return file_fingerprint(_matching(base, RECORDED))


def end_ids(folder: Path) -> tuple[int, ...]:
    """The ids at which transformers' own `generate` ends a text of the model in the folder: its generation config's, or
    where it has none those of its config."""
    path = next((folder / name for name in (GENERATION, CONFIG) if os.path.isfile(folder / name)), None)
    found = _read(path).get("eos_token_id") if path else None
    ids = found if isinstance(found, list) else [] if found is None else [found]
    if not all(type(i) is int and i >= 0 for i in ids):
        found = f"eos_token_id {shown(found)}"
        raise ModelError(path, found, "an id or a list of ids", "Save the model again.")
    return tuple(dict.fromkeys(ids))


def prompt_format(folder: Path) -> dict[str, Any]:
    """The settings of `ModelSettings` that the model in the folder was tuned with; none where nothing tells."""
    found = _read(folder / PROMPT_FORMAT) if (folder / PROMPT_FORMAT).is_file() else {}
    return {name: found[name] for name in ("separator", "chat_template") if name in found}


def unloadable(folder: Path, exc: BaseException, expected: str) -> ModelError:
    """The error for a folder that transformers or tokenizers could not read, whatever they raised."""
    if "trust_remote_code" in str(exc):
        found = "a folder whose model or tokenizer is code of its own (`auto_map`), which is never run"
        do = "Use a model whose architecture is part of transformers, or save it in such a form."
        return ModelError(folder, found, expected, do)
    return ModelError(folder, " ".join(str(exc).split())[:300] or type(exc).__name__, expected)


def _read(path: Path) -> dict[str, Any]:
    return files.read_json_object(path, ModelError, "Save the model again.")
