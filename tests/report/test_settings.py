"""Every setting is documented, once, and the recipe that is shown is the recipe that is run."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from openflan import files
from openflan.config import RunConfig, load_recipe, read_recipe
from openflan.report.settings import change_line, compare, in_line, settings_of, settings_yaml
from openflan.training.pretrain import PretrainRecipe

ROOT = Path(__file__).parents[2]


def fields(model: type[BaseModel]) -> Iterator[tuple[str, str | None]]:
    """Every field below `model`, with its documentation."""
    for name, field in model.model_fields.items():
        yield f"{model.__name__}.{name}", field.description
        for inner in files._models(field):
            yield from fields(inner)


@pytest.mark.parametrize("model", [RunConfig, PretrainRecipe])
def test_every_setting_is_documented(model):
    found = dict(fields(model))
    assert len(found) >= 20
    assert {name for name, meaning in found.items() if not meaning} == set()


def shown(path: Path, *changes: str) -> str:
    _, written = read_recipe(path, changes)
    return settings_yaml(settings_of(load_recipe(path, changes), written, changes))


@pytest.mark.parametrize("path", [Path("demo"), ROOT / "recipes" / "real-small.yaml"], ids=lambda path: path.stem)
def test_what_is_shown_is_the_same_recipe(path, tmp_path):
    changes = ['model.separator="\\n\\n"', "train.learning_rate=3e-05", 'data.root="a, #b: c"', 'name="1e5"']
    again = tmp_path / "again.yaml"
    again.write_text(shown(path, *changes))
    assert load_recipe(again) == load_recipe(path, changes)
    assert load_recipe(again).model_fields_set == set(RunConfig.model_fields)


def test_every_value_tells_where_it_comes_from(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text("{name: small, held_out: [sentiment], data: {collection: world}, mixture: {num_examples: 10}}")
    changes = ["mixture={num_examples: 20, rate_cap: 5}", "mixture.rate_cap=6", "train.packs_per_update=2"]
    _, written = read_recipe(path, changes)
    origins = {s.name: s.origin for s in settings_of(load_recipe(path, changes), written, changes)}
    assert {name: origins[name] for name in ("name", "seed", "data.collection", "data.tasks")} == {
        "name": "recipe",
        "seed": "default",
        "data.collection": "recipe",
        "data.tasks": "default",
    }
    assert {name for name, origin in origins.items() if origin == "--set" and "." in name} == {
        "mixture.num_examples",
        "mixture.rate_cap",
        "train.packs_per_update",
    }


def test_a_setting_is_shown_with_its_meaning(tmp_path):
    lines = shown(Path("demo"), "train.learning_rate=1e-4").splitlines()
    at = lines.index("  learning_rate: 0.0001  # --set")
    assert lines[at - 1].startswith("  # Paper, section 2.4: 3e-5.")
    assert "name: demo  # recipe" in lines
    assert "  max_rows_per_task: 30000  # default" in lines
    assert max(map(len, lines)) < 120


@pytest.mark.parametrize(
    "value",
    [
        "",
        "\n",
        "a: b",
        "a, b",
        "# no",
        "yes",
        "1e-4",
        "é\u2028",
        "'",
        '"',
        "- a",
        "\x7f",
        [],
        ["\n", "]", 1.5],
        {"a,": "}"},
    ],
)
def test_any_value_fits_in_a_line(value):
    line = in_line(value)
    assert "\n" not in line
    assert yaml.safe_load(f"key: {line}  # comment") == {"key": value}


def test_only_what_differs_is_told():
    old = {"seed": 0, "train": {"loss": "token_mean", "learning_rate": 3e-5}, "held_out": ["a", "b"], "weights": {}}
    new = {
        "seed": 0,
        "train": {"learning_rate": 1e-4},
        "held_out": ["a"],
        "weights": {"rte": 2},
        "model": {"path": None},
    }
    assert compare(old, old) == []
    assert [change_line(change) for change in compare(old, new)] == [
        "train.loss: token_mean -> (absent)",
        "train.learning_rate: 3.0e-05 -> 0.0001",
        "held_out: [a, b] -> [a]",
        "weights: {} -> (absent)",
        "weights.rte: (absent) -> 2",
        "model.path: (absent) -> null",
    ]
