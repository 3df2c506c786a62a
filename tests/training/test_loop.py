import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from openflan import files
from openflan.config import load_recipe
from openflan.errors import ModelError, RunError
from openflan.models.adapters import add_adapter
from openflan.models.lm import HuggingFaceModel
from openflan.models.load import load_model
from openflan.tokens.pack import Pack, plain_segment
from openflan.training.log import UpdateLog
from openflan.training.loop import shuffled_updates, train
from openflan.training.settings import TrainSettings
from toys import draw_ids, toy_model

SEED = 5
OPTIMIZERS = ("adafactor", "adamw", "muon")
Weights = dict[str, torch.Tensor]
OnUpdate = Callable[[UpdateLog], None]


class Killed(BaseException):
    """What ends a run between two lines, as `kill -9` would."""


def make_packs(num_packs: int) -> list[Pack]:
    """Two segments each, with different numbers of supervised ids."""
    packs = []
    for n in range(num_packs):
        lengths = ((2 * n, 12, 2 + n % 5), (2 * n + 1, 9, 4))
        packs.append(Pack(24, [plain_segment(key, draw_ids(key, length), k) for key, length, k in lengths]))
    return packs


def make_settings(**changes: object) -> TrainSettings:
    """Quick to change weights, with a checkpoint after every update unless said otherwise."""
    values: dict[str, object] = {
        "learning_rate": 1e-2,
        "schedule": "linear",
        "num_warmup_updates": 2,
        "pack_tokens": 24,
        "packs_per_update": 2,
        "packs_per_microbatch": 1,
        "checkpoint_updates": 1,
    }
    return TrainSettings.model_validate(values | changes)


def run(
    folder: Path,
    settings: TrainSettings,
    packs: Sequence[Pack],
    on_update: OnUpdate = lambda _: None,
    model: HuggingFaceModel | None = None,
    identity: str = "a run",
) -> Weights:
    """Train a toy Llama, or the `model` given, once on the packs; its weights afterwards."""
    model = model or toy_model("llama")
    packs_of, num_updates = shuffled_updates(packs, settings, SEED)
    train(model, packs_of, num_updates, settings, folder, identity, SEED, on_update)
    assert not model.model.training
    return {name: weight.detach().clone() for name, weight in model.model.named_parameters()}


def kill_after(update: int) -> OnUpdate:
    def on_update(line: UpdateLog) -> None:
        if line.update == update:
            raise Killed

    return on_update


def read_log(folder: Path) -> list[dict[str, float]]:
    rows = list(files.read_jsonl(folder / files.TRAIN_LOG))
    for row in rows:
        assert row.pop("seconds") >= 0 and row.pop("supervised_per_second") > 0
    return rows


def checkpoint(folder: Path, update: int) -> Path:
    return folder / files.CHECKPOINTS / f"update-{update:08}.safetensors"


def assert_equal(a: Weights, b: Weights) -> None:
    assert a.keys() == b.keys()
    assert len(a) > 10
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_run_that_was_killed_goes_on_to_the_same_end(optimizer, tmp_path):
    packs, settings = make_packs(14), make_settings(optimizer=optimizer)
    whole = run(tmp_path / "whole", settings, packs)
    for update in (0, 3, 6):  # the last of 7 updates, too
        with pytest.raises(Killed):
            run(tmp_path / "cut", settings, packs, kill_after(update))
    assert_equal(run(tmp_path / "cut", settings, packs), whole)
    log = read_log(tmp_path / "cut")
    assert log == read_log(tmp_path / "whole")
    assert [row["update"] for row in log] == list(range(7))


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_updates_since_the_last_checkpoint_are_made_again(kind, tmp_path):
    """Killed two updates after the last checkpoint. GPT-2 drops out at random, and does so alike both times."""
    packs, settings = make_packs(14), make_settings()
    seldom = make_settings(checkpoint_updates=None)
    whole = run(tmp_path / "whole", settings, packs, model=toy_model(kind))
    with pytest.raises(Killed):
        run(tmp_path / "cut", settings, packs, kill_after(3), toy_model(kind))
    with pytest.raises(Killed):
        run(tmp_path / "cut", seldom, packs, kill_after(5), toy_model(kind))
    assert [row["update"] for row in read_log(tmp_path / "cut")] == [0, 1, 2, 3, 4, 5]
    again: list[int] = []
    assert_equal(run(tmp_path / "cut", seldom, packs, lambda line: again.append(line.update), toy_model(kind)), whole)
    assert again == [3, 4, 5, 6]
    assert read_log(tmp_path / "cut") == read_log(tmp_path / "whole")


def test_gpt2_does_drop_out(tmp_path):
    """The test above would show nothing otherwise."""
    still = toy_model("gpt2")
    for module in still.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    packs, settings = make_packs(4), make_settings()
    one, two = (
        run(tmp_path / "a", settings, packs, model=still),
        run(tmp_path / "b", settings, packs, model=toy_model("gpt2")),
    )
    assert any(not torch.equal(one[name], two[name]) for name in one)


