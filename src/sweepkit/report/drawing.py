"""Draws sheets in the terminal with rich; light to import, for commands that need no table of runs.

Names and numbers are never broken, so that they can be copied and compared; rich wraps sentences into what
room is left. Where that is too little, the sheet's ``optional`` columns are left out, one by one; where it
still is, there is no table, but row under row.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from sweepkit.printable import printable
from sweepkit.report.sheet import Cell, Mark, Sheet

STYLES = {
    "strong": "bold",
    "complete": "green", "running": "cyan", "planned": "dim", "preempted": "yellow", "cancelled": "yellow",
    "queued": "blue", "lost": "yellow", "deleted": "yellow",
    "failed": "red", "diverged": "magenta", "pruned": "dim magenta", "futile": "dim magenta",
    "infeasible": "magenta",
    "corrupt": "bold red",
    "adopt": "bold green", "promote": "green", "reject": "red", "inconclusive": "yellow", "unselected": "dim",
    "adopted": "bold green", "rejected": "red", "pending": "cyan",
    "met": "green", "unresolved": "yellow",
}  # fmt: skip


#: Between two columns, and on either side of a table, in cells.
GAP, MARGIN = 2, 1
#: What a sentence needs to be read, and from how many words on a cell holds one.
READABLE, _WORDS = 52, 8


def draw(sheet: Sheet) -> RenderableType:
    """A sheet as a quiet rich table that fits the terminal, its notes below it."""
    return _Fitted(sheet)


@dataclass(frozen=True)
class _Column:
    """A column as it is drawn: its title, in lines, and the cells it needs."""

    title: str
    justify: Literal["left", "right"]
    is_sentence: bool
    least: int

    @classmethod
    def of(cls, header: str, cells: list[str], is_wrapped: bool) -> _Column:
        name, widest = header.removeprefix(">"), max(map(_width, cells), default=0)
        lines = textwrap.wrap(name, max(1, widest), break_long_words=False, break_on_hyphens=False)
        title = "\n".join(lines) if is_wrapped else name
        is_sentence = any(len(words.split()) > _WORDS for words in cells)
        least = max(_width(title), min(widest, READABLE) if is_sentence else widest)
        return cls(title, "right" if header.startswith(">") else "left", is_sentence, least)


@dataclass(frozen=True)
class _Fitted:
    """Lays a sheet out when it is printed, because only then its width is known."""

    sheet: Sheet

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        headers, rows = self.sheet.headers, [[_shown(cell) for cell in row] for row in self.sheet.rows]
        cells = [[row[place] for row in rows] for place in range(len(headers))]
        shown, left_out, notes = list(range(len(headers))), [], list(self.sheet.notes)

        def columns(is_wrapped: bool = True) -> list[_Column]:
            return [_Column.of(headers[place], cells[place], is_wrapped) for place in shown]

        def fits(columns: list[_Column]) -> bool:
            needed = sum(column.least for column in columns) + GAP * (len(columns) - 1) + 2 * MARGIN
            return needed <= options.max_width

        for name in self.sheet.optional:
            if not fits(columns()):
                shown.remove([header.removeprefix(">") for header in headers].index(name))
                left_out.append(name)
        if not fits(columns()):
            yield from _stacked(self.sheet)
        else:
            yield self._table(columns(is_wrapped=not fits(columns(is_wrapped=False))), shown)
            notes += [f"no room for {', '.join(left_out)}; a wider terminal shows more"] if left_out else []
        yield from (Text(printable(note), style="dim") for note in notes)

    def _table(self, columns: list[_Column], places: list[int]) -> Table:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, GAP - 1, 0, 0), header_style="bold")
        for column in columns:
            table.add_column(column.title, justify=column.justify, no_wrap=not column.is_sentence)
        for number, row in enumerate(self.sheet.rows):
            if number in self.sheet.breaks:
                table.add_section()
            table.add_row(*(_text(row[place]) for place in places))
        return table


def _stacked(sheet: Sheet) -> Iterable[RenderableType]:
    """Row under row, for narrow terminals: the first cell or two as a heading, the others each on a line."""
    names = [header.removeprefix(">") for header in sheet.headers]
    first = min(2, len(names) - 1)
    for number, row in enumerate(sheet.rows):
        if number in sheet.breaks:
            yield ""
        yield Text("  ".join(filter(None, map(_shown, row[:first]))), style="bold")
        lines = Table.grid(padding=(0, GAP, 0, 0))
        for name, cell in zip(names[first:], row[first:], strict=True):
            if _shown(cell):
                lines.add_row(Text(f"  {name}", style="dim"), _text(cell))
        yield lines


def _text(cell: Cell) -> Text:
    # Text, so that brackets in a name are not read as markup
    return Text(_shown(cell), style=STYLES.get(cell.tone, "") if isinstance(cell, Mark) else "")


def _shown(cell: Cell) -> str:
    return printable(cell.text if isinstance(cell, Mark) else cell)


def _width(words: str) -> int:
    return max(map(cell_len, words.split("\n")))
