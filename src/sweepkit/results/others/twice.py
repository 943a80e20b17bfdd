"""One run that a table of others has twice: it would count as two, and make the noise look smaller."""

from __future__ import annotations

from typing import Any

import pandas as pd

from sweepkit.errors import invalid
from sweepkit.printable import counted
from sweepkit.results.others.mapping import DROP, KEEP, Mapping
from sweepkit.results.others.source import Source

#: What a row is measured by, beside its metrics: where all of it is equal, two rows are one run.
_MEASURED = ("train_time_s", "median_step_time_s", "tokens_per_s", "mfu", "final_train_loss")


def once(frame: pd.DataFrame, source: Source, how: Mapping, notes: list[str]) -> pd.DataFrame:
    """Every run once: rows that agree in all cells, or in name and in all that was measured, are one."""
    named = [name for name in ("variant", "depth", "num_steps") if name in frame]
    measured = [name for name in (*how.compared, *_MEASURED) if name in frame]
    whole = frame.drop(columns="_row")
    is_copy = whole.duplicated()
    if "variant" in frame and len(measured) > 1:
        has_all = frame[measured].notna().all(axis=1)
        is_copy |= has_all & frame.duplicated([*named, *measured])
    if "run_id" in frame:
        again = frame["run_id"].notna() & frame.duplicated("run_id")
        _check_ids(frame, again & ~is_copy, source)
        is_copy |= again
    if not is_copy.any() or how.duplicates == KEEP:
        return frame
    row = frame[is_copy].iloc[0]
    if how.duplicates == DROP:
        dropped = frame["_row"][is_copy]
        said = counted(len(dropped), "row")
        notes.append(f"{said} left out, copies of others ({source.listed(dropped)})")
        return frame[~is_copy]
    first = _first_like(frame, row, [*named, *measured])
    what = "one run twice would count as two"
    remedy = "--duplicates drop leaves copies out, --duplicates keep takes them for runs that ended alike"
    raise invalid(
        f"{source.name}, {source.places[row['_row']]}",
        f"a copy of {source.places[first]}",
        f"be a run of its own ({what}; {counted(int(is_copy.sum()), 'such row')})",
        remedy,
    )


def _first_like(frame: pd.DataFrame, row: pd.Series[Any], names: list[str]) -> int:
    alike = pd.Series(True, frame.index)
    for name in names or [name for name in frame.columns if name != "_row"]:
        alike &= ((frame[name] == row[name]) | (frame[name].isna() & pd.isna(row[name]))).fillna(False)
    return int(frame["_row"][alike].iloc[0])


def _check_ids(frame: pd.DataFrame, is_wrong: pd.Series[bool], source: Source) -> None:
    if is_wrong.any():
        row = frame[is_wrong].iloc[0]
        first = frame["_row"][frame["run_id"] == row["run_id"]].iloc[0]
        contract = f"name one run, and {source.places[first]} is another of that name"
        remedy = "map another column to run_id, or leave run_id out"
        raise source.refused(row["_row"], "run_id", row["run_id"], contract, remedy)
