"""What the documentation says is so: its commands run, its paths exist, its lists of files are complete."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from openflan import files
from openflan.cli.main import app
from openflan.config import load_recipe
from openflan.training.pretrain import PretrainRecipe

ROOT = Path(__file__).parent.parent
SRC = ROOT / "src" / "openflan"
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]

# Minutes of work, or rows and models that a clone does not have: only their arguments and recipes are checked.
LONG = ("demo", "run", "train", "pretrain", "eval", "report")
# First parts of paths in the repository, and in the package, that the pages may mention.
TOPS = {".ci", "benchmarks", "docs", "recipes", "src", "tests"}
PACKAGE = {
    *("catalog", "cli", "evaluation", "mixture", "models", "report", "studies", "study", "tasks", "templates"),
    *("interop", "tokens", "training", "world"),
}


def shell_lines(text: str) -> list[str]:
    """The command lines of the fenced `sh` blocks."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def paths(text: str) -> set[str]:
    """What looks like a path of the repository: in back quotes or as a link, outside code blocks."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    found = set(re.findall(r"`([\w.-]+(?:/[\w.-]+)*/?)`", prose)) | set(re.findall(r"\]\(([^)#:]+)\)", prose))
    return {path for path in found if (path.split("/")[0] in TOPS | PACKAGE and "/" in path) or path.endswith(".md")}


def is_there(path: str) -> bool:
    return any((place / path).exists() for place in (ROOT, SRC, ROOT / "docs"))


def openflan_arguments(text: str) -> list[list[str]]:
    """What stands behind `openflan`, or behind its module where a launcher starts it."""
    lines = [re.sub(r"^torchrun .* -m openflan\.cli\.main ", "openflan ", line) for line in shell_lines(text)]
    return [shlex.split(line)[1:] for line in lines if line.startswith("openflan ")]


SHORT = [a for a in openflan_arguments(README) if a[0] not in LONG and "--data-root" not in a]
ALL = [(page.name, arguments) for page in PAGES for arguments in openflan_arguments(page.read_text(encoding="utf-8"))]


def test_the_commands_are_found():
    assert len(SHORT) == 5
    assert len(ALL) > 20
    first = {line.split()[0] for page in PAGES for line in shell_lines(page.read_text())}
    assert first == {"make", "openflan", "torchrun"}
    launched = "```sh\ntorchrun --nproc-per-node 2 -m openflan.cli.main eval base --seed 1\n```"
    assert openflan_arguments(launched) == [["eval", "base", "--seed", "1"]]


@pytest.mark.parametrize("arguments", SHORT, ids=" ".join)
def test_a_short_command_of_the_readme_runs(arguments):
    command = [sys.executable, "-m", "openflan.cli.main", *arguments]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert len(result.stdout) > 20


def test_the_commands_for_make_are_its_targets():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    used = [line.split()[1] for page in PAGES for line in shell_lines(page.read_text()) if line.startswith("make ")]
    assert {"demo", "test", "bench"} <= set(used)
    assert set(used) <= targets


@pytest.mark.parametrize(("page", "arguments"), ALL)
def test_every_command_has_arguments_that_are_taken(page, arguments):
    name, *rest = arguments
    command = get_command(app).commands[name]
    if hasattr(command, "commands"):
        command, rest = command.commands[rest[0]], rest[1:]
    given = command.make_context(name, list(rest)).params  # raises for an unknown option or a missing argument
    if name in ("run", "plan", "train") and (ROOT / given["recipe"]).suffix != ".yaml":
        assert load_recipe(Path(given["recipe"]), given["changes"] or ()).held_out
    elif name in ("run", "plan", "train"):
        assert load_recipe(ROOT / given["recipe"], given["changes"] or ()).held_out
    elif name == "pretrain":
        files.parse(PretrainRecipe, files.read_yaml(ROOT / given["recipe"]), given["recipe"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_exists(page):
    assert [path for path in sorted(paths(page.read_text(encoding="utf-8"))) if not is_there(path)] == []


def test_paths_are_found_and_can_be_missing():
    assert sum(len(paths(page.read_text(encoding="utf-8"))) for page in PAGES) > 60
    assert paths("`docs/none.md`, `runs/demo`, [a](docs/b.svg), `training`") == {"docs/none.md", "docs/b.svg"}
    assert not is_there("docs/none.md")


def test_the_map_of_the_readme_names_every_folder():
    rows = re.findall(r"^\| `([^`]+/)` \|", README, re.MULTILINE)
    assert len(rows) == 18
    assert [folder for folder in rows if not (ROOT / folder).is_dir()] == []
    folders = {path.name for path in SRC.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert {Path(row).name for row in rows if row.startswith("src/")} == folders == PACKAGE


def test_the_architecture_names_every_file():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    listed = set()
    for section in re.split(r"^### ", text.split("## Rules that hold")[0], flags=re.MULTILINE)[1:]:
        folder = section.split("`")[1].strip("./")
        listed |= {f"{folder}/{name}".strip("/") for name in re.findall(r"^- `(\w+\.py)`: .", section, re.MULTILINE)}
    on_disk = {str(path.relative_to(SRC)) for path in SRC.rglob("*.py") if path.name != "__init__.py"}
    assert listed == on_disk
    assert len(on_disk) > 40


def test_nothing_is_left_to_be_filled():
    found = [page.name for page in PAGES if "To be filled" in page.read_text(encoding="utf-8")]
    assert found == []


def test_the_output_shown_is_a_demos():
    block = re.search(r"<!-- demo-output -->\s*```\n(.*?)```", README, re.DOTALL)
    assert block is not None
    assert "Zero-shot on the held-out cluster" in block[1]
    assert "Paired differences" in block[1]
    assert len(README.splitlines()) < 150
