"""What a plan comes to: all settings of training that change tokens, memory or time are asked about."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from openflan.config import RunConfig, load_recipe
from openflan.models import estimate as estimate_module
from openflan.models.folder import EMBEDDED
from openflan.models.load import load_model
from openflan.study.encode import encode_plan
from openflan.study.measure import Measured, measure, padding_alone
from openflan.study.prepare import Prepared, Rows, prepare
from openflan.study.run_one import limits
from openflan.tasks.catalog import load_catalog
from openflan.tokens.store import default_folder


def config(**train: object) -> RunConfig:
    settings = {"pack_tokens": 128, "packs_per_update": 4, "packs_per_microbatch": 8} | train
    small = ["held_out=[sentiment]", "data.tasks=[world_trec]", "mixture.num_examples=40"]
    return load_recipe(Path("demo"), [*small, *(f"train.{name}={value}" for name, value in settings.items())])


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    return prepare(config(), load_catalog(), Rows(None), "sentiment")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the estimate was last asked about."""
    seen: dict[str, Any] = {}

    def estimate(model: object, **given: object) -> SimpleNamespace:
        seen.clear()
        seen.update(given)
        return SimpleNamespace(num_parameters=1, memory_bytes=2, seconds=3.0)

    monkeypatch.setattr(estimate_module, "estimate", estimate)
    return seen


def measured(prepared: Prepared, **train: object) -> Measured:
    return measure(prepared, config(**train))


def test_passes_and_updates_count(prepared, asked):
    once = measured(prepared)
    num_packs, num_supervised = once.counts["num_packs"], once.counts["num_supervised"]
    per_pass = -(-num_packs // 4)
    assert num_packs > 4 and once.num_updates == per_pass
    assert (asked["num_tokens"], asked["num_supervised"]) == (num_packs * 128, num_supervised)

    thrice = measured(prepared, num_epochs=3)
    assert thrice.num_updates == 3 * per_pass
    assert (asked["num_tokens"], asked["num_supervised"]) == (3 * num_packs * 128, 3 * num_supervised)
    assert thrice.padding_alone == once.padding_alone

    assert measured(prepared, num_epochs=3, max_updates=2).num_updates == 2
    assert (once.most_change, measured(prepared, optimizer="adafactor", max_updates=2).most_change) == (
        None,
        2 * 1.5e-3,
    )
    assert asked["num_tokens"] == round(2 / per_pass * num_packs * 128)


def test_how_it_is_trained_counts(prepared, asked):
    measured(prepared)
    assert asked["tokens_per_microbatch"] == 4 * 128  # an update has no more packs
    given = {
        "optimizer": "adafactor",
        "gradient_checkpointing": "selective",
        "mixed_precision": "bf16",
        "num_threads": 3,
    }
    found = measured(prepared, **given, num_processes=2, sharding="full")
    assert found.num_processes == 2
    assert asked["tokens_per_microbatch"] == 2 * 128
    assert {name: asked[name] for name in given} == given
    assert (asked["num_processes"], asked["sharded"]) == (2, True)


def test_what_does_not_fit_into_a_pack_is_not_trained_on(prepared, asked):
    found = measured(prepared, pack_tokens=32)
    assert found.counts["num_dropped_longer_than_pack"] > 0
    assert 0 < asked["num_supervised"] < found.counts["num_supervised"]
    assert 0 <= found.padding_alone < 1


def test_padding_alone_by_hand():
    assert padding_alone(np.array([4, 4, 2]), 3) == 0
    assert padding_alone(np.array([1, 3]), 1) == pytest.approx(1 / 3)
    assert padding_alone(np.array([5]), 4) == 0  # more updates than prompts


def test_tokens_are_kept_where_training_looks_for_them(prepared, asked, tmp_path, monkeypatch):
    folder = shutil.copytree(EMBEDDED, tmp_path / "model")
    (folder / "generation_config.json").write_text('{"eos_token_id": [0, 5]}')
    monkeypatch.setenv("OPENFLAN_CACHE", str(tmp_path / "cache"))
    recipe = config()
    recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"path": str(folder)})})
    measure(prepared, recipe)
    model = load_model(recipe.model)
    lengths = limits(recipe.model, model.max_positions)
    encode_plan(prepared, recipe, model.codec, lengths, shuffled=False, cache=default_folder())
    assert len(list(default_folder().glob("*/tokens.arrow"))) == 1
