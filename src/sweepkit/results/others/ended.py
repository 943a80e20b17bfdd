"""How the runs of a table of others ended, and numbers that stand for none."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from sweepkit.printable import counted
from sweepkit.results import columns, state_words
from sweepkit.results.columns import PLANNED
from sweepkit.results.others.mapping import Mapping
from sweepkit.results.others.source import Source
from sweepkit.results.record import RunState

_STATES = (*(state.value for state in RunState), PLANNED)


def with_states(frame: pd.DataFrame, source: Source, how: Mapping, notes: list[str]) -> pd.DataFrame:
    """How every run ended: as the table says, else by whether it has what it is compared by."""
    compared = [name for name in how.compared if name in frame]
    if "state" in frame:
        words = frame["state"].map(state_words.ours, na_action="ignore").astype("string")
        for row, word, cell in zip(frame["_row"], words, frame["state"], strict=True):
            if not pd.isna(word) and word not in _STATES:
                remedy = "give the column another name (--map state=their_state)"
                raise source.refused(row, "state", cell, f"be one of {', '.join(_STATES)}", remedy)
    else:
        words = pd.Series(pd.NA, frame.index, dtype="string")
    has_any = frame[compared].notna().any(axis=1) if compared else pd.Series(True, frame.index)
    by_loss = has_any.map({True: RunState.complete.value, False: RunState.failed.value})
    state = words.fillna(by_loss).astype("string")
    without = (state == RunState.complete) & ~has_any
    if without.any():
        rows = source.listed(frame["_row"][without])
        said = counted(int(without.sum()), "run")
        notes.append(f"{said} without {' or '.join(compared)} ({rows}): missing, not counted")
        state = state.mask(without, RunState.failed.value)
    frame = frame.assign(state=state)
    for name in compared:
        frame[name] = _without_placeholders(frame, name, source, notes)
    return _diverged(frame, compared[0], source, how) if compared else frame


def _diverged(frame: pd.DataFrame, name: str, source: Source, how: Mapping) -> pd.DataFrame:
    """An infinite loss is none: the run diverged."""
    is_infinite = (frame[name].abs() == math.inf).fillna(False)
    best = math.inf if how.is_higher_better(name) else -math.inf
    wrong = frame["_row"][(frame[name] == best).fillna(False)]
    if len(wrong):
        contract = "be finite, or infinitely bad for a run that diverged"
        raise source.refused(int(wrong.iloc[0]), name, best, contract, "leave the cell empty")
    ended = is_infinite & (frame["state"] == RunState.complete)
    state = frame["state"].mask(ended, RunState.diverged.value)
    return frame.assign(**{name: frame[name].mask(is_infinite), "state": state})


def _without_placeholders(frame: pd.DataFrame, name: str, source: Source, notes: list[str]) -> pd.Series[Any]:
    """A column without the numbers, as 0, that stand for what a run that did not end has not measured."""
    column = columns.find(name)
    if column is None or column.above is None:
        return frame[name]
    is_none = (frame["state"] != RunState.complete) & (frame[name] <= column.above).fillna(False)
    if is_none.any():
        rows = source.listed(frame["_row"][is_none])
        notes.append(f"{name} of runs that did not end is no measurement, and left out ({rows})")
    return frame[name].mask(is_none)


def check_plausible(frame: pd.DataFrame, source: Source) -> None:
    """Refuse a number that cannot be one of its column."""
    for name in map(str, frame.columns):
        column = columns.find(name)
        if column is None or column.dtype not in (columns.INT, columns.FLOAT):
            continue
        number = int if column.dtype == columns.INT else float
        there = frame[name].dropna()
        ends = (number(there.min()), number(there.max())) if len(there) else ()
        if all(column.implausible(end) is None for end in ends):
            continue
        for row, value in zip(frame["_row"], frame[name], strict=True):
            if pd.isna(value) or column.implausible(number(value)) is None:
                continue
            said = str(column.implausible(number(value)))
            contract = said.partition("must ")[2]
            remedy = f"leave the cell empty, or give the column another name (--map {name}=their_{name})"
            raise source.refused(row, name, number(value), contract, remedy)
