"""Tables for the terminal, drawn with rich: runs, summary, verdicts, transfer, files."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from sweepkit.analysis.transfer import TransferRow
from sweepkit.promotion.verdict import Promotion, Verdict
from sweepkit.report import fit, sheets
from sweepkit.report.sheets import Mark, Sheet
from sweepkit.sweep.decision import DecisionRule

#: Width where the output is no terminal and $COLUMNS says nothing: wide enough for the runs table.
PIPE_WIDTH = 120

STYLES = {
    "strong": "bold",
    "complete": "green", "running": "cyan", "planned": "dim", "preempted": "yellow", "cancelled": "yellow",
    "failed": "red", "diverged": "magenta", "pruned": "dim magenta", "corrupt": "bold red",
    "adopt": "bold green", "promote": "green", "reject": "red", "inconclusive": "yellow", "unselected": "dim",
    "adopted": "bold green", "rejected": "red", "pending": "cyan",
    "met": "green", "unresolved": "yellow",
}  # fmt: skip


def console() -> Console:
    """A console on stdout that does not squeeze tables when its output is piped."""
    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if known else PIPE_WIDTH, highlight=False)


def plain(frame: pd.DataFrame) -> RenderableType:
    """Any frame as it is."""
    return draw(sheets.plain(frame))


def runs(frame: pd.DataFrame) -> RenderableType:
    """One line a run, and below the table why runs failed."""
    return draw(sheets.runs(frame))


def summary(frame: pd.DataFrame, metric: str = "val_bpb") -> RenderableType:
    """One line per variant and rung of a runs table: n, mean and SD, difference to the reference, cost."""
    return draw(sheets.summary(frame, metric))


def verdicts(rows: Iterable[Verdict]) -> RenderableType:
    """One line per verdict with its reasons, rung by rung; the report adds the notes."""
    return draw(sheets.verdicts(rows, with_notes=False))


def finals(promotion: Promotion) -> RenderableType:
    """One line a variant: what every rung decided, how it ended and why."""
    return draw(sheets.finals(promotion))


def axes(rows: Iterable[Verdict], decision: DecisionRule) -> RenderableType:
    """Every verdict on the rule's axes: the metric's effect, wall clock and FLOPs as ratios."""
    return draw(sheets.axes(rows, decision))


def transfer(rows: Iterable[TransferRow]) -> RenderableType:
    """The effect of every variant on every rung, with its interval."""
    return draw(sheets.transfer(rows))


def files(paths: Mapping[str, Path]) -> RenderableType:
    """Where things are: what -> path."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for what, path in paths.items():
        table.add_row(Text(what, style="dim"), Text(str(path), overflow="fold"))
    return table


def draw(sheet: Sheet) -> RenderableType:
    """A sheet as a quiet rich table that fits the terminal, its notes below it."""
    return _Fitted(sheet)


@dataclass(frozen=True)
class _Fitted:
    """Lays a sheet out when it is printed, because only then its width is known."""

    sheet: Sheet

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        layout = fit.fit(self.sheet, options.max_width)
        table = Table(
            box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, fit.GAP - 1, 0, 0), header_style="bold"
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
        yield table
        notes = [*self.sheet.notes]
        if layout.left_out:
            notes.append(f"no room for {', '.join(layout.left_out)}; a wider terminal shows more")
        yield from (Text(note, style="dim") for note in notes)


def _text(cell: sheets.Cell, width: int) -> Text:
    # Text, so that brackets in a name are not read as markup
    tone = cell.tone if isinstance(cell, Mark) else ""
    return Text(fit.wrap(fit.text(cell), width), style=STYLES.get(tone, ""))
