"""What is wrong with a card's templates, found by rendering them: on its samples, and on real rows where there are any.

A finding is a fact about one template, and where it needs one about one row: the file, the template, the row's uid, the
problem in a few words and the offending text.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openflan.errors import CatalogError, OpenFlanError, did_you_mean
from openflan.tasks.adapt import adapt, lookup
from openflan.tasks.card import ChoiceAnswer, Template
from openflan.tasks.catalog import Task
from openflan.tasks.example import Choice, Example
from openflan.templates.joints import Ends, Joints
from openflan.templates.lint_data import data_problems, row_problems
from openflan.templates.pattern import compile_pattern
from openflan.templates.render import Prompt, render

_SHOWN_CHARACTERS = 60
MOST_GOLDS = 50
_STYLE = frozenset({"double punctuation", "stray braces", "stray space", "a duplicate template"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem; `text` is what offends. `template` is empty for one of the rows themselves, `uid` for one that does
    not depend on a row."""

    path: Path
    task: str
    template: str
    uid: str
    problem: str
    text: str
    is_warning: bool = False
    """A matter of style in a wording of somebody else's."""

    def __str__(self) -> str:
        kind = "warning: " if self.is_warning else ""
        template = f", template {self.template}" if self.template else ""
        return f"{kind}{self.path}{template}, {self.uid or self.task}: {self.problem}: {self.text!r}"


def lint(task: Task, examples: Sequence[Example]) -> list[Finding]:
    """All findings of one task over `examples`, at most one of a kind for each template and one for the rows.

    The gold is looked for in prompts by rendering the card's samples again with every other gold, so it does not matter
    under which field name it would come in. Wordings that render alike over all examples are duplicates.
    """
    found: dict[tuple[str, str], Finding] = {}

    def add(template: str, problem: str, uid: str, text: str) -> None:
        is_warning = task.card.made_from is not None and problem in _STYLE
        finding = Finding(task.path, task.name, template, uid, problem, _cut(text), is_warning)
        found.setdefault((template, problem), finding)

    for problem, uid, text in [*row_problems(examples), *data_problems(task, examples)]:
        add("", problem, uid, text)
    ends = [Ends.of(example) for example in examples]
    sound = []
    for template in [*task.templates, *([task.completion] if task.completion else [])]:
        static = list(_static(task, template, examples))
        for problem, text in static:
            add(template.id, problem, "", text)
        if not static:
            sound.append(template)
            for problem, uid, text in _on_rows(task, template, examples, ends):
                add(template.id, problem, uid, text)
    for name, problem, text in [*_leaks(task, sound), *_duplicates(task, sound, examples)]:
        add(name, problem, "", text)
    return list(found.values())


def _static(task: Task, template: Template, examples: Sequence[Example]) -> Iterator[tuple[str, str]]:
    """Problems that make rendering impossible or pointless."""
    where = f"{task.path}, template {template.id}"
    try:
        asked = compile_pattern(template.input, where).names
        given = compile_pattern(template.target, where).names
    except CatalogError as exc:
        yield "a template that cannot be used", exc.found
        return
    choice = isinstance(task.card.answer, ChoiceAnswer)
    known = {*task.card.fields, *task.constants, *({"options", "options_block"} if choice else ())}
    if "answer" in asked and not template.inverted:
        yield "the gold in the prompt", "answer"
    for name in sorted((asked | given) - known - {"answer"}):
        yield "an unknown name", f"{name} ({did_you_mean(name, known)})"
    if template.inverted and asked & given:
        yield "the target in the prompt", ", ".join(sorted(asked & given))
    own_wording = task.card.made_from is None  # others' may list the options in their own way
    shows_block = template.inverted or not choice or template.id == "completion" or "options_block" in asked
    if own_wording and not shows_block:
        yield "no options block", template.input
    if not examples:
        yield "no examples to look at", task.name


def _on_rows(
    task: Task, template: Template, examples: Sequence[Example], ends: Sequence[Ends]
) -> Iterator[tuple[str, str, str]]:
    joints = Joints(task, template)
    for example, its_ends in zip(examples, ends, strict=True):
        try:
            prompt = render(example, task, template)
            for problem, text in [*_on_prompt(prompt), *joints.problems(example, its_ends)]:
                yield problem, example.uid, text
        except OpenFlanError as exc:
            yield "a row that cannot be rendered", example.uid, exc.found


def _on_prompt(prompt: Prompt) -> Iterator[tuple[str, str]]:
    if not prompt.input.strip():
        yield "an empty input", prompt.input
    if not prompt.target.strip():
        yield "an empty target", prompt.target
    if prompt.gold is not None and prompt.target not in prompt.options:
        yield "a target that is no option", prompt.target
    elif prompt.gold is not None and prompt.target != prompt.options[prompt.gold]:
        yield "a target that is not the gold option", prompt.target


def _leaks(task: Task, templates: Sequence[Template]) -> Iterator[tuple[str, str, str]]:
    """Scored templates whose input changes when only the gold of a sample row changes."""
    scored = [template for template in templates if not template.inverted]
    for row in task.samples:
        for before in adapt(task, [row], "samples")[0]:
            for after in _with_other_golds(task, row, before):
                for template in scored:
                    try:
                        inputs = [render(example, task, template).input for example in (before, after)]
                    except OpenFlanError:
                        continue  # reported by the rows already
                    if inputs[0] != inputs[1]:
                        yield template.id, "the gold in the prompt", inputs[0]


def _with_other_golds(task: Task, row: Mapping[str, Any], before: Example) -> Iterator[Example]:
    """The sample with other values that its gold could have, all or the first MOST_GOLDS; with a sentinel in place of
    free text."""
    answer = task.card.answer
    name = answer.gold if isinstance(answer, ChoiceAnswer) else answer.references
    if isinstance(name, int):
        return  # the same in every row
    try:
        found = lookup(row, name)
        golds: Sequence[Any]
        if isinstance(answer, ChoiceAnswer) and answer.gold_values is not None:
            golds = answer.gold_values
        elif isinstance(answer, ChoiceAnswer) and answer.gold_values_from is not None:
            golds = lookup(row, answer.gold_values_from)
        elif isinstance(before.answer, Choice):
            golds = (False, True) if isinstance(found, bool) else range(len(before.answer.options))
        else:
            golds = [["sentinel"] if isinstance(found, list) else "sentinel"]
        for gold in golds[:MOST_GOLDS]:
            if gold != found:
                changed = adapt(task, [_with(row, name, gold)], "samples")[0]
                yield from (example for example in changed if example.uid == before.uid)
    except OpenFlanError:
        return  # the row function makes the gold, or insists on a true one: this sample cannot tell


def _with(row: Mapping[str, Any], name: str, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(dict(row))
    *parents, last = name.split(".")
    inner = changed
    for part in parents:
        inner = inner[part]
    if isinstance(inner, dict):
        inner[last] = value
    return changed


def _duplicates(
    task: Task, templates: Sequence[Template], examples: Sequence[Example]
) -> Iterator[tuple[str, str, str]]:
    seen: dict[tuple[tuple[str, str], ...], str] = {}
    for template in templates:
        try:
            prompts = [render(example, task, template) for example in examples[:20]]
        except OpenFlanError:
            continue  # reported by the rows already
        texts = tuple((" ".join(p.input.split()).casefold(), p.target) for p in prompts)
        if texts in seen and template.id != "completion":
            yield template.id, "a duplicate template", f"the same as {seen[texts]}"
        seen.setdefault(texts, template.id)


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS * 2 else f"{text[:_SHOWN_CHARACTERS]} … {text[-_SHOWN_CHARACTERS:]}"
