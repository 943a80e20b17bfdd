"""Learning curves: the metrics.jsonl of many runs as one long table.

A run writes a row a logged step, and again for a step that a restarted attempt repeats;
``RunDir.metrics`` keeps the last.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sweepkit.results import asked, columns, curve_columns
from sweepkit.results.columns import Row
from sweepkit.results.record import RunDir

_RUN_COLUMNS = ("run_id", "variant", "role", "rung", "depth", "seed", "state")


def rows(frame: pd.DataFrame, results_dir: Path) -> pd.DataFrame:
    """All logged steps of the runs in a runs table.

    Args:
        frame: a runs table; a cell whose run has not started has no rows.
        results_dir: where ``runs/`` is.
    """
    table: list[Row] = []
    for values in frame.itertuples(index=False, name=None):
        cell = dict(zip(frame.columns, values, strict=True))
        run = RunDir.of(results_dir, str(cell["run_id"]))
        identity = {name: cell[name] for name in _RUN_COLUMNS}
        table += [identity | _row(metrics, cell) for metrics in run.metrics()]
    return with_costs(pd.DataFrame(table), frame)


def _row(metrics: Row, cell: Row) -> Row:
    row = {
        name: value
        for name, value in metrics.items()
        # or what a command calls its metric
        if curve_columns.find(name) or (name in cell and columns.find(name) is None)
    }
    if not pd.isna(cell["evaluated_apart"]):  # what was logged on the way is of another text
        row = {name: value for name, value in row.items() if not asked.is_loss(name)}
    return row


def with_costs(curves: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Curves with tokens and FLOPs so far where they were not logged, or not published.

    ``step`` counts finished steps, so that both follow from what a run's plan says of one.

    Args:
        runs: the runs table of these curves.
    """
    if curves.empty:
        return curves
    found, by_run = curves.copy(), runs.drop_duplicates("run_id").set_index("run_id")
    for name, times, of in (("tokens", "total_batch_size", "step"), ("flops", "flops_per_token", "tokens")):
        if times in by_run and of in found:
            made = found["run_id"].map(by_run[times]).astype("Float64") * found[of].astype("Float64")
            found[name] = found[name].astype("Float64").fillna(made) if name in found else made
    return found
