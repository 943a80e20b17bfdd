"""A fit as one self-contained page: its tables and its plots, by the template that reports use."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from sweepkit import fsio
from sweepkit.analysis.laws.fitting import Fit
from sweepkit.report import html, laws_proposal, plots_laws, sheets_laws
from sweepkit.report.page_block import Block


def write(found: Fit, source: str, path: Path) -> Path:
    """Write the page atomically and return its path.

    Args:
        source: the table's name, for the page's title.
    """
    pictures = [(title, Block("figure", Markup(svg), more)) for title, svg, more in plots_laws.figures(found)]
    tables = [(title, Block("table", sheet)) for title, sheet in sheets_laws.sheets(found)]
    follows = laws_proposal.lines(found) if found.optima or found.law else []
    parts = [
        ("Plots", "plots", _titled(pictures)),
        ("Tables", "tables", _titled(tables)),
        ("What follows", "proposal", [Block("list", follows)] if follows else []),
        ("Notes", "notes", [Block("list", found.notes)] if found.notes else []),
    ]
    fsio.write_text(path, html.page(f"fit of {source}", _asked(found), parts, str(path.parent)))
    return path


def _titled(blocks: Sequence[tuple[str, Block]]) -> list[Block]:
    return [part for title, block in blocks for part in (Block("title", title), block)]


def _asked(found: Fit) -> str:
    question = found.question
    scale = question.scale or question.by
    if question.axis:
        moves = f", and how does it move with {scale}" if scale else ""
        return f"Where is the best {question.axis}{moves}?"
    if question.is_forecast:
        return f"What will larger sizes reach, from the {question.num_sizes} smallest?"
    if question.params:
        return "Which size is best for a budget?"
    return (
        "How large may a batch be?" if question.batch else f"How does {question.optimum} move with {scale}?"
    )
