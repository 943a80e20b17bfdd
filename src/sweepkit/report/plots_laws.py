"""Pictures of fits: valleys with their parabolas, laws, isoFLOP parabolas, surface residuals, forecasts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sweepkit.analysis.laws.compute_optimal import ComputeOptimal
from sweepkit.analysis.laws.fitting import Fit
from sweepkit.analysis.laws.optima import Optimum
from sweepkit.analysis.laws.power_law import Law
from sweepkit.analysis.laws.trust_region import AXES
from sweepkit.report import sheets_laws
from sweepkit.report.plots import GREY, PALETTE, legend, look, svg_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

Titled = tuple[str, str, str]
_COLUMNS, _MOST, _FEW = 3, 9, 5


def figures(found: Fit) -> list[Titled]:
    """Title, SVG and caption of every picture that the fit has."""
    made: list[Titled] = []
    if found.optima:
        axis = found.question.axis or ""
        caption = (
            "Means over seeds; the curve is fitted to the filled ones, the band is the best value's interval."
        )
        made.append((f"Loss over {axis}", _valleys(found.optima, axis, found.question.axis_scale), caption))
    if found.ridges:
        made.append(
            (
                "Loss over both axes",
                _maps(found),
                "Lighter is better; the line is the ridge, the cross the minimum.",
            )
        )
    if found.law is not None:
        made.append(
            (
                f"Best value over {found.law.scale_name}",
                _law(found.law),
                "The line is the law; arrows are optima beyond their grid.",
            )
        )
    for sizes in found.sizes:
        if sizes.budgets:
            made.append(
                (
                    f"Budgets, N = {sizes.counting}",
                    _isoflop(sizes),
                    "Solid: parabolas; crosses: the surface's best sizes.",
                )
            )
        made.append(
            (
                f"Residuals of the surface, N = {sizes.counting}",
                _residuals(sizes),
                "Log loss minus the surface, in percent.",
            )
        )
    if found.forecast is not None:
        made.append(("Forecast", _forecast(found), "Points have run; filled ones were fitted."))
    return made


def _logarithmic(axes: Axes, which: str, values: Sequence[float]) -> None:
    """A logarithmic axis in plain numbers: the values themselves, or a few round ones where they are many."""
    from matplotlib import ticker

    axes.set(**{f"{which}scale": "log"})
    axis: Axis = {"x": axes.xaxis, "y": axes.yaxis}[which]
    own = sorted({float(f"{value:.4g}") for value in values})
    if len(own) <= _FEW:
        axis.set_major_locator(ticker.FixedLocator(own))
    elif own[-1] < 10 * own[0]:
        axis.set_major_locator(ticker.MaxNLocator(_FEW - 1))
    else:
        axis.set_major_locator(ticker.LogLocator(subs=(1.0, 3.0) if own[-1] < 100 * own[0] else (1.0,)))
    axis.set_minor_locator(ticker.NullLocator())
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: sheets_laws.short(float(f"{value:.4g}"))))


def _grid(figure: Figure, count: int) -> list[Axes]:
    columns = min(_COLUMNS, count)
    grid = figure.subplots(-(-count // columns), columns, squeeze=False).flatten()
    for axes in grid[count:]:
        axes.set_visible(False)
    return list(grid[:count])


def _height(count: int) -> float:
    return 0.4 + 2.7 * -(-count // min(_COLUMNS, count))


def _valleys(found: list[Optimum], name: str, scale: str) -> str:
    shown = found[:_MOST]

    def draw(figure: Figure) -> None:
        for axes, item in zip(_grid(figure, len(shown)), shown, strict=True):
            _valley(axes, item, scale)
            axes.set_title(item.group)
            axes.set_xlabel(name)
            axes.set_ylabel("loss")

    return svg_of(draw, "valleys", (9.6, _height(len(shown))))


def _valley(axes: Axes, item: Optimum, scale: str, colour: str = PALETTE[0]) -> None:
    measure = AXES[scale]
    there = [(level.value, level.loss, level.fitted) for level in item.levels if level.loss is not None]
    fitted = [(x, y) for x, y, line in there if line is not None]
    others = [(x, y) for x, y, line in there if line is None]
    if scale == "log":
        _logarithmic(axes, "x", [level.value for level in item.levels])
    axes.plot([x for x, _ in fitted], [y for _, y in fitted], "o", color=colour, ms=5)
    axes.plot([x for x, _ in others], [y for _, y in others], "o", color=colour, ms=5, mfc="none")
    if fitted and item.has_value and item.curvature is not None and item.loss is not None:
        first, last, at = (
            float(measure.forward(np.asarray(end))) for end in (fitted[0][0], fitted[-1][0], item.value)
        )
        z = np.linspace(first, last, 60)
        axes.plot(measure.back(z), item.loss + item.curvature / 2 * (z - at) ** 2, color=colour, lw=1.5)
        low, high = axes.get_xlim()
        from_, to = max(item.interval.low or low, low), min(item.interval.high or high, high)
        axes.axvspan(from_, to, color=colour, alpha=0.15, lw=0)
        axes.set_xlim(low, high)
    losses = [y for _, y in fitted]
    if losses and others:  # what diverged, or nearly, would flatten the valley
        margin = 1.5 * (max(losses) - min(losses)) or 0.01
        axes.set_ylim(min(losses) - 0.2 * margin, max(losses) + margin)


def _maps(found: Fit) -> str:
    shown = found.ridges[:_MOST]

    def draw(figure: Figure) -> None:
        for axes, item in zip(_grid(figure, len(shown)), shown, strict=True):
            x2, x1, loss = (np.array([row[place] for row in item.residuals]) for place in (1, 0, 2))
            axes.scatter(x2, x1, c=loss, cmap="viridis_r", s=60)
            _logarithmic(axes, "x", x2.tolist())
            _logarithmic(axes, "y", x1.tolist())
            axes.set_ylim(x1.min() / 1.5, x1.max() * 1.5)
            if item.values is not None:
                axes.plot([item.values[1]], [item.values[0]], "x", color=PALETTE[3], ms=9)
                if item.slope is not None:
                    ends = np.array([x2.min(), x2.max()])
                    axes.plot(
                        ends, item.values[0] * (ends / item.values[1]) ** item.slope, color=PALETTE[3], lw=1.3
                    )
            axes.set_title(item.group)
            axes.set_xlabel(found.question.second_axis or "")
            axes.set_ylabel(found.question.axis or "")

    return svg_of(draw, "ridges", (9.6, _height(len(shown))))


def _law(law: Law) -> str:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        _logarithmic(axes, "x", [point.scale for point in law.points])
        _logarithmic(axes, "y", [point.optimum for point in law.points])
        for point in law.points:
            marker = {"above": "^", "below": "v"}.get(point.censored, "o")
            ends = [point.optimum * math.exp(side * 1.96 * point.error) for side in (-1, 1)]
            axes.plot([point.scale] * 2, ends, color=PALETTE[0], lw=2, alpha=0.7)
            axes.plot([point.scale], [point.optimum], marker, color=PALETTE[0], ms=6)
        x = np.geomspace(
            min(point.scale for point in law.points), max(point.scale for point in law.points), 30
        )
        axes.plot(
            x, [law.at(float(item)) for item in x], color=GREY, lw=1.5, label=f"exponent {law.exponent:.3f}"
        )
        if law.rule is not None:
            middle = float(np.exp(np.mean(np.log(x))))
            axes.plot(
                x,
                law.at(middle) * (x / middle) ** law.rule,
                "--",
                color=PALETTE[1],
                lw=1.2,
                label=f"rule {law.rule:g}",
            )
        axes.set_xlabel(law.scale_name)
        axes.set_ylabel("best value")
        legend(figure, axes)

    return svg_of(draw, "law", (9.6, 3.8))


def _isoflop(sizes: ComputeOptimal) -> str:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        _logarithmic(axes, "x", sizes.params_N.tolist())
        tops: list[float] = []
        for place, item in enumerate(sizes.budgets):
            as_ = look(place)
            rows = [
                (level.value, level.loss, level.fitted)
                for level in item.best.levels
                if level.fitted is not None and level.loss is not None
            ]
            x, loss, line = ([row[place] for row in rows] for place in range(3))
            axes.plot(x, loss, as_.point, color=as_.colour, ms=4, label=f"{item.flops:.2g} FLOPs")
            axes.plot(x, line, color=as_.colour, ls=as_.line, lw=1.2)
            tops += loss
            size = np.array(item.surface_params)
            there = float(sizes.surface.at(size, item.flops / sizes.flops_per_param_token / size))
            axes.plot([item.surface_params], [there], "x", color=as_.colour, ms=7)
        if tops:
            axes.set_ylim(min(tops) * 0.99, max(tops) * 1.01)
        axes.set_xlabel(f"{sizes.counting} (N)")
        axes.set_ylabel("loss")
        legend(figure, axes)

    return svg_of(draw, "isoflop", (9.6, 4.6))


def _residuals(sizes: ComputeOptimal) -> str:
    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2, sharey=True)
        off = 100 * sizes.surface.log_residual_N
        for axes, x, name in (
            (left, sizes.params_N, f"{sizes.counting} (N)"),
            (right, sizes.tokens_N, "tokens (D)"),
        ):
            axes.axhline(0, color=GREY, lw=0.8)
            axes.plot(x, off, "o", color=PALETTE[0], ms=3.5, alpha=0.7)
            _logarithmic(axes, "x", x.tolist())
            axes.set_xlabel(name)
        left.set_ylabel("off by, %")

    return svg_of(draw, "residuals", (9.6, 3.4))


def _forecast(found: Fit) -> str:
    forecast = found.forecast
    assert forecast is not None
    made, rows = forecast.forecasts, forecast.fitted_rows

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        _logarithmic(axes, "x", [*(row[0] for row in rows), *(item.params for item in made)])
        axes.plot([row[0] for row in rows], [row[2] for row in rows], "o", color=GREY, ms=4, label="fitted")
        for item in made:
            if item.interval.low is not None and item.interval.high is not None:
                ends = [item.interval.low, item.interval.high]
                axes.plot([item.params] * 2, ends, color=PALETTE[0], lw=2, alpha=0.5)
        x, expected = [item.params for item in made], [item.expected for item in made]
        axes.plot(x, expected, "_", color=PALETTE[0], ms=9, label="expected")
        ran = [(item.params, item.loss) for item in made if item.loss is not None]
        x, losses = [size for size, _ in ran], [loss for _, loss in ran]
        axes.plot(x, losses, "o", color=PALETTE[1], ms=4, mfc="none", label="ran")
        axes.set_xlabel("parameters")
        axes.set_ylabel(found.question.loss)
        legend(figure, axes)

    return svg_of(draw, "forecast", (9.6, 4.2))
