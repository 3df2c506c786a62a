"""Which model, what tuning adds to it, and the shape of one that is made from nothing. No torch here."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from openflan.tasks.card import OwnPathText, Strict


class LoraSettings(Strict):
    """Low-rank matrices beside the linear layers (Hu et al., 2021); everything else stays as it is."""

    kind: Literal["lora"] = "lora"
    """Which adapter."""
    rank: int = Field(16, ge=1)
    """Of the product of the two matrices."""
    alpha: float = Field(32, gt=0)
    """What the matrices add is multiplied by alpha / rank."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of a layer's input that the matrices do not see, in training."""
    targets: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    """Ends of the names of layers, such as `q_proj`; `all-linear` is every linear layer but the output head."""


class PromptTuningSettings(Strict):
    """Learned embeddings before every prompt (Lester et al., 2021); the model stays as it is."""

    kind: Literal["prompt_tuning"] = "prompt_tuning"
    """Which adapter."""
    num_tokens: int = Field(20, ge=1)
    """They count towards max_input_tokens."""


class ModelSettings(Strict):
    """The model to tune or to evaluate."""

    path: OwnPathText = "base"
    """A folder in Hugging Face format; `base` is the model that ships with the package."""
    separator: str = "\n"
    """Text between prompt and target, the same in training and in scoring; `<eos>` is the end-of-text id itself, as in
    the paper (section 2.4)."""
    chat_template: bool = False
    """Put prompt and target into the tokenizer's chat template, as the user's text and the assistant's; no separator
    then."""
    max_input_tokens: int = 1024
    """Longer prompts lose the middle of a field, see `cut` in cards (paper, section 2.4: 1024)."""
    max_target_tokens: int = 256
    """Rows with longer targets are dropped and counted: targets are never cut (paper, section 2.4: 256)."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the weights in memory. Training in bfloat16 with weights in float32 is train.mixed_precision."""
    attention: Literal["sdpa", "eager"] | None = None
    """Which of transformers' implementations; when not given, our own on a CPU, segment by segment, and transformers'
    choice on other devices and for architectures that do not let ours through."""
    adapter: LoraSettings | PromptTuningSettings | None = Field(None, discriminator="kind")
    """What tuning adds and trains; all weights are trained when not given."""

    @model_validator(mode="after")
    def _one_boundary(self) -> ModelSettings:
        if self.chat_template and self.separator != "\n":
            raise ValueError("a chat template brings what stands between prompt and target: leave `separator` out")
        return self


class ModelShape(Strict):
    """A Llama-shaped model with tied embeddings."""

    vocab_size: int = 2048
    """The most ids of the tokenizer that is trained with it; the model has as many rows as that gets."""
    hidden_size: int = 128
    """Width of the residual stream."""
    num_layers: int = 4
    """Blocks of attention and MLP."""
    num_heads: int = 4
    """Of attention, in each block; they divide hidden_size."""
    mlp_size: int = 352
    """Width inside an MLP."""
    max_positions: int = 1024
    """The longest sequence, in tokens."""
    num_shift_heads: int = Field(0, ge=0)
    """Heads of the first layer that begin as ones that look 1, 2, 3, ... tokens back."""

    @model_validator(mode="after")
    def _no_more_shift_heads_than_heads(self) -> ModelShape:
        if self.num_shift_heads > self.num_heads:
            raise ValueError(
                f"num_shift_heads is {self.num_shift_heads}, expected at most num_heads ({self.num_heads})"
            )
        return self
