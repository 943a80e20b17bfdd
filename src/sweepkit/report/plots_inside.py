"""Plots of what goes on inside one run: layer × step heat maps, histograms of gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sweepkit.analysis.diagnosis_case import Case
from sweepkit.report.plots import PALETTE, legend, svg_of
from sweepkit.results.diagnosed import LAYER_MEASURES, Diagnosed, Histogram, log10, ratio_log10

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Looks that a heat map has room for.
_COLUMNS = 60
#: Measures of layers whose logarithm is shown.
_LOGARITHMIC = {"residual_rms", "expert_load_max"}


def heat_maps(case: Case) -> str:
    """A panel a measure: layers upwards, looks to the right."""
    rows = _thinned(case.rows)
    depth = case.plan.depth
    panels = {
        "update:data of matrices, log10": np.array([_by_layer(row, depth, "update") for row in rows]),
        "gradient of matrices, log10": np.array([_by_layer(row, depth, "grad", over=None) for row in rows]),
    }
    for name in LAYER_MEASURES:
        values = np.array([[_or_nan(v) for v in row.layers.get(name, [None] * depth)] for row in rows])
        if np.isfinite(values).any() and (name in _LOGARITHMIC or np.nanmax(values) > 0):
            is_log = name in _LOGARITHMIC
            title = name.replace("_", " ")
            panels[f"{title}, log10" if is_log else title] = np.log10(values) if is_log else values
    width = 3
    height = -(-len(panels) // width)

    def draw(figure: Figure) -> None:
        grid = figure.subplots(height, width, squeeze=False).flatten()
        for axes, (title, values) in zip(grid, panels.items(), strict=False):
            _map(figure, axes, title, values.T, [row.step for row in rows])
        for axes in grid[len(panels) :]:
            axes.set_visible(False)

    return svg_of(draw, "heat", (9.6, 0.3 + 2.2 * height))


def _map(figure: Figure, axes: Axes, title: str, values_LS: Any, steps: list[int]) -> None:
    image = axes.imshow(values_LS, aspect="auto", origin="lower", cmap="viridis", interpolation="nearest")
    axes.set_title(title)
    axes.set_ylabel("layer")
    axes.set_xlabel("step")
    shown = sorted({0, len(steps) // 2, len(steps) - 1})
    axes.set_xticks(shown, [str(steps[place]) for place in shown])
    axes.set_yticks(sorted({0, len(values_LS) - 1}))
    axes.grid(visible=False)
    figure.colorbar(image, ax=axes, pad=0.02)


def histograms(case: Case) -> str:
    """Gradients by size in each group, at the first, the middle and the last look."""
    rows = case.rows
    chosen = [rows[place] for place in sorted({0, len(rows) // 2, len(rows) - 1})]
    roles = [role for role in case.plan.learning_rates if any(role in row.groups for row in chosen)]
    width = min(3, len(roles))
    height = -(-len(roles) // width)
    edges = Histogram.edges()

    def draw(figure: Figure) -> None:
        grid = figure.subplots(height, width, squeeze=False).flatten()
        for axes, role in zip(grid, roles, strict=False):
            for place, row in enumerate(chosen):
                if (found := row.groups.get(role)) is not None:
                    total = sum(found.counts) + found.zeros + found.not_finite
                    shares = [count / total if total else 0.0 for count in found.counts]
                    axes.stairs(shares, edges, color=PALETTE[place], lw=1.4, label=f"step {row.step}")
            axes.set_title(role)
            axes.set_xlabel("log10 |gradient|")
        for axes in grid[len(roles) :]:
            axes.set_visible(False)
        legend(figure, grid[0])

    return svg_of(draw, "histograms", (9.6, 0.4 + 2.1 * height))


def _by_layer(row: Diagnosed, depth: int, what: str, over: str | None = "weight") -> list[float]:
    """Mean of the logarithms over the matrices of each layer."""
    found: list[float] = []
    for layer in range(depth):
        its = [it for name, it in row.parameters.items() if name.startswith(f"blocks.{layer}.")]
        logs = [ratio_log10(getattr(it, what), it.weight) if over else log10(getattr(it, what)) for it in its]
        known = [value for value in logs if value is not None]
        found.append(sum(known) / len(known) if known else float("nan"))
    return found


def _thinned(rows: list[Diagnosed]) -> list[Diagnosed]:
    stride = -(-len(rows) // _COLUMNS)
    return rows[::-stride][::-1]


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value
