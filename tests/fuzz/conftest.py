"""How many inputs were tried, at the end of the run. How to add a reader: `mutate.py`."""

import pytest

from fuzz.mutate import TRIED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if TRIED:
        terminalreporter.write_line(f"{sum(TRIED.values()):,} hostile inputs tried in {len(TRIED)} tests")
        if terminalreporter.config.get_verbosity() > 0:
            for name, count in sorted(TRIED.items()):
                terminalreporter.write_line(f"  {count:>7,}  {name}")
