"""Columns that a fit would misread: cells that are no numbers, settings nobody named, other units."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sweepkit.analysis import fit
from sweepkit.errors import ConfigError

NO_NUMBERS: tuple[Any, ...] = (
    True, np.bool_(False), 1j, np.complex128(1), pd.Timestamp("2020-01-01"), datetime.timedelta(1),
    pd.Timedelta(1), b"0.1", [1.0], {"lr": 1}, (0.1,), "0.1%", "1,5",
)  # fmt: skip
#: Estimator → what it is asked.
KINDS: dict[str, dict[str, Any]] = {
    "optima": {"axis": "lr", "by": "width"},
    "ridges": {"axis": "lr", "second_axis": "batch"},
    "sizes": {"params": "params", "tokens": "tokens", "replicates": 2},
    "forecast": {"params": "params", "tokens": "tokens", "is_forecast": True},
    "batches": {"batch": "batch", "tokens": "tokens"},
    "known optima": {"optimum": "lr", "scale": "width"},
}


def table() -> pd.DataFrame:
    """Every column that is asked for, crossed: three widths, four rates, four batches."""
    places = np.meshgrid(
        [64.0, 128, 1024], 0.01 * 2.0 ** np.arange(4), 4096 * 2.0 ** np.arange(4), indexing="ij"
    )
    width, lr, batch = (np.ravel(item) for item in places)
    params, tokens = 1e4 * width**1.5, 1e9 * (batch / 4096) ** 1.5 * (1 + lr)
    loss = 2 + 300 / params**0.3 + 500 / tokens**0.3 + 0.02 * np.log(lr / 0.03) ** 2
    loss += 0.001 * np.random.default_rng(0).standard_normal(len(loss))
    columns = {"width": width, "lr": lr, "batch": batch, "params": params, "tokens": tokens, "loss": loss}
    return pd.DataFrame(columns)


@pytest.mark.parametrize("kind", KINDS)
def test_a_cell_that_is_no_number_is_refused(kind: str) -> None:
    """True was 1, a moment its nanoseconds, and of a complex number the real part counted."""
    asked = KINDS[kind] | ({} if kind == "known optima" else {"loss": "loss"})
    for column in {item for name, item in asked.items() if name not in ("by", "replicates", "is_forecast")}:
        for cell in NO_NUMBERS:
            frame = table().astype({column: object})
            frame.at[5, column] = cell
            with pytest.raises(ConfigError, match=f"be a number in column {column}"):
                fit(frame, **asked)


@pytest.mark.parametrize("dtype", ["bool", "complex128", "datetime64[ns]", "timedelta64[ns]"])
def test_a_column_that_holds_no_numbers_is_refused(dtype: str) -> None:
    frame = table()
    frame["lr"] = pd.Series(np.arange(len(frame)), dtype="int64").astype(dtype)
    with pytest.raises(ConfigError, match="be a number in column lr"):
        fit(frame, axis="lr", loss="loss")


def test_groups_are_whatever_cells_are() -> None:
    """Numbers in their order, those that are text too: 1024 came before 64."""
    frame = table().astype({"width": object})
    for cell in NO_NUMBERS:
        strange = frame.copy()
        strange["width"] = [cell if item == 128 else item for item in strange["width"]]
        assert len(fit(strange, axis="lr", by="width", loss="loss").optima) == 3
    text = frame.assign(width=frame["width"].map("{:g}".format))
    found = fit(text, axis="lr", by="width", loss="loss")
    assert [item.group for item in found.optima] == ["64", "128", "1024"]


@pytest.mark.parametrize("frame", [None, "runs.csv", [{"lr": 1}], {"lr": [1]}, pd.Series([1.0])])
def test_what_is_no_table_is_refused(frame: Any) -> None:
    with pytest.raises(ConfigError, match="be a pandas DataFrame"):
        fit(frame, axis="lr")


def test_a_setting_that_nobody_named_is_said() -> None:
    """What was measured, and what moves with a level, is none."""
    rng = np.random.default_rng(0)
    frame = table().drop(columns=["params", "tokens"])
    frame = frame.assign(time=rng.random(len(frame)), gpus=8, rate=3 * frame["lr"], cost=frame["loss"] * 2)

    def said(rows: pd.DataFrame, **asked: Any) -> list[str]:
        notes = fit(rows, axis="lr", loss="loss", **asked).notes
        return [item.partition(" differ")[0] for item in notes if "counts as noise" in item]

    assert said(frame) == ["batch, width"]
    assert said(frame, by="width") == ["batch"]
    assert said(frame, by="width", seed="batch") == []
    assert said(frame, second_axis="batch") == ["width"]
    assert said(frame[(frame["batch"] == 4096) & (frame["width"] == 64)]) == []
    assert said(frame.rename(columns={"gpus": "time"})) == ["batch, width"]  # a name twice


def test_a_scale_that_is_no_one_number_within_a_group_is_said() -> None:
    """It was averaged without a word, and moved the exponent from -0.50 to -0.58."""
    places = np.meshgrid([64.0, 128, 256, 512], 0.01 * 2.0 ** np.arange(7), [0, 1, 2], indexing="ij")
    width, lr, seed = (np.ravel(item) for item in places)
    loss = 3 + 0.1 * np.log(lr / (0.08 * (width / 128) ** -0.5)) ** 2
    loss += 0.002 * np.random.default_rng(1).standard_normal(len(lr))
    frame = pd.DataFrame({"width": width, "lr": lr, "seed": seed, "loss": loss, "tokens": 20 * width})
    asked = {"axis": "lr", "by": "width", "scale": "tokens", "loss": "loss"}
    assert not [note for note in fit(frame, **asked).notes if "no one number" in note]
    frame.loc[(frame["lr"] > 0.3) & (frame["width"] > 100), "tokens"] = 999.0
    (said,) = [note for note in fit(frame, **asked).notes if "no one number" in note]
    assert said.startswith("tokens is no one number within 128, 256, 512 (999 to 10240 in 512)")


def test_steps_for_tokens_are_no_batch_s_tokens() -> None:
    frame = table().assign(batch=lambda rows: 1e3 * rows["batch"])
    frame = frame.assign(steps=frame["tokens"] / frame["batch"])
    with pytest.raises(ConfigError, match=r"be tokens in all, so no fewer than the run's batch"):
        fit(frame, batch="batch", tokens="steps", loss="loss")


@pytest.mark.parametrize("change", [{}, {"params": 1e-6}, {"tokens": 1e-9}, {"tokens": 2.0**-16}])
def test_counts_in_other_units_are_asked_after(change: dict[str, float]) -> None:
    frame = table()
    frame["flops"] = 6 * frame["params"] * frame["tokens"]
    asked = {"params": "params", "loss": "loss", "replicates": 4}
    plain = fit(frame, **asked, tokens="tokens").sizes[0]
    for name, unit in change.items():
        frame[name] *= unit
    for columns in ({"tokens": "tokens"}, {"tokens": "tokens", "flops": "flops"}):
        (made,) = fit(frame, **asked, **columns).sizes
        assert made.surface.params_exponent == pytest.approx(plain.surface.params_exponent, abs=1e-3)
        assert bool(change) == any("are all three counted in ones" in note for note in made.notes)
