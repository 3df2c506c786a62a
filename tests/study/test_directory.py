import json
import os
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from openflan.config import RunConfig, load_recipe
from openflan.errors import RunError
from openflan.finished import finish
from openflan.mixture.overlap import Overlap
from openflan.models.folder import EMBEDDED
from openflan.study.directory import check_directory, claim, identity_of, read_config, seconds_before, write_plan
from openflan.study.prepare import Rows, prepare
from openflan.tasks.catalog import Task, load_catalog
from openflan.tasks.example import Example


def config(*changes: str) -> RunConfig:
    small = "held_out=[sentiment]", "data.tasks=[world_trec]", "mixture.num_examples=5"
    return load_recipe(Path("demo"), [*small, *changes])


def test_a_directory_is_claimed_once_and_known_again(tmp_path):
    check_directory(tmp_path / "run", "ours")
    assert not (tmp_path / "run").exists()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").touch()
    claim(tmp_path / "run", config(), "ours")
    assert yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())["config"]["seed"] == 0
    environment = json.loads((tmp_path / "run" / "env.json").read_text())
    assert set(environment["packages"]) >= {"torch", "transformers"}

    (tmp_path / "run" / "results.json").write_text("{}")
    check_directory(tmp_path / "run", "ours")
    with pytest.raises(RunError, match="another run"):
        check_directory(tmp_path / "run", "theirs")


def test_a_record_that_was_changed_is_named(tmp_path):
    claim(tmp_path, config(), "ours")
    record = (tmp_path / "run.yaml").read_text()
    (tmp_path / "run.yaml").write_text(record.replace("seed: 0", "seed: 1"))
    for read in (lambda: check_directory(tmp_path, "ours"), lambda: read_config(tmp_path)):
        with pytest.raises(RunError, match=r"run.yaml: found a record that has changed since it was written"):
            read()
    (tmp_path / "run.yaml").write_text(record)
    check_directory(tmp_path, "ours")
    for damage in ("[]", "", "{"):
        (tmp_path / "env.json").write_text(damage)
        claim(tmp_path, config(), "ours")
        assert json.loads((tmp_path / "env.json").read_text())["packages"]


def test_the_recipe_of_a_run_is_read_back(tmp_path):
    made = config("seed=7", "model.max_input_tokens=64")
    claim(tmp_path, made, "ours")
    assert read_config(tmp_path) == made
    with pytest.raises(RunError, match=r"found no run.yaml; expected the directory of a run"):
        read_config(tmp_path / "nowhere")
    for text in ("[1]", "fingerprint: ours"):
        (tmp_path / "run.yaml").write_text(text)
        with pytest.raises(RunError, match=r"run.yaml: found no `config`"):
            read_config(tmp_path)
    (tmp_path / "run.yaml").write_text("config: {nmae: x}")
    with pytest.raises(RunError, match=r"run.yaml: found .*nmae \(unknown key"):
        read_config(tmp_path)


def test_killed_between_its_first_two_files_it_writes_the_second(tmp_path):
    claim(tmp_path, config(), "ours")
    (tmp_path / "env.json").unlink()
    claim(tmp_path, config(), "ours")
    assert (tmp_path / "env.json").is_file()


@pytest.mark.parametrize("text", ["", "[1]", "fingerprint: theirs"])
def test_a_record_that_is_not_ours(tmp_path, text):
    (tmp_path / "run.yaml").write_text(text)
    with pytest.raises(RunError, match="another run"):
        check_directory(tmp_path, "ours")


