"""The units of the packaged cards, held against real rows: what several rows share is named, and is shared."""

from openflan.study.prepare import Rows
from openflan.tasks.catalog import load_catalog
from openflan.tasks.sources import has_rows

# Seldom or never shared in an excerpt of the rows, often in all of them.
RARE = {"mnli_matched", "record"}


def test_long_fields_that_rows_share_are_units(data_root) -> None:
    rows, shares = Rows(data_root), {}
    for task in load_catalog().tasks.values():
        if task.collection == "flan" and has_rows(task, "test", data_root):
            examples = list(rows.of(task, "test"))
            for name in task.card.fields:
                texts = [str(example.fields[name]) for example in examples]
                if sum(map(len, texts)) >= 60 * len(texts) and len(set(texts)) < 0.975 * len(texts):
                    shares.setdefault(task.name, []).append(name)
    units = {task.name: task.card.unit for task in load_catalog().tasks.values() if task.card.unit}
    assert len(shares) >= 12
    assert {name for name in shares if name not in units} == set()
    tested = {name for name in units if has_rows(load_catalog().task(name), "test", data_root)} - RARE
    assert {name for name in tested if name not in shares} == {"rte"}  # three of 277 premises


def test_rows_on_one_passage_are_fewer_units(data_root) -> None:
    """Numbers of this excerpt of the datasets, counted by hand."""
    rows, tasks = Rows(data_root), load_catalog().tasks
    for name, num_rows, num_units in (("squad_v1", 501, 250), ("drop", 247, 120), ("multirc", 990, 14)):
        examples = list(rows.of(tasks[name], "test"))
        (field,) = tasks[name].card.unit
        assert (len(examples), len({example.fields[field] for example in examples})) == (num_rows, num_units)
