"""Checkpoints: kept, damaged, in want of room; signals; killed again and again."""

import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from openflan import files
from openflan.errors import RunError
from openflan.training.log import UpdateLog
from openflan.training.loop import shuffled_updates, train
from openflan.training.settings import TrainSettings
from toy_ranks import QUICK, toy_packs
from toys import toy_model

NAMES = [f"update-0000000{n}.safetensors" for n in range(10)]
OnUpdate = Callable[[UpdateLog], None]


class Killed(BaseException):
    pass


def run(folder: Path, on_update: OnUpdate = lambda _: None, model=None, num_packs: int = 12, **changes: object):
    """Three updates on a toy Llama; it comes back."""
    model = model or toy_model("llama")
    settings = TrainSettings.model_validate({**QUICK, "checkpoint_updates": 1, **changes})
    packs_of, num_updates = shuffled_updates(toy_packs(num_packs), settings, 5)
    train(model, packs_of, num_updates, settings, folder, "toy", 5, on_update)
    return model


def kept(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / files.CHECKPOINTS).iterdir())


def test_the_last_ones_are_kept(tmp_path):
    run(tmp_path / "one")
    run(tmp_path / "two", keep_checkpoints=2)
    run(tmp_path / "seldom", checkpoint_updates=2, keep_checkpoints=9)
    assert kept(tmp_path / "one") == [NAMES[3]]
    assert kept(tmp_path / "two") == [NAMES[2], NAMES[3]]
    assert kept(tmp_path / "seldom") == [NAMES[2]]


def test_a_damaged_one_names_the_one_before_and_goes_on_from_it_when_removed(tmp_path):
    whole = run(tmp_path / "whole").model.state_dict()
    folder = tmp_path / "cut"
    run(folder, keep_checkpoints=2, max_updates=3)
    newest = folder / files.CHECKPOINTS / NAMES[3]
    newest.write_bytes(newest.read_bytes()[:5000])
    told = rf"{newest.name}: found a damaged checkpoint .* Remove it to go on from {NAMES[2]}\."
    with pytest.raises(RunError, match=told):
        run(folder, keep_checkpoints=2)
    newest.unlink()
    again: list[int] = []
    found = run(folder, lambda line: again.append(line.update), keep_checkpoints=2).model.state_dict()
    assert again == [2]
    assert [name for name in whole if not torch.equal(whole[name], found[name])] == []


def test_a_thousand_zeroed_bytes_are_noticed(tmp_path):
    run(tmp_path)
    path = tmp_path / files.CHECKPOINTS / NAMES[3]
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes(1000) + content[middle + 1000 :])
    with pytest.raises(RunError, match=r"found a damaged checkpoint \(its content is not what was saved\)"):
        run(tmp_path)


def test_frozen_weights_are_not_in_it(tmp_path):
    def half_frozen():
        model = toy_model("llama")
        for name, weight in model.model.named_parameters():
            weight.requires_grad_("layers.1" in name)
        return model

    def stop(line: UpdateLog) -> None:
        if line.update == 1:
            raise Killed

    before = half_frozen()
    whole = dict(run(tmp_path / "whole", model=half_frozen()).model.named_parameters())
    with pytest.raises(Killed):
        run(tmp_path / "cut", stop, half_frozen())
    with safe_open(tmp_path / "cut" / files.CHECKPOINTS / NAMES[1], framework="pt") as file:
        weights = [name for name in file.keys() if name.startswith("model.")]  # noqa: SIM118
        assert len(weights) == 9 and all("layers.1" in name for name in weights)
    after = dict(run(tmp_path / "cut", model=half_frozen()).model.named_parameters())
    assert [name for name in whole if not torch.equal(whole[name], after[name])] == []
    changed = {name for name, weight in before.model.named_parameters() if not torch.equal(weight, after[name])}
    assert changed == {f"model.{name.removeprefix('model.model.')}" for name in weights}


def test_a_full_disk_leaves_the_checkpoint_before(disk, tmp_path):
    place = disk("size=640k")  # room for one checkpoint of 400 kB, not for two
    with pytest.raises(RunError, match=rf"{NAMES[2]}: found .*[Nn]o space left.* expected room for a checkpoint"):
        run(place / "run")
    assert kept(place / "run") == [NAMES[1]]
    assert [row["update"] for row in files.read_jsonl(place / "run" / files.TRAIN_LOG)] == [0, 1]
    shutil.copytree(place / "run", tmp_path / "roomy")
    again: list[int] = []
    run(tmp_path / "roomy", lambda line: again.append(line.update))
    assert again == [1, 2]


