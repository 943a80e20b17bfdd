"""Columns of levels and of fields: typed as the field is, the reference's own value among them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sweepkit.analysis import combinations
from sweepkit.config import compose, typed
from sweepkit.plan import epochs
from sweepkit.results import columns, export, query, store
from sweepkit.results.record import RunDir
from sweepkit.sweep import frozen, trials
from sweepkit.sweep.file import SweepFile
from sweepkit.sweep.trials import Trial

BASE = ["experiment=mini", "model=d4", "horizon.num_steps=20", "horizon.total_batch_size=8192"]
LR = "optimizer.matrix.lr"
#: Axis → its levels as a sweep file writes them, and the column's dtype.
FIELDS: dict[str, tuple[list[Any], str]] = {
    LR: ([0.01, 47.5, 5], "Float64"),
    "optimizer.x0.beta1": (["1e-1", ".25"], "Float64"),
    "schedule.final_lr_frac": ([0.5], "Float64"),
    "horizon.num_steps": ([10, 1_000, None], "Int64"),
    "model.num_kv_heads": ([1, 2], "Int64"),
    "optimizer.matrix.num_iterations": ([3, 4], "Int64"),
    "model.window_pattern": (["L", "SL"], "string"),
    "model.smear": ([False], "boolean"),
}


def freeze(tmp_path: Path, **content: Any) -> pd.DataFrame:
    sweep = SweepFile.from_json({"name": "x", "base": BASE, **content})
    frozen.freeze(sweep, tmp_path, reuse_runs=True)
    return store.load("x", tmp_path)


def value_of(axis: str, *own: str) -> Any:
    """What a configuration says by itself."""
    return typed.flatten(compose.compose([*BASE, *own]))[axis]


def spelled(value: Any) -> str:
    return {None: "null", False: "false"}.get(value, str(value))


def plain(values: pd.Series) -> list[Any]:
    return [None if pd.isna(value) else value for value in values]


@pytest.mark.parametrize("axis", FIELDS)
def test_a_field_of_numbers_is_a_column_of_numbers(axis: str, tmp_path: Path) -> None:
    levels, dtype = FIELDS[axis]
    table = freeze(tmp_path, axes={axis: levels})
    column = table[f"level_{axis}"]
    assert column.dtype == dtype
    wanted = [value_of(axis), *(value_of(axis, f"{axis}={spelled(level)}") for level in levels)]
    assert plain(column) == wanted
    for limit in (5, 47.5, 0) if dtype in ("Int64", "Float64") else ():
        kept = query.keep(table, f"level_{axis} > {limit}")[f"level_{axis}"]
        assert list(kept) == [value for value in wanted if value is not None and value > limit]


def test_a_level_that_is_null_is_asked_for_by_its_name(tmp_path: Path) -> None:
    table = freeze(tmp_path, axes={"horizon.num_steps": [10, None], "model.window_pattern": ["L"]})
    for asked in ("level_horizon.num_steps == null", "level_horizon.num_steps = null"):
        assert list(query.keep(table, asked)["variant"]) == ["horizon.num_steps=null"]
    others = query.keep(table, "level_horizon.num_steps != null and window_pattern != null")
    assert set(others["variant"]) == set(table["variant"]) - {"horizon.num_steps=null"}


def test_with_two_axes_every_cell_has_both_numbers(tmp_path: Path) -> None:
    """Of a variant that leaves an axis alone it is the reference's; choices and named levels are text."""
    axes = {LR: [0.01], "horizon.num_steps": [10], "optimizer": ["adamw"], "size": {"big": ["model=d6"]}}
    table = freeze(tmp_path, axes=axes).set_index("variant")
    assert dict(table[f"level_{LR}"].drop("optimizer=adamw")) == {
        "reference": 0.02, f"{LR}=0.01": 0.01, "horizon.num_steps=10": 0.02, "size=big": 0.02
    }  # fmt: skip
    assert set(table["level_horizon.num_steps"]) == {20, 10}
    assert set(table["level_optimizer"]) == {"reference", "adamw"}
    assert set(table["level_size"]) == {"reference", "big"}


@pytest.mark.parametrize("axis", FIELDS)
def test_a_csv_has_every_level_null_among_them(axis: str, tmp_path: Path) -> None:
    levels, dtype = FIELDS[axis]
    table = freeze(tmp_path, axes={axis: levels})
    written = export.csv(table)
    again = pd.read_csv(io.StringIO(written), keep_default_na=False, dtype=str)[f"level_{axis}"]
    wanted = ["null" if value is None else str(value) for value in plain(table[f"level_{axis}"])]
    assert list(again) == wanted and "" not in wanted
    if dtype != "string":  # what pandas reads by itself is a column of the same numbers
        usual = pd.read_csv(io.StringIO(written))[f"level_{axis}"]
        assert plain(usual.astype(dtype)) == plain(table[f"level_{axis}"])


