"""Tasks made in memory, for tests of templates."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mood import CARD
from openflan.tasks.card import Card
from openflan.tasks.catalog import Task


@pytest.fixture
def task_with() -> Callable[..., Task]:
    """A task with the given templates; other keywords change the card."""

    def make(*templates: dict[str, Any], **changes: Any) -> Task:
        card = Card.model_validate({**CARD, "templates": list(templates), **changes})
        assert card.source is not None
        return Task("mood", "user", card, card.source, {}, Path("mood.yaml"))

    return make
