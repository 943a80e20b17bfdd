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
    """Of the loss's own column aside: an axis, a group, a size. Empty is no value; 0 is said."""
    frame, asked, columns = KINDS[kind]
    for column in columns:
        for reason, value in PLACES.items():
            table = with_bad_row(frame, **{column: value})
            if reason in ("nan", "inf"):
                named(fit(table, loss="loss", **asked), kind, f"{column} is empty there, or infinite")
            elif column == "depth":  # a group of one run
                named(fit(table, loss="loss", **asked), kind, f"{value:g}: 1 run at fewer than three levels")
            else:
                with pytest.raises(errors.ConfigError, match=rf"{value}, but must be above 0"):
                    fit(table, loss="loss", **asked)


@pytest.mark.parametrize("kind", ["optima", "ridges"])
def test_a_group_that_has_no_fit_leaves_the_others_theirs(kind: str) -> None:
    """One depth with a single run, or none that converged, refused the whole table."""
    frame, asked, _ = KINDS[kind]
    asked = asked | {"by": "depth"}
    frame = frame if "depth" in frame else pd.concat([frame.assign(depth=depth) for depth in (2, 4)])
    base = answer(fit(frame, loss="loss", **asked))
    for count, loss, why in ((1, 3.0, "at fewer than three levels|no ridge"), (25, np.inf, "diverged")):
        stray = frame.iloc[:count].assign(depth=9.0, loss=loss)
        found = fit(pd.concat([frame, stray], ignore_index=True), loss="loss", **asked)
        assert any(re.search(why, note) for note in found.notes)
        assert base["optima"] == answer(found)["optima"] and base["ridges"] == answer(found)["ridges"]
        with pytest.raises(errors.ConfigError):
            fit(stray, loss="loss", **asked)


def test_the_levels_of_an_axis_that_is_not_named_are_blocks() -> None:
    """What a batch does to every rate alike was noise of the rate's optimum: no interval had an end.

    Beside least squares with a column a block.
    """
    frame = pd.concat(
        [optima_table().assign(level_batch=name, loss=lambda t, up=up: t["loss"] + up)
         for name, up in (("small", 0.0), ("large", 0.5))], ignore_index=True
    )  # fmt: skip
    (item, *_) = fit(frame, loss="loss", axis="lr", by="depth").optima
    mine = frame[frame["depth"] == 2]
    z = np.log(mine["lr"].to_numpy())
    zero = z.mean()
    x = np.column_stack([pd.get_dummies(mine["level_batch"]).to_numpy(float), z - zero, (z - zero) ** 2])
    beta, squares, _, _ = np.linalg.lstsq(x, mine["loss"].to_numpy(), rcond=None)
    assert item.value == pytest.approx(np.exp(zero - beta[2] / (2 * beta[3])), rel=1e-6)
    assert item.df == len(mine) - 4
    assert item.sd == pytest.approx(np.sqrt(squares[0] / item.df), rel=1e-6)
    assert item.interval.is_bounded


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


@pytest.mark.parametrize("kind", [*KINDS, "known optima"])
def test_copies_of_rows_are_no_runs_more(kind: str) -> None:
    """Two exports in one table halved the variance of every estimate.

    The id of one run in both makes them one, whatever columns beside are not read.
    """
    known = pd.DataFrame({"width": [1.0, 2, 4, 8], "best": [1.0, 0.5, 0.25, 0.13]})
    asked = {"optimum": "best", "scale": "width"}
    if kind != "known optima":
        known, asked, _ = KINDS[kind]
        asked = asked | {"loss": "loss"}
    some = known.assign(tags=[["a", place] for place in range(len(known))])
    ids = [f"run{place}" for place in range(len(some))]
    whole, count = answer(fit(some, **asked)), len(some)
    by_id = pd.concat([some.assign(run_id=ids, source=place) for place in (1, 2)])
    for copied in (pd.concat([some, some]), by_id):
        found = fit(copied, **asked)
        (note,) = [note for note in found.notes if "same as others to the last digit" in note]
        assert note.startswith(f"{count} rows left out") and answer(found) == whole


@pytest.mark.parametrize("column", ["seed", "host", "run_id"])
def test_what_any_column_tells_apart_are_no_copies(column: str) -> None:
    frame, asked, _ = KINDS["optima"]
    count = len(frame)
    several = [[f"{name}{place * (column == 'run_id')}" for place in range(count)] for name in "ab"]
    found = fit(pd.concat([frame.assign(**{column: item}) for item in several]), loss="loss", **asked)
    assert found.num_runs == 2 * count and not any("last digit" in note for note in found.notes)


def test_runs_that_diverged_alike_and_points_to_run_are_not_copies() -> None:
    frame, asked, _ = KINDS["optima"]
    bad = frame.iloc[[0, 0]].assign(loss=np.inf)
    found = fit(pd.concat([frame, bad]), loss="loss", **asked)
    assert any("2 runs diverged" in note for note in found.notes)
    assert not any("last digit" in note for note in found.notes)


def test_optima_that_somebody_found() -> None:
    frame = pd.DataFrame({"width": [1.0, 2, 4, 8], "best": [1.0, 0.5, 0.25, 0.13]})
    whole = fit(frame, optimum="best", scale="width")
    for column in ("width", "best"):
        for reason, value in PLACES.items():
            table = with_bad_row(frame, **{column: value})
            if reason in ("nan", "inf"):
                found = fit(table, optimum="best", scale="width")
                assert answer(found) == answer(whole) and f"{column} is empty" in found.notes[0]
                continue
            with pytest.raises(errors.ConfigError, match=rf"{value}, but must be above 0"):
                fit(table, optimum="best", scale="width")


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
