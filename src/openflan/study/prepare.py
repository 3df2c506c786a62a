"""What one held-out cluster needs before any weights load: tasks, the plan, and proof that nothing leaks.

Training rows pass by one task at a time and are not kept: the plan knows them by uid, and a task's rows are read again
when they are encoded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from openflan.config import RunConfig, candidate_tasks, evaluated_tasks, present_tasks
from openflan.errors import RunError
from openflan.evaluation.metrics import check_metrics
from openflan.evaluation.requests import draw_examples, draw_pool
from openflan.mixture.gate import GateReport, check_plan
from openflan.mixture.holdout import Exclusion, training_tasks
from openflan.mixture.labels import shuffle_answers
from openflan.mixture.overlap import HeldOutTexts, Overlap, Scan
from openflan.mixture.plan import Plan, mix
from openflan.mixture.pool import Pool, RowNotes, content_fingerprint, content_number
from openflan.mixture.rates import check_weights
from openflan.streams import fingerprint
from openflan.tasks.adapt import iter_examples
from openflan.tasks.catalog import USER, Catalog, Task
from openflan.tasks.example import Example
from openflan.tasks.sources import has_rows
from openflan.tasks.splits import Split


@dataclass(slots=True)
class Rows:
    """Examples, read anew whenever somebody asks. `dropped` counts rows that did not become examples, by
    `task/split` and reason."""

    data_root: Path | None
    dropped: dict[str, dict[str, int]] = field(default_factory=dict)

    def of(self, task: Task, split: Split, only: Collection[str] | None = None) -> Iterator[Example]:
        """The examples of one split of a task, one by one: all of them, or those with the uids in `only`."""
        dropped: Counter[str] = Counter()
        yield from iter_examples(task, split, self.data_root, dropped, only)
        if dropped and only is None:
            self.dropped[f"{task.name}/{split}"] = dict(dropped)


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything about one held-out cluster that does not need a model.

    `data` has a fingerprint of what the rows say that the plan names (`<task>/train`) and that are evaluated
    (`<task>/test`).
    """

    held_out: str
    trained: list[Task]
    excluded: list[Exclusion]
    evaluated: list[Task]
    test_examples: dict[str, list[Example]]
    plan: Plan
    gate: GateReport
    data: dict[str, str]
    rows: Rows
    config: RunConfig

    @property
    def fingerprint(self) -> str:
        """Changes with the plan and with what the rows say that are trained on or evaluated."""
        return fingerprint([self.plan.fingerprint, self.data])

    def examples_of(self, task: str, shuffled: bool = False) -> dict[str, Example]:
        """The rows of one task that the plan names, exemplars included, by uid: read again, and only they are held.

        `shuffled` (or the recipe) asks for the control's answers, drawn over all rows that may be trained on, so that
        they do not depend on the plan; for this the whole task is held while it is read. RunError when the rows are no
        longer those that passed the gate.
        """
        wanted, left_out = self.plan.uids_of(task), self.gate.left_out
        if not wanted:
            return {}
        source = next(t for t in self.trained if t.name == task)
        answers: dict[str, Example] = {}
        if shuffled or self.config.mixture.labels == "shuffled":
            examples = [example for example in self.rows.of(source, "train") if example.uid not in left_out]
            answers = {e.uid: e for e in shuffle_answers(examples, self.config.seed) if e.uid in wanted}
            found = {example.uid: example for example in examples if example.uid in wanted}
        else:
            found = {example.uid: example for example in self.rows.of(source, "train", wanted)}
        if content_fingerprint(map(content_number, found.values())) != self.data[f"{task}/train"]:
            do = "Begin a new run in another --out."
            raise RunError(task, "rows that changed while the run was at work", "the rows that were planned", do)
        return {uid: answers.get(uid, example) for uid, example in found.items()}


def prepare(config: RunConfig, catalog: Catalog, rows: Rows, held_out: str) -> Prepared:
    """Apply hold-out and the contamination gate, draw the plan, and check it once more.

    HoldOutError when training rows show a held-out text and the recipe does not say what is to become of them.
    """
    candidates = candidate_tasks(config, catalog)
    check_weights(config.mixture.weights, [task.name for task in candidates])
    trained, excluded = training_tasks(catalog, [held_out], candidates)
    trained, without_train = present_tasks(config, trained, "train")
    evaluated, without_test = present_tasks(config, evaluated_tasks(config, catalog, held_out), "test")
    check_metrics(evaluated)
    test = {task.name: list(rows.of(task, "test")) for task in evaluated}
    texts = HeldOutTexts(_held_out_rows(config, catalog, rows, held_out, test))
    test = {
        task.name: draw_examples(test[task.name], config.evaluation, config.seed, task.card.group_by)
        for task in evaluated
    }

    overlaps: list[Overlap] = []
    pools: dict[str, Pool] = {}
    num_boilerplate = texts.num_boilerplate
    for task in trained:
        scan, notes = Scan(texts), RowNotes(with_texts=config.mixture.few_shot_share > 0)
        for example in rows.of(task, "train"):
            scan.add(example)
            notes.add(example)
        found = GateReport.of(scan.overlaps(), scan.num_boilerplate, config.mixture)
        overlaps += found.overlaps
        num_boilerplate += found.num_boilerplate
        if found.action != "stop" or not found.overlaps:
            pools[task.name] = notes.pool(task.name, config.mixture.max_rows_per_task, config.seed, found.left_out)
    gate = GateReport.of(overlaps, num_boilerplate, config.mixture)
    gate.check(held_out)
    plan = mix(trained, pools, config.mixture, config.seed)
    check_plan(plan, catalog, held_out, trained, gate)
    return Prepared(
        held_out=held_out,
        trained=trained,
        excluded=[*excluded, *without_train, *without_test],
        evaluated=evaluated,
        test_examples=test,
        plan=plan,
        gate=gate,
        data=_data(plan, pools, test),
        rows=rows,
        config=config,
    )


def _held_out_rows(
    config: RunConfig, catalog: Catalog, rows: Rows, held_out: str, test: Mapping[str, list[Example]]
) -> Iterator[Example]:
    """What training rows are compared with, task by task: test and dev rows of all tasks of the held-out cluster, also
    of those that the recipe does not evaluate, and the rows that exemplars are drawn from.

    Those of the tasks in `test` are given; others are read where that can be without asking the hub.
    """
    collections = {USER, *(catalog.task(name).collection for name in test)}
    for task in catalog.in_cluster(held_out):
        if task.name in test:
            yield from test[task.name]
            if has_rows(task, "dev", config.data.root):
                yield from rows.of(task, "dev")
            if config.evaluation.num_shots:
                yield from draw_pool(task, rows.of(task, "train"), config.seed)
        elif task.collection in collections:
            for split in ("test", "dev"):
                if has_rows(task, split, config.data.root):
                    yield from rows.of(task, split)


def _data(plan: Plan, pools: dict[str, Pool], test: dict[str, list[Example]]) -> dict[str, str]:
    train = {name: content_fingerprint(pools[name].contents[plan.used(name)].tolist()) for name in plan.tasks}
    data = {f"{name}/train": value for name, value in train.items()}
    return data | {f"{name}/test": content_fingerprint(map(content_number, rows)) for name, rows in test.items()}
