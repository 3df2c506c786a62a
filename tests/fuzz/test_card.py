import json

import pytest

from fuzz.mutate import YAML_SCALARS, fuzz, only_openflan_errors, yaml_files
from mood import CARD
from openflan.errors import CatalogError
from openflan.tasks.adapt import load_examples
from openflan.tasks.catalog import CATALOG, _load_card, _load_clusters
from openflan.templates.lint import lint

CLUSTERS = _load_clusters(CATALOG / "clusters.yaml")
PLACES = ("family: {}", "samples: [{{text: a, label: {}}}]", "drop_if: {{a: [{}]}}", "templates: {}", "{}: a", "a: {}")
TEMPLATE = {"id": "a", "input": "{{ text }}\n\n{{ options_block }}"}
FLOODS = {
    "templates": {"templates": [{**TEMPLATE, "id": f"a{i}"} for i in range(10_000)]},
    "one template": {"templates": [TEMPLATE] * 10_000},
    "samples": {"samples": [{"text": f"a{i}", "label": 0} for i in range(20_000)]},
    "both": {
        "templates": [{**TEMPLATE, "id": f"a{i}"} for i in range(900)],
        "samples": [{"text": f"a{i}", "label": 0} for i in range(900)],
    },
    "options": {"answer": {"kind": "choice", "options": [f"o{i}" for i in range(15_000)], "gold": "label"}},
    "problems": {f"key{i}": i for i in range(4_000)},
    "fields": {"fields": {f"f{i}": "text" for i in range(4_000)}},
}


def _check(path):
    for task in _load_card(path, "user", CLUSTERS):
        lint(task, load_examples(task, "samples")[0])


@fuzz(yaml_files(CARD))
def test_card(tmp_path, content):
    (tmp_path / "mood.yaml").write_bytes(content)
    only_openflan_errors(_check, tmp_path / "mood.yaml")


@pytest.mark.parametrize("place", PLACES)
def test_each_scalar_in_each_place(tmp_path, place):
    rest = {key: value for key, value in CARD.items() if key != place.split(":")[0]}
    for scalar in YAML_SCALARS:
        text = f"{json.dumps(rest)[1:-1]}, {place.format(scalar)}"
        (tmp_path / "mood.yaml").write_text(f"{{{text}}}", encoding="utf-8")
        only_openflan_errors(_check, tmp_path / "mood.yaml")


@pytest.mark.parametrize("changes", FLOODS.values(), ids=FLOODS)
def test_a_flood(tmp_path, changes):
    (tmp_path / "mood.yaml").write_text(json.dumps({**CARD, **changes}))
    only_openflan_errors(_check, tmp_path / "mood.yaml")


def test_the_limits_of_a_card_are_told(tmp_path):
    for name, message in (
        ("templates", "at most 1000 items"),
        ("options", "at most 1000 items"),
        ("both", "1,620,000 prompts to check"),
    ):
        (tmp_path / "mood.yaml").write_text(json.dumps({**CARD, **FLOODS[name]}))
        with pytest.raises(CatalogError, match=message):
            _check(tmp_path / "mood.yaml")
