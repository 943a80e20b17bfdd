"""A table of runs that sweepkit did not make, with the columns and dtypes of the runs table.

Whatever a row leaves open is filled in (run ids, states, step times) or refused with the row's name; a
verdict is not to rest on a cell that was misread. A loss or a time that is not above 0 is none, as a missing
number that was written as 0; an infinite loss is a run that diverged.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from sweepkit import errors
from sweepkit.analysis import copies
from sweepkit.promotion import shared_seeds
from sweepkit.results import state_words, variant_said
from sweepkit.results.columns import CORRUPT, PLANNED, REFERENCE, is_reference
from sweepkit.results.record import RunState
from sweepkit.sweep import last_rung, metric
from sweepkit.sweep.decision import DecisionRule

#: The rung of a table without depths.
ALL_DEPTHS = "all depths"
_NEEDED = ("variant", "seed")
_COSTS = ("train_time_s", "median_step_time_s", "num_steps", "total_flops")
_TEXT = ("variant", "state", "failure_class", "hardware", "dtype", "device", "pair_key", "compile_key")
_STATES = (*(state.value for state in RunState), PLANNED, CORRUPT)
_MOST_LAYERS = 1e6
_COPIES_NAMED = 3
_LARGEST = 1e100  # squares of what is larger are no numbers
_STEPS_ALIKE = 1.02
#: States of runs that have not ended.
OPEN = (RunState.running.value, RunState.preempted.value)
_ONE_OF_SEVERAL = "be one of two variants or more in the table"
_EMPTY = "leave the cell empty where nothing was measured"


def read(frame: pd.DataFrame, reference: str, rule: DecisionRule, seeds: str | None = None) -> pd.DataFrame:
    """The runs, smallest depth first, in an order of their own; the reference is called ``REFERENCE``.

    Rows in state planned are no runs and are left out.

    Args:
        frame, reference, seeds: as for ``compare.compare``.
        rule: its metrics and scores are the columns that have to be there.

    Raises:
        ConfigError: a column is missing, a cell cannot be what it is there for, or a run is there twice.
    """
    _check_columns(frame)
    said = shared_seeds.declared(frame, seeds)
    frame = shared_seeds.numbered(frame, said)
    _check_there(frame, rule)
    rows = frame.copy()
    for name in _TEXT:
        if name in rows:
            rows[name] = rows[name].astype("string")
    if "state" in rows:
        rows["state"] = rows["state"].map(state_words.ours, na_action="ignore").astype("string")
        # what was never run was not tried, and nothing has to be corrected for it
        rows = rows[(rows["state"] != PLANNED).fillna(True)].copy()
    _check_reference(list(dict.fromkeys(rows["variant"].dropna())), reference)
    for name in _NEEDED:
        _check(rows, name, rows[name].isna(), "be there in every row", "fill it in, or delete the row")
    is_padded = rows["variant"] != rows["variant"].str.strip()
    _check(rows, "variant", is_padded, "have no blanks around it", "take them out: they name another variant")
    for name in (*metrics(rule), *rule.scores, *_COSTS):
        if name in rows:
            rows[name] = _numbers(rows, name, rule)
    rows["state"] = _states(rows, metrics(rule))
    remedy = (
        """wait for the run to end, or import without it (sweepkit import --where "state != 'running'")"""
    )
    _check(rows, "state", rows["state"].isin(OPEN), "have ended before anything is judged", remedy)
    rows["seed"] = _seeds(rows)
    depth = _depths(rows)
    rows["rung"] = [ALL_DEPTHS if pd.isna(value) else f"d{value}" for value in depth]
    _check_once(rows, reference, rule.metric)
    _check_steps(rows)
    rows["variant"] = [
        REFERENCE + name.removeprefix(reference) if is_reference(name, reference) else name
        for name in rows["variant"]
    ]
    rows = shared_seeds.paired(rows, said)
    if said == shared_seeds.SHARED:
        planned = frame[frame["state"] == PLANNED] if "state" in frame else frame.iloc[:0]
        rows = shared_seeds.absent(rows, planned[list(_NEEDED)])
    order = {ALL_DEPTHS: -1} | {f"d{value}": value for value in depth.dropna()}
    rows = rows.assign(_depth=rows["rung"].map(order))
    rows = rows.sort_values(["_depth", "variant", "seed"], kind="stable")
    return _completed(rows.drop(columns="_depth"), metrics(rule))


def metrics(rule: DecisionRule) -> list[str]:
    """Columns that some depth may be decided by."""
    held_back = last_rung.holdout_column(rule.metric) if metric.is_stream(rule.metric) else None
    named = (rule.metric, rule.last_metric, held_back)
    return [name for name in dict.fromkeys(named) if name]


def _check_there(frame: pd.DataFrame, rule: DecisionRule) -> None:
    """Every column that the rule needs; all that are missing are named at once."""
    needed = dict.fromkeys([*_NEEDED, *filter(None, (rule.metric, rule.last_metric)), *rule.scores])
    missing = [name for name in needed if name not in frame]
    if not missing:
        return
    known = [str(column) for column in frame.columns]
    near = [errors.did_you_mean(name, known) for name in missing]
    asked = any(name not in _NEEDED for name in missing)
    other = ", or name others in the rule (decision.metric=bpb_probe)" if asked else ""
    only_scores = all(name in rule.scores for name in missing)
    raise errors.invalid(
        "decision.scores" if only_scores else "column" if len(missing) == 1 else "columns",
        ", ".join(missing),
        f"be in the table (it has {', '.join(known)})",
        "; ".join(dict.fromkeys(near)) + f" or rename yours{other}",
    )


def lookalikes(names: Sequence[str]) -> list[str]:
    """A sentence for names that differ by blanks or capitals alone: they are judged as two variants."""
    alike: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        alike.setdefault("".join(name.split()).casefold(), []).append(repr(name))
    return [
        f"variants {' and '.join(same)} differ by blanks or capitals alone, and are judged as {len(same)}"
        for same in alike.values()
        if len(same) > 1
    ]


def copied(rows: pd.DataFrame, metric: str) -> list[str]:
    """A sentence for runs whose values are the same to more digits than two trainings ever are.

    Equal ones of one seed are left to the verdict: a variant that changes nothing has them. So are equal ones
    of few digits, as rounded losses and accuracies have them by chance.
    """
    there = rows[rows[metric].notna()]
    values = [float(value) for value in there[metric]]
    alike: dict[tuple[str, float], list[tuple[str, int, float]]] = {}
    for rung, variant, seed, value, first in zip(
        *(there[name] for name in ("rung", "variant", "seed")), values, copies.merged(values), strict=True
    ):
        alike.setdefault((str(rung), first), []).append((str(variant), int(seed), value))
    pairs = [
        f"{one[0]} seed {one[1]} and {other[0]} seed {other[1]}"
        for same in alike.values()
        for one, other in itertools.pairwise(same)
        if one[2] != other[2] or (one[1] != other[1] and float(f"{one[2]:.9g}") != one[2])
    ]
    if not pairs:
        return []
    more = f" and {len(pairs) - _COPIES_NAMED} more" if len(pairs) > _COPIES_NAMED else ""
    shown = "; ".join(pairs[:_COPIES_NAMED])
    return [f"{metric} is the same to nine digits or more, as of a row that was copied: {shown}{more}"]


def reference_of(frame: pd.DataFrame, said: str) -> str:
    """The reference's label in a table, where it is said by its levels. Raises ConfigError: none has them."""
    _check_columns(frame)
    if "variant" not in frame:
        return said  # what is missing is told with every other column
    names = [str(name) for name in dict.fromkeys(frame["variant"].dropna())]
    return variant_said.find("reference", said, names, _ONE_OF_SEVERAL)


