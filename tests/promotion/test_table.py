"""What a table of runs may hold: a cell that was misread would be a wrong verdict."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from other_tables import EFFECTS, replicated, table

from sweepkit.errors import ConfigError
from sweepkit.promotion.compare import compare


def test_an_infinite_loss_is_a_divergence_and_poisons_nobody() -> None:
    frame = table({"it": -0.02, "other": 0.0})
    said = frame.assign(state="complete")
    for rows in (frame, said):
        blown = rows.copy()
        blown.loc[blown.index[-1], "val_bpb"] = np.inf
        found = compare(blown, "baseline").final
        missing = blown.assign(val_bpb=blown["val_bpb"].replace(np.inf, np.nan))
        assert list(found["other"].evidence.against.values()) == ["diverged"]
        assert found["it"].evidence.effect == compare(missing, "baseline").final["it"].evidence.effect


def test_a_copied_row_is_no_replicate() -> None:
    frame = table(EFFECTS)
    for name in ("better", "baseline"):
        copied = pd.concat([frame, frame[(frame["variant"] == name) & (frame["seed"] == 2)]])
        with pytest.raises(ConfigError, match="be there once"):
            compare(copied, "baseline")
    named = replicated(frame, 2).assign(run_id="the same")
    with pytest.raises(ConfigError, match="copy of another"):
        compare(named, "baseline")


def put(frame: pd.DataFrame, column: str, value: Any) -> pd.DataFrame:
    """With another value in the seventh row, of variant better and seed 1."""
    found = frame.astype({column: object})
    found.loc[frame.index[6], column] = value
    return found


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("val_bpb", "oops", "val_bpb is 'oops', but must be a number .variant better, seed 1"),
        ("val_bpb", 0.0, "val_bpb is 0.0, but must be above 0"),
        ("depth", "d12", "depth is 'd12', but must be a whole number"),
        ("depth", 12.5, "depth is 12.5, but must be a whole number"),
        ("depth", None, "depth is None, but must be there in every row"),
        ("seed", None, "seed is None, but must be there in every row .variant better"),
        ("seed", 0, "seed is 0, but must be there once"),
        ("variant", None, "variant is None, but must be there in every row .seed 1"),
        ("state", "ready", "state is 'ready', but must be one of running, complete"),
        ("train_time_s", "5m", "train_time_s is '5m', but must be a number"),
        ("train_time_s", math.inf, "train_time_s is inf, but must be finite"),
        ("num_steps", 0, "num_steps is 0.*, but must be above 0"),
    ],
)
def test_a_cell_that_cannot_be_meant_is_refused_by_name(column: str, value: Any, message: str) -> None:
    frame = table(EFFECTS, train_time_s=100.0, num_steps=100, state="complete")
    with pytest.raises(ConfigError, match=message):
        compare(put(frame, column, value), "baseline")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.drop(columns="seed"), "column is 'seed'"),
        (lambda frame: frame.drop(columns="val_bpb"), "column is 'val_bpb'"),
        (lambda frame: pd.concat([frame, frame.iloc[:1]]), "be there once"),
        (lambda frame: frame[frame["variant"] != "baseline"], "reference is 'baseline'"),
    ],
)
def test_tables_that_cannot_be_judged(change: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compare(change(table(EFFECTS)), "baseline")
