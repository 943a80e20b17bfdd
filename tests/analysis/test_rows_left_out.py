"""Whatever row leaves a fit is counted and named, or refused by its column and value: estimator × reason."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sweepkit import errors
from sweepkit.analysis import fit
from sweepkit.analysis.laws import bent_surface, fitting
from sweepkit.analysis.laws.fitting import Fit

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """How wide intervals are is not asked here."""
    monkeypatch.setattr(bent_surface, "DRAWS", 8)


def noisy(loss: np.ndarray) -> np.ndarray:
    return np.asarray(loss * (1 + 1e-4 * RNG.standard_normal(len(loss))))


def grid(**axes: Any) -> dict[str, np.ndarray]:
    places = np.meshgrid(*axes.values(), indexing="ij")
    return {name: np.asarray(place, dtype=float).ravel() for name, place in zip(axes, places, strict=True)}


def optima_table() -> pd.DataFrame:
    table = grid(depth=[2, 3, 4], lr=0.01 * 2.0 ** np.arange(5), repeat=[1, 2])
    table["loss"] = noisy(3 + 0.05 * np.log(table["lr"] / 0.04) ** 2)
    return pd.DataFrame(table).drop(columns="repeat")


def ridge_table() -> pd.DataFrame:
    table = grid(lr=0.01 * 2.0 ** np.arange(5), batch=1024 * 2.0 ** np.arange(5))
    u, v = np.log(table["lr"] / 0.04), np.log(table["batch"] / 4096)
    return pd.DataFrame(table | {"loss": noisy(3 + 0.05 * (u - 0.5 * v) ** 2 + 0.02 * v**2)})


def sizes_table() -> pd.DataFrame:
    table = grid(params=1e8 * 2.0 ** np.arange(4), ratio=[5, 10, 20, 40])
    tokens = table["params"] * table.pop("ratio")
    loss = noisy(1.8 + 1e3 / table["params"] ** 0.4 + 2e3 / tokens**0.36)
    return pd.DataFrame(table | {"tokens": tokens, "loss": loss})


def batches_table() -> pd.DataFrame:
    table = grid(batch=2.0 ** np.arange(12, 17), tokens=2.0 ** np.arange(24, 29))
    loss = noisy(2 + (table["tokens"] / (1 + table["batch"] / 2e4) / 1e7) ** -0.3)
    return pd.DataFrame(table | {"loss": loss})


#: Estimator → its table, what it is asked, and the columns that it needs in every row beside the loss.
KINDS: dict[str, tuple[pd.DataFrame, dict[str, Any], tuple[str, ...]]] = {
    "optima": (optima_table(), {"axis": "lr", "by": "depth"}, ("lr", "depth")),
    "ridges": (ridge_table(), {"axis": "lr", "second_axis": "batch"}, ("lr", "batch")),
    "sizes": (sizes_table(), {"params": "params", "tokens": "tokens", "replicates": 5}, ("params", "tokens")),
    "forecast": (
        sizes_table(),
        {"params": "params", "tokens": "tokens", "is_forecast": True},
        ("params", "tokens"),
    ),
    "batches": (batches_table(), {"batch": "batch", "tokens": "tokens"}, ("batch", "tokens")),
}
LOGARITHMIC = {"sizes", "forecast", "batches"}
#: What is wrong with a row's loss or state.
LOSSES = {"nan": np.nan, "inf": np.inf, "-inf": -np.inf, "zero": 0.0, "negative": -1.0}
STATES = ("failed", "futile", "pruned", "running", "diverged", "Crashed", None)
PLACES = {"nan": np.nan, "inf": np.inf, "zero": 0.0, "negative": -2.0}
PLAIN: dict[str, Fit] = {}


def plain(kind: str) -> Fit:
    if kind not in PLAIN:
        frame, asked, _ = KINDS[kind]
        PLAIN[kind] = fit(frame, loss="loss", **asked)
    return PLAIN[kind]


def with_bad_row(frame: pd.DataFrame, **bad: Any) -> pd.DataFrame:
    """The table and one row more, which is a copy of the first but for what is bad."""
    found = pd.concat([frame, frame.iloc[[0]]], ignore_index=True)
    for name, value in bad.items():
        if name not in found:
            found[name] = "complete"
        found[name] = [*found[name].iloc[:-1], value]
    return found


def answer(found: Fit) -> Any:
    said = fitting.to_json(found)
    return {key: said[key] for key in said if key not in ("notes", "question")}


def named(found: Fit, kind: str, pattern: str) -> None:
    """One note counts the row, and the answer is the one without it."""
    (note,) = [note for note in found.notes if re.search(pattern, note)]
    assert re.search(r"\b1\b", note), note
    if "levels are not fitted" not in note:
        assert answer(found) == answer(plain(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_a_loss_that_is_no_number_to_fit(kind: str) -> None:
    frame, asked, _ = KINDS[kind]
    for reason, value in LOSSES.items():
        table = with_bad_row(frame, loss=value)
        if reason in ("zero", "negative") and kind not in LOGARITHMIC:
            fit(table, loss="loss", **asked)  # a metric as any other
        elif reason in ("zero", "negative"):
            with pytest.raises(errors.ConfigError, match=rf"--loss is {value}, but must be above 0 .* loss"):
                fit(table, loss="loss", **asked)
        elif reason == "nan" and kind == "forecast":  # a point that is to be forecast
            forecast = fit(table, loss="loss", **asked).forecast
            assert forecast is not None and any(item.loss is None for item in forecast.forecasts)
        else:
            named(fit(table, loss="loss", **asked), kind, "without a loss" if reason == "nan" else "diverged")


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_that_is_no_answer(kind: str) -> None:
    frame, asked, _ = KINDS[kind]
    for state in STATES[:: 3 if kind == "forecast" else 1]:
        loss = np.nan if state in ("diverged", "failed", None) else 2.0
        found = fit(with_bad_row(frame, loss=loss, state=state), loss="loss", **asked)
        named(found, kind, "diverged" if state == "diverged" else (state or "without a state").lower())


@pytest.mark.parametrize("kind", KINDS)
def test_a_place_that_is_none(kind: str) -> None:
    """Of the loss's own column aside: an axis, a group, a size."""
    frame, asked, columns = KINDS[kind]
    for column in columns:
        for reason, value in PLACES.items():
            table = with_bad_row(frame, **{column: value})
            if kind in ("optima", "ridges") and reason in ("nan", "inf"):
                named(fit(table, loss="loss", **asked), kind, f"{column} is empty there, or infinite")
            elif column == "depth":  # a group of one run
                with pytest.raises(errors.ConfigError, match=rf"levels of {value:g} is 1"):
                    fit(table, loss="loss", **asked)
            else:
                with pytest.raises(errors.ConfigError, match=rf"{value}, but must be above 0"):
                    fit(table, loss="loss", **asked)


