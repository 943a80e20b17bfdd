"""Draws sheets in the terminal with rich; light to import, for commands that need no table of runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from sweepkit.printable import printable
from sweepkit.report import fit
from sweepkit.report.sheet import Cell, Mark, Sheet

STYLES = {
    "strong": "bold",
    "complete": "green", "running": "cyan", "planned": "dim", "preempted": "yellow", "cancelled": "yellow",
    "queued": "blue", "lost": "yellow", "deleted": "yellow",
    "failed": "red", "diverged": "magenta", "pruned": "dim magenta", "infeasible": "magenta",
    "corrupt": "bold red",
    "adopt": "bold green", "promote": "green", "reject": "red", "inconclusive": "yellow", "unselected": "dim",
    "adopted": "bold green", "rejected": "red", "pending": "cyan",
    "met": "green", "unresolved": "yellow",
}  # fmt: skip


def draw(sheet: Sheet) -> RenderableType:
    """A sheet as a quiet rich table that fits the terminal, its notes below it."""
    return _Fitted(sheet)


@dataclass(frozen=True)
class _Fitted:
    """Lays a sheet out when it is printed, because only then its width is known."""

    sheet: Sheet

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        layout = fit.fit(self.sheet, options.max_width)
        notes = [*self.sheet.notes]
        if not layout.is_readable:
            yield from _stacked(self.sheet)
        else:
            yield self._table(layout)
            if layout.left_out:
                notes.append(f"no room for {', '.join(layout.left_out)}; a wider terminal shows more")
        yield from (Text(printable(note), style="dim") for note in notes)

    def _table(self, layout: fit.Fit) -> Table:
        table = Table(
            box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, layout.gap - 1, 0, 0), header_style="bold"
        )
        for place, width in layout.widths.items():
            header = self.sheet.headers[place]
            right = header.startswith(">")
            name = fit.wrap(header.removeprefix(">"), width)
            table.add_column(name, justify="right" if right else "left", width=width, overflow="fold")
        for number, row in enumerate(self.sheet.rows):
            if number in self.sheet.breaks:
                table.add_section()
            table.add_row(*(_text(row[place], width) for place, width in layout.widths.items()))
        return table


def _stacked(sheet: Sheet) -> Iterable[RenderableType]:
    """Row under row, for narrow terminals: the first two cells as a heading, the others each on a line."""
    names = [header.removeprefix(">") for header in sheet.headers]
    for number, row in enumerate(sheet.rows):
        if number in sheet.breaks:
            yield ""
        yield Text("  ".join(filter(None, map(fit.text, row[:2]))), style="bold")
        lines = Table.grid(padding=(0, fit.GAP, 0, 0))
        for name, cell in zip(names[2:], row[2:], strict=True):
            if fit.text(cell):
                lines.add_row(Text(f"  {name}", style="dim"), _text(cell))
        yield lines


def _text(cell: Cell, width: int | None = None) -> Text:
    # Text, so that brackets in a name are not read as markup
    tone = cell.tone if isinstance(cell, Mark) else ""
    words = fit.text(cell) if width is None else fit.wrap(fit.text(cell), width)
    return Text(words, style=STYLES.get(tone, ""))
