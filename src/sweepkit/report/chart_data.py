"""What ``chart.js`` draws: lines as columns of numbers, embedded in a page once and shown by several charts.

A chart is a dict:

    x, y       column → what the axis says; the first is shown first
    lines      label (lines of one hide together), detail, colour, run (whose panel it opens), done (whether
               it may set the scale), isDots, and the columns, with None for what is missing
    means      whether the lines of a label get one more, their mean
    guides     y column → where a dashed line is drawn
    reference  the label that stands beside a run in its own panel
    log        whether x begins logarithmic
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import pandas as pd

from sweepkit.analysis.diagnosis_case import Case
from sweepkit.analysis.diagnosis_limits import LIMITS
from sweepkit.report.plots import PALETTE
from sweepkit.report.summary import COMPLETE
from sweepkit.results.columns import REFERENCE

Chart = dict[str, Any]

#: Points of a line at most, and of all lines of a chart about: more cannot be seen and make the page heavy.
_POINTS, _ALL_POINTS, _FEWEST = 200, 24_000, 40
#: Looks at a run's inside that are kept.
_LOOKS = 40
_DIGITS = 6
X_AXES = {"step": "optimizer step", "train_time_s": "training time, s", "flops": "training FLOPs"}
_RATIOS = {"update": "update:data, log10", "grad": "gradient:data, log10"}


def learning(curves: pd.DataFrame, colour: dict[str, str]) -> Chart:
    """Losses of one rung against steps, time and FLOPs; the training loss as a running mean.

    Args:
        curves: rows of one rung of the curves table.
        colour: variant → colour.
    """
    curves = curves[curves["loss"].notna() | curves["val_bpb"].notna()]
    runs = [run for _, run in curves.groupby("run_id", sort=False)]
    limit = min(_POINTS, max(_FEWEST, _ALL_POINTS // max(1, len(runs))))
    # where runs were evaluated only once, at their end, a curve is the training loss alone
    validated = any(run["val_bpb"].notna().sum() > 1 for run in runs)
    y = {"val_bpb": "validation, bits per byte"} if validated else {}
    y |= {"loss": "training loss, nats per token"} if curves["loss"].notna().any() else {}
    x = {name: said for name, said in X_AXES.items() if curves[name].notna().any()}
    lines = []
    for run in runs:
        window = max(1, len(run) // 20)  # so that seeds can be told apart
        smooth = run["loss"].astype("Float64").rolling(window, min_periods=1).mean()
        kept = _thinned(run.assign(loss=smooth.where(run["loss"].notna())), limit)
        first = run.iloc[0]
        lines.append(
            {
                "label": str(first["variant"]),
                "detail": f"seed {first['seed']}",
                "colour": colour.get(str(first["variant"]), PALETTE[0]),
                "run": str(first["run_id"]),
                "done": first["state"] == COMPLETE,
                **{name: _column(kept[name]) for name in (*x, *y)},
            }
        )
    # what all others are compared with is drawn last, on top
    lines.sort(key=lambda line: line["label"] == REFERENCE)
    return {"x": x, "y": y, "lines": lines, "means": True, "reference": REFERENCE}


def ratios(case: Case) -> Chart:
    """log10 of update:data and gradient:data over the steps of one run, a line a group of parameters."""
    rows = case.rows[:: -max(1, len(case.rows) // _LOOKS)][::-1]
    roles = [role for role in case.plan.learning_rates if case.members(role)]
    lines = [
        {
            "label": role,
            "detail": "",
            "colour": PALETTE[place % len(PALETTE)],
            "done": True,
            "step": [row.step for row in rows],
            **{what: _column(case.ratio(row, role, what) for row in rows) for what in _RATIOS},
        }
        for place, role in enumerate(roles)
    ]
    guides = {"update": LIMITS["update_data_log10"].value}
    return {"x": {"step": X_AXES["step"]}, "y": _RATIOS, "lines": lines, "guides": guides}


def dots(
    x: dict[str, str], y: dict[str, str], lines: Iterable[tuple[str, str, pd.DataFrame]], **more: Any
) -> Chart:
    """Points that no line joins.

    Args:
        lines: label, colour and a frame with the columns of ``x`` and ``y``; a ``run`` column opens panels.
    """
    found = [
        {
            "label": label, "detail": "", "colour": colour, "done": True, "isDots": True,
            **{name: _column(frame[name]) for name in (*x, *y)},
        }
        for label, colour, frame in lines
    ]  # fmt: skip
    return {"x": x, "y": y, "lines": found, **more}


def _thinned(rows: pd.DataFrame, limit: int) -> pd.DataFrame:
    """At most about ``limit`` rows: evenly spaced, the last one, and evaluations as far as there is room."""
    stride = max(1, len(rows) // limit)
    is_kept = pd.Series(False, rows.index)
    is_kept.iloc[::-stride] = True
    evaluated = rows.index[rows["val_bpb"].notna()]
    is_kept[evaluated[:: -max(1, len(evaluated) // limit)]] = True
    return rows[is_kept]


def _column(values: Iterable[Any]) -> list[float | int | None]:
    """Numbers as JSON has them, to as many digits as a picture shows; None for what is missing."""
    return [_number(value) for value in values]


def _number(value: Any) -> float | int | None:
    if value is None or value is pd.NA or not math.isfinite(value):
        return None
    short = float(f"{float(value):.{_DIGITS}g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short
