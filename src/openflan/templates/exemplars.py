"""Few-shot prompts: solved examples of the same task and wording before the one that is asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from random import Random

from openflan.streams import stream
from openflan.tasks.card import Template
from openflan.tasks.catalog import Task
from openflan.tasks.example import Example, source_row
from openflan.templates.render import Prompt, Style, render

BETWEEN = "\n\n"  # between one exemplar and the next


def choose_exemplars(
    example: Example, pool: Sequence[Example], num_shots: int, seed: int = 0, drawn_for: str | None = None
) -> list[Example]:
    """`num_shots` examples of `pool`, fewer when it has no more that may be shown.

    Never the example itself, another part of its row, or an example with the same text; no text twice. The draw belongs
    to the example's uid: it is the same whatever else is asked, in whatever order and in however many processes. Or to
    `drawn_for`, such as the task: then examples share their exemplars, but for those that one may not be shown.
    """
    taken = {shown_text(example)}
    chosen: list[Example] = []
    for i in random_order(len(pool), stream(seed, "exemplars", drawn_for or example.uid)) if num_shots > 0 else ():
        text = shown_text(pool[i])
        if text not in taken and source_row(pool[i].uid) != source_row(example.uid):
            taken.add(text)
            chosen.append(pool[i])
            if len(chosen) == num_shots:
                break
    return chosen


def render_few_shot(
    example: Example,
    exemplars: Sequence[Example],
    task: Task,
    template: Template,
    *,
    style: Style = "instruction",
    show_options: bool = True,
    separator: str = "\n",
) -> Prompt:
    """The prompt of `example` after its solved exemplars, all in one wording, a blank line between each and the next.

    `separator` stands between an exemplar's input and its target, as the codec puts it between the prompt and its
    target. Everything but `input` is as without exemplars.

    >>> from openflan.tasks.adapt import load_examples
    >>> from openflan.tasks.catalog import load_catalog
    >>> task = load_catalog().task("copa")
    >>> samples, _ = load_examples(task, "samples")
    >>> prompt = render_few_shot(samples[0], samples[1:2], task, task.templates[0], style="dataset_name")
    >>> prompt.input.count("[copa] "), samples[1].answer_text in prompt.input
    (2, True)
    """
    prompts = [render(each, task, template, style=style, show_options=show_options) for each in (*exemplars, example)]
    shots = [f"{shot.input}{separator}{shot.target}{BETWEEN}" for shot in prompts[:-1]]
    return replace(prompts[-1], input="".join(shots) + prompts[-1].input)


def shown_text(example: Example) -> str:
    """All fields as one text: examples with the same one are not shown together."""
    values = [v for value in example.fields.values() for v in ([value] if isinstance(value, str) else value)]
    return " ".join(" ".join(values).split()).casefold()


def random_order(num: int, rng: Random) -> Iterator[int]:
    """The numbers below `num` in a random order, drawn only as far as they are asked for (Fisher and Yates)."""
    moved: dict[int, int] = {}
    for i in range(num):
        j = rng.randrange(i, num)
        yield moved.get(j, j)
        moved[j] = moved.pop(i, i)
