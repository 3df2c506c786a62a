"""How many inputs were tried, at the end of the run. How to add a reader: `mutate.py`."""

from typing import Any

import pytest

from fuzz.mutate import TRIED


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Of several processes (pytest-xdist), each tells the first what it tried."""
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
