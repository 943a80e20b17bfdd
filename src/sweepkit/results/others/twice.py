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

_DIGITS = 8


def once(frame: pd.DataFrame, source: Source, how: Mapping, notes: list[str]) -> pd.DataFrame:
    """Every run once.

    Rows are one run that agree in all cells, or in name, seed and all that was measured. Where a row tells a
    name and a short number alone, and no seed, two runs may have ended alike: that is said.
    """
    named = [name for name in ("variant", "depth", "num_steps", "seed") if name in frame]
    measured = [name for name in (*how.compared, *_MEASURED) if name in frame]
    whole = frame.drop(columns=["_row", "state"])
    is_alike = whole.duplicated() & whole.drop(columns=named).notna().any(axis=1)
    is_copy = is_alike.copy()
    if set(whole) <= {*named, *how.compared, *how.variant}:
        is_seeded = frame["seed"].notna() if "seed" in frame else False
        is_copy &= frame[measured].map(_is_long).any(axis=1) | is_seeded
    if "variant" in frame and len(measured) > 1:
        has_all = frame[measured].notna().all(axis=1)
        is_copy |= has_all & frame.duplicated([*named, *measured])
    if "run_id" in frame:
        again = frame["run_id"].notna() & frame.duplicated("run_id")
        _check_ids(frame, again & ~is_copy, source)
        is_copy |= again
    if how.duplicates == DROP:
        is_copy |= is_alike
    elif (is_alike & ~is_copy).any():
        rows = source.listed(frame["_row"][is_alike & ~is_copy])
        notes.append(f"rows that tell what others tell ({rows}) are taken for runs that ended alike")
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


def _is_long(value: object) -> bool:
    """Whether two runs would hardly have a number in common by chance."""
    return isinstance(value, float) and len(str(value).replace(".", "").lstrip("0")) >= _DIGITS


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
