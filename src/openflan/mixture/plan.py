"""Which rows are trained on, how often, in which words and in which order: decided before anything is rendered.

Everything is drawn from streams that belong to one dataset (its row order, its wordings, its places in the whole), so
that adding or removing a dataset leaves the others' rows, wordings and relative order as they were.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from openflan.mixture.draw import Drawn, draw
from openflan.mixture.pool import Pool, RowNotes, Uids
from openflan.mixture.rates import allot, shares_of
from openflan.mixture.settings import MixtureSettings
from openflan.streams import fingerprint_rows, stream
from openflan.tasks.catalog import Task, check_task
from openflan.tasks.example import Example, checked

_ROWS_AT_ONCE = 8192


@dataclass(frozen=True, slots=True)
class PlanRow:
    """Train on this row with this wording, behind these solved exemplars."""

    uid: str
    task: str
    template: str
    exemplars: tuple[str, ...] = ()


class Plan:
    """The rows in training order, and the mixture they make: `summary` is for people and reports, not for training.

    Rows lie in columns, twelve bytes each and four for each exemplar; a `PlanRow` is made when somebody asks for it.
    """

    def __init__(self, drawn: Mapping[str, Drawn], task: NDArray[np.int16], summary: dict[str, Any]) -> None:
        """`task` [N]: for each place in training order, whose turn it is, as a place among the keys of `drawn`."""
        self.summary = summary
        self._names = tuple(drawn)
        self._drawn = tuple(drawn.values())
        self._task = task
        self._turn = np.empty(task.size, dtype=np.int32)  # which of its dataset's prompts stands here
        for code, each in enumerate(self._drawn):
            self._turn[task == code] = np.arange(len(each))
        self._fingerprint = ""

    @classmethod
    def of_rows(cls, rows: Sequence[PlanRow], summary: dict[str, Any]) -> Plan:
        """A plan of rows that somebody made."""
        names = sorted({row.task for row in rows})
        drawn = {name: _columns([row for row in rows if row.task == name]) for name in names}
        return cls(drawn, np.array([names.index(row.task) for row in rows], dtype=np.int16), summary)

    def __len__(self) -> int:
        return self._task.size

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plan) and (self.fingerprint, self.summary) == (other.fingerprint, other.summary)

    __hash__ = None  # type: ignore[assignment]

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks with a row in the plan."""
        return tuple(name for name, drawn in zip(self._names, self._drawn, strict=True) if len(drawn))

    @property
    def rows(self) -> PlanRows:
        """The rows in training order, made one by one."""
        return PlanRows(self)

    @property
    def fingerprint(self) -> str:
        """Of the rows and their order alone: equal in two arms that differ in style or labels only."""
        self._fingerprint = self._fingerprint or fingerprint_rows(
            [row.uid, row.task, row.template, *([row.exemplars] if row.exemplars else [])] for row in self.rows
        )
        return self._fingerprint

    def rows_at(self, places: NDArray[np.int64]) -> Iterator[PlanRow]:
        """The rows at these places in training order, counted from 0; made some thousand at a time."""
        for start in range(0, places.size, _ROWS_AT_ONCE):
            some = places[start : start + _ROWS_AT_ONCE]
            task, turn = self._task[some], self._turn[some]
            made: dict[int, PlanRow] = {}
            for code in np.unique(task).tolist():
                here = np.flatnonzero(task == code)
                made |= zip(here.tolist(), self._made(code, turn[here]), strict=True)
            yield from (made[i] for i in range(some.size))

    def _made(self, code: int, turn: NDArray[np.int32]) -> Iterator[PlanRow]:
        """The prompts of one task with these numbers."""
        drawn, name = self._drawn[code], self._names[code]
        uids, templates = drawn.uids.at(drawn.row[turn]), drawn.template[turn].tolist()
        for k, uid, template in zip(turn.tolist(), uids, templates, strict=True):
            exemplars = tuple(drawn.uids.at(shown)) if (shown := drawn.exemplars_of(k)).size else ()
            yield PlanRow(uid, name, drawn.templates[template], exemplars)

    def of_task(self, name: str) -> Iterator[tuple[int, PlanRow]]:
        """Place in training order and row, for each row of one task, in training order."""
        if name in self._names:
            places = np.flatnonzero(self._task == self._names.index(name))
            yield from zip(places.tolist(), self.rows_at(places), strict=True)

    def used(self, name: str) -> NDArray[np.int32]:
        """The places in its pool of the different rows of one task that the plan names, exemplars included."""
        drawn = self._drawn[self._names.index(name)]
        return np.union1d(drawn.row, drawn.exemplars)

    def uids_of(self, name: str) -> set[str]:
        """The different rows of one task that the plan names, exemplars included."""
        if name not in self._names:
            return set()
        return set(self._drawn[self._names.index(name)].uids.at(self.used(name)))


