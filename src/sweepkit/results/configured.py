"""Every configured field of runs as a column: ``load(NAME, config=True)``.

A field's column bears its dotted name and holds what was asked for, before anything is scaled; what the plan
made of rates and sizes stands in columns of its own (``learning_rates_<group>``, ``total_batch_size``).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from sweepkit.config import facts
from sweepkit.config.schema import RunConfig
from sweepkit.results import columns
from sweepkit.results.record import RunDir
from sweepkit.sweep import frozen

_DTYPES = {frozenset({int}): columns.INT, frozenset({float}): columns.FLOAT, frozenset({bool}): columns.BOOL}


def joined(frame: pd.DataFrame, results_dir: Path, sweep: str | None) -> pd.DataFrame:
    """``frame`` with a column a field; those that have a column of their own already (seed) are left out.

    Args:
        sweep: whose runs they are; None: each run's own plan is read.

    Raises:
        FrozenPlanError: the frozen plan was edited.
    """
    found = _of_sweep(results_dir, sweep) if sweep else _of_runs(frame["run_id"], results_dir)
    rows = [found.get(run_id, {}) for run_id in frame["run_id"]]
    names = [name for name in dict.fromkeys(key for row in rows for key in row) if name not in frame]
    added = {name: column(name, [row.get(name) for row in rows]) for name in names}
    return pd.concat([frame, pd.DataFrame(added, index=frame.index)], axis="columns")


def column(name: str, values: list[Any]) -> pd.Series[Any]:
    """Values of a field with the dtype of its type; of one that also takes words, text where any is one."""
    field = facts.fields_of(RunConfig).get(name)
    dtype = _DTYPES.get(frozenset(field.kinds)) if field else None
    if dtype is None:
        given = {type(value) for value in values if value is not None}
        numbers = columns.INT if given == {int} else columns.FLOAT
        dtype = numbers if given and given <= {int, float} else columns.TEXT
    if dtype == columns.TEXT:
        values = [None if value is None else facts.spelled(value) for value in values]
    return pd.Series(values, dtype=object).astype(pd.api.types.pandas_dtype(dtype))


def _of_sweep(results_dir: Path, sweep: str) -> dict[str, Mapping[str, Any]]:
    cells = frozen.load_frozen(results_dir, sweep).cells
    return {cell.plan.run_id: cell.plan.settings for cell in cells}


def _of_runs(run_ids: pd.Series[str], results_dir: Path) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for run_id in run_ids:
        path = RunDir.of(results_dir, run_id)
        try:
            found[run_id] = path.read_plan().settings
        except (ValueError, OSError, KeyError, TypeError) as error:
            warnings.warn(
                f"{path.plan_path} cannot be read, so its fields are missing ({error})", stacklevel=4
            )
    return found
