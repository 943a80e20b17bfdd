"""What the sampler learns of trials without an answer, what counts as a trial, and when a search ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from search_fakes import BASE, LR, FormulaSession, freeze, ran

from sweepkit.cli import searching
from sweepkit.config.schema import LauncherConfig
from sweepkit.launch import job
from sweepkit.launch.execute import execute
from sweepkit.launch.sweep_status import status
from sweepkit.plan.run_plan import RunPlan
from sweepkit.results.record import FailureClass, RunDir
from sweepkit.search import drive, study
from sweepkit.search.trial_ledger import TrialLedger
from sweepkit.sweep import frozen, trials
from sweepkit.sweep.file import SweepFile
from sweepkit.sweep.frozen import Frozen

#: They stop the launch.
SET_ASIDE = {FailureClass.disk_full, FailureClass.storage}
STEPS = {LR: {"low": 0.01, "high": 0.05, "step": 0.01}}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


def search(sweep: Frozen, session: Any = None) -> None:
    drive.search(
        sweep, LauncherConfig(), results_dir=sweep.sweep_dir.parent, prepare=lambda config: None,
        session_factory=lambda: session or FormulaSession(),
    )  # fmt: skip


def note(results: Path, name: str = "s") -> str:
    return status(results, name)[0].notes[0]


class Failing(FormulaSession):
    """Fails the runs with a high learning rate as ``failure_class``."""

    def __init__(self, failure_class: FailureClass) -> None:
        super().__init__()
        self.failure_class = failure_class

    def run(self, plan: RunPlan, run_dir: RunDir, *args: Any, **kwargs: Any) -> Any:
        record = super().run(plan, run_dir, *args, **kwargs)
        if plan.config.optimizer.matrix.lr > 0.03:
            return job.mark_failed(plan, run_dir, self.failure_class, "for the test")
        return record


@pytest.mark.parametrize("failure_class", sorted(set(FailureClass) - SET_ASIDE))
def test_only_what_its_own_values_made_fail_is_held_against_a_point(
    failure_class: FailureClass, results: Path
) -> None:
    sweep = freeze(results, n_trials=8, sampler="random")
    search(sweep, Failing(failure_class))
    items = {item.user_attrs.get(study.NUMBER): item for item in study.load(sweep.sweep_dir).get_trials()}
    own = {FailureClass.diverged, FailureClass.oom, FailureClass.crash, FailureClass.impossible}
    num_bad = 0
    for trial in trials.load(sweep.sweep_dir):
        item = items[trial.number]
        if item.params[LR] <= 0.03:
            assert item.state == TrialState.COMPLETE and item.constraints[study.ENDS] < 0
            continue
        num_bad += 1
        if failure_class in own:
            assert item.state == TrialState.COMPLETE and item.constraints[study.ENDS] > 0
        else:
            assert item.state in (TrialState.FAIL, TrialState.RUNNING), "samplers ignore it"
    assert num_bad >= 2


@pytest.mark.parametrize("sampler", ["tpe", "gp", "cmaes", "nsgaii", "qmc", "random", "grid"])
def test_a_finite_space_is_tried_once_and_then_the_search_ends(sampler: str, results: Path) -> None:
    space = STEPS | {"optimizer.matrix.num_iterations": {"low": 4, "high": 5}}
    sweep = freeze(results, space=space, n_trials=40, sampler=sampler)
    search(sweep)
    lines = trials.load(sweep.sweep_dir)
    tried = {(trial.params[LR], trial.params["optimizer.matrix.num_iterations"]) for trial in lines}
    assert len(lines) == len(tried) == len(ran(results)) == 10
    assert "10 of 40 trials proposed" in note(results)
    assert "it has ended: every point of the space was tried" in note(results)
    assert TrialLedger(sweep, results).num_to_ask == 0
    assert searching.searched(sweep, results) is not None


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["tpe", "gp", "qmc", "random", "grid"])
def test_repeats_are_no_trials_and_cost_no_run(sampler: str, results: Path) -> None:
    space = {LR: [0.01, 0.02, 0.03, 0.04], "optimizer.matrix.num_iterations": [2, 3, 4, 5]}
    sweep = freeze(results, space=space, n_trials=14, sampler=sampler)
    search(sweep)
    lines = trials.load(sweep.sweep_dir)
    assert len(lines) == len(set(ran(results))) == len(ran(results)) == 14
    repeats = sum(trial.repeats for trial in lines)
    assert (f"; {repeats} repeated a point and were dropped" in note(results)) == (repeats > 0)
    assert repeats == 0 or sampler != "grid"


def test_invalid_combinations_and_runs_of_another_point_are_no_trials(
    results: Path,
) -> None:
    """Of 9 points (width 64) one divides no heads, and two are what another one comes out as."""
    space = {"model.head_dim": [16, 32, 64], "model.num_kv_heads": [None, 1, 2]}
    sweep = freeze(results, space=space, n_trials=20)
    search(sweep)
    lines = trials.load(sweep.sweep_dir)
    assert len(lines) == 9
    assert sum(trial.counts for trial in lines) == len(ran(results)) == 6
    (broken,) = [trial for trial in lines if trial.error]
    assert broken.params == {"model.head_dim": 64, "model.num_kv_heads": 2}
    items = {item.user_attrs.get(study.NUMBER): item for item in study.load(sweep.sweep_dir).get_trials()}
    for trial in lines:
        assert (items[trial.number].constraints[study.ENDS] > 0) == (trial is broken)
        if trial.same_as is not None:
            assert items[trial.number].value == items[trial.same_as].value
    said = note(results)
    assert "6 of 20 trials proposed; 1 proposals were no valid configuration; 2 were the runs of" in said
    assert "it has ended: every point of the space was tried" in said


@pytest.mark.slow
def test_a_sampler_that_finds_nothing_valid_ends_saying_so(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sweepkit.errors import ConfigError
    from sweepkit.sweep import points

    sweep = freeze(results, n_trials=5, sampler="random")
    inner = points.cells

    def cells(params: Any, **given: Any) -> Any:
        if params[LR] != 0.02:
            raise ConfigError("not valid, for the test")
        return inner(params, **given)

    monkeypatch.setattr(points, "cells", cells)
    search(sweep)
    assert "1 of 5 trials proposed; 200 proposals were no valid configuration" in note(results)
    assert "it has ended: 200 proposals in a row were no valid configuration" in note(results)
    assert len(ran(results)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("change", [{}, {"seed": 9}, {"sampler": "qmc"}])
def test_a_copy_with_more_trials_begins_with_all_that_the_first_found(
    change: dict[str, Any], results: Path
) -> None:
    def diverges(plan: RunPlan) -> bool:
        return bool(plan.config.optimizer.matrix.lr > 0.1)

    space = {LR: {"low": 0.005, "high": 0.2, "log": True}, "model.window_pattern": ["L", "SL"]}
    first = freeze(results, "first", space=space, n_trials=9, seeds=(1, 2))
    search(first, FormulaSession(diverges=diverges))
    before = ran(results)
    copy = freeze(results, "copy", space=space, n_trials=13, seeds=(1, 2), **change)
    search(copy, FormulaSession(diverges=diverges))
    lines = trials.load(copy.sweep_dir)
    old = {cell.plan.run_id for trial in trials.load(first.sweep_dir) for cell in trial.cells}
    assert {cell.plan.run_id for trial in lines for cell in trial.cells} >= old
    assert len(lines) == 13
    again = ran(results)[len(before) :]
    assert not set(again) & set(before), "nothing that had ended was run again"
    assert len({run_id.rpartition("-s")[0] for run_id in again}) == 4
    assert "9 of them had ended before the search began" in note(results, "copy")
    search(copy)
    assert len(trials.load(copy.sweep_dir)) == 13


def test_runs_of_other_sweeps_in_the_space_are_found_and_others_are_not(results: Path) -> None:
    """Of two groups and a field: what lies outside, or differs beside the space, is left alone."""
    space = {LR: {"low": 0.005, "high": 0.2, "log": True}, "model": ["d2", "d4"]}
    axes = {
        "lr": {"in": [f"{LR}=0.05"], "out": [f"{LR}=0.5"], "other": ["optimizer.x0.lr=0.2", f"{LR}=0.06"]}
    }
    axes["size"] = {"d4": ["model=d4"]}
    grid = frozen.freeze(SweepFile.from_json({"name": "grid", "base": BASE, "axes": axes}), results)
    execute(
        [cell.plan for cell in grid.cells], LauncherConfig(), results_dir=results,
        session_factory=FormulaSession, prepare=lambda config: None,
    )  # fmt: skip
    sweep = freeze(results, space=space, n_trials=5)
    search(sweep)
    found = [trial.params for trial in trials.load(sweep.sweep_dir) if trial.is_earlier]
    assert sorted(found, key=str) == sorted([{LR: 0.05, "model": "d2"}, {LR: 0.02, "model": "d4"}], key=str)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_a_sampler_keeps_away_from_where_trials_diverge(sampler: str, results: Path) -> None:
    """The optimum of what is left lies at the edge of a region that covers a good half of the space."""

    class Cliff(FormulaSession):
        def __init__(self) -> None:
            super().__init__(diverges=lambda plan: plan.config.optimizer.matrix.lr > 0.02)

    space = {LR: {"low": 0.001, "high": 1.0, "log": True}}
    sweep = freeze(results, space=space, n_trials=28, sampler=sampler)
    search(sweep, Cliff())
    late = trials.load(sweep.sweep_dir)[-16:]
    diverged = sum(trial.params[LR] > 0.02 for trial in late)
    assert diverged <= 9, f"{diverged} of the last 16 lie where all had diverged"
    rates = [trial.params[LR] for trial in trials.load(sweep.sweep_dir) if trial.params[LR] <= 0.02]
    assert max(rates) > 0.015, "it is found from the side that has answers"
