"""Plots of the report as SVG text, drawn by matplotlib without a display.

Lines and intervals use mid-tones that read on a light and on a dark page; text and axes are written in
``currentColor``, so that they follow the page. Text stays text (searchable, small). The same data
give the same bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sweepkit.report import numbers
from sweepkit.report.summary import COMPLETE
from sweepkit.results.columns import REFERENCE
from sweepkit.sweep.decision import DecisionRule

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

_INK = "#010203"  # stands for currentColor until the SVG is written
GREY = "#8a8a8a"
PALETTE = ("#4c8ed9", "#e08a00", "#1f9e77", "#d6574f", "#b06fc9", "#8a8f2a", "#17a2b8", "#c2608f")
OUTCOME_COLOURS = {
    "adopt": "#1f9e77", "promote": "#1f9e77", "reject": "#d6574f", "inconclusive": "#e08a00",
}  # fmt: skip
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Helvetica", "Arial"],
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GREY,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "text.parse_math": False,  # a "$" in a label is a "$"
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color"),
        _INK,
    ),
}


def colours(variants: Sequence[str]) -> dict[str, str]:
    """One colour a variant; the reference is grey. More variants than colours share them."""
    others = [variant for variant in dict.fromkeys(variants) if variant != REFERENCE]
    return {REFERENCE: GREY} | {name: PALETTE[place % len(PALETTE)] for place, name in enumerate(others)}


def learning_curves(curves: pd.DataFrame, colour: dict[str, str]) -> str:
    """One rung on all three axes: loss against steps, time and FLOPs.

    Thin lines are seeds, thick lines the mean of a variant. Where runs were evaluated only once, at
    their end, the smoothed training loss stands in for the validation loss.

    Args:
        curves: rows of one rung of the curves table.
        colour: variant -> colour.
    """
    evaluated = curves[curves["val_bpb"].notna()]
    smooth = _smoothed(curves)
    validated = bool(evaluated.groupby("run_id")["step"].nunique().gt(1).any())
    rows, y, unit = (
        (evaluated, "val_bpb", "bits per byte") if validated else (smooth, "loss", "nats per token")
    )
    kind = "Validation" if validated else "Training loss"
    panels = [
        (f"{kind} against {what}", rows, x, y, unit)
        for x, what in (("step", "steps"), ("train_time_s", "time"), ("flops", "FLOPs"))
        if rows[x].notna().any() and (validated or x != "step")
    ]
    panels.insert(0, ("Training loss against steps", smooth, "step", "loss", "nats per token"))
    width = 3 if len(panels) == 3 else 2
    height = -(-len(panels) // width)

    def draw(figure: Figure) -> None:
        grid = figure.subplots(height, width, squeeze=False).flatten()
        for axes, (title, data, x, column, label) in zip(grid, panels, strict=False):
            _lines(axes, data, x, column, colour)
            _zoom(axes, data, column)
            axes.set_title(title)
            axes.set_ylabel(label)
            axes.set_xlabel(_AXIS_NAMES[x])
            axes.xaxis.set_major_formatter(lambda value, _: numbers.scaled(value, fixed=False))
            answering(axes)
        for axes in grid[len(panels) :]:
            axes.set_visible(False)
        legend(figure, grid[0])

    return svg_of(draw, "learning", (9.6, 0.4 + 2.9 * height))


def forest(effects: pd.DataFrame, rule: DecisionRule, outcomes: dict[str, str]) -> str:
    """The effect of every variant on one rung with its interval; the band is the smallest effect that counts.

    Args:
        effects: rows of one rung: variant, effect, low, high, in the metric's unit.
        rule: its smallest effect is half the band's width; its metric names the axis.
        outcomes: variant -> verdict, which colours it.
    """

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        if rule.min_effect:
            axes.axvspan(-rule.min_effect, rule.min_effect, color=GREY, alpha=0.18, lw=0)
        axes.axvline(0, color=_INK, lw=0.8)
        for place, row in enumerate(effects.to_dict("records")):
            colour = OUTCOME_COLOURS.get(outcomes.get(str(row["variant"]), ""), PALETTE[0])
            _interval(axes, row, place, colour, horizontal=True)
        axes.set_yticks(range(len(effects)), [str(name) for name in effects["variant"]])
        axes.set_ylim(len(effects) - 0.5, -0.5)
        side = "right" if rule.is_higher_better else "left"
        axes.set_xlabel(f"{change_in_words(rule)} against the reference ({side} is better)")
        axes.grid(axis="y", visible=False)

    return svg_of(draw, "forest", (9.6, 1.1 + 0.36 * max(len(effects), 2)))


def change_in_words(rule: DecisionRule) -> str:
    """What an axis of effects shows: ``change in val_bpb, bits/byte``."""
    return f"change in {rule.metric}" + (f", {rule.unit_in_words}" if rule.unit_in_words else "")


def transfer(effects: pd.DataFrame, colour: dict[str, str], rule: DecisionRule) -> str:
    """The effect of each variant against depth: what grows, what fades, what turns round.

    Args:
        effects: variant, depth, effect, low, high over all rungs.
        colour: variant -> colour.
        rule: its metric names the axis.
    """
    variants = list(dict.fromkeys(effects["variant"]))
    depths = sorted({int(depth) for depth in effects["depth"].dropna()})

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.axhline(0, color=_INK, lw=0.8)
        for place, variant in enumerate(variants):
            rows = (
                effects[effects["variant"] == variant].dropna(subset=["depth", "effect"]).sort_values("depth")
            )
            shift = 0.06 * (place - (len(variants) - 1) / 2)  # side by side, so that intervals do not hide
            at = [depths.index(int(depth)) + shift for depth in rows["depth"]]
            axes.plot(
                at, _floats(rows["effect"]), color=colour.get(variant, PALETTE[0]), lw=1.6, label=str(variant)
            )
            for x, row in zip(at, rows.to_dict("records"), strict=True):
                _interval(axes, row, x, colour.get(variant, PALETTE[0]), horizontal=False)
        axes.set_xticks(range(len(depths)), [f"d{depth}" for depth in depths])
        axes.set_xlim(-0.5, len(depths) - 0.5)
        side = "above" if rule.is_higher_better else "below"
        axes.set_ylabel(change_in_words(rule))
        axes.set_xlabel(f"depth ({side} zero is better than the reference)")
        legend(figure, axes)

    return svg_of(draw, "transfer", (9.6, 3.8))


_POINTS = 200
_NAMED = 16  # names in a legend
_AXIS_NAMES = {"step": "optimizer step", "train_time_s": "training time, s", "flops": "training FLOPs"}


def svg_of(draw: Any, name: str, size: tuple[float, float]) -> str:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE | {"svg.hashsalt": name}):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # scale with the page instead of a fixed size in points
    return re.sub(
        r'<svg([^>]*?) width="[^"]*pt"', r"<svg\1", re.sub(r' height="[\d.]+pt"', "", svg, count=1), count=1
    )


def named(axes: Axes, line: Line2D, label: str, detail: str = "") -> None:
    """Give a line the words that the page says where it is pointed at; lines of one label hide together."""
    number = axes.figure.axes.index(axes)
    line.set_gid("|".join(("l", str(number), label.replace("|", "/"), detail)))


def answering(axes: Axes) -> None:
    """Note where a panel with named lines is and what its axes span, both linear; after all is plotted."""
    number = axes.figure.axes.index(axes)
    ends = (f"{end:.9g}" for end in (*axes.get_xlim(), *axes.get_ylim()))
    axes.patch.set_gid("|".join(("a", str(number), *ends)))


def _lines(axes: Axes, rows: pd.DataFrame, x: str, y: str, colour: dict[str, str]) -> None:
    """Every run thin, and the mean over the seeds of a variant thick where all of them have a value."""
    rows = rows.dropna(subset=[x, y])
    rows = rows[rows[x] > 0]  # the clock of training starts after the first steps
    for variant, cells in rows.groupby("variant", sort=False):
        shade = colour.get(str(variant), PALETTE[0])
        marker = "o" if y == "val_bpb" and cells["step"].nunique() <= 25 else ""
        for _, run in cells.groupby("run_id", sort=False):
            thin = _thinned(run)
            (line,) = axes.plot(_floats(thin[x]), _floats(thin[y]), color=shade, lw=0.7, alpha=0.4)
            named(axes, line, str(variant), f"seed {run['seed'].iloc[0]}")
        by_step = cells.groupby("step").agg(x=(x, "mean"), y=(y, "mean"), n=(y, "size"))
        mean = _thinned(by_step[by_step["n"] == by_step["n"].max()])
        (line,) = axes.plot(_floats(mean["x"]), _floats(mean["y"]), color=shade, lw=1.8, marker=marker, ms=3,
                            label=str(variant), zorder=2 if variant == REFERENCE else 3)  # fmt: skip
        named(axes, line, str(variant), "mean")


def _thinned(rows: pd.DataFrame) -> pd.DataFrame:
    """At most about ``_POINTS`` rows, the last one included: more cannot be seen and make the page heavy."""
    stride = max(1, len(rows) // _POINTS)
    return rows.iloc[::-stride][::-1]


def _zoom(axes: Axes, rows: pd.DataFrame, y: str) -> None:
    """Limit the y axis to what happens after the first fifth of the runs, where variants differ."""
    complete = rows[rows["state"] == COMPLETE]
    shown = complete if len(complete) else rows  # a run that diverged would flatten the others
    late = shown[shown["step"] >= 0.2 * shown["step"].max()][y].dropna()
    if len(late):
        bottom, top = float(late.min()), float(late.max())
        margin = 0.06 * (top - bottom) or 0.01
        axes.set_ylim(bottom - margin, top + margin)


def _smoothed(curves: pd.DataFrame) -> pd.DataFrame:
    """The training loss as a running mean over 1/20 of each run, so that seeds can be told apart."""
    parts = []
    for _, run in curves[curves["loss"].notna()].groupby("run_id", sort=False):
        window = max(1, len(run) // 20)
        parts.append(run.assign(loss=run["loss"].astype(float).rolling(window, min_periods=1).mean()))
    return pd.concat(parts) if parts else curves.iloc[:0]


def _interval(axes: Axes, row: dict[Any, Any], place: float, colour: str, *, horizontal: bool) -> None:
    """A dot with its interval; the dot alone where there is no interval."""
    if numbers.is_missing(row["effect"]):
        return
    points = [(float(row["effect"]), place)]
    if not (numbers.is_missing(row["low"]) or numbers.is_missing(row["high"])):
        ends = [(float(row["low"]), place), (float(row["high"]), place)]
        xs, ys = zip(*(ends if horizontal else [end[::-1] for end in ends]), strict=True)
        axes.plot(xs, ys, color=colour, lw=2.2, alpha=0.75, solid_capstyle="round")
    x, y = points[0] if horizontal else points[0][::-1]
    axes.plot([x], [y], color=colour, marker="o", ms=6)


def _floats(values: pd.Series[Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return values.to_numpy(dtype=float, na_value=np.nan)


def legend(figure: Figure, axes: Axes) -> None:
    """Below the plots, in as many columns as the figure is wide enough for; of many, the first."""
    from matplotlib.lines import Line2D

    handles, labels = axes.get_legend_handles_labels()
    if (left := len(labels) - _NAMED) > 0:  # colours repeat by then, and names would leave no room for lines
        handles = [*handles[:_NAMED], Line2D([], [], linestyle="none")]
        labels = [*labels[:_NAMED], f"and {left} more"]
    for columns in range(min(4, len(labels)), 0, -1):
        drawn = figure.legend(handles, labels, loc="outside lower center", ncols=columns)
        if columns == 1 or drawn.get_window_extent().width < 0.98 * figure.bbox.width:
            return
        drawn.remove()
