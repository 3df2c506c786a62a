"""Work on what strangers wrote, in a process of its own with little time and little memory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

SECONDS = 10.0
MOST_BYTES = 1 << 30  # of memory, its imports counted
VARIABLES = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
"""Buffers of more threads would count as memory."""


def run_apart(module: str, asked: str, seconds: float) -> str:
    """What the module's `serve_apart` answers to `asked`. ValueError, in few words, when it fails or takes too much."""
    command, environment = [sys.executable, "-m", module], os.environ | VARIABLES
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    try:
        ended = subprocess.run(command, input=asked.encode(), capture_output=True, timeout=seconds, env=environment)
    except subprocess.TimeoutExpired:
        raise ValueError(f"not finished after {seconds:g} seconds") from None
    if ended.returncode == 0 and ended.stdout:
        return ended.stdout.decode()
    told = ended.stderr.decode(errors="replace").strip().splitlines() or ["its process ended"]
    raise ValueError("it takes too much memory" if "memory allocation of" in told[-1] else told[-1])


def serve_apart(answer: Callable[[str], str]) -> None:
    """In that process: limit its memory, answer what was asked, and end."""
    try:
        from resource import RLIMIT_AS, setrlimit
    except ImportError:  # Windows
        pass
    else:
        setrlimit(RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    try:
        print(answer(sys.stdin.buffer.read().decode()))
    except MemoryError:
        sys.exit("it takes too much memory")
    except BaseException as exc:  # the panics of the tokenizers library are no Exception
        sys.exit(" ".join(str(exc).split()) or type(exc).__name__)
