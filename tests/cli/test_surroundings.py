"""Where a command runs: terminals that know ASCII only, home folders, other directories, names that no file has."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import openflan
from mood import CARD

SOURCE = str(Path(openflan.__file__).parent.parent)


def run(*args: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    known = {"PYTHONPATH": SOURCE, "OMP_NUM_THREADS": "1", **environment}
    command = [sys.executable, "-m", "openflan.cli.main", *map(str, args)]
    return subprocess.run(command, cwd=cwd, env=os.environ | known, capture_output=True, text=True, timeout=300)


ASCII = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}
RECIPE = {
    "name": "klein 日本",
    "held_out": ["sentiment"],
    "data": {"collection": "world", "tasks": ["world_rte", "world_trec"]},
    "model": {"max_input_tokens": 128, "max_target_tokens": 32},
    "mixture": {"num_examples": 8},
    "train": {"optimizer": "adamw", "learning_rate": 1e-3, "pack_tokens": 256, "packs_per_update": 1},
    "evaluation": {"max_examples_per_task": 1},
}
TEMPLATES = """
dataset: mood
templates:
  one: !Template
    answer_choices: "Schön ||| Nö 日本"
    id: one
    jinja: "{{text}} Schön? ||| {{answer_choices[label]}}"
    metadata: !TemplateMetadata {choices_in_prompt: false, original_task: true, languages: [en], metrics: [Accuracy]}
    name: häßlich
    reference: ''
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with a card, rows, wordings and a recipe whose texts are not ASCII."""
    card = {**CARD, "samples": [{"text": "Schön 😀 日本", "label": 1}, {"text": "Ach.", "label": 0}]}
    (tmp_path / "mood.yaml").write_text(yaml.safe_dump(card))
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(RECIPE))
    (tmp_path / "templates.yaml").write_text(TEMPLATES)
    (tmp_path / "data" / "mood").mkdir(parents=True)
    for split in ("train", "validation"):
        rows = [{"text": f"Schön 😀 日本 {split} {i}", "label": i % 2} for i in range(30)]
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        (tmp_path / "data" / "mood" / f"{split}.jsonl").write_text("".join(lines))
    return tmp_path


@pytest.mark.parametrize(
    "args",
    [
        ("preview", "mood.yaml"),
        ("tasks", "check", "mood.yaml"),
        ("tasks", "list", "--catalog", "mood.yaml"),
        ("config", "show", "demo"),
        ("config", "diff", "demo", "demo", "--json"),
        ("tasks", "show", "mood", "--catalog", "mood.yaml"),
        ("tasks", "new", "neu", "--from", "data/mood", "--to", "cards"),
        ("plan", "tiny.yaml", "--no-tokens"),
        ("export", "lm-eval", "exported", "--task", "mood", "--catalog", "mood.yaml", "--data-root", "data"),
        ("import", "promptsource", "templates.yaml", "--cluster", "sentiment", "--to", "imported"),
    ],
    ids=" ".join,
)
def test_a_terminal_that_knows_ascii_only(home, args):
    ended = run(*args, cwd=home, **ASCII)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.isascii()
    if args[0] == "preview":
        assert r"Sch\xf6n \U0001f600 \u65e5\u672c" in ended.stdout


@pytest.mark.slow
def test_whole_runs_in_a_terminal_that_knows_ascii_only(home):
    mood = ("--task", "mood", "--catalog", "mood.yaml", "--data-root", "data", "--limit", "2", "--out", "eval-é")
    for args in (
        ("eval", "base", *mood),
        ("eval", "base", *mood, "--json"),
        ("results", "show", "eval-é"),
        ("run", "tiny.yaml", "--out", "run"),
        ("report", "run"),
        ("train", "tiny.yaml", "--out", "trained"),
    ):
        ended = run(*args, cwd=home, **ASCII)
        assert ended.returncode == 0, ended.stderr
        assert (ended.stdout + ended.stderr).isascii() and "Traceback" not in ended.stderr
        assert ended.stderr.count("positions\n") == (args[0] in ("run", "train"))  # once for all jobs


def test_a_run_whose_name_cannot_be_written_there_is_refused_before_it_begins(home):
    ended = run("run", "tiny.yaml", "--out", "rün", cwd=home, **ASCII)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(r"openflan: r\udcc3\udcbcn: found a name with bytes that are no text in ascii")
    assert "PYTHONUTF8=1" in ended.stderr and not (home / "rün").exists()


def test_a_tilde_is_the_home_folder(home, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for args in (
        ("tasks", "check", "~/mood.yaml"),
        ("tasks", "list", "--catalog=~/mood.yaml"),
        ("preview", "~/mood.yaml", "--html=~/page.html"),
        ("config", "show", "demo", "--set", "model.path=~/model", "--json"),
    ):
        ended = run(*args, cwd=elsewhere, HOME=str(home))
        assert (ended.returncode, ended.stderr) == (0, "")
    assert (home / "page.html").is_file() and list(elsewhere.iterdir()) == []
    assert json.loads(ended.stdout)["model.path"]["value"] == f"{home}/model"


@pytest.mark.parametrize(
    "args",
    [
        ("tasks", "check", "x" * 5000),
        ("plan", "x" * 5000 + ".yaml"),
        ("plan", "x" * 5000),
        ("plan", "demo", "--data-root", "x" * 5000),
        ("plan", "demo", "--set", 'data.root="a\\0b"'),
        ("plan", "demo", "--set", "data.cards=[" + "x" * 300 + "]"),
        ("eval", "x" * 5000, "--task", "world_sst"),
        ("eval", "base", "--held-out-of", "x" * 5000),
        ("report", "x" * 5000),
        ("results", "show", "x" * 5000),
        ("config", "diff", "demo", "x" * 5000),
        ("export", "lm-eval", "x" * 5000, "--task", "world_sst"),
        ("import", "promptsource", "x" * 5000, "--cluster", "sentiment"),
        ("tasks", "new", "a", "--from", "x" * 5000),
        ("tasks", "check", "loop.yaml"),
        ("tasks", "check", "fifo.yaml"),
        ("plan", "fifo.yaml"),
        ("plan", "zero.yaml"),
    ],
    ids=lambda args: " ".join(args)[:40],
)
def test_names_that_no_file_has_and_files_that_are_none(call, tmp_path, monkeypatch, args):
    monkeypatch.chdir(tmp_path)
    Path("loop.yaml").symlink_to("loop.yaml")
    Path("zero.yaml").symlink_to("/dev/zero")
    os.mkfifo("fifo.yaml")
    ended = call(*args)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("openflan: ") and ended.err.count("\n") == 1 and len(ended.err) < 12_000


def test_a_run_is_read_from_another_folder(home, tmp_path_factory, monkeypatch):
    from openflan.config import load_recipe
    from openflan.study.directory import claim, read_config

    monkeypatch.chdir(home)
    config = load_recipe("demo", ["data.cards=[mood.yaml]", "data.root=rows"])
    claim(Path("run"), config, "0123")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    data = read_config(home / "run").data
    assert (data.cards, data.root) == ((home / "mood.yaml",), home / "rows")
    assert data.cards[0].is_file()


BARE = """
import multiprocessing, os, sys
from openflan.study.launch import starting_without_main

