"""What every result shows, of a study as of one evaluation, and how it comes from scores and predictions. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field

from openflan.evaluation.intervals import rounded
from openflan.tasks.card import Strict

if TYPE_CHECKING:
    from openflan.evaluation.predictions import Prediction
    from openflan.evaluation.scores import PairedDifference, Score, TaskScore, TemplateScore

Number = Annotated[float, Field(allow_inf_nan=False)]
Value = Annotated[Number, AfterValidator(rounded)]
"""A score, a difference or a bound: what is nearer to 0 than 1e-12 is 0, written and read, so that no verdict hangs on
the rounding of a sum."""


class Mean(Strict):
    """A score with its 95% interval."""

    score: Value | None
    low: Value | None
    high: Value | None


class Gap(Strict):
    """One model's score minus another's on the same rows and templates, with its 95% interval and p-value.

    `detectable`: the smallest true difference that such rows show with 80% power; None where no row differs or there
    is no interval.
    """

    difference: Value | None
    low: Value | None
    high: Value | None
    p_value: Number | None
    detectable: Number | None


class TemplateResult(Strict):
    """The value of one template over its scored rows."""

    template: str
    score: Number | None
    num_examples: int


class TaskFigures(Mean):
    """One task: the mean over templates, and what tells how far to trust it.

    `num_units`: how many of its rows are independent (rows on one passage are one unit); None in older results.
    `spread`: standard deviation over templates. Of all `num_prompts`, `num_unscored` have no answer, which is not a
    wrong one, `num_cut` lost words to fit, and `num_at_limit` answers were still going on after the last token allowed.
    The rest is that of `evaluation.scores.TaskScore`.
    """

    task: str
    metric: str
    spread: Number | None
    num_examples: int
    num_units: int | None = None
    num_templates: int
    num_prompts: int
    num_unscored: int
    num_cut: int
    num_at_limit: int
    median_margin: Number | None
    tie_rate: Number | None
    signature: str | None


def mean_figures(found: Score) -> dict[str, Any]:
    """What `Mean` holds."""
    return {"score": found.value, "low": found.low, "high": found.high}


def gap_figures(found: PairedDifference) -> dict[str, Any]:
    """What `Gap` holds."""
    from openflan.evaluation.significance import detectable_difference  # loads numpy, which a report does without

    error = None if found.low is None else found.standard_error
    return {
        "difference": found.difference,
        "low": found.low,
        "high": found.high,
        "p_value": found.p_value,
        "detectable": detectable_difference(error) if error else None,
    }


def task_figures(metric: str, found: TaskScore, predictions: Sequence[Prediction]) -> dict[str, Any]:
    """What `TaskFigures` holds. predictions: those of this task."""
    score = found.score
    return {
        "task": found.task,
        "metric": metric,
        **mean_figures(score),
        "spread": found.spread,
        "num_examples": score.num_examples,
        "num_units": score.num_units,
        "num_templates": score.num_templates,
        "num_prompts": len(predictions),
        "num_unscored": score.num_unscored,
        "num_cut": sum(p.num_cut_words > 0 for p in predictions),
        "num_at_limit": sum(p.at_limit for p in predictions),
        "median_margin": found.median_margin,
        "tie_rate": found.tie_rate,
        "signature": found.signature,
    }


def template_figures(found: TemplateScore) -> dict[str, Any]:
    """What `TemplateResult` holds."""
    return {"template": found.template, "score": found.value, "num_examples": found.num_examples}
