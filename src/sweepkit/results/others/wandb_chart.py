"""The CSV that wandb exports of a chart: a column of steps, and three columns a run and metric.

``Step, wide-s1 - val_loss, wide-s1 - val_loss__MIN, wide-s1 - val_loss__MAX, ...``: a row a step. A run's
metric is its last value; all of them are its curve.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from sweepkit.results.others.source import Source

_BETWEEN, _ENDS = " - ", ("__MIN", "__MAX")


def is_chart(names: Sequence[str]) -> bool:
    """Whether a header is a chart's."""
    return any(_BETWEEN in name and name + _ENDS[0] in names for name in names)


def as_runs(chart: Source) -> Source:
    """A row a run: ``run_id``, ``step`` and a column a metric."""
    names = [str(name) for name in chart.cells.columns]
    logged = [name for name in names if _BETWEEN in name and not name.endswith(_ENDS)]
    # a chart over time has no steps
    steps = list(chart.cells[names[0]]) if names[0].lower() in ("step", "_step") else [""] * len(chart.cells)
    rows: dict[str, dict[str, object]] = {}
    curves: dict[tuple[str, str], dict[str, object]] = {}
    for name in logged:
        run_id, _, metric = name.rpartition(_BETWEEN)
        row = rows.setdefault(run_id, {"run_id": run_id})
        for step, value in zip(steps, chart.cells[name], strict=True):
            if str(value).strip():
                row |= {"step": step, metric: value}
                key = {"run_id": run_id, "step": step}
                curves.setdefault((run_id, str(step)), key)[metric] = value
    metrics = dict.fromkeys(name.rpartition(_BETWEEN)[2] for name in logged)
    columns = ["run_id", "step", *metrics]
    cells = pd.DataFrame([{name: row.get(name, "") for name in columns} for row in rows.values()])
    found = pd.DataFrame(list(curves.values()), columns=columns, dtype=object) if any(steps) else None
    places = [f"columns of {run_id}" for run_id in rows]
    note = "a chart's export: every run has the last value that the chart shows of it"
    return Source(
        chart.name, "wandb chart", cells.astype(object), places, chart.sha256, chart.decimal, found, [note]
    )
