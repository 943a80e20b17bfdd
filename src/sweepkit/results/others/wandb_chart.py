"""The CSV that wandb exports of a chart: a column of steps, and three columns a run and metric.

``Step, wide-s1 - val_loss, wide-s1 - val_loss__MIN, wide-s1 - val_loss__MAX, ...``: a row a step. A run's
metric is its last value; all of them are its curve. A grouped chart has a group's mean for a run
(``optimizer: adam - val_loss``), from its lowest to its highest run, and does not tell how many these are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd

from sweepkit.results.others.source import Source

_BETWEEN, _ENDS = " - ", ("__MIN", "__MAX")
#: What wandb calls a group: ``optimizer: adam``.
_GROUP = re.compile(r"[^:]+: .+")


def is_chart(names: Sequence[str]) -> bool:
    """Whether a header is a chart's."""
    return any(_BETWEEN in name and name + _ENDS[0] in names for name in names)


def _is_grouped(chart: Source, logged: Sequence[str]) -> bool:
    """Whether columns are called after a value of the configuration, and hold more than one run."""
    is_named = all(_GROUP.fullmatch(name.rpartition(_BETWEEN)[0]) for name in logged)
    return is_named and any(
        low.strip() != high.strip()
        for name in logged
        if {name + end for end in _ENDS} <= set(chart.cells)
        for low, high in zip(*(chart.cells[name + end] for end in _ENDS), strict=True)
    )


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
    if _is_grouped(chart, logged):
        cells["variant"] = cells["run_id"]
        note = (
            "a grouped chart's export: every row is the mean of a group's runs, and nothing tells how many "
            "they are or how they scatter; for verdicts export the chart ungrouped, or the runs table"
        )
    return Source(
        chart.name, "wandb chart", cells.astype(object), places, chart.sha256, chart.decimal, found, [note]
    )
