"""What a source has logged on the way, as the curves table has it."""

from __future__ import annotations

import pandas as pd

from sweepkit.results import columns, curve_columns, store
from sweepkit.results.others import values
from sweepkit.results.others.mapping import Mapping
from sweepkit.results.others.source import Source

_OF_RUN = ("variant", "role", "rung", "depth", "seed", "state")


def typed(source: Source, how: Mapping, runs: pd.DataFrame) -> pd.DataFrame | None:
    """Columns renamed as the runs' were, and joined with what is known of every run; None without any.

    Only documented columns of the curves table are kept: a chart of others has many more.
    """
    if source.curves is None or source.curves.empty:
        return None
    found = source.curves.rename(columns=how.names | _without_summary(how.names))
    known = [name for name in map(str, found.columns) if curve_columns.find(name)]
    made = {}
    for name in known:
        column = curve_columns.find(name)
        assert column is not None
        if column.dtype == columns.TEXT:
            made[name] = list(found[name])
        else:
            made[name] = [values.number(cell, source.decimal) for cell in found[name]]
    rows = pd.DataFrame(made)
    there = runs[["run_id", *(name for name in _OF_RUN if name in runs)]]
    rows = rows[[name for name in rows if name == "run_id" or name not in there]]
    rows = rows.merge(there.drop_duplicates("run_id"), on="run_id")
    return store.typed(rows, curve_columns.CURVE_COLUMNS) if len(rows) else None


def _without_summary(names: dict[str, str]) -> dict[str, str]:
    """wandb's last value is summary.loss, and what was logged on the way loss."""
    start = "summary."
    return {name.removeprefix(start): ours for name, ours in names.items() if name.startswith(start)}
