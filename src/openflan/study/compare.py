"""The result of a study as it lies in `results.json`: one row per held-out cluster and arm, and what they differ by.

Scores and differences are fractions in 0-1 (-1 to 1); `None` is a score that could not be had. The report reads this
and nothing else.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from openflan import files
from openflan.errors import RunError
from openflan.evaluation.intervals import ALPHA
from openflan.evaluation.settings import ClusterMean
from openflan.study.figures import Gap, Mean, Number, TaskFigures, TemplateResult
from openflan.tasks.card import Strict

UNTUNED = ("untuned, options", "untuned, no options")
TUNED = "tuned"
SHUFFLED = "tuned, shuffled labels"
MAJORITY = "majority"


class OfArm(Strict):
    """What is said of one arm on one held-out cluster."""

    held_out: str
    arm: str


class ResultRow(Mean, OfArm):
    """The score over all tasks and templates. `num_units`: as in `TaskFigures`."""

    num_examples: int
    num_units: int | None = None
    num_templates: int


class Difference(Gap):
    """Arm `a` minus arm `b`.

    `adjusted`: the p-value after Holm's correction, over the claims of all held-out clusters (the tuned model against
    either untuned prompt), or over all other differences. `num_unpaired` prompts have a score in one arm only, and are
    left out of both.
    """

    held_out: str
    a: str
    b: str
    adjusted: Number | None = None
    num_unpaired: int

    @property
    def direction(self) -> int:
        """1 where the first model is shown to be better, -1 where it is shown to be worse, 0 where neither is shown.

        Shown: the interval leaves zero out, and the p-value, corrected where it is, is below 0.05.
        """
        p_value = self.p_value if self.adjusted is None else self.adjusted
        if self.difference is None or self.low is None or self.high is None or p_value is None or p_value >= ALPHA:
            return 0
        return 1 if self.low > 0 else -1 if self.high < 0 else 0

    @property
    def is_claim(self) -> bool:
        """Whether this is what the study is about: the tuned model against the untuned one, in either prompt.

        Which untuned prompt is the better one is not known before the test rows are scored, so neither is chosen.
        """
        return self.a == TUNED and self.b in UNTUNED


class Asked(Strict):
    """How prompts were asked: `num_shots` solved examples before each, in instructions or in the card's completion
    prompt; and what weighs the same in the mean of a cluster."""

    num_shots: int
    prompt: Literal["templates", "completion"]
    cluster_mean: ClusterMean


class TaskRow(TaskFigures, OfArm):
    """One task."""


class Detail(TemplateResult, OfArm):
    """The score of one template of one task."""

    task: str


class Run(Strict):
    """One run directory: what it held out, trained on and evaluated, and what somebody needs to repeat it.

    `excluded` maps each task that hold-out removed from training to the reason; `fingerprints` maps a stage's name to
    the fingerprint of what it read or wrote.
    """

    directory: str
    held_out: str
    arms: tuple[str, ...]
    model: str
    seed: int
    command: str
    trained_on: tuple[str, ...]
    evaluated_on: tuple[str, ...]
    excluded: dict[str, str]
    fingerprints: dict[str, str]


class StudyResults(Strict):
    """Everything a report shows. `seconds` maps a stage to how long it took.

    `asked` is None in results of versions that did not say.
    """

    rows: tuple[ResultRow, ...]
    differences: tuple[Difference, ...]
    seconds: dict[str, Number]
    tasks: tuple[TaskRow, ...]
    details: tuple[Detail, ...]
    runs: tuple[Run, ...]
    asked: Asked | None = None

    @model_validator(mode="after")
    def _one_row_each(self) -> StudyResults:
        all_keys: dict[str, list[tuple[str, ...]]] = {
            "rows": [(row.held_out, row.arm) for row in self.rows],
            "differences": [(row.held_out, row.a, row.b) for row in self.differences],
            "tasks": [(row.held_out, row.arm, row.task) for row in self.tasks],
            "details": [(row.held_out, row.arm, row.task, row.template) for row in self.details],
        }
        for name, keys in all_keys.items():
            twice = {key for key in keys if keys.count(key) > 1} if len(set(keys)) < len(keys) else set()
            if twice:
                raise ValueError(f"`{name}` has two entries for {', '.join(min(twice))}")
        return self

    def to_json(self) -> dict[str, Any]:
        """JSON values in the form of `results.json`."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, value: Any, where: object = files.RESULTS) -> StudyResults:
        """Read what `to_json` gave. Unknown, missing or mistyped keys raise RunError, all of them at once."""
        return files.parse(cls, value, where, RunError)

    @property
    def held_out(self) -> tuple[str, ...]:
        """The held-out clusters in the order of the rows."""
        return tuple(dict.fromkeys(row.held_out for row in self.rows))

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms in the order of the rows."""
        return tuple(dict.fromkeys(row.arm for row in self.rows))

    def row(self, held_out: str, arm: str) -> ResultRow | None:
        """The row of one arm on one cluster, None when there is none."""
        return next((row for row in self.rows if (row.held_out, row.arm) == (held_out, arm)), None)
