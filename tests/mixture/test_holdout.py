import pytest
from hypothesis import given
from hypothesis import strategies as st

from openflan.errors import CatalogError, ConfigError
from openflan.mixture.holdout import Exclusion, Relatives, training_tasks
from openflan.tasks.catalog import Catalog, load_catalog

CLUSTERS = ["inference", "reading", "commonsense", "summary", "misc"]


def names(catalog: Catalog, *held_out: str) -> list[str]:
    return [task.name for task in training_tasks(catalog, held_out, list(catalog.tasks.values()))[0]]


def test_cluster_family_and_provenance_leave_with_the_held_out_tasks(catalog):
    kept, excluded = training_tasks(catalog, ["inference"], list(catalog.tasks.values()))
    assert [task.name for task in kept] == ["boolq", "copa", "record", "newsroom", "trec"]
    assert excluded == [
        Exclusion("rte", "its cluster, inference, is held out"),
        Exclusion("mnli_matched", "its cluster, inference, is held out"),
        Exclusion("qnli", "its cluster, inference, is held out"),
        Exclusion("squad_v1", "it shares the source squad with qnli"),
        Exclusion("squad_v2", "it shares the source squad with qnli"),
        Exclusion("mnli_genre", "its family, mnli, has a held-out member, mnli_matched"),
        Exclusion("questions", "it shares the source qnli with qnli"),
    ]


def test_what_is_derived_from_a_held_out_task_leaves_at_any_remove(catalog):
    # qnli is derived from squad_v1, questions from qnli; commonsense goes with reading.
    assert names(catalog, "reading") == ["rte", "mnli_matched", "newsroom", "mnli_genre", "trec"]


def test_a_common_source_outside_the_catalogue_counts(catalog):
    kept, excluded = training_tasks(catalog, ["summary"], list(catalog.tasks.values()))
    assert len(kept) == 10
    assert Exclusion("record", "it shares the source cnn_dailymail with newsroom") in excluded


def test_clusters_held_out_together_are_removed_but_hide_no_relatives(catalog):
    _, excluded = training_tasks(catalog, ["reading"], list(catalog.tasks.values()))
    assert Exclusion("copa", "its cluster, commonsense, is held out together with reading") in excluded
    assert "newsroom" in names(catalog, "reading")  # a relative of record, which is not evaluated here


def test_relatives_of_a_held_out_task_count_when_the_task_is_no_candidate(catalog):
    kept, excluded = training_tasks(catalog, ["inference"], [catalog.task("squad_v1"), catalog.task("trec")])
    assert [task.name for task in kept] == ["trec"]
    assert [exclusion.task for exclusion in excluded] == ["squad_v1"]


def test_candidates_outside_the_catalogue_are_judged_by_the_same_rules(catalog, task):
    leak = task("my_squad", "misc", derived_from=("squad_v2",))
    kept, _ = training_tasks(catalog, ["reading"], [leak, task("mine", "misc")])
    assert [t.name for t in kept] == ["mine"]


PACKAGED = load_catalog()


@pytest.mark.parametrize(
    ("cluster", "source", "family"),
    [
        ("coreference", {"hub": "allenai/winogrande", "config": "winogrande_l"}, "winogrande"),
        ("coreference", {"hub": "winograd_wsc", "config": "wsc285"}, "winograd_schemas"),
        ("natural_language_inference", {"hub": "anli"}, "anli"),
        ("natural_language_inference", {"hub": "nyu-mll/glue", "config": "rte"}, "rte"),
        ("natural_language_inference", {"hub": "nyu-mll/multi_nli"}, "mnli"),
        ("natural_language_inference", {"local": "snli"}, "snli"),
        ("reading_comprehension", {"hub": "super_glue", "config": "boolq"}, "boolq"),
        ("closed_book_qa", {"hub": "trivia_qa", "config": "rc"}, "trivia_qa"),
        ("paraphrase", {"hub": "paws", "config": "labeled_swap"}, "paws"),
    ],
)
def test_a_card_of_ones_own_with_held_out_data_leaves_whatever_it_calls_its_family(task, cluster, source, family):
    mine = task("mine", "struct_to_text", "my_family", **source)
    kept, excluded = training_tasks(PACKAGED, [cluster], [mine, PACKAGED.task("e2e_nlg")])
    assert [t.name for t in kept] == ["e2e_nlg"]
    assert excluded[0].reason.startswith(f"its data are {family}'s, as are those of a held-out task, ")


