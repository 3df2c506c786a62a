"""Words and rounds numbers. Everything here takes what `results.json` holds and yields text; nothing is computed anew.

Scores become percent with one decimal, differences points with a sign, intervals `[low, high]`, and what is not there
"missing".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from openflan.evaluation.intervals import rounded
from openflan.study.compare import (
    MAJORITY,
    SHUFFLED,
    TUNED,
    UNTUNED,
    Asked,
    Difference,
    ResultRow,
    StudyResults,
    TaskRow,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

    from openflan.study.results import TaskResult

MISSING = "missing"
UNPAIRED = " have a score of one side only, and are left out of the difference"
CLOSE_NATS = 0.05
"""A lead of fewer nats than these is small enough for bfloat16 or another batch to turn around."""

CLUSTER_MEANS = {
    "tasks": " In the mean of a cluster every task weighs the same.",
    "datasets": " In the mean of a cluster every dataset weighs the same; its parts are averaged first.",
}
EXPLANATIONS = {
    UNTUNED[0]: "The base model as it was before tuning, asked with the same templates as the tuned one.",
    UNTUNED[1]: "The base model asked with the same templates, the block that lists the options left out: a model that "
    "was never tuned on such blocks may do better without.",
    TUNED: "The base model after instruction tuning on the training clusters, none of which is the held-out one.",
    SHUFFLED: "The base model tuned in the same way on the same prompts, their answers drawn at random. It learns the "
    "form of an answer and nothing about the tasks: what it gains over the untuned model is form.",
    MAJORITY: "No model: the constant answer that scores best on the test rows. A score near it shows nothing.",
}


def percent(fraction: float | None) -> str:
    """A score, as percent with one decimal and without the sign.

    >>> percent(0.5312), percent(None)
    ('53.1', 'missing')
    """
    return MISSING if fraction is None else f"{round(100 * fraction, 1) + 0.0:.1f}"


def points(fraction: float | None) -> str:
    """A difference of two scores, in points with its sign.

    The sign is that of the number before it was rounded.

    >>> points(0.031), points(-0.0001), points(0.0)
    ('+3.1', '-0.0', '+0.0')
    """
    return MISSING if fraction is None else f"{100 * rounded(fraction):+.1f}"


def interval(low: float | None, high: float | None, signed: bool = False) -> str:
    """An interval in the same unit as its score (`signed`: its difference); empty where there is none.

    >>> interval(0.4901, 0.572), interval(-0.001, 0.029, signed=True)
    ('[49.0, 57.2]', '[-0.1, +2.9]')
    """
    word = points if signed else percent
    return "" if low is None or high is None else f"[{word(low)}, {word(high)}]"


def p_value(value: float | None) -> str:
    """A p-value with three decimals, and never 0.

    >>> p_value(0.0312), p_value(0.0004999)
    ('0.031', '<0.001')
    """
    return MISSING if value is None else "<0.001" if value < 0.001 else f"{value:.3f}"


def words(name: str) -> str:
    """The name of a cluster as a reader writes it.

    >>> words("natural_language_inference")
    'natural language inference'
    """
    return name.replace("_", " ")


def counted(num_examples: int, num_units: int | None) -> str:
    """How many rows there are, and how many independent units where these are fewer.

    >>> counted(1000, 1000), counted(501, 250)
    ('1,000 rows', '501 rows, 250 units')
    """
    return f"{num_examples:,} rows" + (f", {num_units:,} units" if num_units and num_units < num_examples else "")


def cell(row: ResultRow | None) -> tuple[str, str]:
    """Score and interval of one arm on one cluster; an arm that was not run is missing, never 0."""
    return (MISSING, "") if row is None else (percent(row.score), interval(row.low, row.high))


def sort_differences(results: StudyResults) -> list[tuple[Difference, bool]]:
    """All differences by cluster, each with whether it is a claim (tuned against an untuned prompt); claims first."""
    rows = [
        (gap, gap.is_claim) for held_out in results.held_out for gap in results.differences if gap.held_out == held_out
    ]
    return sorted(rows, key=lambda row: not row[1])


def reading(claim: Difference) -> str:
    """A claim in plain language; "better" and "worse" only where that is shown (`Difference.direction`)."""
    if claim.difference is None or claim.low is None or claim.high is None:
        return f"{claim.a} against {claim.b}: missing"
    bounds = f"95% interval {interval(claim.low, claim.high, signed=True)}"
    bounds += "" if claim.adjusted is None else f", p {p_value(claim.adjusted)} after Holm's correction"
    if claim.direction == 0:
        power = "" if claim.detectable is None else f"; {percent(claim.detectable)} points would show with 80% power"
        return f"{claim.a} against {claim.b}: no difference shown ({points(claim.difference)} points, {bounds}{power})"
    word = "better" if claim.direction > 0 else "worse"
    return f"{claim.a} is {word} than {claim.b} by {percent(abs(claim.difference))} points, {bounds}"


def shots(asked: Asked | None) -> str:
    """What is shown, by how many solved examples a prompt had; "scores" where the results do not say.

    >>> shots(Asked(num_shots=2, prompt="templates", cluster_mean="tasks")), shots(None)
    ('2-shot', 'scores')
    """
    return "scores" if asked is None else f"{asked.num_shots}-shot" if asked.num_shots else "zero-shot"


def remarks(task: TaskRow | TaskResult, limit: int | None = None, in_nats: bool = True) -> list[str]:
    """What a task's score does not show: what has no score, was cut, went on too long (after `limit` tokens), or could
    not be told apart (where leads are `in_nats`); and what belongs to the number."""
    of = f"of {task.num_prompts:,} prompts"
    close = in_nats and task.median_margin is not None and task.median_margin < CLOSE_NATS
    end = f"{limit} tokens" if limit else "tokens"
    parts = [
        (task.num_unscored, f"{task.num_unscored:,} {of} unscored, and not counted as wrong"),
        (task.num_cut, f"{task.num_cut:,} {of} lost words to fit"),
        (task.num_at_limit, f"{task.num_at_limit:,} {of} were answered up to the limit of {end}"),
        (task.tie_rate, f"{percent(task.tie_rate)}% of answers tied, credit shared"),
        (close, f"half of the answers lead by {task.median_margin or 0.0:.3f} nats or less"),
        (task.signature, f"BLEU is sacrebleu's {task.signature}"),
    ]
    return [text for telling, text in parts if telling]


def results_table(results: StudyResults) -> RenderableType:
    """For the terminal: held-out clusters as rows, arms as columns, the paired differences below."""
    import textwrap

    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from openflan.report.terminal import Fitting

    scores = Table(
        box=box.SIMPLE_HEAD, padding=0, title=f"{shots(results.asked).capitalize()} on the held-out cluster (percent)"
    )
    scores.add_column("held out")
    for arm in results.arms:
        heading = Text(textwrap.fill(arm, len("[49.0, 57.2]")), justify="right")
        scores.add_column(heading, justify="right", style="bold" if arm == TUNED else "", no_wrap=True)
    for i, held_out in enumerate(results.held_out):
        cells = ["\n".join(part for part in cell(results.row(held_out, arm)) if part) for arm in results.arms]
        last = i == len(results.held_out) - 1
        scores.add_row(Text(words(held_out)), *(Text(text, justify="right") for text in cells), end_section=not last)

    gaps = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title="Paired differences (points, same rows)")
    for name in ("held out", "difference"):
        gaps.add_column(name)
    for name in ("points", "95% interval", "p (Holm)"):
        gaps.add_column(name, justify="right", no_wrap=True)
    for gap, is_claim in sort_differences(results):
        style = "bold" if is_claim else ""
        bounds = interval(gap.low, gap.high, signed=True)
        p = "" if gap.p_value is None else p_value(gap.adjusted)
        cells = [words(gap.held_out), f"{gap.a} - {gap.b}", points(gap.difference), bounds, p]
        gaps.add_row(*(Text(text, style) for text in cells))

    shown: list[RenderableType] = [Fitting(scores)]
    shown += [Fitting(gaps)] if results.differences else []
    for gap in results.differences:
        if gap.num_unpaired:
            left_out = f"{words(gap.held_out)}, {gap.a} - {gap.b}: {gap.num_unpaired:,} prompts{UNPAIRED}."
            shown.append(Text(left_out))
    num_unscored, num_prompts = (
        sum(getattr(t, name) for t in results.tasks) for name in ("num_unscored", "num_prompts")
    )
    if num_unscored:
        told = f"{num_unscored:,} of {num_prompts:,} prompts unscored, and not counted as wrong: see the report."
        shown.append(Text(told))
    return Group(*shown)
