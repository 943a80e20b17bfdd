"""Draws sheets as markdown, for pages that are committed."""

from __future__ import annotations

from sweepkit.printable import printable
from sweepkit.report.sheet import Cell, Mark, Sheet


def table(sheet: Sheet) -> str:
    """A pipe table, its notes below it."""
    names = [header.removeprefix(">") for header in sheet.headers]
    rules = ["---:" if header.startswith(">") else "---" for header in sheet.headers]
    rows = [[_cell(cell) for cell in row] for row in sheet.rows]
    lines = [f"| {' | '.join(row)} |" for row in (names, rules, *rows)]
    return "\n".join([*lines, *(f"\n{printable(note)}" for note in sheet.notes)])


def _cell(cell: Cell) -> str:
    return printable(cell.text if isinstance(cell, Mark) else cell).replace("|", "\\|").replace("\n", "<br>")
