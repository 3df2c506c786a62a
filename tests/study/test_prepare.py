from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import pytest

from openflan.config import RunConfig, load_recipe
from openflan.errors import ConfigError, DataError, HoldOutError, RunError
from openflan.study.prepare import Prepared, Rows, prepare
from openflan.tasks.catalog import Catalog, Task, load_catalog
from openflan.tasks.example import Choice, Example, Text

CLUSTERS = 12
PASSAGE = "The old mill by the river was sold to a baker from the next town over the hill"
Change = Callable[[Example], Example]


@dataclass(slots=True)
class Few(Rows):
    """The first rows of every task, which are many enough here."""

    def of(self, task: Task, split: str, only: Collection[str] | None = None) -> Iterator[Example]:
        return islice(Rows.of(self, task, split, only), 300)


@dataclass(slots=True)
class Changed(Few):
    """Rows of which some are not what the source says."""

    changes: dict[str, Change] = field(default_factory=dict)

    def of(self, task: Task, split: str, only: Collection[str] | None = None) -> Iterator[Example]:
        for example in Few.of(self, task, split, only):
            yield self.changes.get(example.uid, lambda same: same)(example)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


@pytest.fixture(scope="module")
def rows() -> Rows:
    return Few(None)


def config(held_out: str, *changes: str) -> RunConfig:
    small = f"held_out=[{held_out}]", "mixture.num_examples=500", "evaluation.max_examples_per_task=20"
    return load_recipe(Path("demo"), [*small, *changes])


SMALL = "data.tasks=[world_rte, world_piqa, world_trec]"


def small(*changes: str) -> RunConfig:
    """Three training tasks, and a gate that stops."""
    return config("sentiment", SMALL, "mixture.overlap=stop", *changes)


@pytest.fixture(scope="module")
def sentiment(catalog: Catalog, rows: Rows) -> Prepared:
    return prepare(small(), catalog, rows, "sentiment")


def test_no_plan_of_the_world_holds_a_held_out_row(catalog, rows):
    assert len(catalog.clusters) == CLUSTERS
    for name, cluster in catalog.clusters.items():
        prepared = prepare(config(name), catalog, rows, name)
        hidden = {name, *cluster.hold_out_with}
        held_out = [task for task in catalog.tasks.values() if task.cluster == name]
        assert len(held_out) >= 2
        families = {task.family for task in held_out}
        unseen = [example for task in prepared.evaluated for example in rows.of(task, "test")]
        texts = {tuple(sorted(map(str, e.fields.values()))) for e in unseen}
        assert len(prepared.plan) == 500
        for task_name in prepared.plan.tasks[:3]:
            task, examples = catalog.task(task_name), prepared.examples_of(task_name)
            assert task.cluster not in hidden and task.family not in families
            for _, row in prepared.plan.of_task(task_name):
                assert row.uid.startswith(f"{row.task}/train/")
                assert tuple(sorted(map(str, examples[row.uid].fields.values()))) not in texts
        assert {e.task for e in prepared.excluded} == {
            task.name for task in catalog.tasks.values() if task.collection == "world" and task.cluster in hidden
        }
        for tested in prepared.test_examples.values():
            assert len(tested) == 20


def test_the_same_every_time(catalog, rows, sentiment):
    again = prepare(small(), catalog, Few(None), "sentiment")
    assert again.plan == sentiment.plan and again.test_examples == sentiment.test_examples
    assert again.data == sentiment.data
    other = prepare(small("seed=1"), catalog, rows, "sentiment")
    assert other.plan.fingerprint != sentiment.plan.fingerprint
    assert other.test_examples != sentiment.test_examples


def test_an_honest_recipe_passes_a_gate_that_stops(sentiment):
    assert (sentiment.gate.action, sentiment.gate.overlaps) == ("stop", ())


def as_it_is(leak: Example) -> Change:
    """Other names for the fields, other case and punctuation."""
    fields = {name.upper(): f" {text}! " if isinstance(text, str) else text for name, text in leak.fields.items()}
    return lambda example: replace(example, fields=fields)


def swapped(leak: Example) -> Change:
    texts = list(leak.fields.values())[::-1]
    return lambda example: replace(example, fields=dict(zip("ab", texts, strict=True)))


def showing(text: str) -> Change:
    return lambda example: replace(example, fields={**example.fields, "more": text})


UID, HELD_OUT = "world_rte/train/7", "world_sst/test/3"


@pytest.fixture
def leaks(catalog: Catalog, rows: Rows) -> dict[str, Changed]:
    """Rows with one planted leak each, by its kind."""
    leak = next(e for e in rows.of(catalog.task("world_sst"), "test") if e.uid == HELD_OUT)
    two = replace(leak, fields={"first": "A warm and funny film.", "second": "We laughed a lot."})
    passage = replace(leak, fields={"text": PASSAGE, "question": "How does it sound?"})
    inside = replace(leak, fields={"text": f"It is said that {PASSAGE} and that he is glad."})
    asked = replace(leak, answer=Text((f"It is said that {PASSAGE}.",)))
    held_out = {"text": leak, "swapped fields": two, "field": passage, "ngram": inside, "answer": asked}
    train = {
        "text": as_it_is(leak),
        "swapped fields": swapped(two),
        "field": showing(PASSAGE.upper()),
        "ngram": showing(f"Tom read this: {PASSAGE}"),
        "answer": showing(f"Tom read this: {PASSAGE}"),
    }
    return {
        kind: Changed(None, changes={UID: train[kind], HELD_OUT: lambda _, kind=kind: held_out[kind]}) for kind in train
    }


