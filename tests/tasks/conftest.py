"""A card file of one's own, for tests that change one thing in it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mood import CARD
from openflan.files import write_yaml
from openflan.tasks.catalog import Task, load_catalog


@pytest.fixture
def write_card(tmp_path: Path) -> Callable[..., Path]:
    """Writes `CARD` with some keys changed (None removes a key) to `<tmp_path>/<name>.yaml`."""

    def write(name: str = "mood", folder: Path = tmp_path, **changes: Any) -> Path:
        path = folder / f"{name}.yaml"
        write_yaml(path, {key: value for key, value in {**CARD, **changes}.items() if value is not None})
        return path

    return write


@pytest.fixture
def make_task(write_card: Callable[..., Path]) -> Callable[..., Task]:
    """The task of `CARD` with some keys changed, read the way a user's card is."""

    def make(**changes: Any) -> Task:
        return load_catalog([write_card(**changes)]).task("mood")

    return make
