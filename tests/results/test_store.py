"""The runs table: every cell has its row, typed, with missing values missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import made_up_runs as made_up
import pandas as pd
import pytest

import sweepkit
from sweepkit import fsio
from sweepkit.config import typed
from sweepkit.errors import FrozenPlanError, SweepkitError
from sweepkit.results import columns, store
from sweepkit.results.record import Attempt, FailureClass, RunDir, RunState
from sweepkit.sweep.file import SweepFile


def frozen(results: Path, *cells: dict, name: str = "x") -> None:
    made_up.freeze(results, name, list(cells))


def test_a_complete_run_has_its_numbers_with_documented_dtypes(tmp_path: Path) -> None:
    run = made_up.plan()
    written = made_up.finish(tmp_path, run)
    frozen(tmp_path, made_up.cell(run))
    table = store.load("x", tmp_path)
    row = table.iloc[0]
    assert row["state"] == "complete"
    assert row["val_bpb"] == written.results["val_bpb"]
    assert row["bpb_probe"] == written.results["bpb_probe"]
    assert row["learning_rates_x0"] == 0.5
    assert row["hardware"] == "a processor"
    assert row["num_threads"] == 2
    assert row["dtype"] == "bf16"
    assert row["evaluation_fingerprint"] == "f" * 12
    assert row["started_at"] == pd.Timestamp("2026-01-19T10:00:00Z")
    for name, dtype in table.dtypes.items():
        column = columns.find(str(name))
        assert column is not None
        assert str(dtype) == column.dtype, name
    assert list(table.columns) == columns.order(list(table.columns))


def test_a_cell_without_a_record_is_planned_and_its_results_are_missing(tmp_path: Path) -> None:
    run = made_up.plan()
    frozen(tmp_path, made_up.cell(run))
    row = store.load("x", tmp_path).iloc[0]
    assert row["state"] == "planned"
    assert row["num_steps"] == run.num_steps
    for name in ("val_bpb", "step", "tokens_per_s", "started_at", "failure_class"):
        assert pd.isna(row[name])


@pytest.mark.parametrize("state", list(RunState))
def test_a_row_is_kept_whatever_became_of_the_run(tmp_path: Path, state: RunState) -> None:
    run = made_up.plan()
    failure = FailureClass.oom if state is RunState.failed else None
    RunDir.of(tmp_path, run.run_id).write_record(made_up.record(run, state, failure_class=failure))
    frozen(tmp_path, made_up.cell(run))
    row = store.load("x", tmp_path).iloc[0]
    # without a sweep of ours that stopped it, it was stopped half way
    stopped = (RunState.pruned, RunState.futile)
    assert row["state"] == ("preempted" if state in stopped else state.value)
    assert pd.isna(row["val_bpb"])
    assert (row["failure_class"] == "oom") is True if failure else pd.isna(row["failure_class"])


UNREADABLE = ["", "{", "[]", "null", '{"run_id": 1}', '{"state": "no such"}', "\x00\xff"]


@pytest.mark.parametrize("content", UNREADABLE)
def test_an_unreadable_record_is_corrupt_with_a_warning(tmp_path: Path, content: str) -> None:
    run = made_up.plan()
    path = RunDir.of(tmp_path, run.run_id).record_path
    path.parent.mkdir(parents=True)
    path.write_bytes(content.encode("latin-1"))
    frozen(tmp_path, made_up.cell(run))
    with pytest.warns(UserWarning, match=r"record\.json is damaged"):
        row = store.load("x", tmp_path).iloc[0]
    assert row["state"] == "corrupt"
    assert "delete it" in row["failure_message"]
    assert row["depth"] == run.depth


def test_a_value_of_the_wrong_type_is_refused_and_spoils_nothing_else(tmp_path: Path) -> None:
    runs = [made_up.plan(seed=seed) for seed in (1, 2)]
    for run, tokens in zip(runs, ("fast", 12.5), strict=True):
        folder = RunDir.of(tmp_path, run.run_id)
        folder.write_record(made_up.record(run, results={"tokens_per_s": tokens, "val_bpb": 1.5}))
    frozen(tmp_path, *(made_up.cell(run) for run in runs))
    table = store.load("x", tmp_path)
    assert list(table["state"]) == ["corrupt", "complete"]
    assert "tokens_per_s is 'fast', but must be a number" in table["failure_message"].iloc[0]
    assert table["tokens_per_s"].iloc[1] == 12.5
    assert table["val_bpb"].iloc[1] == 1.5


def test_nan_in_a_record_is_missing_not_zero(tmp_path: Path) -> None:
    run = made_up.plan()
    record = made_up.record(run, RunState.diverged, results={"val_bpb": float("nan")})
    RunDir.of(tmp_path, run.run_id).write_record(record)
    frozen(tmp_path, made_up.cell(run))
    assert pd.isna(store.load("x", tmp_path)["val_bpb"].iloc[0])


def test_two_cells_may_share_one_run(tmp_path: Path) -> None:
    run = made_up.plan()
    made_up.finish(tmp_path, run)
    frozen(tmp_path, made_up.cell(run), made_up.cell(run, "a=b"))
    table = store.load("x", tmp_path)
    assert list(table["variant"]) == ["reference", "a=b"]
    assert table["val_bpb"].nunique() == 1


def test_levels_are_the_cells_and_the_reference_fills_the_rest(tmp_path: Path) -> None:
    plans = [made_up.plan(variant_id=letter * 12) for letter in "abc"]
    frozen(
        tmp_path,
        made_up.cell(plans[0]),
        made_up.cell(plans[1], "optimizer.matrix.lr=0.02,x0=b96"),
        made_up.cell(plans[2], "x0=b98"),
    )
    table = store.load("x", tmp_path)
    assert list(table["level_x0"]) == ["reference", "b96", "b98"]
    # what a configuration says, for an axis that is a field and that levels do not name
    assert list(table["level_optimizer.matrix.lr"]) == [0.02, 0.02, 0.02]
    sweep = SweepFile(
        "x", axes={"x0": {"b80": ()}, "optimizer.matrix.lr": {"high": ()}}, reference={"x0": "b80"}
    )
    path = tmp_path / "x" / "frozen.json"
    fsio.write_json(path, fsio.read_json(path) | {"sweep": typed.dump(sweep)})
    assert list(store.load("x", tmp_path)["level_x0"]) == ["b80", "b96", "b98"]


@pytest.mark.parametrize(
    ("name", "content"), [("plan.jsonl", '{"variant": "refe'), ("trials.jsonl", '3\n{"cells": [1]}\n')]
)
def test_what_was_frozen_and_has_changed_is_refused(tmp_path: Path, name: str, content: str) -> None:
    frozen(tmp_path, made_up.cell(made_up.plan()))
    with (tmp_path / "x" / name).open("a") as file:
        file.write(content)
    with pytest.raises(FrozenPlanError, match=f"{name} (was|is) .*edited"):
        store.load("x", tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [("amendment-1.json", ""), ("amendment-1.json", "[]")],
)
def test_damage_beside_a_plan_is_left_out_with_a_warning(tmp_path: Path, name: str, content: str) -> None:
    frozen(tmp_path, made_up.cell(made_up.plan()))
    (tmp_path / "x" / name).write_text(content)
    with pytest.warns(UserWarning, match=f"{name} is no .* and is left out"):
        assert len(store.load("x", tmp_path)) == 1


def test_all_gives_every_run_directory_with_or_without_a_sweep(tmp_path: Path) -> None:
    lone, failed = made_up.plan(depth=4), made_up.plan(depth=6)
    made_up.finish(tmp_path, lone)
    RunDir.of(tmp_path, failed.run_id).write_plan(failed)
    (tmp_path / "runs" / "stray").mkdir()
    (tmp_path / "runs" / "file.txt").write_text("")
    for name in (None, "all"):
        table = store.load(name, tmp_path).set_index("run_id")
        assert dict(table["state"]) == {lone.run_id: "complete", failed.run_id: "planned"}
        assert table["variant"].isna().all()
        assert table.loc[lone.run_id, "depth"] == 4


def test_an_empty_results_folder_gives_an_empty_table_with_all_columns(tmp_path: Path) -> None:
    table = store.load("all", tmp_path / "none")
    assert table.empty
    assert {"run_id", "val_bpb", "state"} <= set(table.columns)
    assert str(table["val_bpb"].dtype) == "Float64"


@pytest.mark.parametrize("name", ["dem", "../x", "", "runs", "."])
def test_an_unknown_sweep_names_those_that_exist(tmp_path: Path, name: str) -> None:
    frozen(tmp_path, made_up.cell(made_up.plan()), name="demo")
    with pytest.raises(SweepkitError, match="demo"):
        store.load(name, tmp_path)


def test_a_sweep_that_is_being_frozen_is_not_listed(tmp_path: Path) -> None:
    frozen(tmp_path, made_up.cell(made_up.plan()), name="demo")
    frozen(tmp_path, made_up.cell(made_up.plan()), name=".demo.1.tmp")
    assert store.sweep_names(tmp_path) == ["demo"]


def test_the_public_name_works_and_uses_the_results_folder_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(tmp_path))
    run = made_up.plan()
    made_up.finish(tmp_path, run)
    frozen(tmp_path, made_up.cell(run))
    assert len(sweepkit.results.load("x")) == 1
    assert len(sweepkit.results.curves("x")) == run.num_steps


@pytest.mark.slow
def test_loading_imports_no_torch_and_the_package_alone_no_pandas() -> None:
    code = """
