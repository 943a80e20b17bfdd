"""Plots of the report as SVG text, drawn by matplotlib without a display.

Lines and intervals use mid-tones that read on a light and on a dark page; text and axes are written in
``currentColor``, so that they follow the page. Text stays text (searchable, small). The same data
give the same bytes.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from sweepkit.report import numbers
from sweepkit.results.columns import REFERENCE
from sweepkit.sweep.decision import DecisionRule

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK = "#010203"  # stands for currentColor until the SVG is written
GREY = "#8a8a8a"
PALETTE = ("#4c8ed9", "#e08a00", "#1f9e77", "#d6574f", "#b06fc9", "#8a8f2a", "#17a2b8", "#c2608f")
#: From the ninth variant on colours come again, with these lines and points: 32 can be told apart.
_LINES: tuple[Any, ...] = ("solid", (0, (5, 2)), (0, (1.2, 1.5)), (0, (7, 2, 1.5, 2)))
_POINTS = ("o", "s", "D", "^")
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


class Look(NamedTuple):
    """How a variant is drawn: its colour, and which of four kinds of line and point has it."""

    colour: str
    style: int = 0

    @property
    def line(self) -> Any:
        return _LINES[self.style]

    @property
    def point(self) -> str:
        return _POINTS[self.style]


def look(place: int) -> Look:
    """How the line at a place of many is drawn; they repeat after 32."""
    return Look(PALETTE[place % len(PALETTE)], place // len(PALETTE) % len(_LINES))


def looks(variants: Sequence[str]) -> dict[str, Look]:
    """How every variant is drawn; the reference is grey."""
    others = [variant for variant in dict.fromkeys(variants) if variant != REFERENCE]
    return {REFERENCE: Look(GREY)} | {name: look(place) for place, name in enumerate(others)}


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
            _interval(axes, row, place, Look(colour), horizontal=True)
        _bounded(axes, effects, list(range(len(effects))), horizontal=True)
        axes.set_yticks(range(len(effects)), [short(str(name)) for name in effects["variant"]])
        axes.set_ylim(len(effects) - 0.5, -0.5)
        side = "right" if rule.is_higher_better else "left"
        axes.set_xlabel(f"{change_in_words(rule)} against the reference ({side} is better)")
        axes.grid(axis="y", visible=False)

    return svg_of(draw, "forest", (9.6, 1.1 + 0.36 * max(len(effects), 2)))


def short(name: str) -> str:
    """A name that leaves room for a picture: a long one without the first group of its fields, or cut."""
    name = _GROUPS.sub("", name) if len(name) > _LONGEST else name
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 21]}…{name[-20:]}"


def change_in_words(rule: DecisionRule) -> str:
    """What an axis of effects shows: ``change in val_bpb, bits/byte``."""
    return f"change in {rule.metric}" + (f", {rule.unit_in_words}" if rule.unit_in_words else "")


def transfer(effects: pd.DataFrame, drawn: dict[str, Look], rule: DecisionRule) -> str:
    """The effect of each variant against depth: what grows, what fades, what turns round.

    Args:
        effects: variant, depth, effect, low, high over all rungs.
        drawn: variant -> how it is drawn.
        rule: its metric names the axis.
    """
    variants = list(dict.fromkeys(effects["variant"]))
    depths = sorted({int(depth) for depth in effects["depth"].dropna()})

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.axhline(0, color=_INK, lw=0.8)
        places: dict[Any, float] = {}
        for place, variant in enumerate(variants):
            rows = (
                effects[effects["variant"] == variant].dropna(subset=["depth", "effect"]).sort_values("depth")
            )
            shift = 0.06 * (place - (len(variants) - 1) / 2)  # side by side, so that intervals do not hide
            at = [depths.index(int(depth)) + shift for depth in rows["depth"]]
            as_ = drawn.get(variant, look(0))
            axes.plot(
                at, _floats(rows["effect"]), color=as_.colour, ls=as_.line, lw=1.6, marker=as_.point, ms=6,
                label=short(str(variant)),
            )  # fmt: skip
            places |= dict(zip(rows.index, at, strict=True))
            for x, row in zip(at, rows.to_dict("records"), strict=True):
                _interval(axes, row, x, as_, horizontal=False)
        _bounded(axes, effects.loc[list(places)], list(places.values()), horizontal=False)
        axes.set_xticks(range(len(depths)), [f"d{depth}" for depth in depths])
        axes.set_xlim(-0.5, len(depths) - 0.5)
        side = "above" if rule.is_higher_better else "below"
        axes.set_ylabel(change_in_words(rule))
        axes.set_xlabel(f"depth ({side} zero is better than the reference)")
        legend(figure, axes)

    return svg_of(draw, "transfer", (9.6, 3.8))


_LONGEST = 64  # characters of a name
_GROUPS = re.compile(r"(?<![\w.])[a-z_]\w*\.(?=[\w.]*=)")  # optimizer. of optimizer.matrix.lr=
_NAMED = 16  # names in a legend
_OUTLYING = 8
#: Begins the id of a part of a picture that has words; the page has them as an attribute of their own.
_SAYS = "says:"


def svg_of(draw: Any, name: str, size: tuple[float, float]) -> str:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE | {"svg.hashsalt": name}):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        buffer = io.StringIO()
        with warnings.catch_warnings():
            # text stays text, so a page's own fonts draw what matplotlib's lack
            warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font")
            figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = svg.replace(f'id="{_SAYS}', 'data-says="')
    # scale with the page instead of a fixed size in points
    return re.sub(
        r'<svg([^>]*?) width="[^"]*pt"', r"<svg\1", re.sub(r' height="[\d.]+pt"', "", svg, count=1), count=1
    )


def says(drawn: Artist, text: str) -> None:
    """Give a part of a picture the words that the page says where it is pointed at."""
    drawn.set_gid(f"{_SAYS}{text}")


def _interval(axes: Axes, row: dict[Any, Any], place: float, drawn: Look, *, horizontal: bool) -> None:
    """A dot with its interval; the dot alone where there is no interval."""
    if numbers.is_missing(row["effect"]):
        return
    has_ends = not (numbers.is_missing(row["low"]) or numbers.is_missing(row["high"]))
    words = f"{row['variant']}: {numbers.change(row['effect'])}"
    words += f" [{numbers.change(row['low'])}, {numbers.change(row['high'])}]" if has_ends else ""
    if has_ends:
        ends = [(float(row["low"]), place), (float(row["high"]), place)]
        xs, ys = zip(*(ends if horizontal else [end[::-1] for end in ends]), strict=True)
        (line,) = axes.plot(xs, ys, color=drawn.colour, lw=2.2, alpha=0.75, solid_capstyle="round")
        says(line, words)
    x, y = (float(row["effect"]), place) if horizontal else (place, float(row["effect"]))
    (dot,) = axes.plot([x], [y], color=drawn.colour, marker=drawn.point, ms=6)
    says(dot, words)


def _bounded(axes: Axes, effects: pd.DataFrame, places: list[float], *, horizontal: bool) -> None:
    """End the axis where an outlier would flatten all others, and mark with an arrow what lies beyond.

    An outlier reaches more than ``_OUTLYING`` times as far from zero as half of the effects do; what
    changed nothing is none of these.
    """
    ends = effects[["effect", "low", "high"]].to_numpy(dtype=float, na_value=np.nan)
    reach = np.nanmax(np.abs(ends), axis=1, initial=0.0)
    some = reach[reach > 0.0]
    if not some.size or some.max() <= (limit := _OUTLYING * np.quantile(some, 0.5, method="lower")):
        return
    inside = ends[reach <= limit]
    low, high = min(0.0, float(np.nanmin(inside))), max(0.0, float(np.nanmax(inside)))
    margin = 0.12 * (high - low)
    low, high = low - margin, high + margin
    (axes.set_xlim if horizontal else axes.set_ylim)(low, high)
    for row, place in zip(effects.to_dict("records"), places, strict=True):
        known = [float(row[name]) for name in ("low", "effect", "high") if not numbers.is_missing(row[name])]
        effect = float(row["effect"])
        for edge, is_beyond, arrow in (
            (low, min(known) < low, "<" if horizontal else "v"),
            (high, max(known) > high, ">" if horizontal else "^"),
        ):
            if not is_beyond:
                continue
            x, y = (edge, place) if horizontal else (place, edge)
            (mark,) = axes.plot([x], [y], color=_INK, marker=arrow, ms=7, clip_on=False, zorder=5)
            says(mark, f"{row['variant']}: {numbers.change(effect)}, beyond this axis")
            if not low <= effect <= high and abs(effect - edge) <= abs(effect - (low + high - edge)):
                inwards = -10 if edge == high else 10
                axes.annotate(
                    numbers.change(effect), (x, y), textcoords="offset points",
                    xytext=(inwards, 0) if horizontal else (0, inwards), va="center",
                    ha=("right" if edge == high else "left") if horizontal else "center",
                )  # fmt: skip


def _floats(values: pd.Series[Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return values.to_numpy(dtype=float, na_value=np.nan)


def legend(figure: Figure, axes: Axes) -> None:
    """Below the plots, in as many columns as the figure is wide enough for; of many, the first."""
    from matplotlib.lines import Line2D

    handles, labels = axes.get_legend_handles_labels()
    if (left := len(labels) - _NAMED) > 0:  # more names would leave no room for lines
        handles = [*handles[:_NAMED], Line2D([], [], linestyle="none")]
        labels = [*labels[:_NAMED], f"and {left} more"]
    for columns in range(min(4, len(labels)), 0, -1):
        drawn = figure.legend(handles, labels, loc="outside lower center", ncols=columns)
        if columns == 1 or drawn.get_window_extent().width < 0.98 * figure.bbox.width:
            return
        drawn.remove()
