"""The command as a user starts it, a recipe of seconds, and one finished run of it that all tests share."""

import io
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

import openflan
from openflan.cli.main import main

if TYPE_CHECKING:
    from evaluated import Place

SECONDS = 240
RECIPE = {
    "name": "tiny",
    "held_out": ["sentiment", "translation"],
    "data": {"collection": "world", "tasks": ["world_rte", "world_piqa", "world_sst", "world_trec"]},
    "model": {"max_input_tokens": 256, "max_target_tokens": 32},
    "mixture": {"num_examples": 40},
    "train": {
        "optimizer": "adamw",
        "learning_rate": 1e-3,
        "pack_tokens": 256,
        "packs_per_update": 1,
        "checkpoint_updates": 1,
        "num_threads": 1,
    },
    "evaluation": {"max_examples_per_task": 4, "num_threads": 1},
    "shuffled_labels": True,
    "num_jobs": 2,
}


LOADED = re.compile(r"\S+: (packs .*|one sequence at a time), at most [\d,]+ positions\n")


@dataclass(frozen=True)
class Ended:
    """What a command left on the screen."""

    code: int
    out: str
    err: str

    @property
    def complaints(self) -> str:
        """Standard error without the line for each model that was loaded: how it is read, its windows and positions."""
        return "".join(line for line in self.err.splitlines(keepends=True) if not LOADED.fullmatch(line))


def _environment() -> dict[str, str]:
    source = str(Path(openflan.__file__).parent.parent)
    return {**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1", "COLUMNS": "120", "TERM": "xterm"}


def _command(*args: object) -> list[str]:
    return [sys.executable, "-m", "openflan.cli.main", *map(str, args)]


@pytest.fixture(scope="session")
def torchrun() -> Callable[..., Ended]:
    """Run the command on two processes, as torchrun does."""

    def run(*args: object) -> Ended:
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        command = [*launcher, *_command(*args)[1:]]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, env=_environment())
        return Ended(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def openflan_command() -> Callable[..., Ended]:
    """Run the command in a process of its own, all streams piped; `stdin` is what it may read."""

    def run(*args: object, stdin: str = "") -> Ended:
        done = subprocess.run(
            _command(*args), input=stdin, capture_output=True, text=True, timeout=SECONDS, env=_environment()
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def call() -> Callable[..., Ended]:
    """Run the entry point in this process: quick, for commands that end before they start another."""

    def run(*args: object) -> Ended:
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setattr(sys, "argv", ["openflan", *map(str, args)])
            with pytest.raises(SystemExit) as stop:
                main()
        return Ended(int(stop.value.code or 0), out.getvalue(), err.getvalue())

    return run


class Running:
    """A command in a session of its own, so that everything it ever started can be found."""

    def __init__(self, *args: object) -> None:
        self.process = subprocess.Popen(
            _command(*args),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=_environment(),
        )

    def wait_for(self, path: Path) -> None:
        """Until `path` is there; a failure when the command ends before that."""
        until = time.monotonic() + SECONDS
        while not path.exists():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < until, f"no {path}"
            time.sleep(0.005)

    def stop(self, number: signal.Signals, group: bool) -> Ended:
        """Send a signal, to everything in the foreground as a terminal does, or to the one process."""
        (os.killpg if group else os.kill)(self.process.pid, number)
        return self.wait()

    def wait(self) -> Ended:
        """Until it has ended by itself."""
        out, err = self.process.communicate(timeout=SECONDS)
        return Ended(self.process.returncode, out, err)

    def left_behind(self, seconds: float = 30) -> list[str]:
        """The processes of the session that are still there after `seconds`, or sooner when there is none."""
        until = time.monotonic() + seconds
        while (found := _of_session(self.process.pid)) and time.monotonic() < until:
            time.sleep(0.1)
        return found


def _of_session(session: int) -> list[str]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, its_session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(its_session) == session and state != "Z":
                found.append((folder / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue  # it ended meanwhile
    return found


@pytest.fixture
def start() -> Iterator[Callable[..., Running]]:
    """Start the command and go on; what still runs at the end of the test is killed."""
    if not Path("/proc/self/stat").exists():
        pytest.skip("processes cannot be seen here")
    started: list[Running] = []

    def begin(*args: object) -> Running:
        started.append(Running(*args))
        return started[-1]

    yield begin
    for running in started:
        if running.process.poll() is None:
            os.killpg(running.process.pid, signal.SIGKILL)
            running.process.communicate()


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe that takes seconds: two clusters held out, three tasks, a few updates."""
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(yaml.safe_dump(RECIPE))
    return path


@dataclass(frozen=True)
class Finished:
    """A finished run: its directory, what it printed, and what the terminal showed meanwhile."""

    directory: Path
    out: str
    screen: str


@pytest.fixture(scope="session")
def finished(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """`openflan run` from beginning to end, with stderr on a terminal."""
    out = tmp_path_factory.mktemp("finished") / "run"
    ours, theirs = pty.openpty()
    with (out.parent / "stdout").open("w+") as stdout:
        process = subprocess.Popen(
            _command("run", recipe, "--out", out), stdout=stdout, stderr=theirs, env=_environment()
        )
        os.close(theirs)
        screen = b""
        try:
            while block := os.read(ours, 1 << 16):
                screen += block
        except OSError:  # how Linux tells that the other side is closed
            pass
        os.close(ours)
        assert process.wait(SECONDS) == 0, screen.decode()
        stdout.seek(0)
        return Finished(out, stdout.read(), screen.decode())


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """In every process, so that they add up in the same order."""
    import torch

    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield
    torch.set_num_threads(num_threads)


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> "Place":
    """A small model, two cards and their rows."""
    from evaluated import make_place  # loads torch

    return make_place(tmp_path_factory.mktemp("place"))


@pytest.fixture
def own_place(place: "Place", tmp_path: Path) -> "Place":
    """A copy, to be changed."""
    shutil.copytree(place.folder, tmp_path / "place")
    return replace(place, folder=tmp_path / "place")


@pytest.fixture
def ask(call: Callable[..., Ended]) -> Callable[..., dict]:
    """Evaluate and give the parsed output; `ask(place, out, ...)`."""

    def run(place: "Place", out: Path, *args: object, model: object = None) -> dict:
        ended = call("eval", model or place.model, *place.arguments, *args, "--out", out, "--json")
        assert ended.code == 0, ended.err
        return json.loads(ended.out)

    return run
