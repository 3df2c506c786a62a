import yaml
from hypothesis import strategies as st

from fuzz.mutate import ODD, YAML_SCALARS, fuzz, only_openflan_errors, yaml_files
from openflan.config import STUDIES, load_recipe

DEMO = yaml.safe_load((STUDIES / "demo.yaml").read_text())
SETTINGS = (
    "seed",
    "name",
    "held_out",
    "data.tasks",
    "data.root",
    "train.learning_rate",
    "model.path",
    "a",
    "seed.a",
    "",
)
KEYS = st.one_of(st.sampled_from(SETTINGS), st.sampled_from((".", "a." * 5000, "a" * 5000, "\ud83d", "é.\x00")))
VALUES = st.one_of(st.sampled_from(YAML_SCALARS), st.sampled_from([str(value) for value in ODD]), st.text(max_size=20))


@fuzz(yaml_files(DEMO))
def test_recipe(tmp_path, content):
    (tmp_path / "mine.yaml").write_bytes(content)
    only_openflan_errors(load_recipe, tmp_path / "mine.yaml")


@fuzz(st.lists(st.tuples(KEYS, VALUES).map("=".join), min_size=1, max_size=3))
def test_set(changes):
    only_openflan_errors(load_recipe, STUDIES / "demo.yaml", changes)
