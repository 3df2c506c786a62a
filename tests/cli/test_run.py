"""`openflan run` from a recipe to a report: what it writes, that it repeats, and that it survives being stopped."""

import json
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from openflan.files import exclusive

ROW = ["held_out", "arm", "score", "low", "high", "num_examples", "num_units", "num_templates"]
DIFFERENCE = ["difference", "low", "high", "p_value", "detectable", "held_out", "a", "b", "adjusted", "num_unpaired"]
ARMS = ["untuned, options", "untuned, no options", "tuned", "tuned, shuffled labels"]
JOBS = [(name, job) for name in ("sentiment", "translation") for job in ("tuned", "shuffled", "untuned")]
STOPPED = "openflan: stopped; the same command continues where it was.\n"


def results(directory: Path) -> dict[str, Any]:
    return json.loads((directory / "results.json").read_text())


def same(directory: Path) -> dict[str, Any]:
    """What must not differ between two runs of one recipe: all but times and the command as it was typed."""
    found = results(directory)
    runs = [{key: value for key, value in run.items() if key != "command"} for run in found["runs"]]
    return {
        "rows": found["rows"],
        "differences": found["differences"],
        "details": found["details"],
        "tasks": found["tasks"],
        "runs": runs,
    }


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_results_have_the_form_that_is_promised(finished):
    found = results(finished.directory)
    assert list(found) == ["rows", "differences", "seconds", "tasks", "details", "runs", "asked"]
    assert found["asked"] == {"num_shots": 0, "prompt": "templates", "cluster_mean": "tasks"}
    assert [row["num_units"] for row in found["rows"]] == [8] * 9
    assert [list(row) for row in found["rows"]] == [ROW] * 9
    assert [(row["held_out"], row["arm"]) for row in found["rows"]] == [
        *[("sentiment", arm) for arm in [*ARMS, "majority"]],
        *[("translation", arm) for arm in ARMS],  # free text has no majority label
    ]
    assert [row["num_examples"] for row in found["rows"]] == [8] * 9
    assert all(0 <= row["low"] <= row["score"] <= row["high"] <= 1 for row in found["rows"])
    assert [list(row) for row in found["differences"]] == [DIFFERENCE] * 6
    assert [(row["a"], row["b"]) for row in found["differences"]] == [
        ("tuned", arm) for arm in ARMS if arm != "tuned"
    ] * 2
    score = {(row["held_out"], row["arm"]): row["score"] for row in found["rows"]}
    for row in found["differences"]:
        expected = score[row["held_out"], row["a"]] - score[row["held_out"], row["b"]]
        assert row["difference"] == pytest.approx(expected)
        assert 0 < row["p_value"] <= row["adjusted"] <= 1
    assert [(row["held_out"], row["arm"], row["task"]) for row in found["tasks"]] == [
        *[("sentiment", arm, task) for arm in ARMS for task in ("world_reviews", "world_sst")],
        *[("translation", arm, task) for arm in ARMS for task in ("world_translate_en_ve", "world_translate_ve_en")],
    ]
    assert {row["num_prompts"] for row in found["tasks"]} == {20} and {
        row["num_unscored"] for row in found["tasks"]
    } == {0}
    assert list(found["seconds"]) == ["prepare", "tune and evaluate", "score", "total"]
    assert 0 < found["seconds"]["tune and evaluate"] < found["seconds"]["total"]


def test_a_run_directory_holds_where_everything_came_from(finished):
    directory = finished.directory
    assert sorted(p.name for p in directory.iterdir() if not p.name.startswith(".")) == [
        *("DONE", "env.json", "report.html", "results.json", "run.yaml", "sentiment", "translation")
    ]
    record = yaml.safe_load((directory / "run.yaml").read_text())
    assert record["config"]["mixture"]["num_examples"] == 40
    environment = json.loads((directory / "env.json").read_text())
    assert environment["openflan"] and environment["packages"]["torch"]
    for name, job in JOBS:
        assert (directory / name / job / "DONE").is_file()
    for run in results(directory)["runs"]:
        plan = json.loads((directory / run["directory"] / "plan.json").read_text())
        assert run["fingerprints"]["plan"] == plan["fingerprint"]
        assert run["fingerprints"]["settings"] == record["fingerprint"]
        assert sorted(run["fingerprints"]) == sorted(["plan", "settings", *ARMS])
    html = (directory / "report.html").read_text()
    assert html.startswith("<!DOCTYPE html>") and "<svg" in html and "sentiment" in html


