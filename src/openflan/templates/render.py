"""From an `Example` and one wording of its task to the `Prompt` that a model reads and the target that it learns."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from openflan.errors import CatalogError, did_you_mean
from openflan.tasks.card import Template
from openflan.tasks.catalog import Task, check_task
from openflan.tasks.example import Choice, Example
from openflan.templates.pattern import compile_pattern

Style = Literal["instruction", "no_template", "dataset_name"]

ANSWER = "{{ answer }}"
_BLOCK = re.compile(r"\{\{-?\s*options_block\s*-?\}\}")
_AFTER = re.compile(r"[ \t]*(\n*)")


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model reads (`input`) and should write (`target`), with everything that scoring needs.

    `options` and `gold` are the example's own, in its order; empty and None for free text and inverted templates.
    `references` are all answers that count as right, the target first.
    """

    uid: str
    task: str
    template: str
    input: str
    target: str
    options: tuple[str, ...]
    gold: int | None
    references: tuple[str, ...]


def render(
    example: Example, task: Task, template: Template | str, *, style: Style = "instruction", show_options: bool = True
) -> Prompt:
    """Fill one template, or the one that the task has under an id, with one example.

    Styles (the paper's ablation on the role of instructions): `instruction` is the template; `no_template` only the
    fields, a line each, and the bare answer; `dataset_name` the same after the task's name in brackets. Without
    `show_options` the options block is left out and the blank lines around it close up. Only the target, and the input
    of an inverted template, may name `answer`: a scored prompt cannot show its gold. Raises CatalogError naming card
    and template.

    >>> from openflan.tasks.card import Card
    >>> from pathlib import Path
    >>> card = Card.model_validate({
    ...     "family": "mood", "cluster": "sentiment", "source": {}, "metrics": ["accuracy"], "licence": "CC0",
    ...     "fields": {"text": "text"}, "samples": [{"text": "Fine!", "label": 1}],
    ...     "answer": {"kind": "choice", "options": ["sad", "glad"], "gold": "label"},
    ...     "templates": [{"id": "how", "input": "{{ text }}\\nHow does that sound?\\n\\n{{ options_block }}"}]})
    >>> task = Task("mood", "user", card, card.source, {}, Path("mood.yaml"))
    >>> example = Example("mood/samples/0", "mood", {"text": "Fine!"}, Choice(("sad", "glad"), 1))
    >>> print(render(example, task, card.templates[0]).input)
    Fine!
    How does that sound?
    <BLANKLINE>
    OPTIONS:
    - sad
    - glad
    >>> render(example, task, card.templates[0], show_options=False).input
    'Fine!\\nHow does that sound?'
    >>> prompt = render(example, task, card.templates[0], style="dataset_name")
    >>> prompt.input, prompt.target
    ('[mood] Fine!', 'glad')
    """
    if not (isinstance(task, Task) and isinstance(template, Template)):
        check_task(task)
        template = _named(task, str(template))
    if style == "instruction":
        where = f"{task.path}, template {template.id}"
        values = visible_values(example, show_options)
        answered = {**values, "answer": example.answer_text}
        source = template.input if show_options else _without_block(template.input)
        text = compile_pattern(source, where).fill(answered if template.inverted else values, where)
        target = _target(template.target, answered, where)
        if template.inverted:
            return Prompt(example.uid, task.name, template.id, text.rstrip(), target, (), None, (target,))
    else:
        where, values = "", {}
        text = "\n".join(v if isinstance(v, str) else "\n".join(v) for v in _own_fields(example, task).values())
        text = f"[{task.name}] {text}" if style == "dataset_name" else text
        target = example.answer_text
    answer = example.answer
    if isinstance(answer, Choice):
        return Prompt(
            example.uid, task.name, template.id, text.rstrip(), target, answer.options, answer.gold, (target,)
        )
    others = answer.references[1:]
    if style == "instruction":
        others = tuple(_target(template.target, {**values, "answer": reference}, where) for reference in others)
    return Prompt(example.uid, task.name, template.id, text.rstrip(), target, (), None, (target, *others))


def _named(task: Task, name: str) -> Template:
    found: list[Template] = [*task.templates, *([task.completion] if task.completion else [])]
    for template in found:
        if template.id == name:
            return template
    hint = did_you_mean(str(name), [template.id for template in found])
    raise CatalogError(task.path, f"no template {name!r:.80}", "a template, or the id of one", hint)


def visible_values(example: Example, show_options: bool = True) -> dict[str, Any]:
    """What the input of a scored template may name: the fields and, for a choice, `options` and `options_block`."""
    values: dict[str, Any] = dict(example.fields)
    if isinstance(example.answer, Choice):
        values["options"] = example.answer.options
        values["options_block"] = options_block(example.answer.options) if show_options else ""
    return values


def options_block(options: tuple[str, ...]) -> str:
    """The options as the paper shows them, in their own order.

    >>> options_block(("yes", "no"))
    'OPTIONS:\\n- yes\\n- no'
    """
    return "OPTIONS:" + "".join(f"\n- {option}" for option in options)


def _target(source: str, values: dict[str, Any], where: str) -> str:
    if source == ANSWER:
        return str(values["answer"])
    return compile_pattern(source, where).fill(values, where).strip()


def _own_fields(example: Example, task: Task) -> dict[str, Any]:
    return {name: example.fields[name] for name in task.card.fields}


@cache
def _without_block(source: str) -> str:
    """The template without its options block: of the line breaks before and after it, the longer run stays."""

    parts: list[str] = []
    end = 0
    while match := _BLOCK.search(source, end):
        before = source[end : match.start()].rstrip(" \t")
        text = before.rstrip("\n")
        start = end + len(text)
        after = _AFTER.match(source, match.end())
        end = after.end() if after else match.end()
        breaks = max(before[len(text) :], after[1] if after else "", key=len)
        parts += [text, "" if start == 0 or end == len(source) else breaks or " "]
    return "".join(parts) + source[end:]