import sys, sweepkit, sweepkit.results.record
assert "pandas" not in sys.modules
import sweepkit.results.store, sweepkit.report.html, sweepkit.report.tables, sweepkit.cli.results
assert not {"torch", "wandb", "matplotlib"} & set(sys.modules), sorted(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_record_of_a_newer_version_still_loads(tmp_path: Path) -> None:
    run = made_up.plan()
    made_up.finish(tmp_path, run)
    path = RunDir.of(tmp_path, run.run_id).record_path
    fsio.write_json(path, fsio.read_json(path) | {"invented_later": 1, "schema_version": 99})
    frozen(tmp_path, made_up.cell(run))
    assert store.load("x", tmp_path)["state"].iloc[0] == "complete"


def test_a_finished_run_of_a_newer_version_is_done_here_too(tmp_path: Path) -> None:
    run = made_up.plan()
    made_up.finish(tmp_path, run)
    run_dir = RunDir.of(tmp_path, run.run_id)
    written = run_dir.read_record()
    fsio.write_json(run_dir.record_path, fsio.read_json(run_dir.record_path) | {"invented_later": 1})
    assert run_dir.read_record() == written


def test_what_only_a_newer_version_can_read_is_said_and_never_replaced(tmp_path: Path) -> None:
    """Not "delete it and run again": the run may be fine, and counts as neither done nor never started."""
    run, other = made_up.plan(), made_up.plan(variant_id="b" * 12)
    for plan in (run, other):
        made_up.finish(tmp_path, plan)
    run_dir = RunDir.of(tmp_path, run.run_id)
    newer = fsio.read_json(run_dir.record_path) | {"state": "hibernating", "schema_version": 99}
    fsio.write_json(run_dir.record_path, newer)
    frozen(tmp_path, made_up.cell(run), made_up.cell(other, "a=1"))
    with pytest.warns(UserWarning, match="schema_version 99"):
        rows = store.load("x", tmp_path)
    assert list(rows["state"]) == ["corrupt", "complete"]
    assert "update sweepkit" in rows["failure_message"].iloc[0]
    with pytest.raises(SweepkitError, match=r"record\.json has schema_version 99.*update sweepkit"):
        run_dir.read_record()


@pytest.mark.parametrize("content", UNREADABLE)
def test_a_record_that_cannot_be_read_counts_as_none(tmp_path: Path, content: str) -> None:
    run_dir = RunDir.of(tmp_path, "a")
    run_dir.path.mkdir(parents=True)
    run_dir.record_path.write_bytes(content.encode("latin-1"))
    assert run_dir.read_record() is None


def test_a_damaged_attempt_spoils_no_record(tmp_path: Path) -> None:
    run = made_up.plan()
    run_dir = RunDir.of(tmp_path, run.run_id)
    run_dir.write_record(made_up.record(run, RunState.failed, failure_class=FailureClass.oom))
    for number, host in ((1, "one"), (2, "two")):
        run_dir.write_attempt(Attempt(number, failure_class=FailureClass.oom, host=host))
    (run_dir.attempts_path / "3.json").write_text("{")
    frozen(tmp_path, made_up.cell(run))
    row = store.load("x", tmp_path).iloc[0]
    assert (row["state"], row["failed_attempts"], row["failed_hosts"]) == ("failed", 2, 2)
