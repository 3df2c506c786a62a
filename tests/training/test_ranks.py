"""Several processes make the same updates as one. Real processes that talk through gloo."""

import json
import signal
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from openflan.errors import ConfigError
from openflan.tokens.pack import Pack, plain_segment
from openflan.training.ranks import Ranks, share_out
from openflan.training.settings import TrainSettings

WELL = (0, "")


def lines(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]


def losses(folder: Path) -> list[float]:
    return [row["loss"] for row in lines(folder)]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found = load_file(folder / "weights.safetensors")
    assert len(found) == 21
    return found


def distance(a: Path, b: Path) -> float:
    ours, theirs = weights(a), weights(b)
    return max(float((ours[name] - theirs[name]).abs().max()) for name in theirs)


@pytest.mark.parametrize("optimizer", ["adafactor", "adamw"])
def test_two_processes_are_one_and_so_are_two_that_shard(run_ranks, tmp_path, optimizer):
    """Ten packs, five to an update: the ranks have 3 and 2, a third of the packs predicts nothing."""
    one, two, sharded = (tmp_path / name for name in ("one", "two", "sharded"))
    given = {"optimizer": optimizer, "packs_per_update": 5, "loss": "token_mean"}
    assert run_ranks(1, one, **given) == [WELL]
    assert run_ranks(2, two, **given) == [WELL, WELL]
    assert run_ranks(2, sharded, **given, sharding="full", gradient_checkpointing=True) == [WELL, WELL]
    assert len(losses(one)) == 2 and losses(one)[0] > 5
    for other in (two, sharded):
        assert losses(other) == pytest.approx(losses(one), abs=2e-5)
        assert distance(other, one) < 2e-4
        for ours, theirs in zip(lines(other), lines(one), strict=True):
            assert ours["gradient_norm"] == pytest.approx(
                theirs["gradient_norm"], rel=1e-4
            )  # a sum over ranks, no mean
            assert ours["num_tokens"] == theirs["num_tokens"] == 105
            assert ours["num_supervised"] == theirs["num_supervised"] > 10
            assert (ours["num_padding"], theirs["num_padding"]) == (1, 0)  # what a rank without a pack reads


@pytest.mark.parametrize("sharding", ["none", "full"])
def test_killed_or_stopped_they_go_on_to_the_same_end(run_ranks, start_ranks, tmp_path, sharding):
    given = {
        "sharding": sharding,
        "optimizer": "adamw",
        "loss": "example_mean",
        "num_packs": 12,
        "checkpoint_updates": 1,
    }
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert run_ranks(2, whole, **given) == [WELL, WELL]

    ranks = start_ranks(2, cut, **given, pause=0.3)
    wait_for(cut / "checkpoints" / "update-00000001.safetensors")
    ranks.processes[1].kill()
    (code, _), (killed, _) = ranks.ended()
    assert (killed, code) == (-signal.SIGKILL, 1)  # the other lost its partner

    [(code, told)] = run_ranks(1, cut, **given)
    assert code == 2 and "found a checkpoint of a training on 2 processes; expected one on 1. Repeat with" in told

    num_lines = len(lines(cut))
    ranks = start_ranks(2, cut, **given, pause=0.3)
    while len(lines(cut)) == num_lines and ranks.processes[1].is_alive():
        time.sleep(0.01)
    ranks.processes[1].terminate()  # one of them: both stop, after the same update
    assert ranks.ended() == [(143, ""), (143, "")]
    assert not (cut / "weights.safetensors").exists()

    assert run_ranks(2, cut, **given) == [WELL, WELL]
    assert distance(cut, whole) == 0.0
    assert losses(cut) == losses(whole)


def wait_for(path: Path) -> None:
    until = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < until, f"no {path}"
        time.sleep(0.01)


def test_a_loss_that_is_no_number_is_told_by_one_of_them(run_ranks, tmp_path):
    (first, told), other = run_ranks(2, tmp_path, learning_rate=1e30, optimizer="adamw", packs_per_update=5)
    assert other == (2, "")
    assert first == 2 and told.count("\n") == 1
    assert told.startswith("openflan: update 1: found loss nan") and " in 6 rows: row " in told


def test_every_pack_once_and_equally_many_microbatches():
    for num_packs in (1, 2, 5, 8, 9):
        packs = [Pack(4, [plain_segment(key, [5, 6], 1)]) for key in range(num_packs)]
        for num_processes in (1, 2, 3):
            for size in (1, 2, 4):
                parts = [share_out(packs, size, rank, num_processes) for rank in range(num_processes)]
                assert len({len(part) for part in parts}) == 1
                keys = [p.segments[0].key for part in parts for microbatch in part for p in microbatch]
                assert sorted(key for key in keys if key >= 0) == list(range(num_packs))
                assert all(len(microbatch) <= size for part in parts for microbatch in part)


def test_more_processes_asked_for_than_there_are(tmp_path):
    with pytest.raises(ConfigError, match=r"found 3 in a training on 1; .* `openflan train --processes"):
        Ranks(TrainSettings(num_processes=3), tmp_path)
