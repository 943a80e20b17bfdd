"""A table of others as runs: renamed, typed, filtered; what cannot be is refused with its place."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sweepkit.errors import did_you_mean, invalid
from sweepkit.printable import counted
from sweepkit.results import columns, query, variant_said
from sweepkit.results.columns import Column
from sweepkit.results.others import ended, template, twice, values
from sweepkit.results.others.mapping import NO_SEEDS, SHARED, Mapping, is_kept, own_column, state_of
from sweepkit.results.others.source import Source

_REFERENCE, _VARIANT = "reference", "variant"


@dataclass
class Mapped:
    """Runs in the columns of the runs table, and what had to be said.

    Attributes:
        runs: a row a run.
        own: the columns that only this table has.
        places: of every row.
        reference: the variant that was named as it, as the table calls it.
    """

    runs: pd.DataFrame
    own: list[Column]
    places: list[str]
    notes: list[str]
    reference: str | None


def mapped(source: Source, how: Mapping) -> Mapped:
    """The runs of a table.

    Raises:
        ConfigError: a column is not there, a cell cannot be what it is there for, or a run is there twice.
    """
    notes = list(source.notes)
    cells = _renamed(_parsed(source, how), source, how, notes)
    frame, own = _typed(cells, source, how, notes)
    frame = frame.assign(_row=range(len(frame)))
    if how.where is not None:
        kept = query.keep(frame, how.where)
        if kept.empty:
            raise invalid("--where", how.where, f"keep a row of {source.name}", "see what its columns hold")
        notes.append(f"{len(kept):,} of {counted(len(frame), 'row')} kept: {how.where}")
        frame = kept
    frame = ended.with_states(frame, source, how, notes)
    ended.check_plausible(frame, source)
    frame = twice.once(frame, source, how, notes)
    frame = _named(frame, source, how, notes)
    places = [source.places[row] for row in frame["_row"]]
    base = frame.loc[frame["role"] == _REFERENCE, "variant"] if how.reference else ()
    reference = next(map(str, base), None)
    return Mapped(frame.drop(columns="_row").reset_index(drop=True), own, places, notes, reference)


def _parsed(source: Source, how: Mapping) -> pd.DataFrame:
    """With a column for each field of a template."""
    cells = source.cells.copy()
    for column, pattern in how.parsed.items():
        _check_there(cells, column, f"--parse {column}", source)
        found = []
        for row, cell in enumerate(cells[column]):
            match = pattern.fullmatch(str(cell))
            if match is None:
                remedy = "write between the braces what stands between the fields ({_} for anything)"
                raise source.refused(row, column, cell, "fit the template of --parse", remedy)
            found.append(match.groupdict())
        for name in template.names(pattern):
            if name in cells:
                raise invalid(f"--parse {column}", name, "be a new column", "call the field something else")
            cells[name] = pd.Series([match[name] for match in found], cells.index, dtype=object)
    return cells


def _check_there(cells: pd.DataFrame, name: str, option: str, source: Source) -> None:
    if name not in cells:
        known = [str(column) for column in cells.columns]
        raise invalid(option, name, f"be a column of {source.name}", did_you_mean(name, known))


def _renamed(cells: pd.DataFrame, source: Source, how: Mapping, notes: list[str]) -> pd.DataFrame:
    """With our names, and the variant's made of several columns where that was asked for."""
    for theirs, ours in how.names.items():
        _check_there(cells, theirs, "--map", source)
        if theirs == "run_id" and source.curves is not None:
            raise invalid(
                "--map", theirs, "keep its name, by which curves find their run", "say --variant run_id"
            )
        if ours != theirs and ours in cells and ours not in how.names:
            remedy = f"give that one another name too (--map {ours}=their_{ours})"
            raise invalid(f"--map {theirs}", ours, f"be no other column of {source.name}", remedy)
        if list(how.names.values()).count(ours) > 1 or re.search(r"[<>]", ours):
            raise invalid("--map", ours, "be one column's name, without < and >", "choose another one")
    cells = _in_small_letters(cells.rename(columns=how.names), how, notes)
    if how.seeds == NO_SEEDS and "seed" in cells:
        cells = cells.drop(columns="seed")
        notes.append("the column seed is left out, for these are no seeds (--seeds none)")
    for metric in how.metrics:
        _check_there(cells, metric.name, "--metric", source)
    return _with_kept(_with_variant(cells, source, how), source, how)


def _in_small_letters(cells: pd.DataFrame, how: Mapping, notes: list[str]) -> pd.DataFrame:
    """With ``State`` called state, as wandb exports it: documented columns whatever their capitals."""
    known = {column.name for column in columns.RUN_COLUMNS} | {metric.name for metric in how.metrics}
    alike = {
        str(name): str(name).lower()
        for name in cells.columns
        if str(name) not in known and str(name).lower() in known and str(name).lower() not in cells
    }
    if alike:
        cells = cells.rename(columns=alike)
        notes.append("taken as " + ", ".join(f"{ours} ({theirs})" for theirs, ours in alike.items()))
    return cells


