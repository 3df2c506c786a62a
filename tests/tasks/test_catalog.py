import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from openflan.errors import CatalogError, ConfigError
from openflan.tasks.catalog import CATALOG, Catalog, load_catalog


def test_the_twelve_clusters_and_what_is_held_out_with_them():
    clusters = load_catalog().clusters
    assert len(clusters) == 12
    assert {name: cluster.hold_out_with for name, cluster in clusters.items() if cluster.hold_out_with} == {
        "natural_language_inference": ("paraphrase",),
        "paraphrase": ("natural_language_inference",),
        "reading_comprehension": ("reading_comprehension_commonsense",),
        "commonsense": ("reading_comprehension_commonsense",),
        "reading_comprehension_commonsense": ("reading_comprehension", "commonsense"),
    }


def test_names_that_are_not_there_come_with_a_suggestion():
    catalog = load_catalog()
    with pytest.raises(CatalogError, match=r"no task 'rtee'.*Did you mean rte"):
        catalog.task("rtee")
    with pytest.raises(CatalogError, match=r"no cluster 'sentiments'.*Did you mean sentiment"):
        catalog.cluster("sentiments")
    with pytest.raises(CatalogError, match="no cluster 'nli'"):
        catalog.in_cluster("nli")


def test_a_mean_is_over_one_collection(write_card):
    catalog = load_catalog()
    assert {task.collection for task in catalog.to_average("sentiment", "world", "")} == {"world"}
    assert [task.name for task in catalog.to_average("sentiment", "flan", "")] == [
        "imdb", "sentiment140", "sst2", "yelp_polarity_reviews"
    ]  # fmt: skip
    with pytest.raises(
        ConfigError, match=r"the cluster sentiment: found tasks of 2 collections: flan 4, world 2; .*Ask"
    ):
        catalog.to_average("sentiment", None, "Ask.")
    for preferred in ("user", "flan", None):
        own = Catalog({"mine": replace(catalog.task("sst2"), collection="user")}, catalog.clusters)
        assert list(own.to_average("sentiment", preferred, "")) == [own.task("mine")]  # there is nothing to choose


def test_members_share_a_card_and_a_family():
    catalog = load_catalog()
    easy, challenge = catalog.task("arc_easy"), catalog.task("arc_challenge")
    assert easy.card == challenge.card
    assert easy.family == challenge.family == "arc"
    assert (easy.source.config, challenge.source.config) == ("ARC-Easy", "ARC-Challenge")


def test_scored_templates_leave_the_inverted_ones_out():
    task = load_catalog().task("rte")
    assert len(task.templates) == 10
    assert [t.id for t in task.templates if t not in task.scored_templates] == ["write-a-statement"]
    assert task.completion is not None and task.completion.id == "completion"


def test_a_users_card_is_added_from_a_file_or_a_folder(write_card, tmp_path):
    path = write_card()
    for given in (path, tmp_path):
        catalog = load_catalog([given])
        assert catalog.task("mood").collection == "user"
        assert [t.name for t in catalog.in_cluster("sentiment", "user")] == ["mood"]
        assert "sst2" in [t.name for t in catalog.in_cluster("sentiment")]


def test_a_card_that_is_named_twice_is_one_card(write_card, tmp_path, monkeypatch):
    path = write_card()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "linked").symlink_to(tmp_path)
    for given in ([path, tmp_path], [tmp_path, path], [path, path], [path, Path("mood.yaml")], [path, Path("linked")]):
        assert [t.name for t in load_catalog(given).in_cluster("sentiment", "user")] == ["mood"]


def test_a_link_of_another_name_is_a_task_of_its_own(write_card, tmp_path):
    (tmp_path / "temper.yaml").symlink_to(write_card())
    assert [t.name for t in load_catalog([tmp_path]).in_cluster("sentiment", "user")] == ["mood", "temper"]


def test_two_files_of_one_name(write_card, tmp_path):
    first, second = write_card(), write_card(folder=tmp_path / "other")
    for given in ([first, second], [tmp_path]):
        with pytest.raises(CatalogError, match=r"the task 'mood', which .*mood\.yaml defines already"):
            load_catalog(given)


def test_two_tasks_of_one_name(write_card):
    with pytest.raises(CatalogError, match=r"the task 'rte', which .*rte\.yaml defines already"):
        load_catalog([write_card("rte")])


def test_an_unknown_cluster(write_card):
    with pytest.raises(CatalogError, match=r"mood\.yaml: found cluster 'sentimental'.*Did you mean sentiment"):
        load_catalog([write_card(cluster="sentimental")])


def test_a_packaged_card_in_another_clusters_folder(write_card, tmp_path, monkeypatch):
    (tmp_path / "clusters.yaml").write_text((CATALOG / "clusters.yaml").read_text())
    write_card(folder=tmp_path / "flan" / "paraphrase")
    monkeypatch.setattr("openflan.tasks.catalog.CATALOG", tmp_path)
    with pytest.raises(CatalogError, match=r"found cluster 'sentiment'; expected the folder's cluster, 'paraphrase'"):
        load_catalog()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"fieldz": {}}, r"fieldz \(unknown key; Did you mean fields\?\)"),
        ({"group_by": ["text", "texts"]}, "`group_by` names texts, which `fields` does not"),
        ({"unit": ["passage"]}, "`unit` names passage, which `fields` does not"),
        (
            {"fields": {"text": "text", "line": "line"}, "group_by": ["line"], "unit": ["text"]},
            "`unit` names text, which `group_by` does not: a unit holds whole groups",
        ),
        ({"licence": None}, "licence: Field required"),
        ({"fields": {"answer": "text"}}, "fields may not be called answer"),
        ({"source": {"local": "../etc"}}, "source.local: String should match"),
        ({"templates": [{"id": "a", "input": "x", "inverted": True}]}, "at least one that is not inverted"),
        ({"answer": {"kind": "choice", "gold": "label"}}, "give either `options`"),
        (
            {"answer": {"kind": "choice", "options": ["a", "b"], "gold": "label", "gold_values": [1]}},
            "`gold_values` needs one value for each of the `options`",
        ),
        ({"answer": {"kind": "choice", "options": ["a", "a"], "gold": "label"}}, "two or more words, all different"),
    ],
)
def test_a_card_that_breaks_the_schema(write_card, changes, problem):
    with pytest.raises(CatalogError, match=problem):
        load_catalog([write_card(**changes)])


def test_places_without_a_card(tmp_path):
    with pytest.raises(CatalogError, match="a folder without cards"):
        load_catalog([tmp_path])
    with pytest.raises(CatalogError, match="No such file"):
        load_catalog([tmp_path / "none.yaml"])


def test_a_file_name_that_is_no_task_name(write_card):
    with pytest.raises(CatalogError, match="the task name 'My Data'"):
        load_catalog([write_card("My Data")])


def test_loading_the_catalogue_imports_nothing_heavy():
    code = (
        "import sys; from openflan.tasks.catalog import load_catalog; import openflan.templates.lint; load_catalog();"
        "print(sorted({'torch', 'transformers', 'datasets', 'numpy', 'pyarrow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
