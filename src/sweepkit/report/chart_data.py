"""What ``chart.js`` draws: lines as columns of numbers, embedded in a page once and shown by several charts.

A chart is a dict:

    x, y       column → what the axis says; the first is shown first
    lines      label (lines of one hide together), detail, colour and style (of dashes, of points), run
               (whose panel it opens), done (whether it may set the scale), isDots (with runs and names, one a
               point), isSteps, and the columns, with None for what is missing
    means      whether the lines of a label get one more, their mean
    guides     y column → where a dashed line is drawn
    reference  the label that stands beside a run in its own panel
    log        columns of x that begin logarithmic
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from sweepkit.analysis.diagnosis_case import Case
from sweepkit.analysis.diagnosis_limits import LIMITS
from sweepkit.report.plots import Look, look
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


def drawn(curves: pd.DataFrame) -> set[str]:
    """The runs of a curves table that ``learning`` has a line of."""
    return set(curves.loc[curves["loss"].notna() | curves["val_bpb"].notna(), "run_id"])


def learning(curves: pd.DataFrame, looks: dict[str, Look], states: dict[str, str]) -> Chart:
    """Losses of one rung against steps, time and FLOPs; the training loss as a running mean.

    Args:
        curves: rows of one rung of the curves table.
        looks: variant → how it is drawn.
        states: run_id → state, as the runs table has it: a published curve knows none.
    """
    curves = curves[curves["loss"].notna() | curves["val_bpb"].notna()]
    known = {
        name: curves[name].to_numpy(dtype=float, na_value=np.nan) for name in (*X_AXES, "loss", "val_bpb")
    }
    runs = list(curves.groupby("run_id", sort=False).indices.values())
    limit = min(_POINTS, max(_FEWEST, _ALL_POINTS // max(1, len(runs))))
    # where runs were evaluated only once, at their end, a curve is the training loss alone
    has_losses = bool(np.isfinite(known["loss"]).any())
    validated = not has_losses or any(np.isfinite(known["val_bpb"][run]).sum() > 1 for run in runs)
    y = {"val_bpb": "validation, bits per byte"} if validated else {}
    y |= {"loss": "training loss, nats per token"} if has_losses else {}
    x = {name: said for name, said in X_AXES.items() if np.isfinite(known[name]).any()}
    lines = []
    for run in runs:
        first = curves.iloc[run[0]]
        columns = {name: known[name][run] for name in (*x, *y)}
        kept = _kept(known["val_bpb"][run], limit)
        if "loss" in y:
            columns["loss"] = _smoothed(columns["loss"])
        lines.append(
            {
                "label": str(first["variant"]),
                "detail": f"seed {first['seed']}",
                **looks.get(str(first["variant"]), look(0))._asdict(),
                "run": str(first["run_id"]),
                "done": states.get(first["run_id"]) == COMPLETE,
                **{name: _column(values[kept]) for name, values in columns.items()},
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
            **look(place)._asdict(),
            "done": True,
            "step": [row.step for row in rows],
            **{what: _column(case.ratio(row, role, what) for row in rows) for what in _RATIOS},
        }
        for place, role in enumerate(roles)
    ]
    guides = {"update": LIMITS["update_data_log10"].value}
    return {"x": {"step": X_AXES["step"]}, "y": _RATIOS, "lines": lines, "guides": guides}


def points(
    x: dict[str, str],
    y: dict[str, str],
    dots: Iterable[tuple[str, Look, pd.DataFrame]],
    best: tuple[str, Look, pd.DataFrame] | None = None,
    log: Iterable[str] = (),
) -> Chart:
    """Points that no line joins, each of which opens the panel of its run.

    Args:
        dots: label, look, and a frame with the columns of ``x``, ``y`` and ``run``; ``name`` where a point is
            called something.
        best: a line among them, in steps.
        log: columns of ``x`` that begin logarithmic.
    """
    said = {"run": "runs", "name": "names"}
    drawn: list[tuple[str, Look, pd.DataFrame, dict[str, Any]]] = [
        (*it, {"isDots": True} | {said[name]: it[2][name].tolist() for name in said if name in it[2]})
        for it in dots
    ]
    drawn += [(*best, {"isSteps": True})] if best else []
    lines = [
        {"label": label, "detail": "", **as_._asdict(), "done": True, **more}
        | {name: _column(frame[name]) for name in (*x, *y)}
        for label, as_, frame, more in drawn
    ]
    return {"x": x, "y": y, "lines": lines, "log": list(log)}


def _kept(
    evaluated: np.ndarray[Any, np.dtype[np.float64]], limit: int
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which rows are kept: about ``limit`` evenly spaced ones with the last, and as many evaluations."""
    kept = np.zeros(len(evaluated), dtype=bool)
    kept[:: -max(1, len(kept) // limit)] = True
    (places,) = np.nonzero(np.isfinite(evaluated))
    kept[places[:: -max(1, len(places) // limit)]] = True
    return kept


def _smoothed(losses: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The running mean over 1/20 of the losses there are, so that seeds can be told apart."""
    known = pd.Series(losses).dropna()
    mean = known.rolling(max(1, len(known) // 20), min_periods=1).mean()
    return mean.reindex(range(len(losses))).to_numpy()


def _column(values: Iterable[Any]) -> list[float | int | None]:
    """Numbers as JSON has them, to as many digits as a picture shows; None for what is missing."""
    return [_number(value) for value in values]


def _number(value: Any) -> float | int | None:
    if value is None or value is pd.NA or not math.isfinite(value):
        return None
    short = float(f"{float(value):.{_DIGITS}g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short
