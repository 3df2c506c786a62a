"""A chat template is a program from strangers: it runs in a process of its own, with little time and little memory.

transformers' sandbox keeps a template from files and code, not from loops that never end or text of many gigabytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from openflan.models.apart import SECONDS, run_apart, serve_apart

MOST_CHARACTERS = 1_000_000  # of the template, and of what it writes


def render(template: str, talk: Sequence[Mapping[str, str]], **values: Any) -> str:
    """What the template writes of a conversation. ValueError, in a few words, when it fails or takes too much."""
    if len(template) > MOST_CHARACTERS:
        raise ValueError(f"{len(template):,} characters; at most {MOST_CHARACTERS:,}")
    return _rendered(json.dumps([template, talk, values], default=str), SECONDS)


@lru_cache(maxsize=8)
def _rendered(asked: str, seconds: float) -> str:
    return str(json.loads(run_apart(__name__, asked, seconds)))


def fill(asked: str) -> str:
    """Within this process, without limits of time and memory. Raises what the template likes."""
    from transformers.utils.chat_template_utils import render_jinja_template

    template, talk, values = json.loads(asked)
    text = str(render_jinja_template(conversations=[talk], chat_template=template, **values)[0][0])
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"it writes {len(text):,} characters; at most {MOST_CHARACTERS:,}")
    return text


if __name__ == "__main__":
    serve_apart(lambda asked: json.dumps(fill(asked)))
