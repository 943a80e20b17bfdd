"""Columns of a table of runs by the names that a user gives them: numbers, labels, losses."""

from __future__ import annotations

import decimal
import numbers as kinds
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types

from sweepkit import errors
from sweepkit.analysis.laws.intervals import Floats
from sweepkit.printable import counted
from sweepkit.results.columns import LEVEL

#: States of runs that diverged, and of all that have answered; a table without states has ended runs.
_DIVERGED, _ANSWERED = "diverged", ("complete", "finished", "diverged")
_RUN_ID = "run_id"
#: What a number may be written as; true and false, complex ones and moments are none.
_NUMBERS = (kinds.Real, decimal.Decimal, str)
#: A setting takes so many of a column's rows a value, or more; what is measured hardly ever repeats.
_ROWS_A_VALUE = 3
#: What is of a run, not of its setting.
_OF_A_RUN = ("seed", "state", _RUN_ID)
#: A scale that differs by more than this share within a group is said to.
_ONE_SCALE = 0.01
_LEAVE_OUT = "leave such rows out with --where"


def ended(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Runs that have answered, and a sentence about the others."""
    if "state" not in frame:
        return frame, []
    state = frame["state"].astype("string").str.lower().fillna("without a state")
    answered = state.isin(_ANSWERED).astype(bool)
    others = state[~answered].value_counts().sort_index()
    states = ", ".join(f"{count} {name}" for name, count in others.items())
    said = f"{counted(len(state[~answered]), 'row')} left out, not ended with an answer: {states}"
    return frame[answered], [said] if states else []


def measured(frame: pd.DataFrame, name: str) -> tuple[pd.DataFrame, list[str]]:
    """Runs with a loss, and those that diverged; and a sentence about the others, which say nothing.

    Raises:
        ConfigError: as ``numbers``.
    """
    is_missing = np.isnan(numbers(frame, name, "--loss")) & ~_has_diverged(frame)
    said = f"{counted(int(is_missing.sum()), 'row')} without a loss left out: missing, not diverged"
    return frame[~is_missing], [said] if is_missing.any() else []


def placed(frame: pd.DataFrame, name: str, option: str) -> tuple[pd.DataFrame, list[str]]:
    """Runs that a column says the place of; and a sentence about those where it is empty, or infinite.

    Raises:
        ConfigError: as ``column``, or no row has it.
    """
    values = frame[column(frame, name, option)]
    has_value = values.notna().to_numpy() & (values.astype(str) != "").to_numpy()
    kept = has_value & ~np.isinf(_floats(values))
    if not kept.any():
        raise errors.invalid(option, name, "be there, and finite, in some row", "name another column")
    said = f"{counted(int((~kept).sum()), 'row')} left out: {name} is empty there, or infinite"
    return frame[kept], [said] if not kept.all() else []


def distinct(frame: pd.DataFrame, read: Sequence[str], answer: str) -> tuple[pd.DataFrame, list[str]]:
    """Every run once, and a sentence about rows that are copies of others: no more is known by them.

    Where every row has a run's id, it says with what is read which rows are one; else rows alike in all
    columns are. Runs that diverged, and points that are to be run, may well be alike.

    Args:
        read: columns, those that the table has not among them.
        answer: the column of what was measured.

    Raises:
        ConfigError: as ``numbers``.
    """
    is_known = np.isfinite(numbers(frame, answer, "--loss"))
    names = [item for name in (*read, answer) for item in (name, f"{LEVEL}{name}") if item in frame]
    has_ids = _RUN_ID in frame and frame[_RUN_ID].notna().all()
    keys = frame[[_RUN_ID, *names]] if has_ids else frame
    keys = keys.apply(lambda values: values.map(repr) if values.dtype == object else values)  # lists too
    is_copy = keys.duplicated().to_numpy() & is_known
    count = counted(int(is_copy.sum()), "row")
    said = f"{count} left out, the same as others to the last digit: a run counts once"
    return frame[~is_copy], [said] if is_copy.any() else []


def converged(frame: pd.DataFrame, name: str) -> tuple[pd.DataFrame, Floats, list[str]]:
    """Runs that did not diverge, their losses (above 0, since laws are of its logarithm; NaN of points that
    are to be run), and a sentence about the others.

    Raises:
        ConfigError: a loss that is not above 0, or as ``losses``.
    """
    loss_N = losses(frame, name)
    kept = ~np.isinf(loss_N)
    if (loss_N[kept] <= 0).any():
        value = float(loss_N[kept & (loss_N <= 0)][0])
        contract = f"be above 0 in every row of column {name}, for its logarithm is fitted"
        raise errors.invalid("--loss", value, contract, _LEAVE_OUT)
    return frame[kept], loss_N[kept], diverged(loss_N)


def diverged(loss_N: Floats, what: str = "no part of the fit") -> list[str]:
    """A sentence about the runs that diverged, if some did."""
    count = int(np.isinf(loss_N).sum())
    return [f"{counted(count, 'run')} diverged: {what}"] if count else []


def _has_diverged(frame: pd.DataFrame) -> npt.NDArray[np.bool_]:
    if "state" not in frame:
        return np.zeros(len(frame), dtype=bool)
    return frame["state"].astype("string").str.lower().eq(_DIVERGED).fillna(False).to_numpy(dtype=bool)


def column(frame: pd.DataFrame, name: str, option: str) -> str:
    """The column that is called so, or the axis of a sweep that is.

    Raises:
        ConfigError: there is none, or several.
    """
    names = [str(item) for item in frame.columns]
    for known in (name, f"{LEVEL}{name}"):
        if names.count(known) > 1:
            raise errors.invalid(
                option, known, "be one column of the table, not several", "rename the others"
            )
        if known in names:
            return known
    raise errors.invalid(option, name, "name a column of the table", errors.did_you_mean(name, names))


def in_order(frame: pd.DataFrame, name: str, option: str) -> pd.DataFrame:
    """Rows in the order of a column, whose words (``none`` beside 2) follow its numbers."""
    cells = frame[column(frame, name, option)]
    value_N = _floats(cells)
    word_N = np.where(np.isnan(value_N), cells.astype(str).to_numpy(dtype=str), "")
    return frame.iloc[np.lexsort((word_N, value_N))]


def unnamed(frame: pd.DataFrame, *named: str | None) -> list[str]:
    """A sweep's axes that are not named, yet differ between rows alike in those that are."""
    keys = [column(frame, name, "--axis") for name in named if name is not None]
    rows = frame.groupby(keys, dropna=False)
    others = [str(name) for name in frame.columns if str(name).startswith(LEVEL) and name not in keys]
    return [name for name in others if (rows[name].nunique(dropna=False) > 1).any()]


def uncounted(frame: pd.DataFrame, answer: str, *named: str | None) -> list[str]:
    """A sentence about columns of a table that is no sweep's which differ between runs of one level and
    look like settings: every value is at several levels, in several rows each.
    """
    keys = [column(frame, name, "--axis") for name in named if name is not None]
    if any(str(name).startswith(LEVEL) for name in frame.columns):
        return []
    frame = frame.assign(**{key: frame[key].map(repr) for key in keys})  # lists too
    found, rows = list[str](), frame.groupby(keys)
    for name in frame.columns.difference([*keys, answer, *_OF_A_RUN]):
        cells = frame[name]  # of a name twice, a table
        if cells.ndim > 1 or cells.isna().any() or not cells.map(types.is_hashable).all():
            continue
        count = cells.value_counts()
        levels = frame.groupby(name, observed=True)[keys[0]].nunique()
        is_setting = len(count) > 1 and count.min() >= _ROWS_A_VALUE and levels.min() > 1
        if is_setting and (rows[name].nunique() > 1).any():
            found.append(str(name))
    if not found:
        return []
    differ = "differs" if len(found) == 1 else "differ"
    return [
        f"{', '.join(found)} {differ} between runs of one {named[0]}, which counts as noise, for the "
        "question does not name it; --by or --axis2 tells its values apart, --where keeps one, --seed-column "
        "takes them as blocks"
    ]


def mean_scales(frame: pd.DataFrame, name: str, groups: Sequence[str]) -> tuple[dict[str, float], list[str]]:
    """Geometric mean of a scale in every group, and a sentence about those in which it is no one number.

    Raises:
        ConfigError: as ``positive``.
    """
    log_G = pd.Series(np.log(positive(frame, name, "--scale"))).groupby(list(groups), sort=False)
    found = {str(group): float(np.exp(value)) for group, value in log_G.mean().items()}
    width_G = log_G.max() - log_G.min()
    if not (width_G > _ONE_SCALE).any():
        return found, []
    widest = str(width_G.idxmax())
    low, high = (float(np.exp(end[widest])) for end in (log_G.min(), log_G.max()))
    return found, [
        f"{name} is no one number within {', '.join(map(str, width_G.index[width_G > _ONE_SCALE]))} "
        f"({low:.6g} to {high:.6g} in {widest}): the law is in its geometric mean"
    ]


def numbers(frame: pd.DataFrame, name: str, option: str) -> Floats:
    """A column as numbers, NaN where it is empty.

    Raises:
        ConfigError: there is no such column, or it holds words.
    """
    found = column(frame, name, option)
    values = _floats(frame[found])
    words = frame[found][np.isnan(values) & frame[found].notna()].astype(str)
    words = words[~words.str.lower().isin(["nan", ""])]
    if len(words):
        remedy = f"name a column of numbers, or {_LEAVE_OUT}"
        raise errors.invalid(option, str(words.iloc[0]), f"be a number in column {found}", remedy)
    return values


def _floats(cells: pd.Series) -> Floats:
    """A column's numbers, those that are text too; NaN where a cell is none."""
    if not types.is_numeric_dtype(cells) or types.is_bool_dtype(cells) or types.is_complex_dtype(cells):
        is_number = cells.map(lambda item: isinstance(item, _NUMBERS) and not isinstance(item, bool))
        cells = cells.astype(object).where(is_number.to_numpy(dtype=bool))
    values = pd.to_numeric(cells, errors="coerce").astype("float64")
    return np.asarray(values.to_numpy(na_value=np.nan), dtype=float)


def positive(frame: pd.DataFrame, name: str, option: str) -> Floats:
    """A column of finite numbers above 0, as a logarithm needs them.

    Raises:
        ConfigError: one of them is not, or as ``numbers``.
    """
    values = numbers(frame, name, option)
    bad = ~((values > 0) & np.isfinite(values))
    if bad.any():
        contract = f"be above 0 and finite in every row of column {name}"
        raise errors.invalid(option, float(values[bad][0]), contract, _LEAVE_OUT)
    return values


def is_scale(frame: pd.DataFrame, name: str) -> bool:
    """Whether a column holds numbers above 0 alone, so that a law can be stated in it."""
    values = _floats(frame[column(frame, name, "--by")])
    return bool(((values > 0) & np.isfinite(values)).all())


def losses(frame: pd.DataFrame, name: str, is_higher_better: bool = False) -> Floats:
    """Losses, infinite where a run diverged; minus the metric where higher is better.

    Raises:
        ConfigError: no run has one, or as ``numbers``.
    """
    values_N = numbers(frame, name, "--loss")
    loss_N: Floats = np.where(_has_diverged(frame), np.inf, -values_N if is_higher_better else values_N)
    if not np.isfinite(loss_N).any():
        raise errors.invalid("--loss", name, "be there for some run", "name the column with losses")
    return loss_N


def labels(frame: pd.DataFrame, name: str, option: str) -> list[str]:
    """A column as names of groups; numbers short, where that keeps them apart.

    Raises:
        ConfigError: there is no such column, or it is empty in some row.
    """
    values = frame[column(frame, name, option)]
    if values.isna().any():
        empty = counted(int(values.isna().sum()), "row")
        raise errors.invalid(
            option, f"empty in {empty}", f"be there in every row of column {name}", _LEAVE_OUT
        )
    found = list(values)
    short, long = (
        [f"{item:.{digits}g}" if isinstance(item, float) else str(item) for item in found]
        for digits in (6, 15)
    )
    return short if len(set(short)) == len(set(long)) else long