def _with_variant(cells: pd.DataFrame, source: Source, how: Mapping) -> pd.DataFrame:
    """With the variant's name, of one column or made of several."""
    for name in how.variant:
        _check_there(cells, name, "--variant", source)
    if len(how.variant) == 1:
        cells["variant"] = cells[how.variant[0]]
    elif how.variant:
        parts = [[f"{name}={values.text(cell)}" for cell in cells[name]] for name in how.variant]
        cells["variant"] = pd.Series([",".join(row) for row in zip(*parts, strict=True)], dtype=object)
    return cells


def _with_kept(cells: pd.DataFrame, source: Source, how: Mapping) -> pd.DataFrame:
    """A ledger's word for every try, which may also tell how its run ended."""
    if how.ledger is None:
        return cells
    _check_there(cells, how.ledger, "--ledger", source)
    for row, cell in enumerate(cells[how.ledger]):
        if is_kept(str(cell)) is None:
            raise source.refused(row, how.ledger, cell, "be keep, discard or crash", "write one of them")
    if "state" not in cells:
        cells["state"] = pd.Series([state_of(str(cell)) for cell in cells[how.ledger]], dtype=object)
    return cells


def _typed(
    cells: pd.DataFrame, source: Source, how: Mapping, notes: list[str]
) -> tuple[pd.DataFrame, list[Column]]:
    """Every column with its dtype, and those that only this table has."""
    metrics = {metric.name: metric for metric in how.metrics}
    found, own = {}, []
    for name in map(str, cells.columns):
        column, here = columns.find(name), list(cells[name])
        if column is None:
            dtype, odd = values.guessed(here, source.decimal)
            if name == how.ledger:
                dtype, odd = columns.TEXT, None
            if name in metrics and dtype != columns.FLOAT:
                dtype, odd = columns.FLOAT, None
            notes += [f"column {name} is kept as text: {odd}"] if odd else []
            own.append(own_column(name, dtype, metrics.get(name), source.name))
        else:
            dtype = column.dtype
        found[name] = pd.Series(values.read(source, name, here, dtype), dtype=_of(dtype))
        if name in metrics or name == "val_bpb":
            nans = sum(values.is_nan(cell) for cell in here)
            if nans:
                notes.append(
                    f"NaN in {counted(nans, 'cell')} of {name}: taken as missing; a run that diverged has "
                    "inf "
                    "there, or diverged in a column state"
                )
    return pd.DataFrame(found), own


def _of(dtype: str) -> Any:
    return "object" if dtype == columns.TIME else dtype


def _named(frame: pd.DataFrame, source: Source, how: Mapping, notes: list[str]) -> pd.DataFrame:
    """With run ids and roles; what seeds are is checked."""
    if "variant" in frame:
        for row, name in zip(frame["_row"], frame["variant"], strict=True):
            if pd.isna(name):
                remedy = "fill it in, or leave the row out with --where 'variant is not missing'"
                raise source.refused(row, "variant", None, "be there in every row", remedy)
        names = list(dict.fromkeys(map(str, frame["variant"])))
        reference = None if how.reference is None else variant_said.find("--reference", how.reference, names)
        is_base = pd.Series(False, frame.index) if reference is None else frame["variant"] == reference
        frame = frame.assign(role=is_base.map({True: _REFERENCE, False: _VARIANT}).astype("string"))
    elif how.reference is not None:
        known = ", ".join(name for name in frame.columns if name != "_row")
        remedy = "say --variant COLUMN[,COLUMN]"
        raise invalid("--reference", how.reference, f"be one of several variants (columns: {known})", remedy)
    if how.seeds == SHARED and "seed" not in frame:
        raise invalid("--seeds", SHARED, "come with a column seed", "name it: --map COLUMN=seed")
    if "seed" in frame and how.seeds == SHARED:
        _check_seeds(frame, source)
    return frame.assign(run_id=pd.Series(_run_ids(frame), frame.index, dtype="string"))


def _check_seeds(frame: pd.DataFrame, source: Source) -> None:
    """A variant has a seed once; only the reference may start several times from other weights."""
    is_missing = frame["seed"].isna()
    if is_missing.any():
        row = int(frame["_row"][is_missing].iloc[0])
        remedy = "fill it in, or say --seeds independent"
        raise source.refused(row, "seed", None, "be there where seeds are shared", remedy)


def _run_ids(frame: pd.DataFrame) -> list[str]:
    """As the table calls them, else ``wide-3`` for the third run of wide."""
    given = list(frame["run_id"]) if "run_id" in frame else [None] * len(frame)
    names = list(frame["variant"]) if "variant" in frame else ["run"] * len(frame)
    taken, counts = {str(name) for name in given if not pd.isna(name)}, Counter[str]()
    found = []
    for run_id, name in zip(given, names, strict=True):
        if run_id is None or pd.isna(run_id):
            counts[name] += 1
            while f"{name}-{counts[name]}" in taken:
                counts[name] += 1
            found.append(f"{name}-{counts[name]}")
        else:
            found.append(str(run_id))
    return found
