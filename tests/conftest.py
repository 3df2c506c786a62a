"""What all tests share: no network, reproducible property tests, and the folder of real data where there is one."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Before any test imports a library that reads it.
os.environ["HF_HUB_OFFLINE"] = "1"
# pytest-xdist tells its processes how wide the terminal is; where none is, commands do not break lines.
os.environ.pop("COLUMNS", None)

import pytest
from hypothesis import settings

from fuzz.mutate import TRIED

# A shell that starts pytest in the background has it ignore Ctrl-C, and every command that a test starts would, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same cases in every run, and no deadline: a slow machine is no failure.
settings.register_profile("openflan", derandomize=True, deadline=None, database=None)
settings.load_profile("openflan")

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Token stores of the tests, and of the commands that they start, lie in a folder of their own."""
    os.environ["OPENFLAN_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real datasets: `OPENFLAN_DATA`, or `../shared/data`. Skips where it is absent."""
    path = Path(os.environ.get("OPENFLAN_DATA") or ROOT.parent / "shared" / "data")
    if not path.is_dir():
        pytest.skip(f"data folder absent: {path}")
    return path


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount a disk of one's own with the options given: full, or read-only. Skips where that is not allowed."""
    mounted: list[Path] = []

    def mount(options: str) -> Path:
        place = tmp_path / f"disk{len(mounted)}"
        place.mkdir()
        program = shutil.which("mount")
        done = program and subprocess.run([program, "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True)
        if not done or done.returncode:
            pytest.skip("a disk cannot be mounted here")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", place], check=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Of several processes (pytest-xdist), each tells the first how many hostile inputs it tried (`fuzz/mutate.py`)."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["tried"] = dict(TRIED)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    TRIED.update(getattr(node, "workeroutput", {}).get("tried", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if TRIED:
        terminalreporter.write_line(f"{sum(TRIED.values()):,} hostile inputs tried in {len(TRIED)} tests")
        if terminalreporter.config.get_verbosity() > 0:
            for name, count in sorted(TRIED.items()):
                terminalreporter.write_line(f"  {count:>7,}  {name}")
