import pytest

from openflan.tasks.catalog import load_catalog
from openflan.tasks.same_data import DataNames

CATALOG = load_catalog()
NAMES = DataNames(CATALOG.tasks.values())


@pytest.mark.parametrize(
    ("hub", "config", "family"),
    [
        ("winogrande", "winogrande_debiased", "winogrande"),
        ("facebook/anli", None, "anli"),
        ("snli", "plain_text", "snli"),
        ("squad_v2", None, "squad"),
        ("rajpurkar/squad", "default", "squad"),
        ("quac", None, "quac"),
        ("nq_open", None, "natural_questions"),
        ("yelp_polarity", None, "yelp_polarity_reviews"),
        ("trivia_qa", "unfiltered", "trivia_qa"),
        ("math_dataset", "arithmetic__mul", "math_dataset"),
        ("glue", "mnli_mismatched", "mnli"),
        ("glue", "wnli", "wnli"),
        ("super_glue", "wsc.fixed", "winograd_schemas"),
        ("super_glue", "rte", "rte"),
        ("openbookqa", "additional", "openbookqa"),
        ("GEM/web_nlg", "ru", "web_nlg"),
        ("gem", "common_gen", "common_gen"),
        ("SetFit/qnli", None, "qnli"),
        ("Multi-NLI", None, "mnli"),
    ],
)
def test_other_names_of_a_dataset(hub, config, family):
    assert NAMES.families_on_hub(hub, config) == {family}


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("cosmosqa", "cosmos_qa"),
        ("multinli", "mnli"),
        ("e2e", "e2e_nlg"),
        ("mathmatics_dataset", "math_dataset"),
        ("winograd_wsc", "winograd_schemas"),
    ],
)
def test_sources_as_natural_instructions_names_them(name, family):
    assert NAMES.families(name) == {family}


def test_a_collection_as_a_whole_and_datasets_nobody_describes_are_no_family():
    for hub, config in (("nyu-mll/glue", None), ("glue", "ax"), ("super_glue", "axb"), ("openai/gsm8k", "main")):
        assert NAMES.families_on_hub(hub, config) == set()


def test_each_name_is_that_of_one_family():
    names = [name for task in CATALOG.tasks.values() for name in (task.name, task.family, *task.card.aliases)]
    assert len(set(names)) > 150
    assert {name: NAMES.families(name) for name in names if len(NAMES.families(name)) != 1} == {}
