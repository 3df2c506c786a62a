"""One training on one process or on several: which part of the work is ours, and what all processes agree on.

A process is called a rank once there are several. Rank 0 writes files; every rank makes the same updates.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NoReturn

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType, gather_object
from torch.distributed import ReduceOp
from torch.distributed.fsdp import FSDPModule
from torch.nn import Module
from torch.nn.parallel import DistributedDataParallel

from openflan.environment import launched_as
from openflan.errors import ConfigError, OpenFlanError
from openflan.models.lm import HuggingFaceModel
from openflan.tokens.pack import Pack, plain_segment
from openflan.training.objective import Objective
from openflan.training.settings import TrainSettings
from openflan.training.shard import shard, whole

FAILED = 2  # exit code of a rank whose rank 0 tells what went wrong


def join() -> PartialState:
    """Join the other processes of this training; the environment says how many there are and where they meet."""
    if PartialState._shared_state:
        return PartialState()
    several = launched_as()[1] > 1
    accelerator = torch.accelerator.current_accelerator()
    cpu = several and (accelerator is None or accelerator.type == "mps")
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if several and not cpu and local > torch.accelerator.device_count():
        found = f"{local} processes and {torch.accelerator.device_count()} devices"
        raise ConfigError("train.num_processes", found, "a device for each process", "Use fewer processes.")
    return PartialState(cpu=cpu)


class Ranks:
    """The processes of one training, seen from one of them."""

    def __init__(self, settings: TrainSettings, folder: Path) -> None:
        settings.check_trackers()
        state = join()
        self.rank, self.num_processes = int(state.process_index), int(state.num_processes)
        if settings.num_processes not in (1, self.num_processes):
            raise ConfigError(
                "train.num_processes",
                f"{settings.num_processes} in a training on {self.num_processes}",
                "the number of processes there are",
                "Start it with `openflan train --processes N`, or leave the setting to torchrun.",
            )
        threads = settings.num_threads
        if threads is None and self.num_processes > 1 and state.device.type == "cpu":
            threads = max(1, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
        if threads:
            torch.set_num_threads(threads)
        AcceleratorState._reset_state()  # one training after another in one process may have other settings
        self.accelerator = Accelerator(
            mixed_precision=settings.mixed_precision,
            log_with=list(settings.trackers) or None,
            project_dir=folder,
            kwargs_handlers=[DistributedDataParallelKwargs(gradient_as_bucket_view=True)],
        )
        if self.accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED):
            found = f"{self.accelerator.distributed_type.value} in accelerate's own configuration"
            raise ConfigError("accelerate", found, "none of it there", "Set train.sharding=full instead.")
        self.sharded = settings.sharding == "full" and self.num_processes > 1
        self.bf16 = settings.mixed_precision == "bf16"

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0."""
        return self.rank == 0

    @property
    def device(self) -> torch.device:
        """Where this rank computes."""
        device: torch.device = self.accelerator.device
        return device

    def wrap(self, model: HuggingFaceModel) -> tuple[Objective, Module]:
        """The objective on this rank's device, and what to call in its stead: the same, or its DDP.

        Sharding cannot be undone, so rank 0 shards a copy and keeps `model` for the trained weights (`unwrap`).
        """
        if not self.sharded:
            objective = Objective(model)
            return objective, self.accelerator.prepare_model(objective)
        own = copy.copy(model)
        own.model = copy.deepcopy(model.model) if self.is_main else model.model
        objective = Objective(own)
        blocks = getattr(own.model, "_no_split_modules", None) or ()
        shard(objective, list(blocks), self.device.type, self.num_processes, self.bf16)
        return objective, objective

    def unwrap(self, objective: Objective, model: HuggingFaceModel) -> None:
        """Put the trained weights back into `model`, on rank 0, where they were sharded."""
        if not self.sharded:
            return
        weights = dict(model.model.named_parameters())
        for name, part in objective.weights.named_parameters():
            full = whole(part)
            if self.is_main:
                weights[name].data.copy_(full)

    def microbatches(self, packs: Sequence[Pack], size: int) -> list[list[Pack]]:
        """This rank's part of an update: every `num_processes`-th pack, in microbatches of `size`.

        Every rank gets the same number of microbatches, because each must take part in what the others gather and
        average; one that is short of packs gets a microbatch that predicts nothing.
        """
        return share_out(packs, size, self.rank, self.num_processes)

    def accumulating(self, wrapped: Module, last: bool) -> AbstractContextManager[Any]:
        """Gradients are exchanged in the backward pass of the last microbatch of an update."""
        if last or self.num_processes == 1:
            return nullcontext()
        assert isinstance(wrapped, FSDPModule | DistributedDataParallel)
        return _without_exchange(wrapped) if isinstance(wrapped, FSDPModule) else wrapped.no_sync()

    def sums(self, *values: float) -> list[float]:
        """The sum of each value over all ranks."""
        return self._reduced(values, ReduceOp.SUM)

    def highest(self, *values: float) -> list[float]:
        """The highest of each value over all ranks."""
        return self._reduced(values, ReduceOp.MAX)

    def _reduced(self, values: Sequence[float], how: ReduceOp.RedOpType) -> list[float]:
        if self.num_processes == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        torch.distributed.all_reduce(tensor, how)
        return list(tensor.tolist())

    def gather(self, items: Iterable[Any]) -> list[Any]:
        """The items of all ranks, those of rank 0 first."""
        return list(gather_object(list(items)))

    def on_main(self, action: Callable[[], None]) -> None:
        """Do it on rank 0. Its error ends the other ranks, too, without a word of theirs."""
        error: OpenFlanError | None = None
        if self.is_main:
            try:
                action()
            except OpenFlanError as exc:
                error = exc
        [failed] = self.highest(error is not None)
        if failed:
            self.fail(error)

    def fail(self, error: OpenFlanError | None) -> NoReturn:
        """End all ranks, which all call this; rank 0 with the error."""
        if self.is_main and error is not None:
            raise error
        raise SystemExit(FAILED)


def share_out(packs: Sequence[Pack], size: int, rank: int, num_processes: int) -> list[list[Pack]]:
    """See `Ranks.microbatches`.

    >>> packs = [Pack(4, [plain_segment(key, [5, 6], 1)]) for key in range(5)]
    >>> def keys(rank):
    ...     return [[p.segments[0].key for p in part] for part in share_out(packs, 2, rank, 2)]
    >>> keys(0), keys(1)
    ([[0, 2], [4]], [[1, 3], [-1]])
    """
    most = -(-len(packs) // num_processes)
    own = packs[rank::num_processes]
    return [list(own[start : start + size]) or [nothing()] for start in range(0, most, size)]


def nothing() -> Pack:
    """A pack that predicts nothing: its loss is zero and yet depends on every weight."""
    return Pack(1, [plain_segment(-1, [0], 0)])


@contextmanager
def _without_exchange(module: FSDPModule) -> Iterator[None]:
    """`no_sync` for FSDP: gradients stay whole on every rank until the last microbatch."""
    module.set_requires_gradient_sync(False)
    try:
        yield
    finally:
        module.set_requires_gradient_sync(True)