def test_an_axis_of_the_sweep_that_is_averaged_over_is_named() -> None:
    """Unless it moves with one that is named, or the rows that were kept have one level of it."""
    frame = optima_table()
    batch = np.resize(["small", "large"], len(frame))
    frame = frame.assign(level_batch=batch, level_model=frame["depth"].map("d{:g}".format))
    asked = {"axis": "lr", "by": "depth", "loss": "loss"}
    (said,) = [note for note in fit(frame, **asked).notes if "averaged over" in note]
    assert said.startswith("batch: averaged over")
    kept = frame[frame["level_batch"] == "small"]
    assert not [note for note in fit(kept, **asked).notes if "averaged over" in note]


def test_optima_that_somebody_found() -> None:
    frame = pd.DataFrame({"width": [1.0, 2, 4, 8], "best": [1.0, 0.5, 0.25, 0.13]})
    for column in ("width", "best"):
        for value in PLACES.values():
            with pytest.raises(errors.ConfigError, match=rf"{value}, but must be above 0"):
                fit(with_bad_row(frame, **{column: value}), optimum="best", scale="width")


def test_a_group_that_no_target_is_reached_in_and_a_batch_without_two_horizons() -> None:
    frame = batches_table().assign(depth="d2")
    alone = pd.DataFrame({"batch": [1024.0], "tokens": [2.0**25], "loss": [3.0], "depth": ["d2"]})
    other = frame.iloc[:5].assign(depth="d4")
    found = fit(pd.concat([frame, alone, other]), loss="loss", batch="batch", tokens="tokens", by="depth")
    assert any("d4: no critical batch" in note for note in found.notes)
    assert all(any("batch of 1024" in note for note in item.notes) for item in found.batches)


def test_seeds_of_which_some_are_missing_are_no_blocks_and_say_so() -> None:
    frame = optima_table().assign(seed=1.0)
    frame.loc[3, "seed"] = np.nan
    found = fit(frame, loss="loss", axis="lr", by="depth")
    assert any("seeds are no blocks: 1 row" in note for note in found.notes)
    with pytest.raises(errors.ConfigError, match="--seed-column is 'empty in 1 row'"):
        fit(frame, loss="loss", axis="lr", by="depth", seed="seed")


def test_a_dropped_row_that_no_fit_can_take_back_is_said() -> None:
    frame = with_bad_row(sizes_table(), loss=np.nan)
    found = fit(frame, loss="loss", **KINDS["sizes"][1], dropped=[len(frame) - 1])
    assert any("1 dropped row cannot come back" in note for note in found.notes)


@pytest.mark.parametrize("scale", [1e200, 1e-200])
@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_is_the_same_in_any_unit(kind: str, scale: float) -> None:
    frame, asked, _ = KINDS[kind]
    one, other = plain(kind), fit(frame.assign(loss=frame["loss"] * scale), loss="loss", **asked)

    def told(found: Fit, unit: float) -> list[float | None]:
        values = [item for best in found.optima for item in (best.value, best.error)]
        values += [item and item / unit for best in found.optima for item in (best.loss, best.sd)]
        values += [item.slope for item in found.ridges] + [(item.sd or 0) / unit for item in found.ridges]
        values += [item.batch for item in found.batches] + [item.target / unit for item in found.batches]
        for size in found.sizes:
            values += [size.surface.e / unit, size.surface.alpha, size.surface.objective * 1e6]
            values += [budget.best.value for budget in size.budgets]
        if found.forecast is not None:
            values += [item.expected / unit for item in found.forecast.forecasts]
            values += [(item.interval.high or 0) / unit for item in found.forecast.forecasts]
            values += [found.forecast.constants["E"][0] / unit]
        return values

    assert told(one, 1.0)
    assert told(other, scale) == pytest.approx(told(one, 1.0), rel=1e-6)
