"""From an example and a template to token ids that fit the limits."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from openflan.tasks.card import Template
from openflan.tasks.catalog import Task
from openflan.tasks.example import Example, Field
from openflan.templates.exemplars import render_few_shot
from openflan.templates.pattern import compile_pattern
from openflan.templates.render import Prompt, Style, render
from openflan.tokens.codec import Codec
from openflan.tokens.cut import num_pieces, without_middles

MAX_ATTEMPTS = 8  # at cutting fields until their prompt fits
_INDEXED = re.compile(r"\b(\w+)\s*\[")  # a list that a template takes items of by number

Misfit = Literal["too_long_prompt", "too_long_target"]


@dataclass(frozen=True, slots=True)
class Lengths:
    """Limits in tokens (paper, section 2.4: 1024 for inputs, 256 for targets); `max_total_tokens` is that of a prompt
    and its target or longest option together, what the model's positions allow."""

    max_input_tokens: int = 1024
    max_target_tokens: int = 256
    max_total_tokens: int = sys.maxsize


@dataclass(frozen=True, slots=True)
class Fitted:
    """A prompt whose ids fit the limits.

    `cut_words` words were taken from the middle of its fields; `num_exemplars` solved examples stayed before it.
    `target_ids` are those of the bare target.
    """

    prompt: Prompt
    input_ids: tuple[int, ...]
    target_ids: tuple[int, ...]
    cut_words: int = 0
    num_exemplars: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be rendered: an example in one wording of its task, after solved exemplars."""

    example: Example
    template: Template
    exemplars: Sequence[Example] = ()


def fit(
    example: Example,
    task: Task,
    template: Template,
    codec: Codec,
    lengths: Lengths,
    style: Style = "instruction",
    show_options: bool = True,
    exemplars: Sequence[Example] = (),
) -> Fitted | Misfit:
    """Render and encode one prompt: see `fit_many`."""
    return fit_many([Asked(example, template, exemplars)], task, codec, lengths, style, show_options)[0]


def fit_many(
    asked: Sequence[Asked],
    task: Task,
    codec: Codec,
    lengths: Lengths,
    style: Style = "instruction",
    show_options: bool = True,
) -> list[Fitted | Misfit]:
    """Render and encode prompts of one task, all at once because tokenizers are fast that way.

    Too long a prompt first loses whole exemplars, the last ones first, then the middle of the fields that the card says
    may be cut, or of its longest fields; never instruction, options or target. Where even that does not make it fit, or
    a target is longer than its limit (targets are never cut), the reason stands in place of the prompt, and the caller
    counts the row as dropped.
    """
    found: dict[int, Fitted | Misfit] = {}
    waiting = [_Attempt(i, each, each.example, tuple(each.exemplars)) for i, each in enumerate(asked)]
    fitting: list[tuple[_Attempt, Prompt, list[int]]] = []
    while waiting:
        prompts = [attempt.render(task, style, show_options, codec.separator) for attempt in waiting]
        ids_of = _encode_each(codec.encode_many, [prompt.input for prompt in prompts])
        longer: list[_Attempt] = []
        for attempt, prompt in zip(waiting, prompts, strict=True):
            ids = ids_of[prompt.input]
            room = _room(prompt, len(ids), codec, lengths)
            if len(ids) <= room:
                fitting.append((attempt, prompt, ids))
            elif room < 1:
                found[attempt.place] = "too_long_target"
            elif (
                shorter := attempt.shorter(task, style, prompt, len(ids) - room, lengths.max_input_tokens)
            ) is not None:
                longer.append(shorter)
            else:
                found[attempt.place] = "too_long_prompt"
        waiting = longer
    target_room = lengths.max_target_tokens - len(codec.end)
    targets = [_targets(prompt, target_room) for _, prompt, _ in fitting]
    ids_of = _encode_each(codec.encode_targets, [text for texts in targets for text in texts])
    for (attempt, prompt, ids), texts in zip(fitting, targets, strict=True):
        if any(len(ids_of[text]) > target_room for text in texts):
            found[attempt.place] = "too_long_target"
        else:
            input_ids, target_ids = (*codec.before, *ids, *codec.between), tuple(ids_of[prompt.target])
            found[attempt.place] = Fitted(prompt, input_ids, target_ids, attempt.cut_words, len(attempt.exemplars))
    return [found[i] for i in range(len(asked))]


def _room(prompt: Prompt, num_ids: int, codec: Codec, lengths: Lengths) -> int:
    """How many ids the prompt itself may have, of the `num_ids` that it has: no more than leave a place for the longest
    text that may follow it, which is encoded only where it may matter."""
    around = len(codec.before) + len(codec.between)
    room, total = lengths.max_input_tokens - around, lengths.max_total_tokens - around - len(codec.end)
    texts = [prompt.target, *prompt.options]
    if min(num_ids, room) + 2 * max(len(text.encode()) for text in texts) <= total:  # a byte never makes two tokens
        return room
    return min(room, total - max(map(len, codec.encode_targets(texts))))


def training_ids(fitted: Fitted, codec: Codec) -> tuple[tuple[int, ...], int]:
    """The ids to train on and how many of the last of them are supervised: the target and what ends it."""
    target = fitted.target_ids or codec.target_ids(fitted.prompt.target)  # an empty one is an error there
    return (*fitted.input_ids, *target, *codec.end), len(target) + len(codec.end)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One prompt on its way: what is left of its example and its exemplars."""

    place: int
    asked: Asked
    example: Example
    exemplars: tuple[Example, ...]
    cut_words: int = 0
    num_cuts: int = 0

    def render(self, task: Task, style: Style, show_options: bool, separator: str) -> Prompt:
        if not self.exemplars:
            return render(self.example, task, self.asked.template, style=style, show_options=show_options)
        return render_few_shot(
            self.example,
            self.exemplars,
            task,
            self.asked.template,
            style=style,
            show_options=show_options,
            separator=separator,
        )

    def shorter(self, task: Task, style: Style, prompt: Prompt, num_excess: int, limit: int) -> _Attempt | None:
        """What to try after a prompt with `num_excess` ids more than the limit; None when nothing is left to try."""
        if self.exemplars:
            return replace(self, exemplars=self.exemplars[:-1])
        before = self.asked.example
        names = _cuttable(before, task, self.asked.template, style, prompt)
        left = sum(num_pieces(before.fields[name]) for name in names) - self.cut_words
        wanted = self.cut_words + int(left * num_excess / (num_excess + limit)) + 8
        whole = frozenset(_INDEXED.findall(self.asked.template.input))
        fields, gone = without_middles(before.fields, names, wanted, task.card.cut is not None, whole)
        if gone == self.cut_words or self.num_cuts + 1 == MAX_ATTEMPTS:
            return None
        return replace(self, example=replace(before, fields=fields), cut_words=gone, num_cuts=self.num_cuts + 1)