class PlanRows(Sequence[PlanRow]):
    """The rows of a plan as a sequence that cannot be changed."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def __len__(self) -> int:
        return len(self._plan)

    @overload
    def __getitem__(self, place: int) -> PlanRow: ...
    @overload
    def __getitem__(self, place: slice) -> list[PlanRow]: ...
    def __getitem__(self, place: int | slice) -> PlanRow | list[PlanRow]:
        chosen = np.arange(len(self))[place]
        found = list(self._plan.rows_at(np.atleast_1d(chosen)))
        return found if isinstance(place, slice) else found[0]

    def __iter__(self) -> Iterator[PlanRow]:
        return self._plan.rows_at(np.arange(len(self)))


def build_plan(
    tasks: Sequence[Task], examples: Mapping[str, Iterable[Example]], settings: MixtureSettings, seed: int
) -> Plan:
    """Mix `examples`, the training rows by task name, into `settings.num_examples` plan rows.

    Shares follow `settings.rates`, over the rows that may be used. A dataset's rows come in random order, each once
    before any comes again, then all in a new order; each comes with a wording drawn at random. The datasets are then
    merged at random. The examples are gone through once, and not kept. Raises DataError for a task without rows.

    Three rows of `big`, one of `small` and a cap of 2 give shares of 2/3 and 1/3. Of six examples `big` gets four, its
    three rows and one of them again, and `small` gets two, both its only row:

    >>> from pathlib import Path
    >>> from openflan.tasks.card import Card
    >>> from openflan.tasks.example import Choice
    >>> card = Card.model_validate({
    ...     "family": "mood", "cluster": "sentiment", "source": {}, "metrics": ["accuracy"], "licence": "CC0",
    ...     "fields": {"text": "text"}, "samples": [{"text": "Fine!", "label": 1}],
    ...     "answer": {"kind": "choice", "options": ["sad", "glad"], "gold": "label"},
    ...     "templates": [{"id": "how", "input": "{{ text }} How?"}, {"id": "mood", "input": "{{ text }} Mood?"}]})
    >>> tasks = [Task(name, "user", card, card.source, {}, Path(name)) for name in ("big", "small")]
    >>> rows = {name: [Example(f"{name}/train/{i}", name, {"text": "Fine!"}, Choice(("sad", "glad"), 1))
    ...                for i in range(size)] for name, size in (("big", 3), ("small", 1))}
    >>> plan = build_plan(tasks, rows, MixtureSettings(num_examples=6, rate_cap=2), seed=0)
    >>> for row in plan.rows:
    ...     print(row.uid, row.template)
    big/train/2 how
    small/train/0 mood
    big/train/1 mood
    small/train/0 how
    big/train/0 mood
    big/train/0 how
    >>> plan.summary["tasks"]["small"]["num_epochs"], plan.summary["tasks"]["small"]["templates"]
    (2.0, {'how': 1, 'mood': 1})
    """
    pools = {}
    for task in tasks:
        check_task(task)
        notes = RowNotes(with_texts=settings.few_shot_share > 0)
        for example in checked(examples.get(task.name, ())):
            notes.add(example)
        pools[task.name] = notes.pool(task.name, settings.max_rows_per_task, seed)
    return mix(tasks, pools, settings, seed)


def mix(tasks: Sequence[Task], pools: Mapping[str, Pool], settings: MixtureSettings, seed: int) -> Plan:
    """`build_plan` from what was noted of the rows.

    `summary` tells, by task and by cluster, `requested_share` and `achieved_share` (0-1), `num_rows_available`,
    `num_rows_used` (different rows), `num_examples`, `num_epochs`, `templates` (examples by wording), and how many
    examples have an inverted wording, how many exemplars, and how many exemplars there are in all.
    """
    tasks = sorted(tasks, key=lambda task: task.name)
    shares = shares_of({task.name: len(pools[task.name].uids) for task in tasks}, settings)
    counts = allot(shares, settings.num_examples)
    drawn: dict[str, Drawn] = {}
    places: list[NDArray[np.float64]] = []
    summary: dict[str, Any] = {}
    for task in tasks:
        pool, count = pools[task.name], counts[task.name]
        drawn[task.name] = draw(task, pool, count, settings, seed)
        rng = stream(seed, "order", task.name)
        place = np.fromiter((rng.random() for _ in range(count)), dtype=np.float64, count=count)
        places.append(np.sort(place))  # sorted: the dataset's own order survives the merge
        summary[task.name] = {
            "cluster": task.cluster,
            "requested_share": shares[task.name],
            "achieved_share": count / settings.num_examples,
            "num_rows_available": pool.num_available,
            **_counts(task, drawn[task.name], settings),
        }
    whose = np.repeat(np.arange(len(tasks), dtype=np.int16), [counts[task.name] for task in tasks])
    order = np.argsort(np.concatenate(places), kind="stable")
    return Plan(drawn, whose[order], {"tasks": summary, "clusters": _by_cluster(summary)})


def _counts(task: Task, drawn: Drawn, settings: MixtureSettings) -> dict[str, Any]:
    uses = np.bincount(drawn.template, minlength=len(drawn.templates)).tolist()
    templates = dict(zip(drawn.templates, uses, strict=True))
    inverted = {t.id for t in task.templates if t.inverted and settings.style == "instruction"} & templates.keys()
    return {
        "num_rows_used": int(np.unique(drawn.row).size),
        "num_examples": len(drawn),
        "num_epochs": len(drawn) / len(drawn.uids),
        "templates": {name: templates[name] for name in sorted(templates) if templates[name]},
        "num_inverted_templates": len(inverted),
        "num_inverted": sum(templates[name] for name in inverted),
        "num_few_shot": int(np.count_nonzero(np.diff(drawn.first_exemplar))),
        "num_exemplars": int(drawn.exemplars.size),
    }


_SUMMED = (
    *("requested_share", "achieved_share", "num_rows_available", "num_rows_used", "num_examples"),
    *("num_inverted_templates", "num_inverted", "num_few_shot", "num_exemplars"),
)


def _by_cluster(tasks: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The sums over each cluster's tasks. `num_epochs` is left out: it differs from task to task."""
    clusters: dict[str, dict[str, Any]] = {}
    for task in tasks.values():
        total = clusters.setdefault(task["cluster"], {"num_tasks": 0, "num_templates": 0})
        total["num_tasks"] += 1
        total["num_templates"] += len(task["templates"])
        for key in _SUMMED:
            total[key] = total.get(key, 0) + task[key]
    return dict(sorted(clusters.items()))


def _columns(rows: Sequence[PlanRow]) -> Drawn:
    """The rows of one task as columns."""
    uids = list(dict.fromkeys(uid for row in rows for uid in (row.uid, *row.exemplars)))
    templates = tuple(dict.fromkeys(row.template for row in rows))
    place = {uid: i for i, uid in enumerate(uids)}
    return Drawn(
        Uids(uids),
        templates,
        np.array([place[row.uid] for row in rows], dtype=np.int32),
        np.array([templates.index(row.template) for row in rows], dtype=np.int16),
        np.cumsum([0, *(len(row.exemplars) for row in rows)], dtype=np.int32),
        np.array([place[uid] for row in rows for uid in row.exemplars], dtype=np.int32),
    )