@pytest.mark.parametrize(("number", "ending"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)])
def test_a_signal_ends_the_run_after_the_update_and_a_checkpoint(number, ending, tmp_path):
    before = signal.getsignal(number)

    def interrupt(line: UpdateLog) -> None:
        if line.update == 1:
            signal.raise_signal(number)

    with pytest.raises(ending) as caught:
        run(tmp_path, interrupt, checkpoint_updates=None)
    if ending is SystemExit:
        assert caught.value.code == 143
    assert kept(tmp_path) == [NAMES[2]]
    assert signal.getsignal(number) is before
    again: list[int] = []
    run(tmp_path, lambda line: again.append(line.update), checkpoint_updates=None)
    assert again == [2]


def test_by_the_clock(tmp_path, monkeypatch):
    run(tmp_path / "often", checkpoint_updates=None, checkpoint_seconds=1e-9)
    assert NAMES[1] <= kept(tmp_path / "often")[0] <= NAMES[3]
    run(tmp_path / "never", checkpoint_updates=None)
    assert not (tmp_path / "never" / files.CHECKPOINTS).exists()


@pytest.mark.parametrize("step", [1, 3])
def test_passes_go_on_at_every_update_of_them(step, tmp_path):
    """Two passes of three updates, killed after each in turn, or after every third: at the end of a pass."""
    whole = run(tmp_path / "whole", num_epochs=2, num_packs=10).model.state_dict()
    for update in range(step - 1, 6, step):

        def stop(line: UpdateLog, update: int = update) -> None:
            if line.update == update:
                raise Killed

        with pytest.raises(Killed):
            run(tmp_path / "cut", stop, num_epochs=2, num_packs=10)
    found = run(tmp_path / "cut", num_epochs=2, num_packs=10).model.state_dict()
    assert [name for name in whole if not torch.equal(whole[name], found[name])] == []
    ours, theirs = (list(files.read_jsonl(tmp_path / name / files.TRAIN_LOG)) for name in ("cut", "whole"))
    assert [row["loss"] for row in ours] == [row["loss"] for row in theirs] and len(ours) == 6


def test_each_pass_has_an_order_of_its_own_and_the_last_update_may_be_named():
    settings = TrainSettings.model_validate({**QUICK, "num_epochs": 3})
    packs_of, num_updates = shuffled_updates(toy_packs(10), settings, 5)
    assert num_updates == 9
    passes = [[p.segments[0].key for u in range(3 * e, 3 * e + 3) for p in packs_of(u)] for e in range(3)]
    assert [sorted(keys) for keys in passes] == [list(range(0, 20, 2))] * 3
    assert len({tuple(keys) for keys in passes}) == 3
    assert [len(packs_of(update)) for update in (2, 3)] == [2, 4]
    assert shuffled_updates(toy_packs(10), settings.model_copy(update={"max_updates": 4}), 5)[1] == 4


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adafactor", "muon"])
def test_killed_at_ten_moments_it_ends_like_a_run_that_was_left_alone(run_ranks, start_ranks, tmp_path, optimizer):
    """GPT-2, which drops out at random; SIGKILL at any moment: while it starts, in an update, in a checkpoint."""
    given = {"kind": "gpt2", "optimizer": optimizer, "num_packs": 40, "num_epochs": 4, "checkpoint_updates": 2}
    began = time.monotonic()
    assert run_ranks(1, tmp_path / "whole", **given) == [(0, "")]
    seconds = time.monotonic() - began
    draw = random.Random(7)
    killed = 0
    while killed < 10:
        ranks = start_ranks(1, tmp_path / "cut", **given)
        ranks.processes[0].join(draw.uniform(0.1, 0.6) * seconds)
        if ranks.processes[0].exitcode is not None:  # at its end before its time: only the first one started slowly
            seconds *= 0.7
            (tmp_path / "cut" / "weights.safetensors").unlink()
            for path in (tmp_path / "cut" / files.CHECKPOINTS).iterdir():
                path.unlink()
            continue
        ranks.processes[0].kill()
        ranks.processes[0].join()
        killed += 1
    assert run_ranks(1, tmp_path / "cut", **given) == [(0, "")]
    whole, cut = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "cut"))
    assert len(whole) == 28
    assert [name for name in whole if not torch.equal(whole[name], cut[name])] == []
    ours, theirs = (list(files.read_jsonl(tmp_path / name / files.TRAIN_LOG)) for name in ("cut", "whole"))
    assert [row["loss"] for row in ours] == [row["loss"] for row in theirs] and len(ours) == 40
