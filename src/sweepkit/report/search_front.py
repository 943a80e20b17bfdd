"""The front of a search with two objectives: what no other point beats in both, as a table and a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from markupsafe import Markup

from sweepkit.report import numbers
from sweepkit.report.content import Content
from sweepkit.report.page_block import Block
from sweepkit.report.plots import GREY, PALETTE, svg_of
from sweepkit.report.sheet import Sheet
from sweepkit.report.summary import COMPLETE
from sweepkit.sweep import trials

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def front(content: Content) -> list[Block]:
    """What there is to weigh between both objectives; nothing for a search with one."""
    if content.frozen is None or (spec := content.frozen.search) is None or not spec.second_objective:
        return []
    names = [content.decision.metric, spec.second_objective]
    signs = [content.decision.sign, spec.second_sign]
    found = means(content, names)
    if found.empty:
        return []
    found["on it"] = beaten_by_none(found[names] * signs)
    best = found[found["on it"]].sort_values(names[0], ascending=signs[0] > 0)
    sheet = Sheet(("point", *(f">{name}" for name in names)))
    for row in best.itertuples(index=False):
        sheet.add(str(row[0]), *(numbers.plain(value) for value in row[1:3]))
    intro = (
        f"No other of {len(found)} points is better in both {names[0]} and {names[1]} than one of these; "
        "which to take is a choice between the two, and no verdict."
    )
    return [
        Block("soft", intro),
        Block("figure", Markup(_picture(found, best, names))),
        Block("table", sheet),
    ]


def means(content: Content, names: list[str]) -> pd.DataFrame:
    """Variant and the mean of both objectives, of trials all of whose runs on the lowest rung have them."""
    tried = {cell.variant for trial in trials.load(content.sweep_dir) for cell in trial.cells}
    here = content.runs[(content.runs["rung"] == content.rungs[0]) & content.runs["variant"].isin(tried)]
    columns = {name: here[name].where(here["state"] == COMPLETE).astype("float64") for name in names}
    groups = here.assign(**columns).groupby("variant", sort=False)[names]
    return groups.mean().where(groups.count().eq(groups.size(), axis=0)).dropna().reset_index()


def beaten_by_none(costs: pd.DataFrame) -> list[bool]:
    """Of every row of two costs, whether no other row is at most as high in both and lower in one."""
    values = costs.to_numpy(dtype=float)
    return [not bool(((values <= row).all(axis=1) & (values < row).any(axis=1)).any()) for row in values]


def _picture(found: pd.DataFrame, best: pd.DataFrame, names: list[str]) -> str:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        others = found[~found["on it"]]
        axes.plot(others[names[1]], others[names[0]], "o", color=GREY, ms=4)
        axes.plot(best[names[1]], best[names[0]], "o-", color=PALETTE[0], ms=6, lw=1.2)
        axes.set_xlabel(names[1])
        axes.set_ylabel(names[0])

    return svg_of(draw, "front", (7.2, 3.8))
