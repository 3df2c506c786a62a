"""`openflan train` on one process, on two, and under a launcher; stopped by a signal."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

from openflan.models.tokenizer import train_tokenizer
from toys import TEXTS, toy_weights

pytestmark = pytest.mark.slow
STOPPED = "openflan: stopped; the same command continues where it was.\n"
FOLDERS = [Path(name) / "tuned" / "model" for name in ("sentiment", "translation")]


@pytest.fixture(scope="session")
def two_packs(recipe, tmp_path_factory) -> Path:
    """The recipe of seconds with two packs in an update, one for each of two processes."""
    value = yaml.safe_load(recipe.read_text())
    value["train"] |= {"packs_per_update": 2, "packs_per_microbatch": 1}
    value["num_jobs"] = 1
    path = tmp_path_factory.mktemp("two-packs") / "tiny.yaml"
    path.write_text(yaml.safe_dump(value))
    return path


@pytest.fixture(scope="session")
def alone(two_packs, openflan_command, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("alone") / "run"
    ended = openflan_command("train", two_packs, "--out", out)
    assert (ended.code, ended.complaints) == (0, "")
    assert ended.out.split() == [str(out / folder) for folder in FOLDERS]
    return out


def check_same(out: Path, alone: Path, tolerance: float) -> None:
    for folder in FOLDERS:
        assert sorted(p.name for p in (out / folder).iterdir()) == sorted(p.name for p in (alone / folder).iterdir())
        ours, theirs = (load_file(root / folder / "model.safetensors") for root in (out, alone))
        assert ours.keys() == theirs.keys()
        assert max(float((ours[name] - theirs[name]).abs().max()) for name in theirs) < tolerance
        logs = [(root / folder.parent / "train.jsonl").read_text().splitlines() for root in (out, alone)]
        losses = [[json.loads(line)["loss"] for line in log] for log in logs]
        assert losses[0] == pytest.approx(losses[1], abs=1e-4) and len(losses[0]) > 3


@pytest.mark.parametrize("sharding", ["none", "full"])
def test_two_processes_save_the_folders_of_one(sharding, two_packs, alone, openflan_command, tmp_path):
    ended = openflan_command(
        "train", two_packs, "--out", tmp_path / "run", "--processes", "2", "--set", f"train.sharding={sharding}"
    )
    assert (ended.code, ended.complaints) == (0, "")
    assert ended.out.split() == [str(tmp_path / "run" / folder) for folder in FOLDERS]
    check_same(tmp_path / "run", alone, tolerance=1e-3)  # AdamW's first steps divide small gradients by themselves


def test_torchrun_is_two_processes_and_one_voice(two_packs, alone, torchrun, tmp_path):
    ended = torchrun("train", two_packs, "--out", tmp_path / "run")
    assert ended.code == 0, ended.complaints
    assert ended.out.split() == [str(tmp_path / "run" / folder) for folder in FOLDERS]
    check_same(tmp_path / "run", alone, tolerance=1e-3)

    ended = torchrun("train", two_packs, "--out", tmp_path / "run", "--set", "seed=1")
    assert ended.code != 0
    assert ended.complaints.count("found the directory of another run") == 1


def test_a_study_is_not_run_by_a_launcher(call, recipe, tmp_path, monkeypatch):
    for name, value in {
        "RANK": 0,
        "LOCAL_RANK": 0,
        "WORLD_SIZE": 2,
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": 9,
    }.items():
        monkeypatch.setenv(name, str(value))
    ended = call("run", recipe, "--out", tmp_path / "run")
    assert ended.code == 2 and "Use `openflan train` there" in ended.complaints
    assert not (tmp_path / "run").exists()


def test_sigterm_saves_and_the_command_goes_on(two_packs, alone, start, openflan_command, tmp_path):
    out = tmp_path / "run"
    seldom = "train", two_packs, "--out", out, "--processes", "2", "--set", "train.checkpoint_updates=null"
    running = start(*seldom)
    log = out / "sentiment" / "tuned" / "train.jsonl"
    running.wait_for(log)
    while not log.read_text():  # until an update has been made
        time.sleep(0.005)
    ended = running.stop(signal.SIGTERM, group=False)
    assert (ended.code, ended.out, ended.complaints) == (143, "", STOPPED)
    assert running.left_behind() == []
    assert len(list((out / "sentiment" / "tuned" / "checkpoints").iterdir())) == 1
    ended = openflan_command(*seldom)
    assert (ended.code, ended.complaints) == (0, "")
    check_same(out, alone, tolerance=1e-3)


def test_a_process_that_is_killed_ends_the_other_and_is_told_once(two_packs, start, tmp_path):
    out = tmp_path / "run"
    running = start("train", two_packs, "--out", out, "--processes", "2", "--set", "train.num_epochs=200")
    running.wait_for(out / "sentiment" / "tuned" / "train.jsonl")
    os.kill(rank_1_of(running.process.pid), signal.SIGKILL)
    ended = running.wait()
    assert (ended.code, ended.out) == (2, "")
    assert ended.complaints == (
        f"openflan: {out / 'sentiment' / 'tuned'}: found a job that ended with exit code -9; expected 0. "
        "Repeat the command: it continues.\n"
    )
    assert running.left_behind() == []


def rank_1_of(session: int) -> int:
    """The process of a session that does not hold the job's lock: of two forks of the server the younger."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        fields = (folder / "stat").read_text().rpartition(")")[2].split() if (folder / "stat").exists() else []
        if fields and int(fields[3]) == session and b"forkserver" in (folder / "cmdline").read_bytes():
            found.append(int(folder.name))
    return max(found)


@pytest.mark.parametrize("adapter", ["null", "{kind: lora, rank: 2}"])
def test_a_chat_model_is_trained_and_asked_through_its_template(adapter, recipe, openflan_command, tmp_path):
    tokenizer = train_tokenizer(TEXTS * 3, 319)
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}<|end|>\n{% endfor %}"
    toy_weights("llama").save_pretrained(tmp_path / "chat")
    tokenizer.save_pretrained(tmp_path / "chat")
    changes = [f"model.path={tmp_path / 'chat'}", "model.chat_template=true", f"model.adapter={adapter}"]
    changes += ["held_out=[sentiment]", "data.tasks=[world_rte,world_piqa,world_trec]"]
    changes += ["model.max_input_tokens=108", "model.max_target_tokens=20"]
    given = [part for change in changes for part in ("--set", change)]
    ended = openflan_command("train", recipe, "--out", tmp_path / "run", *given)
    assert (ended.code, ended.complaints) == (0, ""), ended.complaints
    tuned = tmp_path / "run" / FOLDERS[0]
    assert json.loads((tuned / "prompt_format.json").read_text()) == {"separator": "\n", "chat_template": True}
