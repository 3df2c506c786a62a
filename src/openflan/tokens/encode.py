"""From an example and a template to token ids that fit the limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from openflan.tasks.card import Template
from openflan.tasks.catalog import Task
from openflan.tasks.example import Example
from openflan.templates.exemplars import render_few_shot
from openflan.templates.render import Prompt, Style, render
from openflan.tokens.codec import Codec

MAX_ATTEMPTS = 8  # at cutting a field until its prompt fits

Misfit = Literal["too_long_prompt", "too_long_target"]


@dataclass(frozen=True, slots=True)
class Lengths:
    """Limits in tokens (paper, section 2.4: 1024 for inputs, 256 for targets)."""

    max_input_tokens: int = 1024
    max_target_tokens: int = 256


@dataclass(frozen=True, slots=True)
class Fitted:
    """A prompt whose ids fit the limits.

    `cut_words` words were taken from the middle of its longest field; `num_exemplars` solved examples stayed before it.
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

    Too long a prompt first loses whole exemplars, the last ones first, then the middle of its longest field; never
    instruction, options or target. Where even that does not make it fit, or a target is longer than its limit (targets
    are never cut), the reason stands in place of the prompt, and the caller counts the row as dropped.
    """
    found: dict[int, Fitted | Misfit] = {}
    waiting = [_Attempt(i, each, each.example, tuple(each.exemplars)) for i, each in enumerate(asked)]
    fitting: list[tuple[_Attempt, Prompt, list[int]]] = []
    room = lengths.max_input_tokens - len(codec.before) - len(codec.between)
    while waiting:
        prompts = [attempt.render(task, style, show_options, codec.separator) for attempt in waiting]
        ids_of = _encode_each(codec, [prompt.input for prompt in prompts])
        longer: list[_Attempt] = []
        for attempt, prompt in zip(waiting, prompts, strict=True):
            ids = ids_of[prompt.input]
            if len(ids) <= room:
                fitting.append((attempt, prompt, ids))
            elif (shorter := attempt.shorter(prompt, len(ids) - room, lengths.max_input_tokens)) is not None:
                longer.append(shorter)
            else:
                found[attempt.place] = "too_long_prompt"
        waiting = longer
    target_room = lengths.max_target_tokens - len(codec.end)
    targets = [_targets(prompt, target_room) for _, prompt, _ in fitting]
    ids_of = _encode_each(codec, [text for texts in targets for text in texts])
    for (attempt, prompt, ids), texts in zip(fitting, targets, strict=True):
        if any(len(ids_of[text]) > target_room for text in texts):
            found[attempt.place] = "too_long_target"
        else:
            input_ids, target_ids = (*codec.before, *ids, *codec.between), tuple(ids_of[prompt.target])
            found[attempt.place] = Fitted(prompt, input_ids, target_ids, attempt.cut_words, len(attempt.exemplars))
    return [found[i] for i in range(len(asked))]


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

    def shorter(self, prompt: Prompt, num_excess: int, limit: int) -> _Attempt | None:
        """What to try after a prompt with `num_excess` ids more than the limit; None when nothing is left to try."""
        if self.exemplars:
            return replace(self, exemplars=self.exemplars[:-1])
        excess = num_excess / (num_excess + limit)
        example = _without_middle(self.example, excess, kept=(*prompt.options, prompt.target))
        if example is None or self.num_cuts + 1 == MAX_ATTEMPTS:
            return None
        return replace(self, example=example, num_cuts=self.num_cuts + 1)

    @property
    def cut_words(self) -> int:
        return _num_words_cut(self.asked.example, self.example) if self.num_cuts else 0


def _encode_each(codec: Codec, texts: Sequence[str]) -> dict[str, list[int]]:
    """The ids of each text; one that stands several times (an option, a label) is encoded once."""
    different = list(dict.fromkeys(texts))
    return dict(zip(different, codec.encode_many(different), strict=True))


def _targets(prompt: Prompt, room: int) -> list[str]:
    """The target, and the options that may be too long for `room` tokens: a wrong one, too, is scored.

    Short options need not be encoded to know that they fit: an ASCII character never makes two tokens.
    """
    return [prompt.target, *(text for text in prompt.options if not text.isascii() or 2 * len(text) > room)]


def _without_middle(example: Example, excess: float, kept: Sequence[str]) -> Example | None:
    """The example less words from the middle of its longest text field, a little more than `excess` of the whole.

    A field that is part of the `kept` texts is not cut.
    """
    texts = {
        name: value
        for name, value in example.fields.items()
        if isinstance(value, str) and not any(value in text for text in kept)
    }
    name = max(texts, key=lambda key: len(texts[key]), default=None)
    if name is None:
        return None
    words = texts[name].split(" ")
    total = sum(len(value.split(" ")) for value in texts.values())
    cut = min(int(excess * total) + 8, len(words) - 2)
    if cut <= 0:
        return None
    first = (len(words) - cut) // 2
    shorter = " ".join([*words[:first], "...", *words[first + cut :]])
    return replace(example, fields={**example.fields, name: shorter})


def _num_words_cut(before: Example, after: Example) -> int:
    """Words that are in the fields of one and no longer in the other; the dots that stand for them are no word."""
    pairs = ((value, after.fields[name]) for name, value in before.fields.items() if value != after.fields[name])
    return sum(len(a.split(" ")) - len(b.split(" ")) + 1 for a, b in pairs if isinstance(a, str) and isinstance(b, str))
