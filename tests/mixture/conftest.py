from collections.abc import Callable
from pathlib import Path

import pytest

from openflan.tasks.card import Card
from openflan.tasks.catalog import Catalog, Cluster, Task
from openflan.tasks.example import Choice, Example


def make_task(
    name: str, cluster: str = "sentiment", family: str = "", derived_from: tuple[str, ...] = (), **source: str
) -> Task:
    """A task with three wordings, the second inverted."""
    card = Card.model_validate(
        {
            "family": family or name,
            "cluster": cluster,
            "source": source,
            "fields": {"text": "text"},
            "answer": {"kind": "choice", "options": ["sad", "glad"], "gold": "label"},
            "derived_from": derived_from,
            "metrics": ["accuracy"],
            "licence": "CC0-1.0",
            "samples": [{"text": "Fine!", "label": 1}],
            "templates": [
                {"id": "how", "input": "How is this? {{ text }}"},
                {"id": "write", "input": "Write something {{ answer }}.", "target": "{{ text }}", "inverted": True},
                {"id": "mood", "input": "{{ text }} Which mood?"},
            ],
        }
    )
    return Task(name, "user", card, card.source, {}, Path(f"{name}.yaml"))


def make_rows(task: str, num_rows: int) -> list[Example]:
    return [
        Example(f"{task}/train/{i}", task, {"text": f"Text {i}."}, Choice(("sad", "glad"), i % 2))
        for i in range(num_rows)
    ]


@pytest.fixture(scope="session")
def task() -> Callable[..., Task]:
    return make_task


@pytest.fixture(scope="session")
def rows() -> Callable[[str, int], list[Example]]:
    return make_rows


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    """Five clusters. Reading goes with commonsense; QNLI is made from SQuAD; two summaries come from one newspaper."""
    tasks = [
        make_task("rte", "inference"),
        make_task("mnli_matched", "inference", family="mnli"),
        make_task("qnli", "inference", derived_from=("squad_v1",)),
        make_task("squad_v1", "reading", family="squad"),
        make_task("squad_v2", "reading", family="squad"),
        make_task("boolq", "reading"),
        make_task("copa", "commonsense"),
        make_task("record", "commonsense", derived_from=("cnn_dailymail",)),
        make_task("newsroom", "summary", derived_from=("cnn_dailymail",)),
        make_task("mnli_genre", "misc", family="mnli"),
        make_task("questions", "misc", derived_from=("qnli",)),
        make_task("trec", "misc"),
    ]
    clusters = {
        "inference": Cluster("inference", "Inference", ()),
        "reading": Cluster("reading", "Reading comprehension", ("commonsense",)),
        "commonsense": Cluster("commonsense", "Commonsense", ()),
        "summary": Cluster("summary", "Summarization", ()),
        "misc": Cluster("misc", "Miscellaneous", ()),
    }
    return Catalog({task.name: task for task in tasks}, clusters)
