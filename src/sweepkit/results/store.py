"""The runs table: one row a cell of a sweep's frozen plan, joined with what its run recorded.

``load("NAME")`` reads ``results/NAME/plan.jsonl``, for a search also ``trials.jsonl``, amendments, and the
record of every run in them. Every cell has its row whatever became of it: a run without a record is
``planned``, one that failed or diverged keeps its reason, one whose record cannot be read is ``corrupt``
(with a warning). A published sweep is read from its tables, without the runs, and so are runs that others
made (``imported.py``).
``load("all")`` gives every run directory instead, whoever asked for it; the columns that only a sweep knows
(variant, role, rung, levels) are then missing. Dtypes, units and meanings are in ``columns.py``.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from sweepkit import fsio
from sweepkit.config import paths
from sweepkit.errors import SweepkitError, did_you_mean, invalid
from sweepkit.plan.command_plan import Plan
from sweepkit.results import (
    asked,
    columns,
    configured,
    curve_columns,
    export,
    flatten,
    imported,
    learning_curves,
    planned_epochs,
    pruned,
)
from sweepkit.results.columns import CORRUPT, DELETED, INFEASIBLE, PLANNED, REFERENCE, Column, Row
from sweepkit.results.index import read_cached
from sweepkit.results.record import RunDir, RunState
from sweepkit.sweep import file, frozen_head, published_seal, seen
from sweepkit.sweep.cell import VARIANT
from sweepkit.sweep.file import SweepFile

#: ``load(ALL)`` reads every run directory.
ALL = "all"


def load(
    sweep: str | None = None,
    results_dir: Path | str | None = None,
    evaluation: str | None = None,
    *,
    config: bool = False,
) -> pd.DataFrame:
    """The runs of a sweep as a table with typed, documented columns.

    Args:
        sweep: name of a sweep; "all" or None for every run directory.
        results_dir: where results are; by default $SWEEPKIT_RESULTS_DIR, else ``./results``.
        evaluation: the ``evaluation_key`` of the losses to show; by default those that the sweep was frozen
            to be decided by, and for every run directory those of its own end.
        config: with a column for every configured field, by its dotted name and of its type, as it was asked
            for; what rates and decays came out as stands in ``learning_rates_<group>`` and
            ``weight_decays_<group>`` either way.

    Returns:
        One row a cell, in the order of the frozen plan; ``<NA>`` where nothing was measured. A cell that has
        not run yet has its row too (state ``planned``), so that the table is the whole design:
        ``runs[runs.state == "complete"]`` are the results.

    Raises:
        SweepkitError: no sweep of that name has been frozen here, or no run of it was evaluated so.
    """
    results = _folder(results_dir)
    whole = sweep is None or sweep == ALL
    frame = _frame(_all_rows(results, evaluation)) if whole else _of_sweep(str(sweep), results, evaluation)
    if (
        evaluation is not None
        and not (frame.evaluation_key[frame.state == RunState.complete] == evaluation).any()
    ):
        _check_evaluation(evaluation, load(sweep, results), results)
    return configured.joined(frame, results, None if whole else sweep) if config else frame


def _check_evaluation(key: str, runs: pd.DataFrame, results: Path) -> None:
    """Raises ConfigError unless some run has the evaluation, or is to have it at its own end."""
    known = set(runs.evaluation_key.dropna())
    for run_id in runs.run_id.dropna():
        known |= {path.stem for path in RunDir.of(results, run_id).evaluations_path.glob("*.json")}
    if key not in known:
        raise invalid(
            "evaluation", key, "be the key of what was measured of these runs", did_you_mean(key, known)
        )


def _of_sweep(sweep: str, results: Path, evaluation: str | None) -> pd.DataFrame:
    published_seal.check(results / sweep)
    if (published := results / sweep / published_seal.RUNS).is_file() and evaluation is None:
        others = imported.find(results / sweep)
        known = others.columns if others else columns.RUN_COLUMNS
        return typed(export.read_csv(published, known), known)
    plan_path = _plan_path(sweep, results)
    index = results / ".index"
    cells = read_cached(index / f"sweep-{sweep}.jsonl", {sweep: plan_path}, flatten.read_cells, write_from=1)
    rows: list[Row] = cells.get(sweep, [])
    rows = flatten.with_trials(rows, plan_path.parent)
    rows = flatten.with_amendments(rows, plan_path.parent)
    head = frozen_head.found(results / sweep)
    _fill_levels(rows, head.sweep if head else None)
    run_ids = {row["run_id"]: evaluation or row.get("evaluation_key") for row in rows}
    records, prunings = _records(results, run_ids), _prunings(results, run_ids)
    for run_id in {**records, **prunings}:
        entries = prunings.get(run_id, {})
        as_seen = pruned.as_seen(records.get(run_id, {}), entries, sweep, head.identity if head else "")
        records[run_id] = as_seen | ({"pruned_by": ", ".join(entries)} if entries else {})
    judged = seen.judged_runs(results / sweep)
    joined = [_joined(row, records.get(row["run_id"])) for row in rows]
    joined = [
        row | {"state": DELETED} if row["state"] == PLANNED and row["run_id"] in judged else row
        for row in joined
    ]
    return _with_numbers(_frame([_feasible(row, head) for row in joined]), rows)


def of_plans(plans: Iterable[Plan], results_dir: Path) -> pd.DataFrame:
    """The runs of these plans, each once and evaluated as its plan asks."""
    wanted = {plan.run_id: plan for plan in plans}
    records = _records(results_dir, {run_id: plan.evaluation_key for run_id, plan in wanted.items()})
    rows = [_joined(flatten.plan_row(plan), records.get(run_id)) for run_id, plan in wanted.items()]
    return _frame(rows)


def curves(
    sweep: str | None = None, results_dir: Path | str | None = None, runs: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Learning curves in long form: one row a logged step of every run of ``sweep`` that has started.

    Where a step was logged by several attempts the last one counts. Columns are in
    ``curve_columns.CURVE_COLUMNS``. Raises as ``load`` does.

    Args:
        runs: the runs table, where it is there already.
    """
    results = _folder(results_dir)
    runs = load(sweep, results) if runs is None else runs
    if sweep is not None and (published := results / sweep / published_seal.CURVES).is_file():
        published_seal.check(published.parent)
        rows = learning_curves.with_costs(pd.read_parquet(published), runs)
    else:
        rows = learning_curves.rows(runs, results)
    return typed(rows, curve_columns.CURVE_COLUMNS)


