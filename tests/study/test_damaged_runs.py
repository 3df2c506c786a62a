"""Every file of a run, damaged in every way: named, or made anew with the same results. Never other results.

`make fuzz` tries every file in every way, which takes minutes; otherwise each is damaged in one.
"""

import functools
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from openflan import files
from openflan.config import RunConfig, load_recipe
from openflan.errors import OpenFlanError
from openflan.models.folder import EMBEDDED
from openflan.models.lm import HuggingFaceModel
from openflan.models.load import load_model, save_model, wrap
from openflan.models.make import make_model
from openflan.models.settings import ModelSettings, ModelShape
from openflan.models.tokenizer import load_tokenizer
from openflan.study import execute, run_one
from openflan.study.directory import read_config
from openflan.study.evaluate import Asking, evaluate_model
from openflan.study.job import Job
from openflan.study.prepare import Prepared
from openflan.study.results import read_evaluation, score_tasks
from openflan.training.log import UpdateLog


def cut(content: bytes, other: bytes) -> bytes:
    return content[: len(content) // 2]


def garbled(content: bytes, other: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes(byte ^ 1 for byte in content[middle : middle + 3]) + content[middle + 3 :]


def zeroed(content: bytes, other: bytes) -> bytes:
    start = len(content) // 3
    num = min(1000, max(1, len(content) // 3))
    return content[:start] + bytes(num) + content[start + num :]


DAMAGES: dict[str, Callable[[bytes, bytes], bytes] | None] = {
    "removed": None,
    "emptied": lambda content, other: b"",
    "cut": cut,
    "garbled": garbled,
    "zeroed": zeroed,
    "list": lambda content, other: b"[]\n",
    "object": lambda content, other: b"{}\n",
    "another": lambda content, other: other,
}


ALL = "OPENFLAN_FUZZ_EXAMPLES" in os.environ
MADE_ANEW = (files.ENVIRONMENT, files.TRAIN_LOG, files.PLAN, "totals.json", files.RESULTS)


class Killed(BaseException):
    """What ends a run between two lines, as `kill -9` would."""


class Runs:
    """Runs of one recipe in this process. What is the same in all of them, and reads no file of a run, is kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        tokenizer = load_tokenizer(str(EMBEDDED))
        shape = ModelShape(hidden_size=16, num_layers=1, num_heads=2, mlp_size=32)
        weights = make_model(shape, 0, tokenizer.eos_token_id, tokenizer.pad_token_id)
        save_model(wrap(weights, tokenizer, folder / "base"), folder / "base")

    def config(self, seed: int = 0) -> RunConfig:
        changes = [
            *("held_out=[sentiment]", "shuffled_labels=false", f"model.path={self.folder / 'base'}", f"seed={seed}"),
            *("data={collection: world, tasks: [world_trec], evaluate: [world_sst]}", "mixture={num_examples: 6}"),
            *("model.max_input_tokens=200", "model.max_target_tokens=40"),
            "train={optimizer: adamw, learning_rate: 1e-3, pack_tokens: 128, packs_per_update: 1, num_threads: 1, "
            "checkpoint_updates: 1}",
            "evaluation={max_examples_per_task: 2, num_threads: 1, pack_tokens: 256, packs_per_batch: 1}",
        ]
        return load_recipe(Path("demo"), changes)

    def run(self, out: Path, seed: int = 0) -> dict[str, object]:
        results = execute.run_study(self.config(seed), out, "the command").to_json()
        return {name: part for name, part in results.items() if name != "seconds"}


def in_this_process(jobs: Sequence[Job], num_jobs: int, on_poll: Callable[[], None]) -> None:
    for job in jobs:
        on_poll()
        with files.exclusive(job.folder):
            run_one.run_one(job)
        on_poll()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    prepare, identity_of = execute.prepare, execute.identity_of
    parts: dict[int, Prepared] = {}
    identities: dict[int, str] = {}

    def prepared(config: RunConfig, *others: Any) -> Prepared:
        if config.seed not in parts:
            parts[config.seed] = prepare(config, *others)
        return parts[config.seed]

    def identified(config: RunConfig) -> str:
        if config.seed not in identities:
            identities[config.seed] = identity_of(config)
        return identities[config.seed]

    with pytest.MonkeyPatch.context() as patch:
        for module in (execute, run_one):
            patch.setattr(module, "prepare", prepared)
            patch.setattr(module, "load_catalog", functools.cache(module.load_catalog))
        patch.setattr(execute, "identity_of", identified)
        patch.setattr(execute, "run_jobs", in_this_process)
        yield Runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def finished(runs: Runs) -> Path:
    runs.run(runs.folder / "finished")
    runs.run(runs.folder / "another", seed=1)
    return runs.folder / "finished"


@pytest.fixture(scope="module")
def evaluating(runs: Runs, finished: Path) -> Path:
    """Killed while predictions were made: of each store a half is there."""
    out = runs.folder / "evaluating"
    shutil.copytree(finished, out)
    for name in (files.DONE, files.RESULTS, f"sentiment/tuned/{files.DONE}", f"sentiment/untuned/{files.DONE}"):
        (out / name).unlink()
    stores = sorted(out.glob(f"*/*/{files.PREDICTIONS}/*.jsonl"))
    assert len(stores) == 3
    for store in stores:
        lines = store.read_bytes().splitlines(keepends=True)
        store.write_bytes(b"".join(lines[: len(lines) // 2]) + lines[-1][:9])
    return out


@pytest.fixture(scope="module")
def training(runs: Runs) -> Path:
    """Killed after two updates."""
    out = runs.folder / "training"

    def kill(line: object) -> None:
        if isinstance(line, UpdateLog) and line.update == 1:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_one, "stop_if_orphaned", kill)
        with pytest.raises(Killed):
            runs.run(out)
    assert [path.name for path in out.glob("*/*/checkpoints/*")] == ["update-00000001.safetensors"]
    return out


def all_files(out: Path) -> list[str]:
    return sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file() and path.name != files.LOCK)


def damaged(path: Path, damage: str, other: Path) -> bool:
    """Whether the file is another one now."""
    change, before = DAMAGES[damage], path.read_bytes()
    if change is None:
        path.unlink()
        return True
    after = change(before, other.read_bytes() if other.is_file() else b"[]")
    path.write_bytes(after)
    return before != after


@pytest.mark.parametrize("turn", range(len(DAMAGES) if ALL else 1))
@pytest.mark.parametrize("state", ["finished", "evaluating", "training"])
def test_named_or_made_anew(runs, finished, request, tmp_path, state, turn):
    """Each file in one way a turn, in all ways after as many turns as there are ways."""
    before: Path = request.getfixturevalue(state)
    expected, another = runs.run(finished), runs.folder / "another"
    names = all_files(before)
    assert len(names) == {"finished": 21, "evaluating": 17, "training": 7}[state]
    for number, name in enumerate(names):
        out, damage = tmp_path / str(number), list(DAMAGES)[(number + turn) % len(DAMAGES)]
        shutil.copytree(before, out)
        if not damaged(out / name, damage, another / name):
            continue
        try:
            assert runs.run(out) == expected, (name, damage)
            told = False
        except OpenFlanError as exc:
            told, message = True, str(exc)
            assert str(out / name) in message or (name == files.RUN and str(out) in message), message
            if name != files.RUN:  # what the message advises
                assert "emove" in message, message
                (out / name).unlink()
                assert runs.run(out) == expected, (name, damage)
        assert not (told and name.endswith(MADE_ANEW)), message
        assert told or not name.endswith("model.safetensors") or damage == "removed"


def test_a_tuned_model_that_was_changed_is_not_evaluated(finished, tmp_path):
    model = finished / "sentiment" / "tuned" / files.MODEL
    names = [name for name in all_files(model) if name != files.CARD]
    assert len(names) >= 6
    for number, name in enumerate(names):
        for damage in ("removed", "zeroed"):
            folder = tmp_path / f"{number}-{damage}"
            shutil.copytree(model, folder)
            damaged(folder / name, damage, folder)
            if (name, damage) == (files.DONE, "removed"):  # the folder as it is
                load_model(ModelSettings(path=str(folder)))
                continue
            with pytest.raises(OpenFlanError, match=name.replace("model.", ".").replace(".", r"\.")):
                load_model(ModelSettings(path=str(folder)))


def test_a_lost_model_is_made_anew_where_arithmetic_rounds_otherwise(runs, finished, tmp_path, monkeypatch):
    train = run_one.train

    def rounded_otherwise(model: HuggingFaceModel, *others: Any) -> None:
        train(model, *others)
        with torch.no_grad():
            next(model.model.parameters()).mul_(1 + 1e-6)

    out = tmp_path / "run"
    shutil.copytree(finished, out)
    tuned = out / "sentiment" / "tuned"
    shutil.rmtree(tuned / files.PREDICTIONS)
    (tuned / files.MODEL / "model.safetensors").unlink()
    monkeypatch.setattr(run_one, "train", rounded_otherwise)
    runs.run(out)
    load_model(ModelSettings(path=str(tuned / files.MODEL)))


def test_every_file_of_an_evaluation(runs, tmp_path):
    def evaluate(out: Path, seed: int = 0) -> Path:
        settings = runs.config().evaluation
        model = ModelSettings(path=str(runs.folder / "base"), max_input_tokens=200, max_target_tokens=40)
        return evaluate_model(Asking(model=model, settings=settings, out=out, tasks=("world_sst",), seed=seed)).folder

    folder, another = evaluate(tmp_path / "made"), evaluate(tmp_path / "made", seed=1)
    expected = score_tasks(read_evaluation(folder))
    assert all_files(folder) == ["evaluation.json", "test.jsonl"] and another != folder
    changed = []
    for name in all_files(folder):
        for damage in DAMAGES:
            out = tmp_path / f"{damage}-{name}"
            shutil.copytree(folder, out / folder.name)
            path = out / folder.name / name
            assert damaged(path, damage, another / name)
            with pytest.raises(OpenFlanError, match=name.replace(".", r"\.")):
                score_tasks(read_evaluation(path.parent))
            try:
                evaluate(out)
            except OpenFlanError as exc:
                assert "remove it and repeat the command" in str(exc) and str(path) in str(exc)
                path.unlink()
                evaluate(out)
            assert score_tasks(read_evaluation(path.parent)) == expected
            changed.append(name)
    assert len(changed) == 16


def test_a_folder_that_was_removed_whole_is_made_anew(runs, finished, tmp_path):
    contents = {name: (finished / name).read_bytes() for name in all_files(finished)}
    folders = sorted(str(path.relative_to(finished)) for path in finished.rglob("*") if path.is_dir())
    assert len(folders) == 6 and folders[2] == f"sentiment/tuned/{files.MODEL}"
    for number, folder in enumerate(folders if ALL else folders[2:3]):
        out = tmp_path / str(number)
        shutil.copytree(finished, out)
        shutil.rmtree(out / folder)
        runs.run(out)
        again = {name: (out / name).read_bytes() for name in all_files(out)}
        assert set(again) == set(contents)
        different = {Path(name).name for name in contents if again[name] != contents[name]}
        assert different <= {files.TRAIN_LOG, files.DONE}, folder  # seconds stand there


def test_a_directory_of_train_notices_the_recipe_of_another_run(runs, finished, tmp_path):
    out = tmp_path / "trained"
    [model] = execute.train_study(runs.config(), out)
    assert read_config(out) == runs.config()
    assert "argv" not in (model / files.DONE).read_text() and str(tmp_path) not in (model / files.DONE).read_text()
    shutil.copytree(out, tmp_path / "copy")
    shutil.copy(runs.folder / "another" / files.RUN, tmp_path / "copy")
    with pytest.raises(OpenFlanError, match=r"run\.yaml: found a file that has changed since it was finished"):
        read_config(tmp_path / "copy")
    runs.run(out)
    both = (out / files.DONE).read_bytes()
    execute.train_study(runs.config(), out)
    assert b"results.json" in both and (out / files.DONE).read_bytes() == both  # what `run` made is still known


def test_one_changed_number_in_a_prediction_is_noticed(runs, finished, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    store = out / "sentiment" / "tuned" / files.PREDICTIONS / "options.jsonl"
    lines = store.read_text().splitlines()
    row = json.loads(lines[0])
    row["logprobs"][0] += 0.5
    store.write_text("\n".join([json.dumps(row, ensure_ascii=False), *lines[1:]]) + "\n")
    with pytest.raises(OpenFlanError, match=r"options\.jsonl: found a file that has changed since it was finished"):
        runs.run(out)