def test_killed_before_the_first_checkpoint_it_starts_again(tmp_path):
    packs, settings = make_packs(6), make_settings(checkpoint_updates=None)
    whole = run(tmp_path / "whole", settings, packs)
    with pytest.raises(Killed):
        run(tmp_path / "cut", settings, packs, kill_after(1))
    assert not (tmp_path / "cut" / files.CHECKPOINTS).exists()
    assert_equal(run(tmp_path / "cut", settings, packs), whole)
    assert read_log(tmp_path / "cut") == read_log(tmp_path / "whole")


def test_half_a_line_and_half_a_checkpoint_are_left_behind(tmp_path):
    packs, settings = make_packs(6), make_settings()
    whole = run(tmp_path / "whole", settings, packs)
    with pytest.raises(Killed):
        run(tmp_path / "cut", settings, packs, kill_after(1))
    with (tmp_path / "cut" / files.TRAIN_LOG).open("a") as log:
        log.write('{"update": 2, "lo')
    (tmp_path / "cut" / files.CHECKPOINTS / ".update-00000002.safetensors.partial").write_bytes(b"half")
    assert_equal(run(tmp_path / "cut", settings, packs), whole)
    assert read_log(tmp_path / "cut") == read_log(tmp_path / "whole")


def test_a_finished_run_repeated_is_the_same(tmp_path):
    packs, settings = make_packs(6), make_settings()
    whole = run(tmp_path, settings, packs)
    again: list[int] = []
    assert_equal(run(tmp_path, settings, packs, lambda line: again.append(line.update)), whole)
    assert again == []
    assert len(read_log(tmp_path)) == 3


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("size", [2, 4])
def test_microbatches_do_not_change_the_weights(size, optimizer, tmp_path):
    packs = make_packs(8)
    one = run(tmp_path / "1", make_settings(optimizer=optimizer, packs_per_update=4), packs)
    more = run(tmp_path / "n", make_settings(optimizer=optimizer, packs_per_update=4, packs_per_microbatch=size), packs)
    tolerance = 5e-3 if optimizer == "muon" else 1e-5  # Muon makes its matrices orthogonal in bfloat16
    assert [name for name in one if not torch.allclose(one[name], more[name], atol=tolerance)] == []


def test_packing_does_not_change_the_weights(tmp_path):
    """One update on four segments in one pack, and on four packs of one segment."""
    segments = [segment for p in make_packs(2) for segment in p.segments]
    settings = make_settings(optimizer="adamw", pack_tokens=64, packs_per_update=4)
    packed = run(tmp_path / "packed", settings, [Pack(64, segments)])
    alone = run(tmp_path / "alone", settings, [Pack(64, [segment]) for segment in segments])
    # AdamW's first step divides a gradient by itself, and with it the rounding of the smallest ones.
    assert [name for name in packed if not torch.allclose(packed[name], alone[name], atol=1e-4)] == []
    (one,), (four,) = read_log(tmp_path / "packed"), read_log(tmp_path / "alone")
    assert one["loss"] == pytest.approx(four["loss"], abs=1e-5)
    assert (one["num_supervised"], one["num_tokens"]) == (four["num_supervised"], four["num_tokens"]) == (13, 42)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_loss_falls_on_what_can_be_learned(optimizer, tmp_path):
    settings = make_settings(optimizer=optimizer, schedule="constant", num_warmup_updates=0, checkpoint_updates=None)
    run(tmp_path, settings, make_packs(2) * 40)
    losses = [row["loss"] for row in read_log(tmp_path)]
    assert len(losses) == 40
    assert losses[0] > 5
    assert losses[-1] < losses[0] / 2


def test_every_line_of_the_log(tmp_path):
    run(tmp_path, make_settings(), make_packs(5))
    log = read_log(tmp_path)
    assert [list(row) for row in log] == [
        ["update", "loss", "gradient_norm", "learning_rate", "num_supervised", "num_tokens", "num_padding"]
    ] * 3
    assert [row["update"] for row in log] == [0, 1, 2]
    assert [row["learning_rate"] for row in log] == [0.005, 0.01, 0.01]
    assert [row["num_tokens"] for row in log] == [42, 42, 21]
    assert sum(row["num_supervised"] for row in log) == (2 + 3 + 4 + 5 + 6) + 5 * 4
    assert all(math.isfinite(row["loss"]) and row["gradient_norm"] > 0 for row in log)


