"""Searches with a trainer that is a formula: what is asked, told, counted and run, in one process."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from search_fakes import BASE, BETA, LR, FormulaSession, freeze, loss_of, ran

from sweepkit.cli import searching
from sweepkit.config.schema import LauncherConfig
from sweepkit.errors import ConfigError, FrozenPlanError
from sweepkit.launch import claims, job
from sweepkit.launch.execute import LaunchCancelledError, LaunchSummary
from sweepkit.launch.sweep_status import status
from sweepkit.plan.run_plan import RunPlan
from sweepkit.results import query, store
from sweepkit.results.record import FailureClass, RunDir
from sweepkit.search import drive, samplers, study
from sweepkit.sweep import frozen, search_spec, trials
from sweepkit.sweep.decision import DecisionRule
from sweepkit.sweep.file import SweepFile
from sweepkit.sweep.frozen import Frozen

SPACE = {LR: {"low": 0.005, "high": 0.2, "log": True}, BETA: {"low": 0.7, "high": 0.99}}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


def search(sweep: Frozen, session: Any = None, **given: Any) -> LaunchSummary:
    return drive.search(
        sweep, LauncherConfig(), results_dir=sweep.sweep_dir.parent, prepare=lambda config: None,
        session_factory=lambda: session or FormulaSession(), **given,
    )  # fmt: skip


def told(sweep: Frozen) -> list[optuna.trial.FrozenTrial]:
    return study.load(sweep.sweep_dir).get_trials()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tpe", "random", "qmc", "gp"])
def test_proposals_are_those_of_optunas_own_sampler(results: Path, name: str) -> None:
    """The reference: a study in memory, asked by Optuna alone with the same samplers and told the formula."""
    sweep = freeze(results, space=SPACE, sampler=name, n_trials=14 if name == "tpe" else 12, seed=5)
    search(sweep)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    plain = optuna.create_study()
    distributions = {
        LR: optuna.distributions.FloatDistribution(0.005, 0.2, log=True),
        BETA: optuna.distributions.FloatDistribution(0.7, 0.99),
    }
    plain.enqueue_trial({LR: 0.02, BETA: 0.96})  # the reference
    for trial in trials.load(sweep.sweep_dir):
        if trial.number:
            plain.sampler = samplers.of(sweep.search, trial.number)  # type: ignore[arg-type]
        asked = plain.ask(fixed_distributions=distributions)
        assert asked.params == trial.params
        plain.tell(asked, loss_of(trial.cells[0].plan))
    assert [item.value for item in told(sweep)] == [item.value for item in plain.trials]


def test_a_small_space_finds_what_brute_force_finds_and_runs_nothing_twice(results: Path) -> None:
    rates, betas = [0.01, 0.02, 0.04], [0.8, 0.9]
    sweep = freeze(results, space={LR: rates, BETA: {"choices": betas}}, n_trials=30, sampler="random")
    search(sweep)
    cells = [cell for trial in trials.load(sweep.sweep_dir) for cell in trial.cells]
    plans = {cell.plan.run_id: cell.plan for cell in cells}
    tried = {(plan.config.optimizer.matrix.lr, plan.config.optimizer.x0.beta1)
             for plan in plans.values()}  # fmt: skip
    assert tried == set(itertools.product(rates, betas))
    assert len(cells) == 6, "a point that was tried is no further trial"
    started = ran(results)
    assert len(started) == len(set(started)) == 7, "six points and the reference, which lies outside"
    assert study.load(sweep.sweep_dir).best_value == min(loss_of(plan) for plan in plans.values())
    assert "6 of 30 trials proposed" in status(results, "s")[0].notes[0]
    assert "it has ended: every point of the space was tried" in status(results, "s")[0].notes[0]
    search(sweep)
    assert ran(results) == started
    frame = store.load("s", results)
    assert len(frame) == 7
    assert frame["run_id"].is_unique
    assert list(frame[frame["trial"].isna()]["role"]) == ["reference"]


def test_n_trials_is_a_total_however_often_it_is_resumed(results: Path) -> None:
    sweep = freeze(results, n_trials=9)
    for _ in range(4):
        assert len(search(sweep).counts) == 1
    lines = trials.load(sweep.sweep_dir)
    assert [trial.number for trial in lines] == list(range(9))
    assert len(ran(results)) == 9
    before = (sweep.sweep_dir / study.FILE).read_bytes()
    search(sweep)
    assert (sweep.sweep_dir / study.FILE).read_bytes() == before


def test_resuming_in_pieces_proposes_what_one_go_proposes(results: Path, tmp_path: Path) -> None:
    whole = freeze(results, n_trials=13)
    search(whole)
    pieces = freeze(tmp_path / "pieces", n_trials=13)

    class Interrupting(FormulaSession):
        left = 3

        def run(self, *args: Any, **kwargs: Any) -> Any:
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1
            return super().run(*args, **kwargs)

    for _ in range(4):
        with pytest.raises(KeyboardInterrupt):
            search(pieces, Interrupting())
    search(pieces)
    params = [[trial.params for trial in trials.load(one.sweep_dir)] for one in (whole, pieces)]
    assert params[0] == params[1]


def test_the_reference_and_named_points_come_first(results: Path) -> None:
    sweep = freeze(results, space=SPACE, n_trials=4, enqueue=[[f"{LR}=0.1"], [f"{BETA}=0.8", f"{LR}=0.05"]])
    search(sweep)
    lines = trials.load(sweep.sweep_dir)
    assert [trial.params for trial in lines[:3]] == [
        {LR: 0.02, BETA: 0.96}, {LR: 0.1, BETA: 0.96}, {LR: 0.05, BETA: 0.8}
    ]  # fmt: skip
    assert [trial.point for trial in lines] == [0, 1, 2, None]
    assert lines[0].cells[0].role == "reference"


def test_a_point_outside_for_want_of_a_reference_in_the_space_is_refused(results: Path) -> None:
    space = {LR: [0.1, 0.2], BETA: [0.5, 0.6]}
    with pytest.raises(ConfigError, match=r"give optimizer\.x0\.beta1 in that point"):
        search(freeze(results, space=space, enqueue=[[f"{LR}=0.1"]]))


def test_the_value_is_the_mean_over_seeds(results: Path) -> None:
    sweep = freeze(results, seeds=(1, 2, 4), n_trials=3)
    search(sweep)
    for trial, item in zip(trials.load(sweep.sweep_dir), told(sweep), strict=True):
        assert item.value == pytest.approx(sum(loss_of(cell.plan) for cell in trial.cells) / 3)
        assert item.user_attrs["runs"] == [cell.plan.run_id for cell in trial.cells]


def test_divergence_is_told_as_infeasible_with_the_worst_value_and_never_as_infinity(results: Path) -> None:
    def diverges(plan: RunPlan) -> bool:
        return bool(plan.config.optimizer.matrix.lr > 0.04)

    sweep = freeze(results, seeds=(1, 2), n_trials=12, sampler="random")
    summary = search(sweep, FormulaSession(diverges=diverges))
    assert {item.state for item in told(sweep)} == {TrialState.COMPLETE}
    assert "Infinity" not in (sweep.sweep_dir / study.FILE).read_text()
    num_infeasible, worst = 0, 0.0
    for trial, item in zip(trials.load(sweep.sweep_dir), told(sweep), strict=True):
        if diverges(trial.cells[0].plan):
            num_infeasible += 1
            assert item.constraints[study.ENDS] > 0
            assert item.value == worst, "the worst that a trial before it had"
        else:
            assert item.constraints[study.ENDS] < 0
            assert item.value is not None
            worst = max(worst, item.value)
    assert summary.counts["diverged"] == num_infeasible >= 3, "one bad seed is enough"
    assert study.load(sweep.sweep_dir).best_params[LR] <= 0.04
    search(sweep)
    assert len(told(sweep)) == 12


def test_what_needs_too_much_memory_is_infeasible(results: Path) -> None:
    def memory(plan: RunPlan) -> float:
        return 100 * float(plan.config.optimizer.matrix.lr)

    sweep = freeze(results, n_trials=15, max_peak_memory_gib=2.5)
    search(sweep, FormulaSession(memory=memory))
    for item in told(sweep):
        assert item.constraints[search_spec.MEMORY] == pytest.approx(100 * item.params[LR] - 2.5)
        assert item.constraints[study.ENDS] < 0
    frame = store.load("s", results)
    is_over = (frame["peak_memory_gib"] > 2.5) & (frame["role"] == "variant")
    assert is_over.any() and set(frame.loc[is_over, "state"]) == {"infeasible"}
    assert set(frame.loc[~is_over, "state"]) == {"complete"}
    ranked = query.order_by(frame, "val_bpb")
    assert list(ranked["state"]) == sorted(ranked["state"]), "what is infeasible ranks behind all others"
    first = searching.best(frame, DecisionRule())
    assert set(first["state"]) == {"complete"}
    assert study.load(sweep.sweep_dir).best_params[LR] <= 0.025, "the best feasible one, not the best"


def test_a_deleted_journal_is_made_anew(results: Path) -> None:
    sweep = freeze(results, n_trials=8, max_peak_memory_gib=1.0)
    session = FormulaSession(
        diverges=lambda plan: plan.config.optimizer.matrix.lr > 0.1, memory=lambda plan: 0.5
    )
    search(sweep, session)
    before = told(sweep)
    (sweep.sweep_dir / study.FILE).unlink()
    search(sweep)
    fields = ("number", "state", "value", "params", "user_attrs", "constraints", "distributions")
    assert [[getattr(item, name) for name in fields] for item in told(sweep)] == [
        [getattr(item, name) for name in fields] for item in before
    ]
    assert len(ran(results)) == 8


def test_torn_last_lines_are_mended(results: Path) -> None:
    sweep = freeze(results, n_trials=4)
    search(sweep)
    for name in (study.FILE, trials.FILE):
        path = sweep.sweep_dir / name
        path.write_bytes(path.read_bytes() + b'{"half a li')
    assert trials.load(sweep.sweep_dir)[-1].number == 3
    trials.append(sweep.sweep_dir, trials.Trial(4, {LR: 0.1}, error="for the test"))
    search(sweep)
    assert [item.constraints[study.ENDS] > 0 for item in told(sweep)] == [False] * 4 + [True]


def test_a_lost_run_fails_its_trial_and_another_is_asked_for(results: Path) -> None:
    class Losing(FormulaSession):
        def run(self, plan: RunPlan, run_dir: RunDir, *args: Any, **kwargs: Any) -> Any:
            record = super().run(plan, run_dir, *args, **kwargs)
            if len(ran(results)) == 3:  # as a launcher records a run whose process died too often
                return job.mark_failed(plan, run_dir, FailureClass.lost, "its process died 3 times in a row")
            return record

    sweep = freeze(results, n_trials=5)
    search(sweep, Losing())
    states = [item.state for item in told(sweep)]
    assert states == [TrialState.COMPLETE] * 2 + [TrialState.FAIL] + [TrialState.COMPLETE] * 3

    search(sweep, retry_failed=True)  # the run is done after all: Optuna learns of it
    numbers = [item.user_attrs[study.NUMBER] for item in told(sweep) if item.state == TrialState.COMPLETE]
    assert sorted(numbers) == list(range(6))
    assert len(ran(results)) == 7


def test_finished_runs_of_others_cost_nothing(results: Path) -> None:
    first = freeze(results, "first", n_trials=6, seed=3)
    search(first)
    second = freeze(results, "second", n_trials=6, seed=3)
    search(second)
    assert len(ran(results)) == 6
    assert sorted(item.value for item in told(first)) == sorted(item.value for item in told(second))


def test_a_cancelled_search_asks_for_no_more_and_goes_on_when_launched(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "WATCH_S", 0.01)
    sweep = freeze(results, n_trials=6)

    class Cancelling(FormulaSession):
        def run(self, plan: RunPlan, run_dir: RunDir, *args: Any, **kwargs: Any) -> Any:
            if len(ran(results)) == 3:
                job.cancel_marker(run_dir).touch()
                (sweep.sweep_dir / trials.STOP_FILE).touch()
                return super().run(plan, run_dir, 1, lambda: True)
            return super().run(plan, run_dir, *args, **kwargs)

    with pytest.raises(LaunchCancelledError):
        search(sweep, _watched(Cancelling()))
    assert len(trials.load(sweep.sweep_dir)) == 4
    search(sweep)
    assert len(trials.load(sweep.sweep_dir)) == 6
    assert {item.state for item in told(sweep)} == {TrialState.COMPLETE}


def _watched(session: Any) -> Any:
    """The claim looks for the marker now and then; a run that ends sooner must wait for it."""
    import time

    inner = session.run

    def run(*args: Any, **kwargs: Any) -> Any:
        record = inner(*args, **kwargs)
        if record.state == "preempted":
            time.sleep(1.2)
        return record

    session.run = run
    return session


def test_status_results_and_frozen_cells_know_the_trials(results: Path) -> None:
    sweep = freeze(results, seeds=(1, 2), n_trials=3)
    search(sweep)
    loaded = frozen.load_frozen(results, "s")
    assert len(loaded.cells) == 6
    assert loaded.fixed == sweep.cells
    (found,) = status(results, "s")
    assert found.counts == {"complete": 6}
    assert found.notes == ["search (tpe): 3 of 3 trials proposed"]
    frame = store.load("s", results)
    assert list(frame["trial"]) == [0, 0, 1, 1, 2, 2]
    assert list(frame["role"]) == ["reference"] * 2 + ["variant"] * 4
    levels = frame[f"level_{LR}"]
    assert list(levels[:2]) == [sweep.cells[0].plan.config.optimizer.matrix.lr] * 2
    assert float(levels[2]) == trials.load(sweep.sweep_dir)[1].params[LR]


def test_what_is_searched_is_frozen(results: Path) -> None:
    freeze(results, n_trials=3)
    for change in ({"n_trials": 4}, {"sampler": "random"}, {"seed": 9}, {"space": {LR: [0.1, 0.2]}}):
        with pytest.raises(FrozenPlanError, match=r"is changed|add --amend-to 4"):
            freeze(results, **change)
    edited = results / "s" / "frozen.json"
    content = json.loads(edited.read_text())
    content["sweep"]["search"]["n_trials"] = 99
    edited.write_text(json.dumps(content))
    with pytest.raises(FrozenPlanError, match="edited"):
        frozen.load_frozen(results, "s")


def test_a_changed_configuration_folder_is_noticed(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sweepkit.config import paths

    sweep = freeze(results, n_trials=3)
    copy = tmp_path / "conf"
    shutil.copytree(paths.conf_dir(), copy)
    mini = copy / "experiment" / "mini.yaml"
    mini.write_text(mini.read_text().replace("model:\n", "model:\n  rope_base: 50000.0\n", 1))
    assert "50000" in mini.read_text()
    monkeypatch.setenv("SWEEPKIT_CONF_DIR", str(copy))
    with pytest.raises(FrozenPlanError, match="as it was frozen"):
        search(sweep)


def test_fixed_axes_beside_a_search_are_run_first_and_shared(results: Path) -> None:
    search_block = {"space": {LR: [0.01, 0.02, 0.04]}, "n_trials": 12, "sampler": "random"}
    given = {"name": "both", "base": BASE, "axes": {LR: [0.04, 0.3]}, "search": search_block}
    sweep = frozen.freeze(SweepFile.from_json(given), results)
    search(sweep)
    done = ran(results)  # the reference, two variants, and the one proposal that is neither
    assert done[:3] == [cell.plan.run_id for cell in sweep.fixed] and len(done) == 4
    variants = list(store.load("both", results)["variant"])
    assert variants[:3] == ["reference", f"{LR}=0.04", f"{LR}=0.3"] and len(variants) == 4
