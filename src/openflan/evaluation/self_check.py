"""Checks that a task's metrics give its own references 1 and an empty answer 0."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from openflan.evaluation.metrics import CREDITS, METRICS
from openflan.evaluation.predictions import Prediction
from openflan.evaluation.text_metrics import NO_ANSWER, normalise
from openflan.tasks.catalog import Task
from openflan.tasks.example import Example, Text
from openflan.tasks.words import words

SHORT = 40  # characters; what a metric cannot read is short, or written in a script that the whole task is written in
SAMPLE = 300  # longer references that are scored, of all splits together
READ = 200  # characters of each


def metric_findings(task: Task, examples: Sequence[Example]) -> Iterator[tuple[str, str, str]]:
    """Problem, uid and reference, at most one of each kind for each metric.

    That ROUGE-2 gives nothing for a single word, which has no bigram, is no finding; nor is an empty answer that SQuAD
    2.0 takes for "unanswerable".
    """
    found = [(e.uid, text) for e in examples if isinstance(e.answer, Text) for text in e.answer.references]
    different: dict[str, str] = {}
    for uid, text in found:
        different.setdefault(text[:READ], uid)
    long = [text for text in different if len(text) > SHORT]
    chosen = [*(text for text in different if len(text) <= SHORT), *long[:: max(1, len(long) // SAMPLE)]]
    for name in task.metrics:
        if name == "bleu":
            yield from _bleu_findings(chosen)
        elif name in CREDITS and METRICS[name].needs == "text":
            yield from _credit_findings(name, different, chosen)


def _credit_findings(name: str, uids: dict[str, str], references: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    low, free = f"a reference that {name} gives less than 1 for itself", f"an empty answer earns more than 0 by {name}"
    for text in references:
        if low and CREDITS[name](_answer(text, text), "sum") != 1 and not (name == "rouge2" and len(words(text)) < 2):
            yield low, uids[text], text
            low = ""
        unanswerable = name.startswith("squad_v2") and normalise(text) in ("", NO_ANSWER)
        if free and CREDITS[name](_answer("", text), "sum") and not unanswerable:
            yield free, uids[text], text
            free = ""


def _bleu_findings(references: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """BLEU is a value of all rows together."""
    if references:
        metric = METRICS["bleu"]
        sums = metric.statistics([_answer(text, text) for text in references], "sum").sum(axis=0)
        if not np.isclose(metric.value(sums), 1):
            yield "the references do not earn 1 by bleu for themselves", "", max(references, key=len)


def _answer(text: str, reference: str) -> Prediction:
    return Prediction("", "", "", None, (), (), (), text, (reference,))
