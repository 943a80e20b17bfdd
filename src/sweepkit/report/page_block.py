"""What sections are made of, before the page draws it."""

from __future__ import annotations

from typing import Any, NamedTuple


class Block(NamedTuple):
    """A part of a section.

    Attributes:
        kind: table, facts, figure, fold, tree, list, html or title; another is a paragraph of that class.
        more: a figure's caption, or the blocks that are folded.
    """

    kind: str
    value: Any
    more: Any = None