def _check_reference(names: Sequence[str], reference: str) -> None:
    others = [name for name in names if not is_reference(name, reference)]
    if reference not in names or not others:
        raise variant_said.unknown("reference", reference, others, _ONE_OF_SEVERAL)
    if REFERENCE in names and reference != REFERENCE:
        raise errors.invalid(
            "variant", REFERENCE, "be the reference's name alone", f"give --reference {REFERENCE}"
        )


def _numbers(rows: pd.DataFrame, name: str, rule: DecisionRule) -> pd.Series[float]:
    """A column as numbers; only a metric may be infinite, in the direction in which it diverges."""
    found = _as_numbers(rows[name])
    _check(rows, name, found.isna() & rows[name].notna(), "be a number", _EMPTY)
    is_beyond = (found.abs() > _LARGEST) & (found.abs() != math.inf)
    _check(rows, name, is_beyond, f"be at most {_LARGEST:g}", _EMPTY)
    if name == "num_steps":
        _check(rows, name, found % 1 != 0, "be a whole number", "write the steps that were taken")
    known = metric.known(name)
    if name in _COSTS or (known is not None and known.is_positive):
        _check(rows, name, found <= 0.0, "be above 0", _EMPTY)
    if name in metrics(rule):
        best = -rule.sign * math.inf
        _check(rows, name, found == best, "be finite, or infinitely bad for a run that diverged", _EMPTY)
    else:
        _check(rows, name, found.abs() == math.inf, "be finite", _EMPTY)
    return found


