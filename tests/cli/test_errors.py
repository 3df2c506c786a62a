"""What a user gets wrong: one paragraph with where, what was found and what was expected; exit code 2."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from mood import CARD


def write(path: Path, value: object) -> Path:
    path.write_text(yaml.safe_dump(value, sort_keys=False))
    return path


def check_paragraph(ended, *parts: str) -> None:
    assert ended.code == 2
    assert ended.err.startswith("openflan: ") and ended.err.endswith("\n")
    assert ended.err.count("\n") == 1
    assert "Traceback" not in ended.err
    for part in parts:
        assert part in ended.err


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        (["tasks", "show", "world_rtee"], ["no task 'world_rtee'", "Did you mean world_rte"]),
        (["preview", "world_rtee"], ["no task 'world_rtee'", "Did you mean world_rte"]),
        (["preview", "world_rte", "--template", "we-knew"], ["world_rte.yaml", "Did you mean we-know?"]),
        (["preview", "rte", "--data-root", "nowhere"], ["nowhere: found no folder", "Change --data-root."]),
        (["tasks", "list", "--cluster", "sentimant"], ["no cluster 'sentimant'", "Did you mean sentiment?"]),
        (["tasks", "list", "--collection", "wrld"], ["no collection 'wrld'", "Did you mean world?"]),
        (["tasks", "check", "nowhere.yaml"], ["nowhere.yaml", "No such file"]),
        (["run", "dmo"], ["'dmo'", "Did you mean demo?"]),
        (["plan", "nowhere.yaml"], ["nowhere.yaml", "No such file"]),
        (["plan", "demo", "--set", "seed"], ["--set seed: found no `=`; expected `key=value`."]),
        (
            ["plan", "demo", "--set", "train.lerning_rate=1"],
            ["--set train.lerning_rate=1: found train.lerning_rate", "learning_rate?"],
        ),
        (["plan", "demo", "--set", "num_jobs=0"], ["--set num_jobs=0: found num_jobs: Input should be greater"]),
        (["plan", "demo", "--set", "held_out=[sentimant]"], ["no cluster 'sentimant'", "Did you mean sentiment?"]),
        (["plan", "demo", "--set", "held_out=[]"], ["--set held_out=[]: found held_out"]),
        (["plan", "demo", "--set", "held_out=[sentiment, sentiment]"], ["held_out", "twice"]),
        (["plan", "demo", "--set", "data.tasks=[world_rtee]"], ["no task 'world_rtee'", "Did you mean"]),
        (["plan", "demo", "--set", "data.collection=wrld"], ["data: found the collection 'wrld'", "flan, world"]),
        (["plan", "demo", "--set", "data.evaluate=[world_trec]"], ["data.evaluate", "world_trec", "not held out"]),
        (
            ["plan", "demo", "--set", "data.tasks=[world_sst, world_reviews]", "--set", "held_out=[sentiment]"],
            ["data.tasks: found world_sst, world_reviews, of the one cluster that is held out, sentiment"],
        ),
        (
            ["plan", "demo", "--set", "data.tasks=[world_rte]", "--set", "held_out=[paraphrase]"],
            ["the held-out clusters", "leaves none of 1 tasks", "Hold out fewer clusters."],
        ),
        (
            ["plan", "demo", "--set", "data.collection=flan", "--set", "held_out=[sentiment]"],
            ["stanfordnlp/imdb", "no connection to the hub", "openflan data fetch imdb", "--data-root"],
        ),
        (
            ["plan", "demo", "--set", "data.collection=flan", "--data-root", "nowhere"],
            ["nowhere: found no folder", "Change --data-root."],
        ),
        (["run", "demo", "--set", "model.path=nowhere"], ["nowhere", "no such folder", "Check model.path"]),
        (["report", "nowhere"], ["nowhere", "no results.json"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and value[0] in ("plan", "run") else None,
)
def test_what_is_wrong_is_told(call, monkeypatch, tmp_path, args, parts):
    monkeypatch.chdir(tmp_path)
    check_paragraph(call(*args), *parts)
    assert list(tmp_path.iterdir()) == []  # a command that fails leaves nothing behind


def test_a_card_with_an_unknown_key(call, tmp_path):
    card = write(tmp_path / "mood.yaml", {**CARD, "metric": ["accuracy"]})
    check_paragraph(call("tasks", "check", card), str(card), "metric (unknown key", "Did you mean metrics")
    check_paragraph(call("plan", "demo", "--catalog", card), str(card))


def test_a_card_that_reads_badly_is_a_finding_and_a_good_one_is_not(call, tmp_path):
    good = write(tmp_path / "mood.yaml", CARD)
    ended = call("tasks", "check", good)
    assert (ended.code, ended.out, ended.err) == (0, "1 tasks checked, 0 findings\n", "")
    (tmp_path / "folder").mkdir()
    bad = {**CARD, "templates": [{"id": "how", "input": "{{ text }}\n\nHow does  that sound , {{ nobody }}?"}]}
    write(tmp_path / "folder" / "bad.yaml", bad)
    ended = call("tasks", "check", tmp_path / "folder")
    assert (ended.code, ended.err) == (1, "")
    assert "bad.yaml" in ended.out and ended.out.endswith("findings\n") and "1 tasks checked, 0 " not in ended.out


def test_a_packaged_card_can_be_checked_by_its_file(call):
    from openflan.tasks.catalog import CATALOG

    ended = call("tasks", "check", CATALOG / "flan" / "natural_language_inference" / "rte.yaml")
    assert (ended.code, ended.out) == (0, "1 tasks checked, 0 findings\n")


def test_a_recipe_with_an_unknown_key_names_the_file_and_all_that_is_wrong(call, recipe, tmp_path):
    value = yaml.safe_load(recipe.read_text())
    path = write(tmp_path / "mine.yaml", {**value, "heldout": ["sentiment"], "mixture": {"num_exampels": 3}})
    check_paragraph(call("plan", path), str(path), "heldout (unknown key; Did you mean held_out", "num_exampels")
    path.write_text("name: [")
    check_paragraph(call("plan", path), str(path), ", line ")
    path.write_text("")
    check_paragraph(call("plan", path), str(path), "should be a valid dictionary")


def test_an_output_directory_that_is_a_file_or_below_one(call, recipe, tmp_path):
    (tmp_path / "file").write_text("mine")
    check_paragraph(call("run", recipe, "--out", tmp_path / "file"), f"{tmp_path / 'file'}: found a file")
    below = tmp_path / "file" / "run"
    check_paragraph(call("run", recipe, "--out", below), f"{below}: found Not a directory")
    assert (tmp_path / "file").read_text() == "mine"
    check_paragraph(call("run", recipe, "--out", tmp_path / ("x" * 300)), "a name of 300 bytes")
    if Path("/proc/self").exists():
        check_paragraph(call("run", recipe, "--out", "/proc/openflan"), "/proc/openflan")


def test_an_output_directory_with_foreign_files(call, recipe, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    check_paragraph(call("run", recipe, "--out", tmp_path), str(tmp_path), "other files in it", "another --out")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_output_directory_of_another_run(call, recipe, finished):
    before = sorted(path.stat().st_mtime_ns for path in finished.directory.rglob("*"))
    ended = call("run", recipe, "--out", finished.directory, "--set", "seed=1")
    check_paragraph(ended, str(finished.directory), "the directory of another run", "run.yaml")
    ended = call("train", "demo", "--out", finished.directory)
    check_paragraph(ended, str(finished.directory), "the directory of another run")
    assert sorted(path.stat().st_mtime_ns for path in finished.directory.rglob("*")) == before


def test_a_report_from_damaged_results(call, finished, tmp_path):
    path = tmp_path / "results.json"
    text = (finished.directory / "results.json").read_text()
    path.write_text(text[: len(text) // 2])
    check_paragraph(call("report", tmp_path), str(path), "JSON")
    value = json.loads(text)
    del value["rows"][0]["score"]
    path.write_text(json.dumps({**value, "colour": "red"}))
    check_paragraph(call("report", tmp_path), str(path), "rows.0.score", "colour (unknown key")
    value = json.loads(text)
    value["rows"][0]["score"] = 0.99
    path.write_text(json.dumps(value))
    shutil.copy(finished.directory / "DONE", tmp_path)
    check_paragraph(
        call("report", tmp_path), str(path), "changed since it was finished", "Repeat the command of the run"
    )
    assert not (tmp_path / "report.html").exists()


def test_rows_that_changed_since_the_run_began(call, recipe, tmp_path, finished):
    shutil.copytree(finished.directory, tmp_path / "run")
    path = tmp_path / "run" / "translation" / "plan.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "data": {"world_rte/train": "0123456789abcdef"}}))
    check_paragraph(call("run", recipe, "--out", tmp_path / "run"), str(path), "other rows")


def test_without_a_model_folder_nothing_is_evaluated(call, tmp_path):
    ended = call("eval", tmp_path / "nowhere", "--task", "world_sst", "--out", tmp_path / "out")
    check_paragraph(ended, str(tmp_path / "nowhere"), "no such folder")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["train", "run", "eval", "pretrain", "demo"])
def test_a_launcher_that_sets_half_is_told_before_anything_is_read(call, monkeypatch, command):
    monkeypatch.setenv("RANK", "3")
    ended = call(*([command] if command == "demo" else [command, "nothing-here.yaml", "--out", "nowhere"]))
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert ended.err.startswith("openflan: environment: found RANK=3 without LOCAL_RANK, WORLD_SIZE, MASTER_ADDR")
