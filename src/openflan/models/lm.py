"""The language model as the other layers see it: logits at chosen positions of a batch, and greedy text."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import linear
from torch.utils.checkpoint import create_selective_checkpoint_contexts
from transformers import (
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    StoppingCriteria,
    StoppingCriteriaList,
)

from openflan.errors import ModelError
from openflan.models.attention import SEGMENTED, flatten
from openflan.models.generation import Way, find_way, padded_left
from openflan.models.parity import draw_ids, find_windows, first_difference
from openflan.models.recompute import policy
from openflan.models.windows import Windows, described, max_positions, text_config, windows_of
from openflan.tokens.batch import Batch
from openflan.tokens.codec import Codec

if TYPE_CHECKING:
    from peft import PeftModel

MAX_LOGITS = 1 << 24
"""Logits that training holds at once: 64 MiB in fp32."""


def logits_at_once(vocab_size: int) -> int:
    """How many supervised positions training gives to the head at once."""
    return max(1, MAX_LOGITS // vocab_size)


class LanguageModel(Protocol):
    """What evaluation needs of a model."""

    codec: Codec

    def log_probs(self, batch: Batch) -> Tensor:
        """Log-probability [N] in nats, fp32, of each supervised id of the batch."""
        ...

    def generate(
        self, prompts: Sequence[Sequence[int]], max_new_tokens: int, stop: Sequence[str] = ()
    ) -> list[list[int]]:
        """Greedy continuation of each prompt up to the end-of-text id, which is left out.

        It may also end soon after one of the texts of `stop`, which is left in.
        """
        ...


class HuggingFaceModel:
    """A causal language model from transformers. Logits are fp32 whatever the model's own dtype.

    `adapter` is peft's wrapper around the same `model`, whose layers it has changed, or None (`models/adapters.py`).
    `alone_because` says why the model cannot read packs of prompts that branch into options, or is None. Where it
    cannot, `log_probs` reads one sequence after another, slowly, and `hidden` is right for packs without branches only
    where `load_model` was asked for a model that needs packs. `windows` are those of its layers.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, codec: Codec) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.codec = codec
        self.adapter: PeftModel | None = None
        self.keeps_embeddings = False  # whether the adapter brings the tables of embeddings that it was trained with
        self.alone_because: str | None = None
        self.windows = windows_of(model.config)[0]
        self.writes: Way | None = None
        # The folder's own may penalise repetition or sample, and generate() would take every such value from it. A pad
        # id that is also the end would, in a saved folder, hide the ends of texts from whoever reads it.
        pad = tokenizer.pad_token_id if tokenizer is not None else None
        pad = None if pad in (*codec.end, *codec.ends) else pad
        ends = codec.eos_id if len(codec.ends) == 1 else list(codec.ends)
        model.generation_config = GenerationConfig(eos_token_id=ends, pad_token_id=pad)
        model.config.eos_token_id, model.config.pad_token_id = codec.eos_id, pad
        # torch gives the row of this id no gradient, and it may be the end of text. Our padding is never looked at.
        model.get_input_embeddings().padding_idx = None  # type: ignore[assignment]

    @property
    def max_positions(self) -> int:
        """See `max_positions`."""
        return max_positions(self.model.config)

    @property
    def reading(self) -> str:
        """What was found about the model when it was loaded, in a line: how it reads, its windows, its positions."""
        if self.alone_because is not None:
            how = "one sequence at a time"
        else:
            segments = self.model.config._attn_implementation == SEGMENTED and self.model.device.type == "cpu"
            how = f"packs {'segment by segment' if segments else 'under a mask'}"
        return f"{how}, {described(self.model.config, self.windows)}"

    def hidden(self, batch: Batch, windows: Windows | None = None) -> Tensor:
        """Output of the last layer where something is predicted: [N, width]. `windows`: others than the model's own."""
        windows = windows or self.windows
        batch = batch.to(self.model.device)
        body = self.model.base_model
        if body is self.model:  # Llama 4's lies under another name than its class says
            body = getattr(self.model, "model", body)
        rows, columns = batch.predict_from.unbind(1)
        # Many short segments are one kernel each, which a GPU would spend its time starting.
        if self.model.config._attn_implementation == SEGMENTED and self.model.device.type == "cpu":
            flat = flatten(batch, (None, *windows.distinct))
            out = body(
                input_ids=flat.input_ids,
                position_ids=flat.positions,
                attention_mask=windows.masks(flat.mask),
                segments=flat,
                use_cache=False,
            ).last_hidden_state[0]
            in_segments: Tensor = out[flat.places[rows, columns]]
            return in_segments
        out = body(
            input_ids=batch.input_ids,
            position_ids=batch.positions,
            attention_mask=windows.masks(lambda window: batch.attention_mask(self.model.dtype, window)),
            use_cache=False,
        ).last_hidden_state
        hidden: Tensor = out[rows, columns]
        return hidden

    @torch.inference_mode()
    def attend_in_segments(self) -> bool:
        """Use `models/attention.py` from now on, if the architecture lets it through; whether it does."""
        if not self.model._supports_sdpa:
            return False
        before = self.model.config._attn_implementation
        self.model.set_attn_implementation(SEGMENTED)
        if first_difference(self, self.windows) is None:
            return True
        self.model.set_attn_implementation(before)
        return False

    def logits(self, hidden: Tensor, ids: Tensor | None = None) -> Tensor:
        """[N, vocabulary] in fp32, or of `ids` alone: the head is applied only where something is predicted.

        What Cohere, Granite and Gemma do to its output is done here, too; other heads fail `check_parity`.
        """
        config = text_config(self.model.config)
        head: Any = self.model.get_output_embeddings()
        logits: Tensor = (head(hidden) if ids is None else linear(hidden, head.weight[ids])).float()
        if isinstance(scale := getattr(config, "logit_scale", None), int | float):
            logits = logits * scale
        if scale := getattr(config, "logits_scaling", None):
            logits = logits / scale
        if cap := getattr(config, "final_logit_softcapping", None):
            logits = torch.tanh(logits / cap) * cap
        return logits

    @torch.inference_mode()
    def log_probs(self, batch: Batch) -> Tensor:
        """See LanguageModel. Never more than `MAX_LOGITS` logits at once."""
        if self.alone_because is not None:
            return self._log_probs_alone(batch)
        hidden, labels = self.hidden(batch), batch.labels.to(self.model.device)
        size = logits_at_once(self.codec.vocab_size)
        parts = [
            self.logits(some).log_softmax(-1).gather(1, ids[:, None])[:, 0]
            for some, ids in zip(hidden.split(size), labels.split(size), strict=True)
        ]
        return torch.cat(parts)

    def _log_probs_alone(self, batch: Batch) -> Tensor:
        found = torch.empty(len(batch.labels))
        for ids, places in batch.paths():
            logits = self.logits_alone(ids)[-len(places) - 1 : -1].log_softmax(-1).cpu()
            found[places] = logits.gather(1, batch.labels[places][:, None])[:, 0]
        return found

    @torch.inference_mode()
    def generate(
        self, prompts: Sequence[Sequence[int]], max_new_tokens: int, stop: Sequence[str] = ()
    ) -> list[list[int]]:
        """See LanguageModel. How prompts are written to at once is found out at the first call
        (`models/generation.py`)."""
        self.writes = self.writes or find_way(self)
        groups: dict[int, list[int]] = {}
        for number, prompt in enumerate(prompts):
            groups.setdefault(0 if self.writes.padded else len(prompt), []).append(number)
        texts: dict[int, list[int]] = {}
        for numbers in groups.values():
            some = [list(prompts[number]) for number in numbers]
            texts |= zip(numbers, self._generate(some, max_new_tokens, stop, self.writes.cached), strict=True)
        return [texts[number] for number in range(len(prompts))]

    def _generate(
        self, prompts: list[list[int]], max_new_tokens: int, stop: Sequence[str], cached: bool
    ) -> list[list[int]]:
        inputs = padded_left(prompts, self.codec.eos_id, self.model.device)
        width = inputs["input_ids"].shape[1]
        stopping = StoppingCriteriaList([_AtText(self.codec, stop, width)] if stop else [])
        out = self.model.generate(
            **inputs,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            num_beams=1,
            use_cache=cached,
            eos_token_id=list(self.codec.ends),
            pad_token_id=self.codec.eos_id,
            stopping_criteria=stopping,
        )
        return [self.codec.until_end(text) for text in out[:, width:].tolist()]

    def state(self, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
        """What a saved folder holds: the adapter's weights as peft names them, or all weights and buffers as `dtype`,
        tied ones once."""
        if self.adapter is not None:
            from peft import get_peft_model_state_dict

            found: dict[str, Tensor] = get_peft_model_state_dict(
                self.adapter, save_embedding_layers=self.keeps_embeddings
            )
            return found
        tensors: dict[str, Tensor] = {}
        seen = set()
        for name, tensor in self.model.state_dict(keep_vars=True).items():
            if id(tensor) not in seen:
                seen.add(id(tensor))
                tensors[name] = tensor.detach().to(dtype if tensor.is_floating_point() and dtype else tensor.dtype)
        return tensors

    @torch.inference_mode()
    def probe(self) -> Tensor:
        """Logits [T, vocabulary] of a sequence that is always the same, without dropout: one model, one answer."""
        training = self.model.training
        self.model.eval()
        logits = self.logits_alone([*self.codec.before, *draw_ids(self, "probe", 16)])
        self.model.train(training)
        return logits

    def use_gradient_checkpointing(self, selective: bool = False) -> None:
        """Keep only each layer's input for the backward pass, in training mode, and compute the rest again there;
        if `selective`, what `models/recompute.py` keeps, too.

        ModelError when the architecture has no such switch.
        """
        kwargs: dict[str, Any] = {"use_reentrant": False}
        if selective:
            kwargs["context_fn"] = partial(create_selective_checkpoint_contexts, policy)
        # The name changed within transformers 5.
        enable = getattr(self.model, "activation_checkpointing_enable", self.model.gradient_checkpointing_enable)
        try:
            enable(kwargs)
        except ValueError as exc:
            do = "Set train.gradient_checkpointing to false."
            raise ModelError(self.model.config.model_type, "no gradient checkpointing", "it", do) from exc

    def check_parity(self, where: Path, needs_packs: bool = True) -> None:
        """Refuse a model that looks ahead, and one whose packed logits differ from the logits of each sequence alone.
        Without `needs_packs` the latter reads sequences alone from then on (`models/parity.py`)."""
        with torch.inference_mode():
            self.windows, self.alone_because = find_windows(self, where, needs_packs)

    def logits_alone(self, ids: list[int]) -> Tensor:
        """Logits [T, vocabulary] of one sequence as transformers itself reads it."""
        logits: Tensor = self.model(input_ids=torch.tensor([ids], device=self.model.device), use_cache=False).logits
        return logits[0].float()


class _AtText(StoppingCriteria):
    """Ends each text of a batch once it holds one of the given ones; what was there before is not looked at again."""

    def __init__(self, codec: Codec, stop: Sequence[str], width: int) -> None:
        self.codec, self.stop, self.width = codec, stop, width
        # A token is a byte or more, and the first ones of a window may be a part of a character.
        self.window = max(len(text.encode()) for text in stop) + 8

    def __call__(self, input_ids: Tensor, scores: Any, **others: Any) -> Tensor:
        last = input_ids[:, max(self.width, input_ids.shape[1] - self.window) :].tolist()
        texts = map(self.codec.decode, last)
        done = [any(stop in text for stop in self.stop) for text in texts]
        return torch.tensor(done, device=input_ids.device)