def _cuttable(example: Example, task: Task, template: Template, style: Style, prompt: Prompt) -> list[str]:
    """The fields of a prompt that may be cut, in the card's order: none that is part of an option or of the target."""
    shown = set(task.card.fields)
    if style == "instruction":
        where = f"{task.path}, template {template.id}"
        shown = {*compile_pattern(template.input, where).names} - {*compile_pattern(template.target, where).names}
    kept = (*prompt.options, prompt.target)

    def is_kept(value: Field) -> bool:
        return all(any(item in text for text in kept) for item in ([value] if isinstance(value, str) else value))

    allowed = example.fields if task.card.cut is None else task.card.cut
    return [name for name in allowed if name in shown and not is_kept(example.fields[name])]


def _encode_each(encode: Callable[[Sequence[str]], list[list[int]]], texts: Sequence[str]) -> dict[str, list[int]]:
    """The ids of each text; one that stands several times (an option, a label) is encoded once."""
    different = list(dict.fromkeys(texts))
    return dict(zip(different, encode(different), strict=True))


def _targets(prompt: Prompt, room: int) -> list[str]:
    """The target, and the options that may be too long for `room` tokens: a wrong one, too, is scored.

    Short options need not be encoded to know that they fit: an ASCII character never makes two tokens.
    """
    return [prompt.target, *(text for text in prompt.options if not text.isascii() or 2 * len(text) > room)]