print("once", flush=True)
process = multiprocessing.get_context(sys.argv[1]).Process(target=os.getpid)
with starting_without_main():
    process.start()
process.join()
print(process.exitcode)
"""
WHOLE = """
from openflan.evaluation.settings import EvalSettings
from openflan.models.settings import ModelSettings
from openflan.study.evaluate import Asking, evaluate_model

settings = EvalSettings(max_examples_per_task=1, num_threads=1)
asking = Asking(ModelSettings(path="base"), settings, "out", tasks=("world_sst",))
print(len(evaluate_model(asking, num_processes=2).predictions()))
"""


@pytest.mark.parametrize(
    ("script", "args", "printed"),
    [
        (BARE, ("script.py", "spawn"), "once\n0\n"),
        (BARE, ("script.py", "forkserver"), "once\n0\n"),
        (BARE, ("-", "spawn"), "once\n0\n"),
        pytest.param(WHOLE, ("-",), "5\n", marks=pytest.mark.slow),
    ],
    ids=["spawn", "forkserver", "standard input", "evaluation"],
)
def test_a_script_needs_no_main_guard(tmp_path, script, args, printed):
    (tmp_path / "script.py").write_text(script)
    known = os.environ | {"PYTHONPATH": SOURCE, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *args]
    ended = subprocess.run(command, input=script, cwd=tmp_path, env=known, capture_output=True, text=True, timeout=200)
    assert (ended.returncode, ended.stdout) == (0, printed), ended.stderr
