"""Which prompts are asked. No torch here: the parts of a run that load no weights need it too."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from openflan.errors import ConfigError
from openflan.evaluation.settings import EvalSettings
from openflan.streams import fingerprint, stream
from openflan.tasks.card import Template
from openflan.tasks.catalog import Task
from openflan.tasks.example import Example
from openflan.templates.exemplars import choose_exemplars
from openflan.tokens.encode import Lengths

POOL_ROWS = 4096  # training rows of a task that exemplars are drawn from


class Request(NamedTuple):
    """One prompt to be asked: an example in one wording of its task, after solved examples in the same wording."""

    task: Task
    example: Example
    template: Template
    exemplars: tuple[Example, ...] = ()

    @property
    def key(self) -> tuple[str, str, str]:
        """That of its prediction."""
        return self.task.name, self.example.uid, self.template.id


def draw_examples(
    examples: Sequence[Example], settings: EvalSettings, seed: int, group_by: Sequence[str] = ()
) -> list[Example]:
    """At most `max_examples_per_task` of a task's test examples, in their own order; the same ones for every model.

    Examples that share the fields `group_by` are taken together or not at all: half a group is another question. One
    group is always taken.
    """
    limit = settings.max_examples_per_task
    if len(examples) <= limit:
        return list(examples)
    rng = stream(seed, "test rows", examples[0].task)
    if not group_by:
        return [examples[i] for i in sorted(rng.sample(range(len(examples)), limit))]
    groups: dict[str, list[int]] = {}
    for number, example in enumerate(examples):
        groups.setdefault(_group(example, group_by), []).append(number)
    chosen: list[int] = []
    for members in rng.sample(list(groups.values()), len(groups)):
        if chosen and len(chosen) + len(members) > limit:
            break
        chosen += members
    return [examples[i] for i in sorted(chosen)]


def draw_pool(task: Task, rows: Iterable[Example], seed: int) -> list[Example]:
    """At most `POOL_ROWS` of the training rows, drawn while they pass (reservoir sampling): none is held in vain."""
    rng, pool = stream(seed, "exemplar pool", task.name), []
    for number, example in enumerate(rows):
        if number < POOL_ROWS:
            pool.append(example)
        elif (place := rng.randrange(number + 1)) < POOL_ROWS:
            pool[place] = example
    return pool


def check_shots(tasks: Iterable[Task], settings: EvalSettings) -> None:
    """ConfigError for a task that has no training rows to draw exemplars from."""
    lacking = [task.name for task in tasks if task.source.splits.train is None]
    if settings.num_shots and lacking:
        found = f"{settings.num_shots} shots for {', '.join(lacking)}, of which there are only test rows"
        raise ConfigError("--shots", found, "tasks with training rows", "Ask these without exemplars.")


def limits_of_prompts(task: Task, lengths: Lengths) -> Lengths:
    """What prompts of this task have to fit to be asked.

    `max_target_tokens` is what is trained on: here an option may be as long as the positions allow after its prompt. A
    reference answer, which the model never reads, has no limit; prompts leave room for the text that the model may
    write, but no more than `max_target_tokens`, nor than half of the positions.
    """
    total = lengths.max_total_tokens
    if task.card.answer.kind == "choice":
        return replace(lengths, max_target_tokens=total)
    kept = min(task.card.max_new_tokens, lengths.max_target_tokens, total // 2)
    return Lengths(min(lengths.max_input_tokens, total - kept), sys.maxsize)


def max_new_tokens(task: Task, lengths: Lengths) -> int:
    """How long a text of this task may become: as its card says, as far as there are positions for it."""
    return min(task.card.max_new_tokens, lengths.max_total_tokens - limits_of_prompts(task, lengths).max_input_tokens)


def requests_for(
    tasks: Sequence[Task],
    examples: Mapping[str, Sequence[Example]],
    settings: EvalSettings | None = None,
    pools: Mapping[str, Sequence[Example]] | None = None,
    seed: int = 0,
) -> list[Request]:
    """Every example with every wording of its task that is asked for; `pools` holds the exemplars to draw from.

    An example has the same exemplars in every wording, and neither itself nor one with the same text among them.
    """
    settings = settings or EvalSettings()
    requests = []
    for task in tasks:
        templates = task.scored_templates
        if settings.prompt == "completion":
            if task.completion is None:
                do = "Ask with --prompt templates, or add `completion` to the card."
                raise ConfigError("--prompt completion", f"no completion prompt of {task.name}", "one", do)
            templates = (task.completion,)
        for example in examples[task.name]:
            drawn_for = task.name if settings.exemplars == "fixed" else None
            pool = pools[task.name] if pools and settings.num_shots else ()
            exemplars = tuple(choose_exemplars(example, pool, settings.num_shots, seed, drawn_for))
            requests += [Request(task, example, template, exemplars) for template in templates]
    return requests


def group_of(task: Task, example: Example) -> str:
    """One text for all examples that have the same values in the card's `group_by`; "" for a card without it."""
    return _group(example, task.card.group_by) if task.card.group_by else ""


def unit_of(task: Task, example: Example) -> str:
    """One text for all examples that have the same values in the card's `unit`; "" for a card without it."""
    return _group(example, task.card.unit) if task.card.unit else ""


def _group(example: Example, names: Sequence[str]) -> str:
    return fingerprint([example.fields[name] for name in names])
