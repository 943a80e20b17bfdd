"""The picture of a frontier: the reference at its horizons, and every variant at what it really cost."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sweepkit.report.plots import GREY, Look, legend, look, short, svg_of
from sweepkit.results.columns import REFERENCE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TITLES = {"steps": "Steps", "wall_clock": "Wall-clock time", "flops": "Training FLOPs"}


def frontier(
    points: pd.DataFrame, held: pd.DataFrame, losses: dict[str, float], drawn: dict[str, Look], metric: str
) -> str:
    """Loss against cost (logarithmic) on every axis; below the reference's line is better.

    Args:
        points: the reference's horizons, shortest first: variant, num_steps, loss.
        held: rows of one rung: variant, axis, cost_ratio.
        losses: variant -> mean loss.
        drawn: variant -> how it is drawn.
        metric: names the axis, with its unit.
    """
    own = float(points.loc[points["variant"] == REFERENCE, "num_steps"].iloc[0])
    costs, loss = points["num_steps"].to_numpy(dtype=float) / own, points["loss"].to_numpy(dtype=float)
    line_X = np.geomspace(costs[0], costs[-1], 100)
    curve_X = np.exp(np.interp(np.log(line_X), np.log(costs), np.log(loss)))
    axes_held = list(dict.fromkeys(held["axis"]))

    def draw(figure: Figure) -> None:
        grid = figure.subplots(1, len(axes_held), sharey=True, squeeze=False)[0]
        for axes, name in zip(grid, axes_held, strict=True):
            axes.plot(line_X, curve_X, color=GREY, lw=1.6)
            axes.plot(costs, loss, "o", color=GREY, ms=6, label=REFERENCE)
            for row in held[held["axis"] == name].to_dict("records"):
                variant = str(row["variant"])
                as_, at = drawn.get(variant, look(0)), ([row["cost_ratio"]], [losses[variant]])
                axes.plot(*at, as_.point, color=as_.colour, ms=6, label=short(variant))
            axes.set_xscale("log", base=2)
            low, high = axes.get_xlim()
            ticks = [
                2.0**power for power in range(math.ceil(math.log2(low)), math.floor(math.log2(high)) + 1)
            ]
            axes.set_xticks(ticks, [f"{tick:g}×" for tick in ticks])
            axes.set_title(_TITLES[name])
            axes.set_xlabel("cost against the reference")
        grid[0].set_ylabel(metric)
        legend(figure, grid[0])

    return svg_of(draw, "frontier", (9.6, 3.8))
