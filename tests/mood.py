"""A card of one's own, for tests that change one thing in it."""

from typing import Any

CARD: dict[str, Any] = {
    "family": "mood",
    "cluster": "sentiment",
    "source": {},
    "fields": {"text": "text"},
    "answer": {"kind": "choice", "options": ["sad", "glad"], "gold": "label"},
    "metrics": ["accuracy"],
    "licence": "CC0-1.0",
    "samples": [{"text": "Fine!", "label": 1}, {"text": "Alas.", "label": 0}],
    "templates": [{"id": "how", "input": "{{ text }}\n\nWhat mood is this?\n\n{{ options_block }}"}],
}
