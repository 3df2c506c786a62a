"""Progress bars in terminals of any width: bar, percentage and time are whole, words give way."""

import io

import pytest
from rich.console import Console
from rich.progress import Progress

from openflan.cli.progress import CountBar, JobBars
from openflan.study.execute import JobProgress


def drawn(progress: Progress, width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(progress.get_renderable())
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("width", (50, 60, 80, 120))
def test_words_yield_to_the_bar_and_the_percentage(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "openflan.cli.progress.Console", lambda stderr: Console(file=io.StringIO(), force_terminal=True)
    )
    rate = "4/148 updates · loss 5.355 · 36 supervised tokens/s · 0% padding"
    bars, count = JobBars(), CountBar("prompts")
    bars.show([JobProgress("natural_language_inference", "tuned", 0.25, rate), JobProgress("nli", "tuned", 0.0, "")])
    first, second = drawn(bars.progress, width)
    assert len(first) <= width and "━━━" in first and " 25% " in first and "-:--:--" in first
    assert first.startswith("natural_la" if width < 120 else "natural_language_inference")
    assert second.startswith("nli") and "  0%" in second
    count.update(1_000, 12_000)
    assert "1,000 of 12,000" in drawn(count.progress, width)[0]
