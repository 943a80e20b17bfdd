"""Fields that are proposed with some values of others only, and constraints of one's own."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import optuna
import pytest
from search_fakes import BETA, LR, FormulaSession, freeze, loss_of, ran

from sweepkit.cli import searching
from sweepkit.config.schema import LauncherConfig
from sweepkit.errors import ConfigError
from sweepkit.launch.sweep_status import status
from sweepkit.plan.run_plan import RunPlan
from sweepkit.results import store
from sweepkit.search import drive, samplers, study
from sweepkit.sweep import trials
from sweepkit.sweep.decision import DecisionRule
from sweepkit.sweep.frozen import Frozen

PATTERN, STEPS, X0 = "model.window_pattern", "optimizer.matrix.num_iterations", "optimizer.x0.lr"
SPACE = {
    PATTERN: ["L", "SL"],
    STEPS: {"low": 3, "high": 5, "when": {PATTERN: "SL"}},
    BETA: {"choices": [0.8, 0.9], "when": {STEPS: [3, 4]}},
}
#: By hand: L alone; SL with 3 or 4 and two values each; SL with 5.
POINTS = [{PATTERN: "L"}, {PATTERN: "SL", STEPS: 5}] + [
    {PATTERN: "SL", STEPS: steps, BETA: beta} for steps, beta in itertools.product([3, 4], [0.8, 0.9])
]


def search(sweep: Frozen, session: Any = None) -> None:
    drive.search(
        sweep, LauncherConfig(), results_dir=sweep.sweep_dir.parent, prepare=lambda config: None,
        session_factory=lambda: session or FormulaSession(),
    )  # fmt: skip


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid"])
def test_a_conditional_space_is_tried_to_its_last_point(sampler: str, tmp_path: Path) -> None:
    sweep = freeze(tmp_path, space=SPACE, sampler=sampler, n_trials=20)
    search(sweep)
    lines = trials.load(sweep.sweep_dir)
    tried = [line.params for line in lines]
    assert sorted(map(str, tried)) == sorted(map(str, POINTS))
    assert "every point of the space was tried" in status(tmp_path, "s")[0].notes[0]
    reference = sweep.cells[0].plan.config
    for line in lines:
        config = line.cells[0].plan.config
        assert config.model.window_pattern == line.params[PATTERN]
        assert config.optimizer.x0.beta1 == line.params.get(BETA, reference.optimizer.x0.beta1)
    items = study.load(sweep.sweep_dir).get_trials()
    assert [item.params for item in items if item.state.name == "COMPLETE"] == tried
    before = len(ran(tmp_path))
    (sweep.sweep_dir / study.FILE).unlink()
    search(sweep)
    assert len(ran(tmp_path)) == before
    again = study.load(sweep.sweep_dir).get_trials()
    assert [item.params for item in again] == tried
    copy = freeze(tmp_path, "copy", space=SPACE, sampler="random", n_trials=20, seed=9)
    search(copy)
    assert len(ran(tmp_path)) == before, "a copy begins with all that the first one found"


def test_proposals_are_those_of_optunas_own_sampler(tmp_path: Path) -> None:
    """Beyond the ten of the start; the reference is a study in memory that defines its fields as it runs."""
    space = {
        PATTERN: ["SSSL", "L"], LR: {"low": 0.005, "high": 0.2, "log": True, "when": {PATTERN: "SSSL"}},
        BETA: {"low": 0.7, "high": 0.99},
    }  # fmt: skip
    sweep = freeze(tmp_path, space=space, n_trials=14, seed=5)
    assert sweep.search is not None
    search(sweep)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    plain = optuna.create_study()
    for trial in trials.load(sweep.sweep_dir):
        if trial.number:
            plain.sampler = samplers.of(sweep.search, trial.number)
        else:
            plain.enqueue_trial(trial.params)
        asked = plain.ask()
        found = {PATTERN: asked.suggest_categorical(PATTERN, ["SSSL", "L"])}
        if found[PATTERN] == "SSSL":
            found[LR] = asked.suggest_float(LR, 0.005, 0.2, log=True)
        found[BETA] = asked.suggest_float(BETA, 0.7, 0.99)
        assert found == trial.params
        plain.tell(asked, loss_of(trial.cells[0].plan))


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({STEPS: SPACE[STEPS]}, r"num_iterations\.when is 'model\.window_pattern'"),
        ({STEPS: SPACE[STEPS], PATTERN: ["L", "SL"]}, "listed before; move it up"),
        ({PATTERN: ["L"], STEPS: SPACE[STEPS]}, r"when\.model\.window_pattern is 'SL', but must be prop"),
    ],
)  # fmt: skip
def test_conditions_that_never_hold_are_refused(space: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        freeze(tmp_path, space=space)


def test_a_point_may_not_set_what_is_not_proposed_with_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="be left out of that point: it is proposed where"):
        search(freeze(tmp_path, space=SPACE, enqueue=[[f"{PATTERN}=L", f"{STEPS}=4"]]))


def test_points_that_break_a_constraint_are_never_run(tmp_path: Path) -> None:
    space = {LR: {"low": 0.005, "high": 0.2, "log": True}, X0: {"low": 0.1, "high": 1.0}}
    sweep = freeze(
        tmp_path, space=space, constraints=[f"{X0} <= 10 * {LR}", "depth == 2"], n_trials=12, sampler="random"
    )
    search(sweep)
    lines = trials.load(sweep.sweep_dir)
    broken = [line for line in lines if line.params[X0] > 10 * line.params[LR]]
    assert broken and all(line.error and "it breaks the constraint" in line.error for line in broken)
    assert all(line.cells for line in lines if line not in broken)
    assert sum(line.counts for line in lines) == 12
    assert f"; {len(broken)} broke a constraint" in status(tmp_path, "s")[0].notes[0]
    items = {item.user_attrs[study.NUMBER]: item for item in study.load(sweep.sweep_dir).get_trials()}
    for line in lines:
        assert (items[line.number].constraints[study.ENDS] > 0) == (line in broken)


def test_runs_that_measure_too_much_are_infeasible_by_how_much(tmp_path: Path) -> None:
    def memory(plan: RunPlan) -> float:
        return 100 * float(plan.config.optimizer.matrix.lr)

    text = "peak_memory_gib < 2.5"
    sweep = freeze(
        tmp_path, n_trials=12, sampler="random", constraints=[text, "train_time_s <= 2"], seeds=(1, 2)
    )
    search(sweep, FormulaSession(memory=memory))
    infeasible = 0
    for item in study.load(sweep.sweep_dir).get_trials():
        assert item.constraints[text] == pytest.approx(100 * item.params[LR] - 2.5)
        assert item.constraints["train_time_s <= 2"] == -1.0
        infeasible += item.params[LR] >= 0.025
    frame = store.load("s", tmp_path)
    is_over = (frame["peak_memory_gib"] >= 2.5) & (frame["role"] == "variant")
    assert set(frame.loc[is_over, "state"]) == {"infeasible"}
    assert is_over.sum() == 2 * infeasible > 0
    assert (
        "it breaks the constraint peak_memory_gib < 2.5, by" in frame.loc[is_over, "failure_message"].iloc[0]
    )
    assert set(searching.best(frame, DecisionRule())["state"]) == {"complete"}


@pytest.mark.parametrize("text", [f"{PATTERN} <= 3", "optimizer.matirx.lr <= 1", f"{LR} * 2"])
def test_constraints_are_checked_before_anything_runs(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"search\.constraints"):
        freeze(tmp_path, constraints=[text])
    assert not (tmp_path / "s").exists()
