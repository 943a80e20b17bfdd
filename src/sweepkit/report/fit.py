"""How a sheet's columns share the width of a terminal.

Numbers (right-aligned columns) are never broken. Labels and sentences are, but only after a space or after
the ``_``, ``=`` or ``,`` of a name, so that no word is chopped; a measurement stays with its ``± spread``.
Where not even that fits, the sheet's ``optional`` columns are left out, one by one, and then the gap between
columns is halved. A table that would still chop words, or make a strip of a sentence, is not to be one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from rich.cells import cell_len

from sweepkit.printable import printable
from sweepkit.report.sheet import Cell, Mark, Sheet

#: Between two columns, where there is room and where there is none; and the margin on either side of a table.
GAP, NARROW_GAP, MARGIN = 2, 1, 1
#: Sentences get this many cells before labels are spared a break.
READABLE = 40
#: Below these many cells a label, and a sentence, is a strip.
STRIP, SENTENCE_STRIP = 24, 52
_WORDS = 8  # a sentence has more

_BREAK = re.compile(r"(?<=[_=,])(?=[^\W\d_])|(?<=\s)(?<!± )(?=[^\s±])")


@dataclass(frozen=True)
class Fit:
    """How a sheet is to be drawn as a table.

    Attributes:
        widths: index of every column that is shown -> its cells.
        left_out: names of the others.
        gap: cells between columns.
        is_readable: False where there is too little width for a table.
    """

    widths: dict[int, int]
    left_out: list[str]
    gap: int
    is_readable: bool


def fit(sheet: Sheet, width: int) -> Fit:
    """Widths in cells that bring the table to ``width``, if anything does."""
    names = [header.removeprefix(">") for header in sheet.headers]
    cells = [[text(row[place]) for row in sheet.rows] for place in range(len(names))]
    natural = [max(map(_length, [name, *column])) for name, column in zip(names, cells, strict=True)]
    least = [
        max(
            _longest_piece([name]),
            max(map(_length, column), default=0) if header.startswith(">") else _longest_piece(column),
        )
        for header, name, column in zip(sheet.headers, names, cells, strict=True)
    ]
    kept = list(range(len(names)))
    left_out: list[str] = []
    for name in sheet.optional:
        if _spare(least, kept, width, GAP) >= 0:
            break
        kept.remove(names.index(name))
        left_out.append(name)
    gap = GAP if _spare(least, kept, width, GAP) >= 0 else NARROW_GAP
    spare = max(0, _spare(least, kept, width, gap))
    widths = {place: least[place] for place in kept}

    def widen(place: int, most: int) -> None:
        nonlocal spare
        more = max(0, min(most - widths[place], spare))
        widths[place] += more
        spare -= more

    needy = sorted(kept, key=lambda place: natural[place] - least[place])
    for place in needy:
        if natural[place] > width:
            widen(place, READABLE)
    for place in needy:
        if natural[place] - widths[place] <= spare or place == needy[-1]:
            widen(place, natural[place])
    is_readable = _spare(least, kept, width, gap) >= 0 and all(
        widths[place] >= min(natural[place], SENTENCE_STRIP if _is_sentence(cells[place]) else STRIP)
        for place in kept
        if natural[place] > READABLE
    )
    return Fit(widths, left_out, gap, is_readable)


def wrap(words: str, width: int) -> str:
    """``words`` in lines of at most ``width`` cells, as far as its pieces allow."""
    lines: list[str] = []
    for paragraph in words.split("\n"):
        line = ""
        for piece in _BREAK.split(paragraph):
            if line and _length((line + piece).rstrip()) > width:
                lines.append(line.rstrip())
                line = ""
            line += piece
        lines.append(line.rstrip())
    return "\n".join(lines)


def text(cell: Cell) -> str:
    return printable(cell.text if isinstance(cell, Mark) else cell)


def _spare(least: list[int], kept: list[int], width: int, gap: int) -> int:
    return width - sum(least[place] for place in kept) - gap * (len(kept) - 1) - 2 * MARGIN


def _is_sentence(column: list[str]) -> bool:
    return any(len(words.split()) > _WORDS for words in column)


def _length(words: str) -> int:
    return max(map(cell_len, words.split("\n")))


def _longest_piece(column: list[str]) -> int:
    pieces = (piece.strip() for words in column for piece in _BREAK.split(words))
    return max(map(_length, pieces), default=0)
