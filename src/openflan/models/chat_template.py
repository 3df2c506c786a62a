"""A chat template is a program from strangers: it runs in a process of its own, with little time and little memory.

transformers' sandbox keeps a template from files and code, not from loops that never end or text of many gigabytes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

SECONDS = 10.0
MOST_BYTES = 1 << 30  # of memory, its imports counted
MOST_CHARACTERS = 1_000_000  # of the template, and of what it writes
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # whose buffers would count as memory


def render(template: str, talk: Sequence[Mapping[str, str]], **values: Any) -> str:
    """What the template writes of a conversation. ValueError, in a few words, when it fails or takes too much."""
    if len(template) > MOST_CHARACTERS:
        raise ValueError(f"{len(template):,} characters; at most {MOST_CHARACTERS:,}")
    return _rendered(json.dumps([template, talk, values], default=str), SECONDS)


@lru_cache(maxsize=8)
def _rendered(asked: str, seconds: float) -> str:
    command, environment = [sys.executable, "-m", __name__], os.environ | ONE_THREAD
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    try:
        ended = subprocess.run(command, input=asked.encode(), capture_output=True, timeout=seconds, env=environment)
    except subprocess.TimeoutExpired:
        raise ValueError(f"not finished after {seconds:g} seconds") from None
    if ended.returncode != 0 or not ended.stdout:
        told = ended.stderr.decode(errors="replace").strip().splitlines() or ["its process ended"]
        raise ValueError(told[-1])
    return str(json.loads(ended.stdout))


def fill(asked: str) -> str:
    """Within this process, without limits of time and memory. Raises what the template likes."""
    from transformers.utils.chat_template_utils import render_jinja_template

    template, talk, values = json.loads(asked)
    text = str(render_jinja_template(conversations=[talk], chat_template=template, **values)[0][0])
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"it writes {len(text):,} characters; at most {MOST_CHARACTERS:,}")
    return text


def _main() -> None:
    try:
        from resource import RLIMIT_AS, setrlimit
    except ImportError:  # Windows
        pass
    else:
        setrlimit(RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    try:
        print(json.dumps(fill(sys.stdin.read())))
    except MemoryError:
        sys.exit("it takes too much memory")
    except Exception as exc:
        sys.exit(" ".join(str(exc).split()) or type(exc).__name__)


if __name__ == "__main__":
    _main()