def test_what_is_held_out_is_not_in_the_plan_and_the_plan_says_why(finished):
    folder = finished.directory / "sentiment"
    plan = json.loads((folder / "plan.json").read_text())
    assert plan["excluded"] == {"world_sst": "its cluster, sentiment, is held out"}
    assert plan["evaluated"] == {"world_reviews": 4, "world_sst": 4}
    rows = lines(folder / "plan.jsonl")
    assert len(rows) == 40
    assert {row["task"] for row in rows} == {"world_rte", "world_piqa", "world_trec"}
    assert "world_sst" in {row["task"] for row in lines(finished.directory / "translation" / "plan.jsonl")}


def test_every_arm_answers_the_same_prompts(finished):
    keys = []
    for name in ("tuned/predictions/options", "untuned/predictions/options", "untuned/predictions/no-options"):
        found = lines(finished.directory / "sentiment" / f"{name}.jsonl")
        keys.append(sorted((p["uid"], p["template"]) for p in found))
    assert len(keys[0]) == len(set(keys[0])) == 2 * 4 * 5  # tasks, rows, templates that are not inverted
    assert keys[0] == keys[1] == keys[2]


def test_the_terminal_shows_progress_and_the_table(finished):
    for name, job in JOBS:
        assert f"{name} · {job}" in finished.screen
    assert "100%" in finished.screen and "predictions" in finished.screen
    assert "untuned, no options" in finished.out and "[" in finished.out
    assert finished.out.splitlines()[-2:] == [
        f"Results: {finished.directory / 'results.json'}",
        f"Report:  {finished.directory / 'report.html'}",
    ]


def test_repeating_it_makes_nothing_anew_and_tells_the_same(finished, recipe, openflan_command):
    models = sorted(finished.directory.rglob("*.safetensors"))
    assert len(models) == 4
    times = [path.stat().st_mtime_ns for path in models]
    before = same(finished.directory), results(finished.directory)["seconds"]
    ended = openflan_command("run", recipe, "--out", finished.directory, "--json")
    assert (ended.code, ended.complaints) == (0, "")
    assert json.loads(ended.out) == results(finished.directory)
    assert (same(finished.directory), results(finished.directory)["seconds"]) == before
    assert [path.stat().st_mtime_ns for path in models] == times


@pytest.mark.slow
def test_one_process_tells_the_same_as_two_and_training_alone_comes_first(finished, recipe, openflan_command, tmp_path):
    alone = "--out", tmp_path / "run", "--set", "num_jobs=1"
    ended = openflan_command("train", recipe, *alone)
    folders = [tmp_path / "run" / name / "tuned" / "model" for name in ("sentiment", "translation")]
    assert (ended.code, ended.complaints) == (0, "")
    read = r"base: packs segment by segment, at most 1,024 positions\n"
    assert re.fullmatch(read, ended.err)  # once, for two trainings
    assert ended.out.split() == list(map(str, folders))
    assert all((folder / "model.safetensors").is_file() for folder in folders)

    ended = openflan_command("run", recipe, *alone)
    assert (ended.code, ended.complaints) == (0, "")  # no bar where nobody looks
    assert same(tmp_path / "run") == same(finished.directory)


@pytest.mark.slow
def test_stopped_and_continued_and_killed_and_continued_it_ends_like_a_run_that_was_left_alone(
    finished, recipe, openflan_command, start, tmp_path
):
    out = tmp_path / "run"
    first, second = out / "sentiment" / "tuned", out / "translation" / "shuffled"

    running = start("run", recipe, "--out", out)
    running.wait_for(first / "checkpoints")
    ended = running.stop(signal.SIGINT, group=True)
    assert (ended.code, ended.out, ended.complaints) == (130, "", STOPPED)
    assert running.left_behind() == []
    assert not (first / "DONE").exists()

    running = start("run", recipe, "--out", out)
    running.wait_for(second / "checkpoints")
    assert running.stop(signal.SIGKILL, group=False).code == -signal.SIGKILL
    assert running.left_behind() == []
    assert (first / "DONE").exists()
    assert not (second / "DONE").exists()  # the jobs of a killed run end by themselves, in the middle
    assert not (out / "results.json").exists()

    ended = openflan_command("run", recipe, "--out", out)
    assert (ended.code, ended.complaints) == (0, "")
    assert same(out) == same(finished.directory)
    for job in ("sentiment/tuned", "translation/shuffled"):  # and every update was made once
        ours, theirs = (lines(directory / job / "train.jsonl") for directory in (out, finished.directory))
        assert [row["update"] for row in ours] == list(range(len(theirs)))
        assert [row["loss"] for row in ours] == [row["loss"] for row in theirs]


