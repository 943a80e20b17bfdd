"""A campaign's page: README.md with its tables and a figure, for its results folder and to be committed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sweepkit import fsio
from sweepkit.campaign.course import Course
from sweepkit.campaign.walk import Step
from sweepkit.printable import printable
from sweepkit.report import campaign_sheets, markdown, plots
from sweepkit.report.campaign_sheets import Closed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FIGURE = "figure.svg"


def write(course: Course, steps: Sequence[Step], folder: Path, command: str) -> Path:
    """Write the page and its figure, and return the page's path.

    Args:
        command: how the campaign is run.
    """
    closed = campaign_sheets.closed(course, steps)
    if closed:
        svg = _against_the_first(closed, course.standings[course.campaign.order[0]].promotion.decision.metric)
        fsio.write_text(folder / _FIGURE, printable(svg.replace("currentColor", "#333")))
    campaign = course.campaign
    adopted = course.reference(campaign.order)
    waits = next((step.name for step in steps if step.is_open), None)
    parts = [
        f"# {campaign.name}",
        campaign.question,
        f"It is not at its end: {waits} is under way, or next." if waits else "",
        "Adopted: " + ("; ".join(f"{item.variant} ({item.round})" for item in adopted) or "nothing") + ".",
        f"![the last reference against the first]({_FIGURE})" if closed else "",
        *(markdown.table(sheet) for sheet in campaign_sheets.sheets(course, steps)),
        f"    {command}",
        *_links(steps, folder),
    ]
    path = folder / "README.md"
    fsio.write_text(path, printable("\n\n".join(part for part in parts if part)) + "\n")
    return path


def _links(steps: Sequence[Step], folder: Path) -> list[str]:
    """The folders beside the page."""
    names = [step.sweep.name for step in steps if step.sweep and (folder / step.sweep.name).is_dir()]
    return [" · ".join(f"[{name}]({name}/README.md)" for name in names)] if names else []


def _against_the_first(closed: Sequence[Closed], metric: str) -> str:
    """From rung to rung: what the rounds' effects sum up to, and what was measured."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.axhline(0, color=plots.GREY, lw=0.8)
        places = list(range(len(closed)))
        summed = [
            (place, item.summed)
            for place, item in zip(places, closed, strict=True)
            if item.summed is not None
        ]
        axes.plot(*zip(*summed, strict=True), "o--", color=plots.GREY, label="sum of the rounds' effects")
        colour = plots.PALETTE[0]
        for place, item in zip(places, closed, strict=True):
            effect = item.verdict.effect
            if effect.low is not None and effect.high is not None:
                axes.plot([place, place], [effect.low, effect.high], color=colour, lw=2.2, alpha=0.75)
        measured = [
            np.nan if item.verdict.effect.effect is None else item.verdict.effect.effect for item in closed
        ]
        axes.plot(places, measured, "o-", color=colour, label="last reference against the first")
        axes.set_xticks(places, [item.rung for item in closed])
        axes.set_xlim(-0.5, len(closed) - 0.5)
        axes.set_ylabel(f"change in {metric}")
        axes.set_xlabel("rung (below zero is better)")
        plots.legend(figure, axes)

    return plots.svg_of(draw, "campaign", (9.6, 3.6))
