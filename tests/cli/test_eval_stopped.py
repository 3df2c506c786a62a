"""Ctrl-C in `openflan eval`, and the same command again."""

import shutil
import signal
import time
from pathlib import Path

import pytest

from evaluated import Place
from openflan.evaluation.predictions import Prediction, read_predictions

pytestmark = pytest.mark.usefixtures("one_thread")
STOPPED = "openflan: stopped; the same command continues where it was.\n"
NUM_PREDICTIONS = 600  # in 150 batches: the first of them is on the disk long before the last


@pytest.fixture(scope="module")
def many(place, tmp_path_factory) -> Place:
    """With 300 test rows of `mood`, each in two wordings."""
    folder = tmp_path_factory.mktemp("many") / "place"
    shutil.copytree(place.folder, folder)
    found = Place(folder)
    found.write("mood", "test", [{"text": f"Day {n} was fine.", "label": n % 2} for n in range(NUM_PREDICTIONS // 2)])
    return found


def arguments(many: Place, out: Path, *more: object) -> list[object]:
    return ["eval", many.model, *many.arguments, "--task", "mood", "--pack-tokens", 64, "--out", out, *more]


@pytest.fixture(scope="module")
def uninterrupted(one_thread, call, many, tmp_path_factory) -> Path:
    """The directory of an evaluation on one process that nobody stopped."""
    out = tmp_path_factory.mktemp("uninterrupted")
    assert call(*arguments(many, out)).code == 0
    [folder] = out.iterdir()
    return folder


def read(folder: Path) -> list[Prediction]:
    return list(read_predictions(folder / "test.jsonl"))


@pytest.mark.parametrize(
    ("num_processes", "stored"),
    [
        (1, "test.jsonl"),
        pytest.param(2, "test.jsonl", marks=pytest.mark.slow, id="while the second process starts"),
        pytest.param(2, "test.rank1.jsonl", marks=pytest.mark.slow, id="while both are at work"),
    ],
)
@pytest.mark.usefixtures("socket_enabled")
def test_stopped_and_continued_it_ends_like_an_evaluation_that_was_left_alone(
    start, call, many, uninterrupted, tmp_path, num_processes, stored
):
    command = arguments(many, tmp_path, "--processes", num_processes)
    folder = tmp_path / uninterrupted.name
    running = start(*command)
    running.wait_for(folder / stored)
    while not (folder / stored).stat().st_size:  # it is opened, and then written
        time.sleep(0.001)
    ended = running.stop(signal.SIGINT, group=True)
    assert (ended.code, ended.out, ended.err) == (130, "", STOPPED)
    assert running.left_behind() == []
    assert 0 < len(read(folder)) < NUM_PREDICTIONS

    ended = call(*command)
    assert (ended.code, ended.err) == (0, "")
    assert len({p.key for p in read(folder)}) == len(read(folder)) == NUM_PREDICTIONS
    lines = sorted(line for path in folder.glob("test*.jsonl") for line in path.read_text().splitlines())
    assert lines == sorted((uninterrupted / "test.jsonl").read_text().splitlines())