def test_foreign_files_and_places_that_cannot_be_looked_at(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(RunError, match="other files"):
        check_directory(tmp_path, "ours")
    with pytest.raises(RunError, match="found a file"):
        check_directory(tmp_path / "notes.txt", "ours")
    with pytest.raises(RunError, match="too long"):
        check_directory(tmp_path / ("x" * 300), "ours")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_directory_without_permission(tmp_path):
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(RunError, match="Permission denied"):
        check_directory(tmp_path / "closed", "ours")


def test_the_identity_changes_with_what_decides_the_result(tmp_path):
    first = identity_of(config())
    assert first == identity_of(config())
    for change in ("num_jobs=3", "train.num_processes=2", "train.keep_checkpoints=4", "train.trackers=[wandb]"):
        assert first == identity_of(config(change)), change
    others = [
        identity_of(config(change)) for change in ("seed=1", "train.learning_rate=1e-5", "data.tasks=[world_wic]")
    ]
    assert len({first, *others}) == 4

    copy = tmp_path / "model"
    copy.mkdir()
    for file in EMBEDDED.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    mine = config(f"model.path={copy}")
    before = identity_of(mine)
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    assert identity_of(mine) != before


class Changed(Rows):
    """Rows of which one says something else."""

    uid = ""

    def of(self, task: Task, split: str, only: Collection[str] | None = None) -> Iterator[Example]:
        for example in super().of(task, split, only):
            yield replace(example, fields={"question": "Who asked?"}) if example.uid == self.uid else example


def test_the_plan_is_written_and_rows_that_changed_are_noticed(tmp_path):
    rows, catalog = Changed(None), load_catalog()
    prepared = prepare(config(), catalog, rows, "sentiment")
    write_plan(prepared, tmp_path)
    write_plan(prepared, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "plan.jsonl").read_text().splitlines()]
    assert lines == [{"uid": r.uid, "task": r.task, "template": r.template} for r in prepared.plan.rows]
    assert len(lines) == 5
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert plan["fingerprint"] == prepared.plan.fingerprint
    assert set(plan["tasks"]) == {"world_trec"}
    assert not (tmp_path / "overlap.jsonl").exists()

    planned = prepared.plan.uids_of("world_trec")
    rows.uid = next(f"world_trec/train/{i}" for i in range(9) if f"world_trec/train/{i}" not in planned)
    write_plan(prepare(config(), catalog, rows, "sentiment"), tmp_path)  # it decides nothing
    rows.uid = min(planned)
    with pytest.raises(RunError, match="other rows than the data has now: those of world_trec/train"):
        write_plan(prepare(config(), catalog, rows, "sentiment"), tmp_path)
    rows.uid = prepared.test_examples["world_sst"][0].uid
    with pytest.raises(RunError, match="other rows than the data has now: those of world_sst/test"):
        write_plan(prepare(config(), catalog, rows, "sentiment"), tmp_path)


def test_exemplars_and_overlaps_are_written(tmp_path):
    rows, catalog = Changed(None), load_catalog()
    few_shot = "mixture.few_shot_share=1", "mixture.max_exemplars=2", "mixture.allow_overlap=a test"
    prepared = prepare(config(*few_shot), catalog, rows, "sentiment")
    leak = Overlap("world_trec/train/1", "world_sst/test/2", "who asked", "text")
    write_plan(replace(prepared, gate=replace(prepared.gate, overlaps=(leak,))), tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "plan.jsonl").read_text().splitlines()]
    assert all(1 <= len(line["exemplars"]) <= 2 for line in lines)
    assert json.loads((tmp_path / "overlap.jsonl").read_text()) == {
        "train_uid": "world_trec/train/1",
        "held_out_uid": "world_sst/test/2",
        "text": "who asked",
        "kind": "text",
    }
    overlap = json.loads((tmp_path / "plan.json").read_text())["overlap"]
    assert (overlap["action"], overlap["reason"], overlap["rows"]) == ("allow", "a test", ["world_trec/train/1"])


def test_seconds_of_a_finished_run_are_kept(tmp_path):
    results = {"rows": [], "differences": [], "seconds": {"total": 12.5}, "tasks": [], "details": [], "runs": []}
    (tmp_path / "results.json").write_text(json.dumps(results))
    assert seconds_before(tmp_path) is None
    finish(tmp_path, ["results.json"])
    assert seconds_before(tmp_path) == {"total": 12.5}
    (tmp_path / "results.json").write_text("{")
    assert seconds_before(tmp_path) is None