def test_ctrl_c_while_torch_is_loading_is_no_traceback(recipe, start, tmp_path):
    running = start("run", recipe, "--out", tmp_path / "run")
    running.wait_for(tmp_path / "run" / "translation" / "plan.json")
    ended = running.stop(signal.SIGINT, group=True)
    assert (ended.code, ended.complaints) == (130, STOPPED)
    assert running.left_behind() == []


def test_two_at_once_in_one_directory(recipe, call, tmp_path):
    out = tmp_path / "run"
    with exclusive(out):
        ended = call("run", recipe, "--out", out)
    assert ended.code == 2
    assert ended.complaints == (
        f"openflan: {out}: found another process at work; expected one at a time. Wait, or choose another --out.\n"
    )


@pytest.mark.slow
def test_an_error_in_a_job_is_told_like_any_other(recipe, openflan_command, tmp_path):
    ended = openflan_command("run", recipe, "--out", tmp_path / "run", "--set", "train.learning_rate=1e30")
    assert ended.code == 2
    assert (
        ended.complaints.startswith("openflan: update ")
        and "row" in ended.complaints
        and "lower the learning rate" in ended.complaints
    )
    assert ended.complaints.count("\n") == 1


@pytest.mark.slow
def test_a_disk_that_fills_up_while_training(recipe, openflan_command, disk: Callable[[str], Path]):
    place = disk("size=2m")
    ended = openflan_command("run", recipe, "--out", place / "run")
    assert ended.code == 2
    assert ended.complaints.startswith(f"openflan: {place}") and ended.complaints.count("\n") == 1, ended.complaints


def test_a_disk_that_is_full_already(recipe, call, disk: Callable[[str], Path]):
    place = disk("size=4k")
    ended = call("run", recipe, "--out", place / "run")
    assert ended.code == 2
    assert "No space left on device" in ended.complaints and ended.complaints.count("\n") == 1


def test_a_read_only_disk(recipe, call, disk: Callable[[str], Path]):
    place = disk("ro")
    ended = call("run", recipe, "--out", place / "run")
    assert (ended.code, ended.complaints) == (
        2,
        f"openflan: {place / 'run'}: found Read-only file system; expected a place that can be written. "
        "Choose another --out.\n",
    )


@pytest.mark.slow
def test_a_base_of_ones_own_from_text_to_a_score(openflan_command, tmp_path):
    settings = {
        "shape": {"vocab_size": 512, "hidden_size": 16, "num_layers": 1, "num_heads": 2, "mlp_size": 32},
        "stages": [{"num_updates": 2, "text": {"short_lists": 1}}],
        "tokenizer_documents": 100,
        "train": {"optimizer": "muon", "learning_rate": 1e-3, "pack_tokens": 128, "packs_per_update": 2},
    }
    path = tmp_path / "base.yaml"
    path.write_text(yaml.safe_dump(settings))
    made = openflan_command("pretrain", path, "--out", tmp_path / "base")
    assert (made.code, made.complaints) == (0, "")
    assert made.out == f"{tmp_path / 'base' / 'model'}\n"

    ask = "eval", tmp_path / "base" / "model", "--task", "world_sst", "--limit", "2", "--out", tmp_path / "eval"
    ended = openflan_command(*ask, "--json")
    assert (ended.code, ended.complaints) == (0, "")
    [evaluation] = json.loads(ended.out)["evaluations"]
    [score] = evaluation["tasks"]
    assert score["task"] == "world_sst" and (score["num_examples"], score["num_templates"]) == (2, 5)
    assert 0 <= score["low"] <= score["score"] <= score["high"] <= 1
