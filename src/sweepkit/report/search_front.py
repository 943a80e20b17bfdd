"""The front of a search with two objectives: what no other point beats in both, as a chart and a table."""

from __future__ import annotations

import pandas as pd

from sweepkit.report import chart_data, numbers, search_tried
from sweepkit.report.content import Content
from sweepkit.report.page_block import Block, Drawn
from sweepkit.report.plots import GREY, Look, look
from sweepkit.report.sheet import Sheet
from sweepkit.report.summary import complete_means
from sweepkit.sweep import metric as metrics
from sweepkit.sweep import trials


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
        sheet.add(str(row[0]), numbers.bpb(row[1]), numbers.plain(row[2]))
    intro = (
        f"No other of {len(found)} points is better in both {names[0]} and {names[1]} than one of these; "
        "which to take is a choice between the two, and no verdict."
    )
    return [
        Block("soft", intro),
        Block("chart", Drawn("front", _chart(found, names, spec.second_sign, content))),
        Block("table", sheet),
    ]


def means(content: Content, names: list[str]) -> pd.DataFrame:
    """Variant and the mean of both objectives, of trials all of whose runs on the lowest rung have them."""
    tried = {cell.variant for trial in trials.load(content.sweep_dir) for cell in trial.cells}
    here = content.runs[(content.runs["rung"] == content.rungs[0]) & content.runs["variant"].isin(tried)]
    return complete_means(here, names).reset_index()


def beaten_by_none(costs: pd.DataFrame) -> list[bool]:
    """Of every row of two costs, whether no other row is at most as high in both and lower in one."""
    values = costs.to_numpy(dtype=float)
    return [not bool(((values <= row).all(axis=1) & (values < row).any(axis=1)).any()) for row in values]


def _chart(found: pd.DataFrame, names: list[str], second_sign: int, content: Content) -> chart_data.Chart:
    """The first objective against the second: what is beaten, what is not, and the line that bounds both."""
    cells = [cell for trial in trials.load(content.sweep_dir) for cell in trial.cells]
    run_of = {cell.variant: cell.plan.run_id for cell in reversed(cells)}
    points = found.assign(run=found["variant"].map(run_of), name=found["variant"])
    # from the best of the second objective on: the first stays what it is up to the next point
    best = points[points["on it"]].sort_values(names[1], ascending=second_sign > 0)
    second = metrics.known(names[1])
    x = {names[1]: ", ".join(filter(None, (names[1], second.unit if second else "")))}
    y = {names[0]: search_tried.in_unit(content.decision)}
    dots = [
        ("beaten", Look(GREY), points[~points["on it"]]),
        ("on the front", look(0)._replace(style=1), best),
    ]
    return chart_data.points(x, y, [it for it in dots if len(it[2])], best=("the front", look(0), best))