def test_one_pass_in_an_order_of_the_seed():
    packs = make_packs(11)
    packs_of, num_updates = shuffled_updates(packs, make_settings(packs_per_update=4), seed=1)
    keys = [[p.segments[0].key // 2 for p in packs_of(update)] for update in range(num_updates)]
    assert [len(row) for row in keys] == [4, 4, 3]
    order = [key for row in keys for key in row]
    assert sorted(order) == list(range(11)) != order
    same, other = (shuffled_updates(packs, make_settings(packs_per_update=4), seed)[0] for seed in (1, 2))
    assert [p.segments[0].key // 2 for p in same(1)] == keys[1]
    assert [p.segments[0].key // 2 for update in range(3) for p in other(update)] != order


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_the_run(value, tmp_path):
    model = toy_model("llama")

    def poison(line: UpdateLog) -> None:
        if line.update == 1:
            with torch.no_grad():
                model.model.get_output_embeddings().weight[7] = value

    everything = (
        r"update 2: found loss (nan|inf) and gradient norm nan in 4 rows: row \d+, row \d+, row \d+ and 1 more; "
    )
    with pytest.raises(ModelError, match=everything + "expected finite numbers"):
        run(tmp_path, make_settings(), make_packs(8), poison, model)
    assert [row["update"] for row in read_log(tmp_path)] == [0, 1]


def test_a_damaged_checkpoint_is_an_error(tmp_path):
    packs, settings = make_packs(4), make_settings()
    run(tmp_path, settings, packs)
    content = checkpoint(tmp_path, 2).read_bytes()
    for damaged in (content[: len(content) // 2], content[:4], b"", b"\xff" * 100):
        checkpoint(tmp_path, 2).write_bytes(damaged)
        with pytest.raises(RunError, match=r"update-00000002.safetensors: found a damaged checkpoint") as caught:
            run(tmp_path, settings, packs)
        assert caught.value.do == "Remove it to train from the start."


def test_a_checkpoint_of_another_run_is_an_error(tmp_path):
    packs, settings = make_packs(4), make_settings()
    run(tmp_path, settings, packs)
    with pytest.raises(RunError, match=r"update-00000002.safetensors: found a checkpoint of another run"):
        run(tmp_path, settings, packs, identity="another run")


def test_a_file_that_says_nothing_of_itself_is_of_another_run(tmp_path):
    from safetensors.torch import save_file

    (tmp_path / files.CHECKPOINTS).mkdir()
    save_file({"model.x": torch.ones(1)}, checkpoint(tmp_path, 2))
    with pytest.raises(RunError, match="a checkpoint of another run"):
        run(tmp_path, make_settings(), make_packs(2))


def test_a_checkpoint_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / files.CHECKPOINTS).write_text("a file where the folder belongs")
    with pytest.raises(RunError, match="expected room for a checkpoint"):
        run(tmp_path, make_settings(), make_packs(2))


def test_a_checkpoint_names_its_update_and_run(tmp_path):
    run(tmp_path, make_settings(optimizer="adamw"), make_packs(6))
    header = checkpoint(tmp_path, 3).read_bytes()
    size = int.from_bytes(header[:8], "little")
    content = json.loads(header[8 : 8 + size])
    assert len(content["__metadata__"].pop("content")) == 16  # a fingerprint
    assert content["__metadata__"] == {"update": "3", "identity": "a run", "num_processes": "1"}
    names = set(content) - {"__metadata__"}
    num_weights = len([name for name in names if name.startswith("model.")])
    assert num_weights == 21
    assert len(names) == num_weights * 4  # two moments and a step for each
    assert not list((tmp_path / files.CHECKPOINTS).glob(".*"))


@pytest.mark.parametrize("kind", ["lora", "prompt_tuning"])
def test_an_adapter_is_trained_by_its_defaults(kind, tmp_path):
    """Forty updates on four questions. The paper's Adafactor leaves the loss where it is: 7.47 and 7.47."""
    config = load_recipe(Path("demo"), ["train={num_threads: 1, packs_per_update: 2}", f"model.adapter.kind={kind}"])
    model = load_model(config.model)
    assert config.model.adapter is not None
    add_adapter(model, config.model.adapter, seed=0)
    asked = [("Is the sky green?", "no"), ("Is snow white?", "yes"), ("Can fish sing?", "no"), ("Do cats purr?", "yes")]
    packs = []
    for key, (question, answer) in enumerate(asked * 20):
        target = [*model.codec.encode(answer), model.codec.eos_id]
        ids = [*model.codec.before, *model.codec.encode(f"{question}\n"), *target]
        packs.append(Pack(64, [plain_segment(key, ids, len(target))]))
    packs_of, num_updates = shuffled_updates(packs, config.train, SEED)
    found: list[float] = []
    train(model, packs_of, num_updates, config.train, tmp_path, "a", SEED, lambda line: found.append(line.loss))
    assert len(found) == 40
    assert sum(found[-4:]) < sum(found[:4]) - 4 * 1.5  # by more than 1.5 nats a token