def test_held_out_data_under_another_name_take_the_package_s_task_away(task):
    mine = task("mine", "miscellaneous", "my_family", hub="winogrande", config="winogrande_s")
    _, excluded = training_tasks(PACKAGED, ["miscellaneous"], [mine, *PACKAGED.tasks.values()])
    assert Exclusion("winogrande", "its data are my_family's, as are those of a held-out task, mine") in excluded


def test_a_hub_dataset_that_is_a_source_counts_as_one(task):
    mine = task("mine", "struct_to_text", hub="cornell-movie-review-data/rotten_tomatoes")
    _, excluded = training_tasks(PACKAGED, ["sentiment"], [mine, PACKAGED.task("e2e_nlg")])
    assert excluded == [Exclusion("mine", "it shares the source rotten_tomatoes with sst2")]


@pytest.mark.parametrize(
    ("one", "other", "kept"),
    [
        ({"hub": "acme/data"}, {"hub": "other/data"}, True),
        ({"hub": "acme/data"}, {"hub": "data"}, False),
        ({"hub": "acme/data"}, {"hub": "acme/data", "config": "default"}, False),
        ({"hub": "acme/data", "config": "a"}, {"hub": "acme/data", "config": "b"}, True),
        ({"hub": "acme/data", "config": "a"}, {"hub": "acme/data"}, False),
        ({"hub": "acme/imdb_reviews"}, {"hub": "other/imdb_reviews"}, False),
        ({"local": "shared"}, {"local": "shared"}, False),
        ({"local": "shared"}, {"local": "own"}, True),
    ],
)
def test_two_cards_of_ones_own_with_the_same_data_are_held_out_together(task, one, other, kept):
    hidden, mine = task("hidden", "sentiment", **one), task("mine", "struct_to_text", **other)
    for a, b in ((hidden, mine), (mine, hidden)):
        found, _ = training_tasks(PACKAGED, [a.cluster], [a, b, PACKAGED.task("copa")])
        assert [t.name for t in found] == ([b.name] if kept else []) + ["copa"]


def test_other_configurations_of_a_collection_are_other_data(task):
    mine = task("mine", "miscellaneous", hub="nyu-mll/glue", config="ax")
    kept, _ = training_tasks(PACKAGED, ["natural_language_inference"], [mine])
    assert kept == [mine]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("snli", "common_gen"),  # captions of Flickr30k
        ("multirc", "mnli_matched"),  # the Open American National Corpus
        ("multirc", "coqa"),  # MCTest
        ("anli_r3", "hellaswag"),  # wikiHow
        ("qnli", "squad_v1"),
        ("stsb", "mrpc"),
        ("boolq", "natural_questions"),
        ("record", "cnn_dailymail"),
        ("sst2", "opinion_abstracts_rotten_tomatoes"),
    ],
)
def test_relatives_exclude_one_another_whichever_of_them_is_held_out(task, one, other):
    for hidden, trained in ((one, other), (other, one)):
        held_out = PACKAGED.task(hidden).cluster
        kept, _ = training_tasks(PACKAGED, [held_out], [PACKAGED.task(trained), task("mine", "translation")])
        assert [t.name for t in kept] == ["mine"]


def test_nothing_held_out_keeps_all(catalog):
    assert len(names(catalog)) == 12


def test_holding_out_every_cluster_is_an_error(catalog):
    with pytest.raises(ConfigError, match=r"leaves none of 12 tasks.*Hold out fewer clusters"):
        names(catalog, *CLUSTERS)


def test_an_unknown_cluster_is_named_with_its_neighbour(catalog):
    with pytest.raises(CatalogError, match=r"no cluster 'comonsense'.*Did you mean commonsense"):
        names(catalog, "comonsense")


def test_lineage_ends_on_circles(task):
    a, b = task("a", derived_from=("b",)), task("b", derived_from=("a",))
    assert Relatives([a, b]).lineage(a) == {"a", "b"}


@given(held_out=st.lists(st.sampled_from(CLUSTERS), max_size=3))
def test_no_kept_task_has_a_relative_held_out(catalog, held_out):
    everything = list(catalog.tasks.values())
    try:
        kept, excluded = training_tasks(catalog, held_out, everything)
    except ConfigError:
        return
    hidden = [task for task in everything if task.cluster in held_out]
    lineage = Relatives(everything).lineage
    assert len(kept) + len(excluded) == 12
    for task in kept:
        for other in hidden:
            assert task.cluster != other.cluster
            assert task.family != other.family
            assert not lineage(task) & lineage(other)
