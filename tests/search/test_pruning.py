"""Pruning: the rules against Optuna's pruner and numpy, and what becomes of a run that was stopped."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from search_fakes import BETA, LR, FormulaSession, freeze, loss_of

from sweepkit import fsio
from sweepkit.analysis.replicates import sort_runs
from sweepkit.config.schema import LauncherConfig
from sweepkit.launch.curve import Curve
from sweepkit.launch.execute import execute
from sweepkit.launch.sweep_status import status
from sweepkit.results import store
from sweepkit.results.record import RunDir, RunState
from sweepkit.search import drive, optuna_pruners, study
from sweepkit.search.optuna_pruners import Losses
from sweepkit.search.pruning import halving, sigma
from sweepkit.sweep import trials
from sweepkit.sweep.frozen import Frozen
from sweepkit.sweep.pruning_rule import PruningRule


def search(sweep: Frozen, session: Any = None) -> None:
    drive.search(
        sweep, LauncherConfig(), results_dir=sweep.sweep_dir.parent, prepare=lambda config: None,
        session_factory=lambda: session or FormulaSession(),
    )  # fmt: skip


@pytest.mark.parametrize("reduction", [2, 3, 4])
def test_halving_decides_as_optunas_pruner(reduction: int) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=reduction)
    ours = optuna.create_study(pruner=pruner)
    draw = random.Random(reduction)
    rule = PruningRule("halving", min_frac=reduction**-2.0, reduction=reduction)
    assert len(rule.fractions) == 2
    reached: list[list[float]] = [[], []]
    for _ in range(60):
        trial = ours.ask()
        theirs = mine = False
        for rung in range(2):
            loss = draw.random()
            trial.report(loss, reduction**rung)
            theirs = trial.should_prune()
            mine = halving(loss, reached[rung], reduction, rule.fractions[rung]) is not None
            assert mine == theirs
            reached[rung].append(loss)
            if mine:
                break
        ours.tell(trial, 0.0 if not mine else None, state=optuna.trial.TrialState.PRUNED if mine else None)
    assert reached[1], "some went on"


def test_sigma_decides_as_numpy_predicts() -> None:
    draw = np.random.default_rng(1)
    rule = PruningRule("sigma", k=2.0, min_runs=4)
    decided = []
    for _ in range(300):
        here = 3 + draw.random(8)
        end = here - 1 - 0.05 * draw.standard_normal(8)
        loss = 3 + draw.random()
        gains = here - end
        wanted = bool(loss - gains.mean() - 2.0 * gains.std(ddof=1) > end.min())
        got = sigma(loss, list(zip(here.tolist(), end.tolist(), strict=True)), rule, 0.5) is not None
        assert got == wanted
        decided.append(got)
    assert 0 < sum(decided) < len(decided)
    assert sigma(99.0, [(3.0, 2.0)] * 3, rule, 0.5) is None, "too few finished runs to judge by"


def test_a_curve_is_read_as_it_grows(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    curve = Curve(path, 100)
    assert curve.loss_at(0.1) is None
    for step in range(1, 41):
        fsio.append_line(path, {"step": step, "loss": float(step)})
    with path.open("a") as file:
        file.write('{"step": 41, "lo')
    curve.read()
    assert curve.last_step == 40
    assert curve.loss_at(0.4) == np.mean([36, 37, 38, 39, 40])
    assert curve.loss_at(0.41) is None
    with path.open("a") as file:
        file.write('ss": 41.0}\n')
    fsio.append_line(path, {"step": 40, "loss": 0.0})
    fsio.append_line(path, {"step": 41, "val_bpb": 1.0})
    curve.read()
    assert curve.loss_at(0.4) == np.mean([36, 37, 38, 39, 0]), "the later attempt's row counts"


def test_a_hopeless_run_is_stopped_after_the_step_that_decided_it(tmp_path: Path) -> None:
    results = tmp_path / "results"
    sweep = freeze(results, n_trials=12, sampler="random", pruning={"kind": "halving", "min_frac": 0.1})
    search(sweep)
    frame = store.load("s", results)
    pruned = frame[frame["state"] == "pruned"]
    assert 3 <= len(pruned) <= 11
    assert set(pruned["step"]) <= {2, 6, 18}, "a tenth, three and nine tenths of 20 steps"
    assert pruned["val_bpb"].isna().all()
    assert frame.loc[frame["role"] == "reference", "state"].tolist() == ["complete"]
    assert frame["failure_message"][pruned.index].str.contains("of the schedule").all()
    (found,) = status(results, "s")
    assert found.counts == {"complete": 12 - len(pruned), "pruned": len(pruned)}

    items = {item.user_attrs[study.NUMBER]: item for item in study.load(sweep.sweep_dir).get_trials()}
    for number, row in zip(frame["trial"], frame.itertuples(), strict=True):
        item = items[number]
        assert item.state.name == ("PRUNED" if row.state == "pruned" else "COMPLETE")
        if row.state == "pruned":
            percent, loss = next(iter(item.intermediate_values.items()))
            assert percent == round(100 * row.step / 20)
            assert loss > 1

    ended = pruned.iloc[0]
    found_runs = sort_runs(frame[frame["variant"] == ended["variant"]], "val_bpb")
    assert not found_runs.against
    assert not found_runs.complete
    assert list(found_runs.missing.values()) == ["pruned"]

    search(sweep)  # nothing more to do, and what was pruned stays so
    assert store.load("s", results)["state"].tolist() == frame["state"].tolist()


@pytest.mark.slow
def test_the_best_is_never_pruned_where_losses_keep_their_order(tmp_path: Path) -> None:
    """Curves of the formula never cross, so the run with the lowest end is the lowest all along."""
    kinds: list[dict[str, Any]] = [
        {"kind": "halving", "min_frac": 0.1},
        {"kind": "sigma", "k": 3.0, "min_frac": 0.2, "min_runs": 3},
    ]
    for kind in kinds:
        results = tmp_path / str(kind["kind"])
        sweep = freeze(results, n_trials=20, sampler="random", pruning=kind)
        search(sweep)
        plans = [cell.plan for trial in trials.load(sweep.sweep_dir) for cell in trial.cells]
        best = min(plans, key=loss_of)
        record = RunDir.of(results, best.run_id).read_record()
        assert record is not None
        assert record.state is RunState.complete
        states = store.load("s", results)["state"].value_counts()
        assert states["pruned"] >= 5, f"{kind}: {states}"


def test_whoever_else_asks_for_a_pruned_run_gets_it(tmp_path: Path) -> None:
    results = tmp_path / "results"
    space = {LR: {"low": 0.005, "high": 0.2, "log": True}, BETA: {"low": 0.7, "high": 0.99}}
    sweep = freeze(results, space=space, n_trials=8, sampler="random", pruning="halving")
    search(sweep)
    frame = store.load("s", results)
    wanted = frame.loc[frame["state"] == "pruned", "run_id"].iloc[0]
    plan = RunDir.of(results, wanted).read_plan()
    execute(
        [plan], LauncherConfig(), results_dir=results, session_factory=FormulaSession, prepare=lambda c: None
    )
    search(sweep)
    after = store.load("s", results).set_index("run_id")
    assert after.loc[wanted, "state"] == "complete"
    told = [item for item in study.load(sweep.sweep_dir).get_trials() if wanted in item.user_attrs["runs"]]
    assert [item.state.name for item in told] == ["PRUNED", "COMPLETE"], "Optuna learns of it"
    assert after.loc[wanted, "pruned_by"] == "s", "and what it was is not forgotten"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["hyperband", "median"])
def test_optunas_pruners_decide_as_in_a_study_that_lives(kind: str) -> None:
    """Trials of one study in any order, each asked about once it has come to a fraction."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    rule = (
        PruningRule("hyperband", min_frac=1 / 9)
        if kind == "hyperband"
        else PruningRule("median", 0.6, min_runs=3)
    )
    made = optuna_pruners._made(rule)
    draw = random.Random(3)
    lives = optuna.create_study(study_name="s", pruner=made)
    alive = [lives.ask() for _ in range(40)]
    runs: dict[int, Losses] = {}
    stopped, asked = set[int](), 0
    while going := [n for n in range(40) if n not in stopped and (n not in runs or runs[n].final is None)]:
        number = draw.choice(going[:6])
        before = runs.get(number, Losses(()))
        if len(before.at) == len(rule.fractions):
            runs[number] = Losses(before.at, before.at[-1])
            lives.tell(alive[number], before.at[-1])
            continue
        runs[number] = Losses((*before.at, draw.random() + number % 7))
        alive[number].report(runs[number].at[-1], optuna_pruners._step(rule, len(before.at)))
        wanted = alive[number].should_prune()
        assert optuna_pruners.stops(rule, "s", number, runs) == wanted
        asked += 1
        if wanted:
            stopped.add(number)
            lives.tell(alive[number], state=optuna.trial.TrialState.PRUNED)
    assert 5 < len(stopped) < 36 and asked > 60


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["hyperband", "median"])
def test_runs_are_stopped_by_optunas_pruners(tmp_path: Path, kind: str) -> None:
    sweep = freeze(tmp_path, n_trials=14, sampler="random", pruning=kind)
    search(sweep)
    frame = store.load("s", tmp_path)
    pruned = frame[frame["state"] == "pruned"]
    assert 2 <= len(pruned) <= 12
    assert frame["failure_message"][pruned.index].str.contains(f"stopped by Optuna's {kind} pruner").all()
    assert frame.loc[frame["role"] == "reference", "state"].tolist() == ["complete"]
    assert frame.loc[frame["val_bpb"].idxmin(), "state"] == "complete"