def _as_numbers(values: pd.Series[Any]) -> pd.Series[float]:
    """Numbers, and what people write as one; no truth values, dates or durations, which pandas counts too."""
    if pd.api.types.is_bool_dtype(values) or values.map(lambda value: isinstance(value, bool)).any():
        return pd.Series(pd.NA, values.index, dtype="Float64")
    if not pd.api.types.is_numeric_dtype(values) and values.dtype.kind not in "OTSU":
        return pd.Series(pd.NA, values.index, dtype="Float64")
    try:
        return pd.to_numeric(values, errors="coerce").astype("Float64")
    except (TypeError, ValueError, OverflowError):
        return pd.Series(pd.NA, values.index, dtype="Float64")


def check_names(names: Sequence[str]) -> None:
    """Raises ConfigError where two columns have one name."""
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise errors.invalid("column", twice, "be there once", "rename or delete the other one")


def _check_columns(frame: pd.DataFrame) -> None:
    names = [str(name) for name in frame.columns]
    check_names(names)


def _seeds(rows: pd.DataFrame) -> pd.Series[int]:
    """Seeds as whole numbers, 0 or more: what pairs runs is not to be rounded or guessed."""
    found = _as_numbers(rows["seed"])
    is_whole = (found % 1 == 0) & (found >= 0) & (found.abs() < 2**63)
    _check(rows, "seed", ~is_whole.fillna(False), "be a whole number, 0 or more", "number the seeds: 1, 2, 3")
    return found.astype("Int64")


def _depths(rows: pd.DataFrame) -> pd.Series[int]:
    if "depth" not in rows or rows["depth"].isna().all():
        return pd.Series(pd.NA, rows.index, dtype="Int64")
    _check(rows, "depth", rows["depth"].isna(), "be there in every row, or in none", "fill it in")
    depth = _as_numbers(rows["depth"])
    is_depth = (depth % 1 == 0) & (depth > 0) & (depth < _MOST_LAYERS)
    _check(rows, "depth", ~is_depth.fillna(False), "be a whole number of layers", "write 12 for d12")
    return depth.astype("Int64")


def _check(rows: pd.DataFrame, name: str, is_wrong: pd.Series[bool], contract: str, remedy: str) -> None:
    """Refuse a table for the first of the wrong cells in a column."""
    wrong = rows[is_wrong.fillna(False).to_numpy(dtype=bool)]
    if len(wrong):
        row = wrong.iloc[0]
        others = [key for key in (*_NEEDED, "depth") if key != name and key in row and not pd.isna(row[key])]
        where = ", ".join(f"{key} {row[key]}" for key in others)
        given = row[name]
        value = None if pd.isna(given) else given.item() if hasattr(given, "item") else given
        raise errors.invalid(f"column {name}", value, f"{contract} ({where})", remedy)