KINDS = {"text": "text", "swapped fields": "text", "field": "field", "ngram": "ngram", "answer": "ngram"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_planted_leak_stops_the_build_and_is_named(catalog, leaks, kind):
    with pytest.raises(HoldOutError, match=rf"{UID}.*1 training rows.*{UID} and {HELD_OUT}: .*--allow-overlap REASON"):
        prepare(small(), catalog, leaks[kind], "sentiment")


@pytest.mark.parametrize("kind", KINDS)
def test_a_planted_leak_is_removed_where_the_recipe_says_so(catalog, leaks, kind, sentiment):
    changes = "mixture.num_examples=12000", "mixture.few_shot_share=0.1"
    prepared = prepare(small("mixture.overlap=remove", *changes), catalog, leaks[kind], "sentiment")
    assert [(o.train_uid, o.held_out_uid, o.kind) for o in prepared.gate.overlaps] == [(UID, HELD_OUT, KINDS[kind])]
    uids = prepared.plan.uids_of("world_rte")
    assert UID not in uids and "world_rte/train/8" in uids
    assert UID not in prepared.examples_of("world_rte")
    available = [p.plan.summary["tasks"]["world_rte"]["num_rows_available"] for p in (sentiment, prepared)]
    assert available[0] - available[1] == 1


def test_a_planted_leak_that_is_allowed_is_trained_on_and_recorded(catalog, leaks):
    changes = "mixture.num_examples=12000", "mixture.allow_overlap=to see what it is worth"
    prepared = prepare(small(*changes), catalog, leaks["ngram"], "sentiment")
    assert UID in prepared.plan.uids_of("world_rte")
    assert prepared.gate.summary()["rows"] == [UID]
    assert prepared.gate.summary()["reason"] == "to see what it is worth"


@pytest.mark.parametrize(
    "change", [{"cluster": "sentiment"}, {"family": "world_sst"}, {"derived_from": ("world_sst",)}], ids=str
)
def test_a_planted_relative_is_no_candidate_whatever_is_allowed(catalog, rows, change):
    task = catalog.task("world_piqa")
    assert catalog.task("world_sst").family == "world_sst"
    leaking = replace(task, card=task.card.model_copy(update=change))
    mine = Catalog({**catalog.tasks, "world_piqa": leaking}, catalog.clusters)
    allowed = config("sentiment, coreference", SMALL, "mixture.allow_overlap=all of it")
    prepared = prepare(allowed, mine, rows, "sentiment")
    assert [e.task for e in prepared.excluded] == ["world_piqa"]
    assert prepared.plan.tasks == ("world_rte", "world_trec")


def test_short_common_texts_and_boilerplate_stop_nothing(catalog):
    """The guard: what many rows of a dataset say is language."""
    intro = "Read the text below with care and then choose the one answer that fits best."
    changes = {f"world_rte/train/{i}": showing(f"{intro} It is number {i}.") for i in range(40)}
    changes |= {f"world_trec/train/{i}": showing("It is not known.") for i in range(3)}
    held_out = {HELD_OUT: showing(f"{intro} It is the last one."), "world_sst/test/4": showing("It is not known.")}
    prepared = prepare(small(), catalog, Changed(None, changes={**changes, **held_out}), "sentiment")
    assert prepared.gate.overlaps == ()
    assert prepared.gate.num_boilerplate == 10  # runs of 8 words


@pytest.mark.parametrize(
    ("place", "settings"),
    [
        ("world_reviews/test/3", ["data.evaluate=[world_sst]"]),  # a task of the cluster that is not evaluated
        ("world_reviews/train/2019", ["data.evaluate=[world_sst]"]),  # one of its dev rows
        ("world_sst/train/2019", []),
        ("world_sst/train/5", ["evaluation.num_shots=1"]),  # one of those that exemplars are drawn from
    ],
)
def test_all_rows_of_the_held_out_cluster_are_compared(catalog, place, settings):
    changed = Changed(None, changes=dict.fromkeys([place, UID], showing(PASSAGE)))
    prepared = prepare(small("mixture.overlap=remove", *settings), catalog, changed, "sentiment")
    assert [(o.train_uid, o.held_out_uid) for o in prepared.gate.overlaps] == [(UID, place)]


def test_training_rows_of_the_held_out_cluster_are_not_compared_when_nobody_sees_them(catalog):
    changed = Changed(None, changes=dict.fromkeys(["world_sst/train/5", UID], showing(PASSAGE)))
    assert prepare(small(), catalog, changed, "sentiment").gate.overlaps == ()


def test_a_dataset_of_held_out_texts_only_leaves_nothing(catalog, rows):
    leak = next(iter(rows.of(catalog.task("world_sst"), "test")))
    uids = [example.uid for example in rows.of(catalog.task("world_trec"), "train")]
    changed = Changed(None, changes=dict.fromkeys(uids, as_it_is(leak)))
    with pytest.raises(DataError, match=f"world_trec: found no training rows but {len(uids)} with a held-out text"):
        prepare(small("mixture.overlap=remove"), catalog, changed, "sentiment")


def test_a_task_of_the_only_held_out_cluster_named_for_training_is_an_error(catalog, rows):
    named = "data.tasks=[world_sst, world_rte]"
    with pytest.raises(
        ConfigError, match=r"data.tasks: found world_sst, of the one cluster that is held out, sentiment"
    ):
        prepare(config("sentiment", named), catalog, rows, "sentiment")
    # with two, it is trained on in the other's turn
    prepared = prepare(config("sentiment, translation", named), catalog, rows, "sentiment")
    assert [task.name for task in prepared.trained] == ["world_rte"]
    assert [(e.task, e.reason) for e in prepared.excluded] == [("world_sst", "its cluster, sentiment, is held out")]
    other = prepare(config("sentiment, translation", named), catalog, rows, "translation")
    assert [task.name for task in other.trained] == ["world_sst", "world_rte"]


def test_a_weight_for_what_hold_out_takes_away_is_not_needed_and_not_minded(catalog, rows):
    named = "data.tasks=[world_sst, world_rte]", "mixture.rates=explicit"
    both = config("sentiment, translation", *named, "mixture.weights={world_sst: 1, world_rte: 3}")
    shares = [prepare(both, catalog, rows, name).plan.summary["tasks"] for name in both.held_out]
    assert [{name: task["requested_share"] for name, task in each.items()} for each in shares] == [
        {"world_rte": 1.0},
        {"world_rte": 0.75, "world_sst": 0.25},
    ]
    misspelt = config("sentiment, translation", *named, "mixture.weights={world_rte: 1, world_sts: 3}")
    with pytest.raises(
        ConfigError, match=r"a weight for world_sts; expected tasks of the recipe. Did you mean world_sst"
    ):
        prepare(misspelt, catalog, rows, "sentiment")


def test_what_is_read_again_is_what_the_plan_names(catalog, rows):
    prepared = prepare(small("mixture.few_shot_share=0.5"), catalog, rows, "sentiment")
    examples = prepared.examples_of("world_rte")
    named = {uid for _, row in prepared.plan.of_task("world_rte") for uid in (row.uid, *row.exemplars)}
    assert examples.keys() == named
    assert any(row.exemplars for row in prepared.plan.rows)


def test_nothing_is_read_of_a_task_that_the_plan_does_not_name(catalog, rows):
    weights = "mixture.weights={world_rte: 1, world_piqa: 1, world_trec: 0}"
    prepared = prepare(small("mixture.rates=explicit", weights), catalog, rows, "sentiment")
    assert prepared.examples_of("world_trec") == prepared.examples_of("world_trec", shuffled=True) == {}


def test_rows_that_change_under_a_run_are_noticed_when_they_are_read_again(catalog, sentiment):
    uid = sentiment.plan.rows[0].uid
    task = uid.split("/")[0]
    changed = replace(sentiment, rows=Changed(None, changes={uid: showing("Something new.")}))
    with pytest.raises(RunError, match=f"{task}: found rows that changed while the run was at work"):
        changed.examples_of(task)
    for _, row in sentiment.plan.of_task("world_piqa"):
        assert row.uid in sentiment.examples_of("world_piqa")
        break


def test_shuffled_labels_change_answers_and_nothing_else(sentiment):
    for name in sentiment.plan.tasks:
        true, shuffled = sentiment.examples_of(name), sentiment.examples_of(name, shuffled=True)
        assert list(true) == list(shuffled)
        assert all(true[uid].fields == shuffled[uid].fields for uid in true)
        changed = sum(true[uid].answer != shuffled[uid].answer for uid in true)
        assert 0.3 < changed / len(true) < 0.99
        by_setting = replace(sentiment, config=small("mixture.labels=shuffled"))
        assert by_setting.examples_of(name) == shuffled


def test_shuffled_texts_do_not_depend_on_the_rows_that_the_plan_names(catalog, rows):
    texts = "data.tasks=[world_e2e, world_rte]"
    few, many = (
        prepare(config("sentiment", texts, f"mixture.num_examples={number}"), catalog, rows, "sentiment")
        for number in (40, 400)
    )
    fewer, more = (part.examples_of("world_e2e", shuffled=True) for part in (few, many))
    assert 0 < len(fewer) < len(more)
    assert all(more[uid] == example for uid, example in fewer.items())
    assert all(isinstance(example.answer, Text) for example in fewer.values())
    assert isinstance(next(iter(few.examples_of("world_rte").values())).answer, Choice)