def sweep_names(results_dir: Path | str | None = None) -> list[str]:
    """Names of the sweeps that have been frozen in ``results_dir``, sorted."""
    results = _folder(results_dir)
    names = {path.parent.name for path in results.glob("*/plan.jsonl*")}
    return sorted(name for name in names if not name.startswith("."))  # a dot: still being frozen


def known_names(results_dir: Path | str | None = None) -> list[str]:
    """Names of all that ``load`` would find: sweeps that were frozen, and runs that others made."""
    return [*sweep_names(results_dir), *imported.names(_folder(results_dir))]


def typed(frame: pd.DataFrame, known: tuple[Column, ...]) -> pd.DataFrame:
    """``frame`` with all documented columns, in their order and with their dtypes.

    A value that does not fit its column's dtype (a damaged record) becomes ``<NA>``.
    """
    names = [*frame.columns, *(column.name for column in known if not column.is_family)]
    found = {name: columns.find(name, known) for name in columns.order(names, known)}
    dtypes = {name: column.dtype if column else _unknown(frame[name]) for name, column in found.items()}
    nothing = pd.Series(None, frame.index, dtype=object)
    empty = {dtype: _cast(nothing, dtype) for dtype in set(dtypes.values())}  # of columns that it has not
    cast = {
        name: _cast(frame[name], dtype) if name in frame else empty[dtype] for name, dtype in dtypes.items()
    }
    return pd.DataFrame(cast)


def _unknown(values: pd.Series[Any]) -> str:
    """The dtype of a column that is not documented: a number's where it holds nothing else."""
    kinds = {type(value) for value in values if pd.notna(value)}
    return columns.FLOAT if kinds and kinds <= {int, float} else columns.TEXT


def _frame(rows: list[Row]) -> pd.DataFrame:
    planned_epochs.fill(rows, flatten.TEXT, PLANNED)
    return typed(pd.DataFrame(rows), columns.RUN_COLUMNS)


def _cast(values: pd.Series[Any], name: str) -> pd.Series[Any]:
    dtype = pd.api.types.pandas_dtype(name)
    if name == columns.TIME:
        return pd.to_datetime(values, utc=True, errors="coerce", format="ISO8601").astype(dtype)
    try:
        return values.astype(dtype)
    except (TypeError, ValueError, OverflowError):
        numbers = pd.to_numeric(values, errors="coerce")
        return numbers.where(numbers % 1 == 0).astype(dtype) if name == columns.INT else numbers.astype(dtype)


def _joined(row: Row, record: Row | None) -> Row:
    """Plan and record of one cell; what the plan says about the request wins."""
    found = {"state": PLANNED, **(record or {}), **row}
    key = (record or {}).get("evaluation_key") or row.get("evaluation_key")
    return found if key is None else found | {"evaluation_key": key}


