"""A tokenizer as this project uses it: the one boundary rule, used by training and by scoring alike.

Prompt and target are encoded apart and joined as ids, each as it stands in the whole text, so no tokenizer can merge a
character of one with a character of the other, and what is trained is id for id what is scored:

    before prompt between | target end        `|` is the boundary; the target and `end` are supervised

In plain style `before` is what the tokenizer itself puts before plain text, such as a begin-of-text id, `between` is
the separator and `end` the end-of-text id. In chat style all three are what the chat template writes around a user's
text and the assistant's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile

from openflan.errors import ModelError


@dataclass(frozen=True, slots=True)
class Codec:
    """A tokenizer as this project uses it.

    `encode` and `encode_many` (the same for many texts at once, and fast) are for prompts. `encode_targets` is for what
    stands behind the boundary, where some tokenizers would put a space that the text in place does not have. They add
    no special tokens, and a special token that is written out in a text stays text. `end` closes a target in training;
    its last id is `eos_id`. A generated text stops at any of `ends`. `separator` is the text between an exemplar's
    input and its target inside a few-shot prompt. Every id is below `vocab_size`.
    """

    encode: Callable[[str], list[int]]
    encode_many: Callable[[Sequence[str]], list[list[int]]]
    encode_targets: Callable[[Sequence[str]], list[list[int]]]
    decode: Callable[[list[int]], str]
    before: tuple[int, ...]
    between: tuple[int, ...]
    end: tuple[int, ...]
    eos_id: int
    ends: tuple[int, ...]
    vocab_size: int
    fingerprint: str
    separator: str = "\n"

    def prompt_ids(self, text: str) -> list[int]:
        """Everything before the boundary."""
        return [*self.before, *self.encode(text), *self.between]

    def target_ids(self, text: str) -> list[int]:
        """What is scored: the target without the ids that training adds to end it. Never empty."""
        ids = self.encode_targets([text])[0]
        if not ids:
            raise ModelError(f"target {text!r}", "no token", "at least one", "Give the option a text.")
        return ids

    def until_end(self, ids: Sequence[int]) -> list[int]:
        """A generated text without the first id that ends it, and what follows."""
        return list(takewhile(lambda i: i not in self.ends, ids))
