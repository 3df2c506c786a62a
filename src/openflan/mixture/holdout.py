"""Which tasks may be trained on when clusters are held out: the protocol of section 2.2 of the paper, and provenance.

The paper removes the held-out cluster and the clusters that ask for the same skill. Names alone are not enough: a task
of another cluster may be another face of a held-out dataset (QNLI is made from SQuAD), so families and sources count.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from openflan.errors import ConfigError
from openflan.tasks.catalog import Catalog, Task, check_task
from openflan.tasks.same_data import DataNames, hub_name, plain


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A task that is not trained on, and why, as half a sentence for people."""

    task: str
    reason: str


def training_tasks(
    catalog: Catalog, held_out: Sequence[str], candidates: Sequence[Task]
) -> tuple[list[Task], list[Exclusion]]:
    """Sort `candidates` into tasks to train on and tasks excluded, each in the order given.

    A candidate is excluded when its cluster is one of `held_out` or is held out together with one, when a held-out
    task belongs to its family or has the same data under another name, or when the two share a source: one is derived
    from the other, at any remove, or both from a third. All tasks of a held-out cluster count as held out, whichever of
    them are evaluated. Raises CatalogError for an unknown cluster and ConfigError when nothing is left to train on.
    """
    for task in candidates:
        check_task(task)
    clusters = [catalog.cluster(name) for name in held_out]
    cluster_reason = {
        other: f"its cluster, {other}, is held out together with {cluster.name}"
        for cluster in clusters
        for other in cluster.hold_out_with
    } | {cluster.name: f"its cluster, {cluster.name}, is held out" for cluster in clusters}
    known = {task.name: task for task in (*catalog.tasks.values(), *candidates)}.values()
    relatives = Relatives(known)
    hidden = [task for task in known if task.cluster in held_out]
    family_of = {task.family: task.name for task in hidden}
    data_of = {family: task.name for task in hidden for family in relatives.families(task)}
    source_of = {source: task.name for task in hidden for source in relatives.lineage(task)}

    kept: list[Task] = []
    excluded: list[Exclusion] = []
    for task in candidates:
        same_data = sorted(
            relatives.families(task) & data_of.keys(), key=lambda family: (family == task.family, family)
        )
        shared = sorted(relatives.lineage(task) & source_of.keys())
        if task.cluster in cluster_reason:
            excluded.append(Exclusion(task.name, cluster_reason[task.cluster]))
        elif task.family in family_of:
            reason = f"its family, {task.family}, has a held-out member, {family_of[task.family]}"
            excluded.append(Exclusion(task.name, reason))
        elif same_data:
            reason = f"its data are {same_data[0]}'s, as are those of a held-out task, {data_of[same_data[0]]}"
            excluded.append(Exclusion(task.name, reason))
        elif shared:
            excluded.append(Exclusion(task.name, f"it shares the source {shared[0]} with {source_of[shared[0]]}"))
        else:
            kept.append(task)
    if not kept:
        found = f"{', '.join(held_out) or 'nothing'} held out, which leaves none of {len(candidates)} tasks"
        raise ConfigError("the held-out clusters", found, "at least one task to train on", "Hold out fewer clusters.")
    return kept, excluded


class Relatives:
    """What tasks have to do with one another, by their families, the names of their data and their sources."""

    def __init__(self, known: Iterable[Task]) -> None:
        known = list(known)
        self._names = DataNames(known)
        self._spelled: dict[str, str] = {}
        self._parents: dict[str, set[str]] = {}
        for task in known:
            sources = {name for source in task.derived_from for name in self._called(source)}
            self._parents.setdefault(task.family, set()).update(sources)

    def families(self, task: Task) -> set[str]:
        """The task's family, and those that have its data under another name."""
        return self._names.families_of(task)

    def lineage(self, task: Task) -> set[str]:
        """Everything that `task` goes back to: its families, what they are derived from, and so on backwards.

        A source need not be a task of the catalogue: two datasets made from the same newspaper archive are relatives.
        """
        found: set[str] = set()
        waiting = self.families(task).union(*map(self._called, task.derived_from))
        if task.source.hub:  # it may be a source that no card describes
            source = self._spelled.get(plain(hub_name(task.source.hub, task.source.config)))
            waiting |= {source} if source else set()
        while waiting:
            name = waiting.pop()
            found.add(name)
            waiting |= self._parents.get(name, set()) - found
        return found

    def _called(self, name: str) -> set[str]:
        """The families of this name, or the source of this name, spelled as it was when it was met first."""
        return self._names.families(name) or {self._spelled.setdefault(plain(name), name)}
