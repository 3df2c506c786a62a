"""What a result was measured with."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

from openflan import __version__


def versions(*names: str) -> dict[str, str]:
    """Of OpenFLAN and of the packages named."""
    return {"openflan": __version__} | {name: metadata.version(name) for name in names}


def measured_with(threads: int, *names: str) -> dict[str, Any]:
    """How the result of a benchmark begins."""
    return {"versions": versions(*names), "threads": threads, "cpu": cpu()}


def cpu() -> str:
    """The processor's name, where Linux tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "unknown")
