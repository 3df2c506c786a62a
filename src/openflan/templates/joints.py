"""Where a wording meets the values that are filled in: double punctuation, stray braces and stray white space.

What a value has inside is its row's own business. Only its ends meet the wording, so a prompt is rendered with every
value cut down to its ends, and rows whose values have ends of the same kind are looked at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from openflan.tasks.card import Template
from openflan.tasks.catalog import Task
from openflan.tasks.example import Choice, Example, Text
from openflan.templates.pattern import compile_pattern
from openflan.templates.render import render

_PROBLEMS = (
    ("double punctuation", re.compile(r"""(?<!\.)\.\.(?!\.)|\.["']?[?!,;:]|[?!,;:][.?!,;:]|[.?!]["'][.?!]""")),
    ("stray braces", re.compile(r"\{\{|\}\}|\{%|%\}|\{#|#\}")),
    ("stray space", re.compile(r"[^\S\n]\n|\n[^\S\n]|\t|\n{3,}|^\s|(?<=\S)  +(?=\S)")),
)
_ALIKE = re.compile(r"[^\W_]")
_HIDDEN = "\x01"  # stands for the inside of a value
_INSIDE = re.compile(rf"{_HIDDEN}(?:\d+{_HIDDEN})?")


@dataclass(frozen=True, slots=True)
class Ends:
    """An example with every value cut down to its ends, and what kind of ends they are: letters and digits are one and
    the same there. Examples of one kind have the same joints."""

    example: Example
    fields: Mapping[str, Any]
    answer: str
    options: tuple[str, ...]

    @classmethod
    def of(cls, example: Example) -> Ends:
        fields = {name: _end(v) if isinstance(v, str) else tuple(map(_end, v)) for name, v in example.fields.items()}
        answer = example.answer
        options: tuple[str, ...] = ()
        short: Choice | Text
        if isinstance(answer, Choice):
            options = tuple(_end(option) for option in answer.options)
            apart = options if len(set(options)) == len(options) else tuple(map(_apart, options, range(len(options))))
            short = Choice(apart, answer.gold)
        else:
            short = Text(tuple(map(_end, answer.references)))
        kinds = {name: _kind(v) if isinstance(v, str) else tuple(map(_kind, v)) for name, v in fields.items()}
        answer_kind = _kind(_end(example.answer_text))
        return cls(replace(example, fields=fields, answer=short), kinds, answer_kind, tuple(map(_kind, options)))


class Joints:
    """The joints of one wording, row after row."""

    def __init__(self, task: Task, template: Template) -> None:
        self.task, self.template = task, template
        where = f"{task.path}, template {template.id}"
        patterns = [compile_pattern(source, where) for source in (template.input, template.target)]
        names = patterns[0].names | patterns[1].names
        self.compares = any(pattern.compares for pattern in patterns)
        self.fields = sorted(names & {*task.card.fields, *task.constants})
        self.options: Callable[[tuple[str, ...]], Any] = tuple if "options" in names else frozenset
        self.shows_options = not names.isdisjoint(("options", "options_block"))
        self.seen: set[Any] = set()

    def problems(self, example: Example, ends: Ends) -> Iterator[tuple[str, str]]:
        """What is wrong and the place, both with and without the options block; nothing for ends that were seen."""
        if self.compares:  # what it says depends on whole values: they are rendered whole and hidden afterwards
            shown, values = example, _whole_values(example)
        else:
            options = self.options(ends.options) if self.shows_options else None
            kind = (*(ends.fields[name] for name in self.fields), ends.answer, options)
            if kind in self.seen:
                return
            self.seen.add(kind)
            shown, values = ends.example, []
        for show_options in (True, False):
            prompt = render(shown, self.task, self.template, show_options=show_options)
            for text in (prompt.input, prompt.target):
                for value in values:
                    text = text.replace(value, _end(value))
                for problem, pattern in _PROBLEMS:
                    for match in pattern.finditer(text):
                        yield problem, _INSIDE.sub("…", text[max(0, match.start() - 20) : match.end() + 20])


def _end(value: str) -> str:
    if len(value) < 3:
        return value
    return value[0] + _HIDDEN + ("..." if len(value) > 3 and value.endswith("...") else value[-1])


def _kind(end: str) -> str:
    return _ALIKE.sub("x", end)


def _apart(option: str, number: int) -> str:
    """Options must differ: what is hidden in this one has its number in it."""
    return option.replace(_HIDDEN, f"{_HIDDEN}{number}{_HIDDEN}")


def _whole_values(example: Example) -> list[str]:
    """Every text of the example as it may stand in a prompt, the longest first."""
    values = [v for value in example.fields.values() for v in ([value] if isinstance(value, str) else value)]
    answer = example.answer
    values += answer.options if isinstance(answer, Choice) else answer.references
    variants = {v for value in values for v in (value, value.removesuffix("."), value[:1].upper() + value[1:])}
    variants |= {value[:1].lower() + value[1:] for value in values}
    return sorted((v for v in variants if len(v) > 2), key=lambda v: (-len(v), v))