def _records(results: Path, run_ids: Mapping[str, str | None]) -> dict[str, Row]:
    """Run → its row, with the losses of the evaluation that is asked of it; None: of its own."""
    sources = {run_id: RunDir.of(results, run_id).record_path for run_id in run_ids}
    parsed = read_cached(results / ".index" / "records.jsonl", sources, flatten.read_record)
    records = {run_id: record for run_id, record in parsed.items() if record}
    for record in records.values():
        if record["state"] == CORRUPT:
            warnings.warn(record["failure_message"], stacklevel=3)
    apart = {
        run_id: RunDir.of(results, run_id).evaluation_path(str(run_ids[run_id]))
        for run_id, record in records.items()
        if asked.is_apart(record, run_ids[run_id])
    }
    evaluations = read_cached(
        results / ".index" / "evaluations.jsonl",
        {f"{run_id}/{path.stem}": path for run_id, path in apart.items()},
        flatten.read_record,
    )
    for run_id, path in apart.items():
        records[run_id] = asked.seen_row(records[run_id], evaluations.get(f"{run_id}/{path.stem}"), path.stem)
    scores = {run_id: RunDir.of(results, run_id).scores_path for run_id in run_ids}
    for run_id, found in read_cached(
        results / ".index" / "scores.jsonl", scores, flatten.read_scores
    ).items():
        _say_unread(found)
        records[run_id] = (records.get(run_id) or {}) | found
    return {run_id: record for run_id, record in records.items() if record}


def _say_unread(found: Row | None) -> None:
    if found and (why := found.pop(flatten.UNREAD, None)):
        warnings.warn(why, stacklevel=4)


def _feasible(row: Row, head: frozen_head.Head | None) -> Row:
    """A trial's row, where it was searched; one that measured more than the search allows is no answer."""
    if head is None or head.sweep.search is None:
        return row
    is_trial = row.get("role") == VARIANT and row.get("rung") == head.rungs[0].name
    if not is_trial or row["state"] != RunState.complete:
        return row
    why = head.sweep.search.infeasible(row)
    if why is None:
        return row
    return row | {"state": INFEASIBLE, "failure_message": why}


def _prunings(results: Path, run_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Run → the searches that have pruned it, for those that any has."""
    sources = {run_id: RunDir.of(results, run_id).path / pruned.FILE for run_id in run_ids}
    return read_cached(results / ".index" / "pruned.jsonl", sources, pruned.read)


def _all_rows(results: Path, evaluation: str | None) -> list[Row]:
    run_ids = sorted(fsio.folders(results / "runs"))
    sources = {run_id: RunDir.of(results, run_id).plan_path for run_id in run_ids}
    plans = read_cached(results / ".index" / "plans.jsonl", sources, flatten.read_plan)
    for plan in plans.values():
        _say_unread(plan)
    records = _records(results, dict.fromkeys(run_ids, evaluation))
    for run_id, entries in _prunings(results, run_ids).items():
        records[run_id] = records.get(run_id, {}) | {"pruned_by": ", ".join(entries)}
    return [
        _joined((plans.get(run_id) or {}) | {"run_id": run_id}, records.get(run_id))
        for run_id in run_ids
        if run_id in plans or run_id in records
    ]


def _fill_levels(rows: list[Row], sweep: SweepFile | None) -> None:
    """Give every axis a cell's label does not name its reference level: "reference" if that has no name."""
    axes = {axis: sweep.reference.get(axis, REFERENCE) for axis in sweep.axes} if sweep else {}
    for axis, level in (dict.fromkeys(flatten.axes_of(rows), REFERENCE) | axes).items():
        for row in rows:
            row.setdefault(f"level_{axis}", level)


def _with_numbers(frame: pd.DataFrame, rows: list[Row]) -> pd.DataFrame:
    """``frame`` with numbers and truth values where the levels of an axis are a field's, not text."""
    for axis in flatten.axes_of(rows):
        values = [row[f"level_{axis}"] for row in rows]
        there = [value for value in values if value is not None]
        kinds = {type(value) for value in there}
        if kinds == {bool}:
            dtype = columns.BOOL
        elif kinds and kinds <= {int, float}:
            dtype = columns.INT if kinds == {int} else columns.FLOAT
        else:
            continue
        frame[f"level_{axis}"] = _cast(pd.Series(values, frame.index, dtype=object), dtype)
    return frame


def _folder(results_dir: Path | str | None) -> Path:
    return Path(results_dir).absolute() if results_dir is not None else paths.results_dir()


def _plan_path(sweep: str, results: Path) -> Path:
    path = results / sweep / "plan.jsonl"
    if Path(sweep).name != sweep or not path.is_file():
        if path.with_name(frozen_head.FROZEN_FILE).is_file():
            raise frozen_head.tampered(path, "missing")
        remedy = file.how_to_start(sweep, known_names(results))
        raise SweepkitError(f"sweep is {sweep!r}, but must name a sweep in {results}; {remedy}")
    return path
