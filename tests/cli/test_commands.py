"""The commands that make nothing heavy: what they print, in how short a time, and what their help says."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from openflan.cli.main import app

CHECK = """
import sys
from openflan.cli.main import main
sys.argv = ["openflan", *sys.argv[1:]]
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
print("loaded:", *({"torch", "transformers", "tokenizers"} & set(sys.modules)))
"""


def commands() -> dict[str, typer.core.TyperCommand]:
    """Every command that does something, by its words."""
    found = {}
    for name, command in typer.main.get_command(app).commands.items():
        for inner, leaf in getattr(command, "commands", {"": command}).items():
            found[f"{name} {inner}".strip()] = leaf
    return found


@pytest.mark.parametrize(
    "args",
    [
        ["--help"],
        ["run", "--help"],
        ["tasks", "list"],
        ["tasks", "show", "rte"],
        ["tasks", "check"],
        ["preview", "rte"],
        ["config", "show", "{recipe}"],
        ["config", "diff", "{recipe}", "demo"],
        ["plan", "{recipe}", "--no-tokens"],
        ["plan", "{recipe}", "--against-set", "seed=1"],
        ["report", "{finished}"],
    ],
    ids=" ".join,
)
def test_no_weights_no_torch(args, recipe, finished):
    args = [arg.format(recipe=recipe, finished=finished.directory) for arg in args]
    source = str(Path(sys.modules["openflan"].__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", CHECK, *args], capture_output=True, text=True, env={"PYTHONPATH": source}, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].strip() == "loaded:"


def test_every_command_shows_an_example_that_it_understands():
    found = commands()
    assert sorted(found) == [
        *("config diff", "config show", "data fetch", "demo", "eval", "export lm-eval", "import", "plan", "pretrain"),
        *("preview", "report", "results compare", "results show", "run", "tasks check", "tasks list", "tasks new"),
        *("tasks show", "train"),
    ]
    for name, command in found.items():
        [example] = [line.strip() for line in command.help.splitlines() if line.strip().startswith("Example:")]
        words = shlex.split(example.removeprefix("Example: "))
        start = ["openflan", *name.split()]
        assert words[: len(start)] == start
        with command.make_context(name, words[len(start) :]) as context:
            assert context.params
        with pytest.raises(SystemExit) as stop:
            command.main(["--help"], standalone_mode=True)
        assert stop.value.code == 0


@pytest.mark.parametrize("name", ["run", "demo", "tasks list", "plan"])
def test_help_prints_the_example_and_where_the_run_goes(call, name):
    ended = call(*name.split(), "--help")
    assert ended.code == 0
    assert f"Example: openflan {name}" in ended.out
    if name in ("run", "demo"):
        assert "(default:" in ended.out


def test_the_examples_that_take_no_weights_work(call):
    for name in ("tasks list", "tasks show", "preview"):
        words = shlex.split(commands()[name].help.split("Example: openflan ")[1].splitlines()[0])
        ended = call(*words)
        assert (ended.code, ended.err) == (0, ""), name
        assert ended.out


def test_the_list_of_tasks_for_people_and_programs(call):
    tasks = json.loads(call("tasks", "list", "--json", "--collection", "world").out)
    assert len({task["cluster"] for task in tasks}) == 12
    assert {task["collection"] for task in tasks} == {"world"}
    assert len(tasks) >= 24
    text = call("tasks", "list", "--collection", "world").out
    assert text.endswith(f" datasets in 12 clusters, {len(tasks)} tasks\n")
    assert all(task["name"] in text for task in tasks)

    assert [
        t["name"]
        for t in json.loads(call("tasks", "list", "--json", "--collection", "world", "--cluster", "coreference").out)
    ] == [
        "world_dpr",
        "world_winogrande",
    ]


def test_one_task_for_people_and_programs(call):
    facts = json.loads(call("tasks", "show", "rte", "--json").out)
    assert (facts["cluster"], facts["answer"]) == ("natural_language_inference", "choice")
    text = call("tasks", "show", "rte").out
    assert "natural_language_inference" in text and "splits train train, test validation" in text


def test_preview_shows_what_a_model_reads(call):
    ended = call("preview", "world_rte", "--template", "we-know")
    assert ended.out.startswith("--- world_rte/samples/0 · we-know\n")
    assert "OPTIONS:\n- " in ended.out and "\n>>> " in ended.out
    assert "OPTIONS:" not in call("preview", "world_rte", "--template", "we-know", "--no-options").out
    everything = call("preview", "world_rte", "--rows", "2").out
    assert everything.count("\n>>> ") == 2 * 7
    assert everything.count("(inverted: trained, never scored)") == 2


def test_preview_of_a_card_of_ones_own(call, tmp_path):
    from openflan.tasks.catalog import CATALOG

    card = tmp_path / "mine.yaml"
    card.write_text((CATALOG / "flan" / "natural_language_inference" / "rte.yaml").read_text())
    assert call("preview", card).out.startswith("--- mine/samples/0")
    assert call("preview", card, "--catalog", card).code == 0


def test_the_catalogue_has_no_findings(call):
    ended = call("tasks", "check")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.endswith(" tasks checked, 0 findings\n")


def test_a_report_can_be_written_again(call, finished):
    path = finished.directory / "report.html"
    before = path.read_text()
    path.unlink()
    ended = call("report", finished.directory)
    assert (ended.code, ended.out, ended.err) == (0, f"{path}\n", "")
    assert path.read_text() == before


def test_the_version(call):
    from openflan import __version__

    assert call("--version").out == f"openflan {__version__}\n"