def _check_once(rows: pd.DataFrame, reference: str, metric: str) -> None:
    """A variant runs once a seed; the reference may run more often, but no run is there twice."""
    of_reference = rows["variant"] == reference
    named = ["run_id"] if "run_id" in rows else ["rung", "seed", metric]
    merged = rows.assign(
        **{metric: copies.merged(rows[metric].to_numpy(dtype="float64", na_value=math.nan).tolist())}
    )
    again = of_reference & rows[metric].notna() & merged.duplicated(["variant", *named])
    _check(
        rows, "seed", again, "be there once a run: this one is a copy of another", "delete one of the rows"
    )
    twice = ~of_reference & rows.duplicated(["variant", "rung", "seed"])
    remedy = "delete one of the rows, or give runs on the same tokens seeds of their own and one pair_key"
    _check(rows, "seed", twice, "be there once for a variant", remedy)


def _check_steps(rows: pd.DataFrame) -> None:
    """Losses compare within a step count: the complete runs of a variant took as many, or nearly."""
    if "num_steps" not in rows:
        return
    done = rows[rows["state"] == RunState.complete]
    most = done.groupby(["rung", "variant"])["num_steps"].transform("max")
    remedy = (
        "put the steps into the variant's name, leave those runs out, or, where runs were to take equal "
        "time, "
        "give the column another name"
    )
    is_short = done["num_steps"] * _STEPS_ALIKE < most
    _check(done, "num_steps", is_short, "be one for all runs of a variant, within 2%", remedy)


def _states(rows: pd.DataFrame, metrics: Sequence[str]) -> pd.Series[str]:
    """How every run ended: as the table says, else by whether it has a loss; an infinite one diverged."""
    losses = rows[[name for name in metrics if name in rows]]
    state = losses.notna().any(axis=1).map({True: RunState.complete.value, False: RunState.failed.value})
    if "state" in rows:
        state = rows["state"].fillna(state)
        remedy = "leave the cell empty: a run with a loss is then complete, one without is missing"
        _check(rows, "state", ~state.isin(_STATES), f"be one of {', '.join(_STATES)}", remedy)
    blew_up = (losses.abs() == math.inf).fillna(False).any(axis=1)
    return state.mask(blew_up & (state == RunState.complete), RunState.diverged.value)


def _completed(rows: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """With run ids and step times where the table has none; without infinite losses, which are none."""
    number = rows.groupby(["rung", "variant", "seed"]).cumcount()
    made = pd.Series(_run_ids(rows, list(number)), rows.index, dtype="string")
    rows["run_id"] = rows["run_id"].astype("string").fillna(made) if "run_id" in rows else made
    for name in metrics:
        if name in rows:
            rows[name] = rows[name].mask(rows[name].abs() == math.inf)
    if "failure_class" not in rows:
        rows["failure_class"] = pd.Series(pd.NA, rows.index, dtype="string")
    if "median_step_time_s" not in rows and "train_time_s" in rows:
        # a ratio of times is one of step times where no steps are given
        steps = rows.get("num_steps", 1.0)
        rows["median_step_time_s"] = rows["train_time_s"] / steps
        if "num_steps" not in rows:
            rows["num_steps"] = pd.Series(1.0, rows.index, dtype="Float64")
    return rows


def _run_ids(rows: pd.DataFrame, number: Sequence[int]) -> list[str]:
    """``d12-wide-s1``; several runs of one seed are counted."""
    return [
        ("" if rung == ALL_DEPTHS else f"{rung}-") + f"{variant}-s{seed}" + (f"-{place + 1}" if place else "")
        for rung, variant, seed, place in zip(
            rows["rung"], rows["variant"], rows["seed"], number, strict=True
        )
    ]
