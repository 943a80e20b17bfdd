"""Sheets, facts and pictures as HTML; all text is escaped here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from sweepkit.report import numbers
from sweepkit.report.sheet import Cell, Mark, Sheet

#: Text longer than this is a sentence and not a name.
_SENTENCE = 60


def table(sheet: Sheet) -> str:
    columns = zip(*sheet.rows, strict=True) if sheet.rows else [()] * len(sheet.headers)
    classes = [_class(header, cells) for header, cells in zip(sheet.headers, columns, strict=True)]
    head = "".join(
        f"<th{kind}>{escape(header.removeprefix('>'))}</th>"
        for kind, header in zip(classes, sheet.headers, strict=True)
    )
    rows = "".join(
        f"<tr{' class=rule' if number in sheet.breaks else ''}>"
        + "".join(f"<td{kind}>{_cell(cell)}</td>" for kind, cell in zip(classes, row, strict=True))
        + "</tr>"
        for number, row in enumerate(sheet.rows)
    )
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in sheet.notes)
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{notes}'
    )


def _class(header: str, cells: Iterable[Cell]) -> str:
    """Numbers to the right; sentences keep room to be read on a narrow page."""
    if header.startswith(">"):
        return ' class="r"'
    return ' class="t"' if any(isinstance(cell, str) and len(cell) > _SENTENCE for cell in cells) else ""


def _cell(cell: Cell) -> str:
    if isinstance(cell, Mark):
        if cell.tone == "strong":
            return f"<b>{escape(cell.text)}</b>"
        return (
            f'<span class="{escape(cell.tone)}">{escape(cell.text)}</span>'
            if cell.tone
            else escape(cell.text)
        )
    lines = cell.split("\n")
    return escape(cell) if len(lines) == 1 else "".join(f"<p>{escape(line)}</p>" for line in lines)


def tree(value: Any) -> str:
    """Nested evidence as nested lists of facts."""
    if isinstance(value, Mapping | list) and not value:
        return "none"
    if isinstance(value, Mapping):
        return facts((str(key), tree(item)) for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(tree(item) for item in value)
    return escape(numbers.plain(value))


def facts(facts: Iterable[tuple[str, str]]) -> str:
    """A definition list; terms are escaped here, values are HTML already."""
    return "<dl>" + "".join(f"<dt>{escape(term)}</dt><dd>{value}</dd>" for term, value in facts) + "</dl>"


def figure(svg: str, caption: str = "") -> str:
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f"<figure>{svg}{below}</figure>"


def code(value: object) -> str:
    return f"<code>{escape(str(value))}</code>"
