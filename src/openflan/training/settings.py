"""How to optimise. No torch here: recipes are read and plans are made without it."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from openflan.errors import ConfigError
from openflan.tasks.card import Strict

Tracker = Literal["tensorboard", "wandb", "trackio"]

# Fields that say where, how often and for whom, not what is learned: they may change between two parts of one run.
CHANGE_NO_RESULT = ("num_processes", "checkpoint_updates", "checkpoint_seconds", "keep_checkpoints", "trackers")

ADAPTER_RATES = {"lora": 2e-4, "prompt_tuning": 1e-2}
"""Learning rates of AdamW that train an adapter of each kind."""
LEAST_ADAFACTOR_RATE = 1e-2
"""Below, Adafactor moves an adapter's weights, which begin at zero, by less than 1e-5 an update: by 1/1000 of the rate
(docs/decisions/009-adafactor.md)."""


class TrainSettings(Strict):
    """How a model is tuned on the packs of a plan."""

    optimizer: Literal["adafactor", "adamw", "muon"] = "adafactor"
    """Adafactor is the paper's; Muon (AdamW for embeddings and norms) is for pretraining. With an adapter adamw is the
    default: Adafactor's steps are relative to a weight's size, and an adapter begins at zero."""
    learning_rate: float = Field(3e-5, gt=0)
    """Paper, section 2.4: 3e-5. With an adapter the default is 2e-4 for LoRA and 1e-2 for prompt tuning."""
    schedule: Literal["constant", "linear", "cosine", "trapezoid"] = "constant"
    """After the warm-up: constant, linear to zero, half a cosine to zero, or constant and then linear to zero over the
    last quarter."""
    num_warmup_updates: int = Field(0, ge=0)
    """The rate rises linearly over these."""
    weight_decay: float = Field(0.0, ge=0)
    """Of matrices; with adamw and muon norms and embeddings do not decay."""
    max_gradient_norm: float = Field(1.0, gt=0)
    """All gradients together are clipped to this L2 norm."""
    loss: Literal["token_mean", "example_mean"] = "token_mean"
    """The mean over all supervised tokens of an update, or over its examples, each the mean of its own tokens."""
    pack_tokens: int = Field(1024, ge=16)
    """Positions in one pack."""
    packs_per_update: int = Field(8, ge=1)
    """Over all processes. Times pack_tokens this is the paper's batch: 8192 tokens."""
    packs_per_microbatch: int = Field(8, ge=1)
    """How many packs go through the model at once in each process; changes memory, not the result."""
    num_epochs: int = Field(1, ge=1)
    """Passes over the packs of the plan, each in an order of its own."""
    max_updates: int | None = Field(None, ge=1)
    """Stop after so many updates (paper, section 2.4: 30,000); the schedule ends there, too."""
    mixed_precision: Literal["no", "bf16"] = "no"
    """bf16: matrix products in bfloat16, weights and loss in the model's own type."""
    gradient_checkpointing: bool | Literal["selective"] = False
    """Compute activations again in the backward pass: less memory, about a third more time, the same result.
    selective: only norms, activations and the like, neither matrix products nor attention; takes little time in a large
    model."""
    num_processes: int = Field(1, ge=1)
    """Processes that share one training; also `--processes`. Under `torchrun` or `accelerate launch` their number."""
    sharding: Literal["none", "full"] = "none"
    """Each of several processes holds all weights (DDP), or a part of weights, gradients and optimizer state (FSDP)."""
    checkpoint_updates: int | None = Field(None, ge=1)
    """Save after every so many updates, besides `checkpoint_seconds`."""
    checkpoint_seconds: float = Field(30.0, gt=0)
    """Save so often, though never for more than a twentieth of the time: what a killed run loses at most."""
    keep_checkpoints: int = Field(1, ge=1)
    """The last so many are kept."""
    trackers: tuple[Tracker, ...] = ()
    """Where each line of `train.jsonl` goes, too."""
    num_threads: int | None = Field(None, ge=1)
    """CPU threads of each process; when not given, all cores divided by the processes."""

    @model_validator(mode="after")
    def _muon_needs_whole_matrices(self) -> Self:
        if self.optimizer == "muon" and self.sharding == "full":
            raise ValueError("muon makes whole matrices orthogonal and cannot be used with `sharding: full`")
        return self

    def for_adapter(self, kind: str) -> Self:
        """The same for an adapter: optimizer and learning rate are those that train it, unless they were given.

        ValueError for an Adafactor that would leave the adapter as it is.
        """
        if "optimizer" in self.model_fields_set and self.optimizer == "adafactor":
            if self.learning_rate < LEAST_ADAFACTOR_RATE:
                raise ValueError(
                    f"adafactor at {self.learning_rate:g} does not train an adapter, because its steps are relative to "
                    f"a weight's size: write `optimizer: adamw` and `learning_rate: {ADAPTER_RATES[kind]:g}`, or leave "
                    "both out"
                )
            return self
        defaults = {"optimizer": "adamw", "learning_rate": ADAPTER_RATES[kind]}
        return self.model_copy(update={k: v for k, v in defaults.items() if k not in self.model_fields_set})

    def deciding(self) -> dict[str, Any]:
        """The fields that decide a result, for fingerprints."""
        return self.model_dump(mode="json", exclude=set(CHANGE_NO_RESULT))

    def check_trackers(self) -> None:
        """ConfigError for a tracker whose package is not installed."""
        for name in self.trackers:
            packages = ("tensorboard", "tensorboardX") if name == "tensorboard" else (name,)
            if not any(map(find_spec, packages)):
                raise ConfigError(
                    "train.trackers",
                    f"{name}, which is not installed",
                    "trackers that are",
                    f"Install it (pip install {name}), or leave it out.",
                )
