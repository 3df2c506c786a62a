"""Files from which a training goes on: what is trained, the optimizers' state, and the update they belong to.

One safetensors file for each checkpoint, `update-00001234.safetensors` after 1234 updates, written by rank 0 and whole
whatever the number of ranks. Draws belong to updates (`streams.py`), so there is no random state to keep.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import Module
from torch.optim import Optimizer

from openflan import files
from openflan.errors import RunError
from openflan.streams import bytes_fingerprint, fingerprint
from openflan.training.ranks import Ranks
from openflan.training.shard import share_like, whole


class Checkpoints:
    """The checkpoints of the run that `identity` names (plan, base weights, settings), in one folder."""

    def __init__(self, folder: Path, identity: str, keep: int, ranks: Ranks) -> None:
        self.folder = folder / files.CHECKPOINTS
        self.identity = identity
        self.keep = keep
        self.ranks = ranks

    def paths(self) -> list[Path]:
        """Those there are, the oldest first."""
        return sorted(self.folder.glob("update-*.safetensors"))

    def save(self, update: int, model: Module, optimizers: Sequence[Optimizer]) -> None:
        """Write atomically, then remove all but the last ones; `update` is the next one to make. All ranks call it.

        RunError when the disk refuses; the checkpoint before is then still there.
        """
        tensors: dict[str, Tensor] = {}
        for name, tensor in _named(model, optimizers):
            full = whole(tensor)
            if self.ranks.is_main:
                tensors[name] = full
        metadata = {
            "update": str(update),
            "identity": self.identity,
            "num_processes": str(self.ranks.num_processes),
        }
        if self.ranks.is_main:
            metadata["content"] = _content(metadata, list(tensors), tensors.__getitem__)
        self.ranks.on_main(lambda: self._write(self.folder / f"update-{update:08}.safetensors", tensors, metadata))

    def _write(self, path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
        partial = path.with_name(f".{path.name}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            for left_behind in path.parent.glob(".*.partial"):
                left_behind.unlink()
            save_file(tensors, partial, metadata=metadata)
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(partial, path)
            for old in self.paths()[: -self.keep]:
                old.unlink()
        except (OSError, SafetensorError) as exc:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            do = "Free some space and repeat: the run continues."
            raise RunError(path, str(exc), "room for a checkpoint", do) from exc

    def load(self, model: Module, optimizers: Sequence[Optimizer]) -> int:
        """Restore weights and optimizers in place from the newest; the next update, 0 where there is no checkpoint.

        RunError when it is damaged (the one before is not taken unasked: work would be lost without a word), belongs to
        another run, or was made by another number of ranks, whose shares of each update were others.
        """
        paths = self.paths()
        if not paths:
            return 0
        path = paths[-1]
        try:
            with safe_open(path, framework="pt") as file:
                metadata, names = file.metadata() or {}, list(file.keys())
                if metadata.get("identity") != self.identity:
                    do = "Use another --out, or remove it."
                    raise RunError(path, "a checkpoint of another run", "one of this run", do)
                if metadata.get("content") != _content(metadata, names, file.get_tensor):
                    raise SafetensorError("its content is not what was saved")
                update = self._check(path, metadata)
                with torch.no_grad():
                    for name, weight in _trained(model):
                        weight.copy_(share_like(file.get_tensor(f"model.{name}"), weight))
                for number, optimizer in enumerate(optimizers):
                    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
                    state: dict[int, dict[str, Tensor]] = {}
                    for name in names:
                        if name.startswith(f"optimizer.{number}."):
                            index, key = name.removeprefix(f"optimizer.{number}.").split(".", 1)
                            tensor = share_like(file.get_tensor(name), weights[int(index)])
                            state.setdefault(int(index), {})[key] = tensor
                    groups = optimizer.state_dict()["param_groups"]
                    optimizer.load_state_dict({"state": state, "param_groups": groups})
        except (SafetensorError, OSError) as exc:
            before = f"go on from {paths[-2].name}" if len(paths) > 1 else "train from the start"
            raise RunError(path, f"a damaged checkpoint ({exc})", "a whole one", f"Remove it to {before}.") from exc
        return update

    def _check(self, path: Path, metadata: dict[str, str]) -> int:
        if metadata["num_processes"] != str(self.ranks.num_processes):
            raise RunError(
                path,
                f"a checkpoint of a training on {metadata['num_processes']} processes",
                f"one on {self.ranks.num_processes}",
                f"Repeat with --processes {metadata['num_processes']}, or remove it.",
            )
        return int(metadata["update"])


def _content(metadata: Mapping[str, str], names: Sequence[str], tensor_of: Callable[[str], Tensor]) -> str:
    """Fingerprint of everything in a checkpoint; one tensor at a time is in memory."""
    about = sorted((name, value) for name, value in metadata.items() if name != "content")
    arrays = (
        tensor_of(name).detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy() for name in sorted(names)
    )
    return fingerprint([about, sorted(names), bytes_fingerprint(arrays)])


def _trained(model: Module) -> list[tuple[str, Tensor]]:
    """The weights that are trained; the others are those of the base, which the run's identity names."""
    return [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]


def _named(model: Module, optimizers: Sequence[Optimizer]) -> list[tuple[str, Tensor]]:
    named = [(f"model.{name}", weight) for name, weight in _trained(model)]
    for number, optimizer in enumerate(optimizers):
        for index, state in optimizer.state_dict()["state"].items():
            for key, value in state.items():
                tensor = value if isinstance(value, Tensor) else torch.tensor(value)
                named.append((f"optimizer.{number}.{index}.{key}", tensor))
    return named
