"""How tables are shown: as wide as they are in a pipe, as records where a terminal is too narrow for them."""

from __future__ import annotations

from typing import Final

from rich.console import Console
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

#: Columns where the output is not a terminal: lines are not wrapped.
_UNLIMITED: Final = 100_000

#: A column whose cells may be wrapped is readable from so many characters on.
_WRAPPED: Final = 10


class Terminal(Console):
    """A console for names of the user's, in which brackets and colons are no markup of rich's."""

    def __init__(self, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False)
        if not self.is_terminal:
            self.width = _UNLIMITED

    def on_broken_pipe(self) -> None:
        """Tell the program, which ends quietly, in place of ending it here."""
        raise BrokenPipeError

    def show(self, table: Table) -> None:
        """Print a table; where its columns do not fit, a line for each cell of it."""
        if _least_width(self, table) <= self.width:
            self.print(table)
        else:
            self._show_records(table)

    def _show_records(self, table: Table) -> None:
        if table.title:
            self.print(Text(str(table.title), "bold"))
        names = [str(column.header) for column in table.columns]
        for row in zip(*(list(column.cells) for column in table.columns), strict=True):
            filled = [(name, str(cell)) for name, cell in zip(names, row, strict=True) if str(cell)]
            # A row without its first cell goes on with the one before.
            indent = 0 if row[0] else 2
            self.print(Padding(Text(filled[0][1]), (0, 0, 0, indent)))
            for name, cell in filled[1:]:
                self.print(Padding(Text(f"{name}: {cell}"), (0, 0, 0, indent + 4)))
        self.print()


def _least_width(console: Console, table: Table) -> int:
    """Return the characters that a table needs to be readable: nothing cut off, nothing wrapped to shreds."""
    gaps = 2 * len(table.columns)
    return gaps + sum(_least_column(console, column) for column in table.columns)


def _least_column(console: Console, column: Column) -> int:
    options = console.options.update(width=_UNLIMITED)
    found = [Measurement.get(console, options, cell) for cell in (column.header, *column.cells)]
    widest = max(measured.maximum for measured in found)
    if column.no_wrap:
        return widest
    longest_word = max(measured.minimum for measured in found)
    return min(widest, _WRAPPED) if column.overflow == "fold" else max(longest_word, min(widest, _WRAPPED))
