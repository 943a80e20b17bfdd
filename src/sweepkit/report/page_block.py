"""What sections are made of, before the page draws it."""

from __future__ import annotations

from typing import Any, NamedTuple


class Block(NamedTuple):
    """A part of a section.

    Attributes:
        kind: table, facts, figure, chart, heat, fold, run, tree, list, html, pre or title; another is a
            paragraph of that class.
        value: of a chart ``Drawn``, of a heat map ``Heat``, of a run ``Panel``.
        more: a figure's or a chart's caption, or the blocks that are folded.
    """

    kind: str
    value: Any
    more: Any = None


class Drawn(NamedTuple):
    """A chart of embedded data (``chart_data.py``).

    Attributes:
        of: name of the data, once on a page.
        data: embedded here; None where another chart has it.
        run: shown alone, beside the reference with its seed.
    """

    of: str
    data: dict[str, Any] | None = None
    run: str = ""


class Heat(NamedTuple):
    """A map of two axes: what goes down and across, and rows of cells (text, rank among all in per cent)."""

    down: str
    across: str
    columns: list[str]
    rows: list[tuple[str, list[tuple[str, int | None]]]]


class Panel(NamedTuple):
    """The panel of a run: what it is called, and how it went."""

    run: str
    title: str
    state: str
