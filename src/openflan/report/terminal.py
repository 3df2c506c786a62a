"""Tables for terminals of any width: a number is never cut. Where columns do not fit, each row becomes a paragraph."""

from __future__ import annotations

from collections.abc import Iterator

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

MIN_TEXT = 12  # cells that a column of text keeps at least, before rows are stacked
ANY_WIDTH = 10_000


class Fitting:
    """A table of `Text` cells whose `no_wrap` columns, those of numbers, are shown whole; the others may be broken."""

    def __init__(self, table: Table) -> None:
        self.table = table
        for column in table.columns:
            if column.no_wrap:
                column.min_width = max(_width(cell) for cell in (column.header, *column.cells))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.update_width(ANY_WIDTH)
        narrowest = Measurement.get(console, wide, self.table).minimum
        for column in self.table.columns:
            if not column.no_wrap:
                widest = max(Measurement.get(console, wide, cell).minimum for cell in (column.header, *column.cells))
                narrowest -= max(0, max(widest, column.min_width or 0) - MIN_TEXT)
        if narrowest <= options.max_width:
            yield self.table
        else:
            yield from _stacked(self.table)


def _stacked(table: Table) -> Iterator[RenderableType]:
    """The texts of each row, one below the other, and below them a line for every number: its column, then itself."""
    texts = [column for column in table.columns if not column.no_wrap]
    numbers = [column for column in table.columns if column.no_wrap]
    if table.title:
        yield Text(str(table.title), "italic")
    for row in range(table.row_count):
        first, *more = (list(column.cells)[row] for column in texts)
        yield first
        for text in more:
            yield Padding(text, (0, 0, 0, 2))
        grid = Table.grid(Column(overflow="fold"), Column(no_wrap=True), padding=(0, 1, 0, 0))
        for column in numbers:
            cell = list(column.cells)[row]
            if str(cell):
                content = Text(" ".join(str(cell).split("\n")), cell.style if isinstance(cell, Text) else "")
                grid.add_row(" ".join(str(column.header).split()), content)
        if grid.row_count:
            yield Padding(grid, (0, 0, 0, 2))


def _width(cell: RenderableType) -> int:
    return max((cell_len(line) for line in str(cell).split("\n")), default=0)
