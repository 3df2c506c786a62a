from fuzz.mutate import fuzz, only_openflan_errors, yaml_files
from mood import CARD
from openflan.tasks.adapt import load_examples
from openflan.tasks.catalog import CATALOG, _load_card, _load_clusters
from openflan.templates.lint import lint

CLUSTERS = _load_clusters(CATALOG / "clusters.yaml")


@fuzz(yaml_files(CARD))
def test_card(tmp_path, content):
    (tmp_path / "mood.yaml").write_bytes(content)

    def check():
        for task in _load_card(tmp_path / "mood.yaml", "user", CLUSTERS):
            lint(task, load_examples(task, "samples")[0])

    only_openflan_errors(check)
