"""The table that `openflan eval` shows on a terminal while it runs, and shows nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from openflan.evaluation.metrics import CREDITS, Normalisation, credit
from openflan.evaluation.predictions import Prediction
from openflan.report.terminal import Fitting


class ScoreTable:
    """Tasks as they are evaluated, each with its mean credit so far where the metric is one; gone at the end."""

    def __init__(self, title: str, metric_of: Callable[[str], str], normalisation: Normalisation) -> None:
        self.title, self.metric_of, self.normalisation = title, metric_of, normalisation
        self.sums: dict[str, list[float]] = {}
        self.num_done, self.total = 0, 0
        console = Console(stderr=True)
        self.live = Live(console=console, transient=True, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> ScoreTable:
        if self.live:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self.live.stop()

    def add(self, new: Sequence[Prediction], total: int) -> None:
        """Predictions that are there now, of `total`."""
        if not self.live:
            return
        for prediction in new:
            numbers = self.sums.setdefault(prediction.task, [0, 0, 0.0])
            metric = self.metric_of(prediction.task)
            value = credit(prediction, metric, self.normalisation) if metric in CREDITS else None
            numbers[0] += 1
            numbers[1] += value is not None
            numbers[2] += value or 0.0
        self.num_done, self.total = self.num_done + len(new), total
        self.live.update(self._table(), refresh=True)

    def _table(self) -> RenderableType:
        table = Table(box=None)
        for name in ("task", "prompts", "score so far"):
            is_text = name == "task"
            table.add_column(name, justify="left" if is_text else "right", overflow="fold", no_wrap=not is_text)
        for task, (num, scored, total) in self.sums.items():
            table.add_row(Text(task), f"{num:,.0f}", f"{100 * total / scored:.1f}" if scored else "")
        return Group(Text(f"{self.title}: {self.num_done:,} of {self.total:,} prompts"), Fitting(table))