@pytest.mark.parametrize("name", ["x", None])
def test_every_configured_field_is_a_typed_column(name: str | None, tmp_path: Path) -> None:
    """Of a sweep, and of all runs; as composing says, with the rates that came of it beside them."""
    axes = {LR: [0.01], "horizon.num_steps": [10, None], "optimizer": ["adamw"], "model.smear": [False]}
    sweep = SweepFile.from_json({"name": "x", "base": BASE, "axes": axes})
    cells = frozen.freeze(sweep, tmp_path, reuse_runs=True).cells
    for cell in cells:
        RunDir.of(tmp_path, cell.plan.run_id).write_plan(cell.plan)
    table = store.load(name, tmp_path, config=True).set_index("run_id")
    assert list(store.load(name, tmp_path).columns) == [*table.reset_index().columns][: -_added(table)]
    for cell in cells:
        for field, value in cell.plan.settings.items():
            found = table.loc[cell.plan.run_id, field]
            if isinstance(value, list) or (isinstance(value, str) and table[field].dtype == "string"):
                assert found == (value if isinstance(value, str) else f"[{','.join(map(str, value))}]")
            else:
                assert (None if pd.isna(found) else found) == value
        for group, rate in cell.plan.learning_rates.items():
            assert table.loc[cell.plan.run_id, f"learning_rates_{group}"] == rate
            assert table.loc[cell.plan.run_id, f"weight_decays_{group}"] == cell.plan.weight_decays[group]
    dtypes = {
        LR: "Float64",
        "horizon.num_steps": "Int64",
        "model.smear": "boolean",
        "optimizer.matrix.kind": "string",
    }
    assert {field: str(table[field].dtype) for field in dtypes} == dtypes
    low = {cell.plan.run_id for cell in cells if cell.plan.config.optimizer.matrix.lr < 0.015}
    assert set(query.keep(table, f"{LR} < 0.015").index) == low and 0 < len(low) < len(cells)


def _added(table: pd.DataFrame) -> int:
    """How many columns are fields' alone."""
    return len([name for name in typed.flatten(compose.compose(BASE)) if not columns.find(name)])


def test_levels_that_are_names_of_their_own_stay_text(tmp_path: Path) -> None:
    axes = {LR: {"low": [f"{LR}=0.01"], "2": [f"{LR}=0.03"]}}
    assert list(freeze(tmp_path, axes=axes)[f"level_{LR}"]) == ["0.02", "low", "2"]


def test_a_search_has_numbers_in_all_of_its_rows(tmp_path: Path) -> None:
    space = {LR: {"low": 0.001, "high": 1.0}, "horizon.num_steps": {"low": 10, "high": 30}}
    freeze(tmp_path, search={"space": space, "n_trials": 3}, axes={"x0": {"b8": ["optimizer.x0.beta1=0.8"]}})
    sweep = frozen.load_frozen(tmp_path, "x")
    from sweepkit.sweep import points

    params = {LR: 0.123456789012345, "horizon.num_steps": 17}
    cells = points.cells(params, stacks=sweep.stacks, extra=(), fixed=sweep.fixed, labels={})
    trials.append(sweep.sweep_dir, Trial(0, params, None, tuple(cells)))
    table = store.load("x", tmp_path)
    assert list(table[f"level_{LR}"]) == [0.02, 0.02, 0.123456789012345]
    assert list(table["level_horizon.num_steps"]) == [20, 20, 17]
    assert table["level_horizon.num_steps"].dtype == "Int64"
    assert list(table["level_x0"]) == ["reference", "b8", "reference"]


def test_combinations_read_numbers_and_missing_ones_as_levels(tmp_path: Path) -> None:
    axes = {LR: [0.01], "horizon.num_steps": [None]}
    table = freeze(tmp_path, axes=axes, combine="all", seeds=[1, 2, 3])
    effects = {"reference": 0.0, f"{LR}=0.01": -0.1, "horizon.num_steps=null": -0.2}
    noise = pd.Series([0.001, -0.001, 0.002] * 4)
    table["val_bpb"] = table["variant"].map(lambda name: effects.get(name, -0.3)) + noise[: len(table)]
    found = {term.name: term.effect for term in combinations.terms(table, "val_bpb", 0.05)}
    assert found[f"{LR}=0.01"] == pytest.approx(-0.1, abs=0.01)
    assert found["horizon.num_steps=null"] == pytest.approx(-0.2, abs=0.01)
    assert len(found) == 3


def test_planned_runs_have_the_epochs_that_plan_shows(tmp_path: Path) -> None:
    missing = str(tmp_path / "own.txt")
    Path(missing).write_text("words of my own\n" * 4096)
    table = freeze(
        tmp_path,
        axes={"horizon.num_steps": [10], "dataset": {"own": ["dataset=files", f"dataset.path={missing}"]}},
        decision={"metric": "train_time_s", "min_effect": 1},
    )
    plans = {cell.plan.run_id: cell.plan for cell in frozen.load_frozen(tmp_path, "x").cells}
    wanted = [epochs.of(plans[run_id]) for run_id in table["run_id"]]
    assert len({round(item.number, 9) for item in wanted if item}) == 3
    assert list(table["epochs"]) == pytest.approx([item.number for item in wanted if item])
    assert set(table["state"]) == {"planned"}
    Path(missing).unlink()
    again = store.load("x", tmp_path)
    assert list(again["epochs"].isna()) == [variant == "dataset=own" for variant in again["variant"]]
