"""Progress bars, shown on a terminal and quiet elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

if TYPE_CHECKING:
    from openflan.study.execute import JobProgress
    from openflan.training.log import UpdateLog


class _Words(TextColumn):
    """Text of one line that yields to the bar where the terminal is narrow, and ends in an ellipsis then."""

    def __init__(self, text: str) -> None:
        super().__init__(text, table_column=Column(overflow="ellipsis"))

    def render(self, task: Task) -> Text:
        text = super().render(task)
        text.no_wrap, text.overflow = True, "ellipsis"
        return text


class _Bars:
    def __init__(self) -> None:
        console = Console(stderr=True)
        self.progress = Progress(
            _Words("{task.description}"),
            BarColumn(bar_width=12, table_column=Column(min_width=12, no_wrap=True)),
            TextColumn("{task.percentage:>3.0f}%", table_column=Column(min_width=4, no_wrap=True)),
            TimeRemainingColumn(elapsed_when_finished=True, table_column=Column(min_width=7, no_wrap=True)),
            _Words("{task.fields[rate]}"),
            console=console,
            disable=not console.is_terminal,
        )

    def __enter__(self):  # type: ignore[no-untyped-def]  # typing.Self is what mypy would want here
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()


class JobBars(_Bars):
    """One bar for each job of a study."""

    def __init__(self) -> None:
        super().__init__()
        self.tasks: dict[str, TaskID] = {}

    def show(self, jobs: Sequence[JobProgress]) -> None:
        """Draw the state of all jobs."""
        for job in jobs:
            name = f"{job.held_out} · {job.kind}"
            if name not in self.tasks:
                self.tasks[name] = self.progress.add_task(name, total=1.0, rate="", start=False)
            if job.fraction > 0:  # a job that waits has no time that runs
                self.progress.start_task(self.tasks[name])
            self.progress.update(self.tasks[name], completed=job.fraction, rate=job.rate)


class CountBar(_Bars):
    """One bar for things that are counted: prompts scored, cards checked."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.task = self.progress.add_task(what, total=None, rate="")

    def update(self, num_done: int, total: int) -> None:
        """`num_done` of `total`."""
        self.progress.update(self.task, completed=num_done, total=total, rate=f"{num_done:,} of {total:,}")


class TrainingBar(_Bars):
    """One bar for a training, with loss and rate."""

    def __init__(self, num_updates: int) -> None:
        super().__init__()
        self.task = self.progress.add_task("pretraining", total=num_updates, rate="")

    def update(self, line: UpdateLog) -> None:
        """One update more."""
        padding = line.num_padding / (line.num_tokens + line.num_padding)
        rate = f"loss {line.loss:.3f} · {line.supervised_per_second:,.0f} supervised tokens/s · {padding:.0%} padding"
        self.progress.update(self.task, completed=line.update + 1, rate=rate)
