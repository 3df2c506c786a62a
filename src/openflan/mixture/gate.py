"""The contamination gate: what was found, what becomes of it, and the last look at a finished plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from openflan.errors import HoldOutError
from openflan.mixture.holdout import training_tasks
from openflan.mixture.overlap import Kind, Overlap
from openflan.mixture.plan import Plan
from openflan.mixture.settings import MixtureSettings
from openflan.tasks.catalog import Catalog, Task

NUM_SHOWN = 3
KINDS: tuple[Kind, ...] = get_args(Kind)
MEANING: Mapping[Kind, str] = {
    "text": "with the same text",
    "field": "with an equal field",
    "ngram": "by a run of words",
}


@dataclass(frozen=True, slots=True)
class GateReport:
    """What the gate found in the training rows of one held-out cluster, and what becomes of these rows.

    `action` is `stop`, `remove` or `allow` (for the `reason`). `num_boilerplate` counts n-grams that stand in held-out
    and in training rows, but in too many to mean anything.
    """

    action: Literal["stop", "remove", "allow"]
    reason: str | None
    overlaps: tuple[Overlap, ...]
    num_boilerplate: int

    @classmethod
    def of(cls, overlaps: Iterable[Overlap], num_boilerplate: int, settings: MixtureSettings) -> GateReport:
        """The report under a recipe's settings."""
        reason = settings.allow_overlap
        return cls("allow" if reason else settings.overlap, reason, tuple(overlaps), num_boilerplate)

    @property
    def left_out(self) -> set[str]:
        """The rows that are not trained on."""
        return set() if self.action == "allow" else {overlap.train_uid for overlap in self.overlaps}

    def summary(self) -> dict[str, Any]:
        """For plan.json: numbers by task and kind, and the rows themselves where they are trained on."""
        tasks: dict[str, Counter[str]] = {}
        for overlap in self.overlaps:
            tasks.setdefault(overlap.train_uid.partition("/")[0], Counter())[overlap.kind] += 1
        found: dict[str, Any] = {
            "action": self.action,
            "num_rows": len(self.overlaps),
            "by_kind": self.by_kind(),
            "by_task": {name: dict(sorted(kinds.items())) for name, kinds in sorted(tasks.items())},
            "num_boilerplate_ngrams": self.num_boilerplate,
        }
        if self.action == "allow":
            found["reason"] = self.reason
            found["rows"] = [overlap.train_uid for overlap in self.overlaps]
        return found

    def by_kind(self) -> dict[str, int]:
        """How many rows of each kind, those without any left out."""
        found = Counter(overlap.kind for overlap in self.overlaps)
        return {kind: found[kind] for kind in KINDS if found[kind]}

    def check(self, held_out: str) -> None:
        """HoldOutError that names the rows when there are any and nobody said what is to become of them."""
        if self.action != "stop" or not self.overlaps:
            return
        kinds = ", ".join(f"{number} {MEANING[kind]}" for kind, number in self.by_kind().items())  # type: ignore[index]
        shown = "; ".join(
            f"{o.train_uid} and {o.held_out_uid}: {o.text[:80]!r}" for o in _some_of_each_kind(self.overlaps)
        )
        raise HoldOutError(
            f"{self.overlaps[0].train_uid}, held out {held_out}",
            f"{len(self.overlaps)} training rows that show held-out rows ({kinds}), such as {shown}",
            "nothing in common",
            "Leave them out with `--set mixture.overlap=remove`, or train on them with `--allow-overlap REASON`.",
        )


def _some_of_each_kind(overlaps: Iterable[Overlap]) -> Iterator[Overlap]:
    seen: Counter[Kind] = Counter()
    for overlap in overlaps:
        seen[overlap.kind] += 1
        if seen[overlap.kind] <= NUM_SHOWN:
            yield overlap


def check_plan(plan: Plan, catalog: Catalog, held_out: str, trained: Sequence[Task], gate: GateReport) -> None:
    """The finished plan once more: HoldOutError when it names a row of a task that hold-out takes away, or a row that
    the gate left out, be it to train on or as an exemplar.

    The tasks are judged anew by cluster, family and provenance, which no setting switches off.
    """
    given = {task.name: task for task in trained}
    _, excluded = training_tasks(catalog, [held_out], [given.get(name) or catalog.task(name) for name in plan.tasks])
    reasons = {exclusion.task: exclusion.reason for exclusion in excluded}
    left_out = gate.left_out
    for name in plan.tasks:
        uids = plan.uids_of(name)
        if name in reasons or name not in given:
            found = f"a row of a held-out task in the plan ({reasons.get(name, 'it is not among those trained on')})"
            raise HoldOutError(min(uids), found, "only rows of training tasks")
        if uids & left_out:
            raise HoldOutError(min(uids & left_out), "a row that shows a held-out text in the plan", "only other rows")
