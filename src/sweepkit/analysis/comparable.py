"""Refusing to compare what cannot be compared.

Losses on different text, under another row layout or byte rule are different quantities, and a run on
other hardware, versions or threads differs by more than its variant. Records carry a fingerprint of either; a
rung whose complete runs disagree is refused with an error that names the difference. A dtype that differs
between variants but not within one is that variant's own change, and allowed.
"""

from __future__ import annotations

import pandas as pd

from sweepkit.errors import SweepkitError

#: Parts of the environment fingerprint that are columns.
_PARTS = ("hardware", "device", "dtype", "num_threads")


def check(rows: pd.DataFrame, metric: str, allow_mixed_environments: bool = False) -> None:
    """Refuse runs that were measured on different text or made in different environments.

    Args:
        rows: complete runs of one rung.
        metric: ``val_bpb`` or ``bpb_<stream>``.
        allow_mixed_environments: compare across hardware, versions and threads all the same.

    Raises:
        SweepkitError: names the fingerprint, the runs and what differs.
    """
    column = evaluation_column(metric)
    for _, other in _disagreeing(rows, column):
        first = rows.iloc[0]
        raise SweepkitError(
            f"{column} is {_show(first, column)} for {first['run_id']} and {_show(other, column)} for "
            f"{other['run_id']}, but must be one for all runs compared: {metric} was measured on different "
            "text, byte ranges or row layouts; give both the same evaluation, tokenizer and sequence_len"
        )
    if not allow_mixed_environments:
        _check_environment(rows)


def evaluation_column(metric: str) -> str:
    """The column that holds the fingerprint of what ``metric`` was measured on."""
    stream = metric.removeprefix("bpb_")
    return "evaluation_fingerprint" if metric == "val_bpb" else f"evaluation_fingerprint_{stream}"


def _check_environment(rows: pd.DataFrame) -> None:
    dtype_is_the_variants_own = "dtype" in rows and bool(
        (rows.groupby("variant")["dtype"].nunique(dropna=False) <= 1).all()
    )
    for first, other in _disagreeing(rows, "environment_fingerprint"):
        parts = [name for name in _PARTS if name in rows and _show(first, name) != _show(other, name)]
        if parts == ["dtype"] and dtype_is_the_variants_own:
            continue
        what = "; ".join(f"{name} {_show(first, name)} against {_show(other, name)}" for name in parts)
        raise SweepkitError(
            f"environment_fingerprint differs between {first['run_id']} and {other['run_id']} "
            f"({what or 'torch version or compilation'}), but must be one for all runs compared; "
            "go on with the launcher and machine that the first runs had (delete the run folders of one of "
            "the two and run the sweep again), or say that mixing is fine with --allow-mixed-environments"
        )


def _disagreeing(rows: pd.DataFrame, column: str) -> list[tuple[pd.Series, pd.Series]]:
    """The first row, with the first row of every other value in ``column``; empty when all agree."""
    if column not in rows or rows.empty:
        return []
    firsts = rows.drop_duplicates(subset=[column])
    return [(firsts.iloc[0], firsts.iloc[index]) for index in range(1, len(firsts))]


def _show(row: pd.Series, name: str) -> str:
    value = row[name]
    return "missing" if pd.isna(value) else str(value)
