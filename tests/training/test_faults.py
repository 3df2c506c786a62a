"""Rows are named when a loss is no number, and no checkpoint is touched."""

import math

import pytest
import torch

from openflan import files
from openflan.errors import ConfigError, ModelError
from openflan.training import loss, settings
from openflan.training.faults import trains_nothing
from openflan.training.log import UpdateLog
from openflan.training.loop import shuffled_updates, train
from openflan.training.settings import TrainSettings
from toy_ranks import QUICK, toy_packs
from toys import draw_ids, toy_model


def run(folder, model, **changes):
    given = TrainSettings.model_validate({**QUICK, "checkpoint_updates": 1, **changes})
    packs_of, num_updates = shuffled_updates(toy_packs(12), given, 5)
    train(model, packs_of, num_updates, given, folder, "toy", 5, describe=lambda key: f"task/train/{key} (template t)")


def test_the_one_row_at_fault_is_named(tmp_path):
    """An id that only row 8 reads has no finite embedding; its neighbour in the pack is not blamed."""
    model = toy_model("llama")
    others = {token for key in range(24) if key != 8 for token in draw_ids(key, 12)}
    poisoned = next(token for token in draw_ids(8, 12)[:5] if token not in others)
    with torch.no_grad():
        model.model.get_input_embeddings().weight[poisoned] = math.nan
    with pytest.raises(ModelError) as caught:
        run(tmp_path, model)
    assert caught.value.found == "loss nan and gradient norm nan in 1 row: task/train/8 (template t)"
    assert caught.value.where.startswith("update ") and "Look at these rows" in caught.value.do
    number = int(caught.value.where.split()[1])
    left = [path.name for path in (tmp_path / files.CHECKPOINTS).glob("*")] if number else []
    assert left == ([f"update-{number:08}.safetensors"] if number else [])


def test_a_gradient_that_is_not_finite_names_the_rows_of_the_update(tmp_path):
    model = toy_model("llama")
    model.model.get_output_embeddings().weight.register_hook(lambda gradient: gradient * math.inf)
    rows = r"task/train/\d+ \(template t\), task/train/\d+ \(template t\), task/train/\d+ \(template t\) and 5 more"
    with pytest.raises(
        ModelError, match=rf"^update 0: found loss \d.* and gradient norm (nan|inf) in 8 rows: {rows}; "
    ):
        run(tmp_path, model)


def test_a_training_that_trains_nothing_stops_at_its_first_update(tmp_path, monkeypatch):
    model = toy_model("llama")
    monkeypatch.setattr(model, "logits", lambda hidden, ids: hidden.new_zeros(len(hidden), 1) * hidden.sum())
    monkeypatch.setattr(loss, "cross_entropy", lambda logits, labels, reduction: logits[:, 0])
    with pytest.raises(ModelError, match=r"^update 0: found loss 0.0 and a gradient of zero; expected something to"):
        run(tmp_path, model)
    assert trains_nothing(0, 0.0, 0) is False  # an update whose packs predict nothing


@pytest.mark.parametrize("optimizer", ["adafactor", "adamw", "muon"])
def test_a_set_that_is_learned_by_heart_ends_well(tmp_path, optimizer):
    """After the third update the model is as sure as if it had read the rows a thousand times: loss and gradient 0."""
    packs = toy_packs(3)[1:]
    settings = TrainSettings.model_validate({**QUICK, "optimizer": optimizer, "learning_rate": 1e-6})
    model = toy_model("llama")
    head = model.model.get_output_embeddings()
    train(model, lambda _: packs, 20, TrainSettings.model_validate(QUICK), tmp_path / "first", "a", 5)

    def grow_sure(line: UpdateLog) -> None:
        with torch.no_grad():
            head.weight.mul_(40 if line.update == 2 else 1)

    train(model, lambda _: packs, 8, settings, tmp_path / "second", "b", 5, grow_sure)
    lines = list(files.read_jsonl(tmp_path / "second" / files.TRAIN_LOG))
    assert [line["loss"] > 0 for line in lines[:3]] == [True, True, True]
    assert [(line["loss"], line["gradient_norm"]) for line in lines[3:]] == [(0.0, 0.0)] * 5
    assert all(bool(weight.isfinite().all()) for weight in model.model.parameters())


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "trackio"])
def test_a_tracker_that_is_not_installed_is_told(name, monkeypatch):
    monkeypatch.setattr(settings, "find_spec", lambda package: None)
    with pytest.raises(ConfigError, match=rf"found {name}, which is not installed; .* \(pip install {name}\)"):
        TrainSettings(trackers=(name,)).check_trackers()


def test_a_tracker_gets_every_line(tmp_path, monkeypatch):
    from accelerate import tracking
    from accelerate.tracking import GeneralTracker
    from accelerate.utils import LoggerType

    told: list[tuple[str, object]] = []

    class Notes(GeneralTracker):
        name = "trackio"
        requires_logging_directory = False

        def __init__(self, run_name: str) -> None:
            super().__init__()
            told.append(("name", run_name))

        @property
        def tracker(self) -> None:
            return None

        def store_init_configuration(self, values: dict[str, object]) -> None:
            told.append(("rate", values["learning_rate"]))

        def log(self, values: dict[str, float], step: int | None = None, **_: object) -> None:
            told.append((f"update {step}", values["train/loss"]))

        def finish(self) -> None:
            told.append(("finish", None))

    monkeypatch.setattr(settings, "find_spec", lambda package: object())
    monkeypatch.setattr(tracking, "_available_trackers", [LoggerType.TRACKIO])
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "trackio", Notes)
    run(tmp_path, toy_model("llama"), trackers=["trackio"])
    losses = [row["loss"] for row in files.read_jsonl(tmp_path / files.TRAIN_LOG)]
    updates = [(f"update {number}", loss) for number, loss in enumerate(losses)]
    assert told == [("name", "openflan"), ("rate", "0.01"), *updates, ("finish", None)]
    assert len(losses) == 3


def test_muon_is_not_sharded():
    with pytest.raises(ValueError, match="muon makes whole matrices orthogonal"):
        TrainSettings(optimizer="muon", sharding="full")
