"""Sampler × pruning × objectives × constraints × conditions × limits: each ends right, or is refused.

The trainer is a formula, so that what should have come out is known by brute force over what was tried. Its
best points are those that break the constraints and limits, and the fastest ones diverge. The reference is
the first trial and breaks nothing.
"""

from __future__ import annotations

import itertools
import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from search_fakes import BASE, BETA, LR, FormulaSession, freeze, loss_of

import sample
from sweepkit.cli.main import main
from sweepkit.config.schema import LauncherConfig
from sweepkit.plan.run_plan import RunPlan
from sweepkit.results.record import RunDir, RunState
from sweepkit.search import best_point, drive, pareto_front
from sweepkit.search.trial_ledger import TrialLedger
from sweepkit.sweep import trials
from sweepkit.sweep.frozen import Frozen

PATTERN = "model.window_pattern"
#: Three more than TPE and GP draw at random before they learn.
N_TRIALS = 13
PATIENCE, MAX_HOURS, MAX_GIB, MAX_S = 3, 4.5, 9.0, 25.0
SPACE: dict[str, Any] = {
    PATTERN: ["SSSL", "L"],
    LR: {"low": 0.01, "high": 0.04, "step": 0.01},
    BETA: {"low": 0.86, "high": 0.96, "step": 0.05},
}
CONDITIONS = {"always": SPACE, "when": SPACE | {LR: SPACE[LR] | {"when": {PATTERN: "SSSL"}}}}
CONSTRAINTS = {
    "free": {},
    "known": {"constraints": ["optimizer.matrix.lr <= 0.025"]},
    "measured": {"constraints": [f"train_time_s <= {MAX_S}"]},
}
LIMITS: dict[str, dict[str, Any]] = {
    "unlimited": {},
    "patience": {"patience": PATIENCE},
    "hours": {"max_hours": MAX_HOURS},
    "memory": {"max_peak_memory_gib": MAX_GIB},
}
SAMPLERS = ("tpe", "gp", "cmaes", "nsgaii", "qmc", "random", "grid")
PRUNING = ("none", "halving", "hyperband", "median", "sigma")


@dataclass(frozen=True)
class Case:
    sampler: str
    pruning: str
    objectives: int
    constraints: str
    conditions: str
    limits: str

    @property
    def search(self) -> dict[str, Any]:
        second = {"second_objective": "train_time_s"} if self.objectives == 2 else {}
        known = CONSTRAINTS[self.constraints] | LIMITS[self.limits] | second
        kind = {"kind": self.pruning}
        return known | {
            "space": CONDITIONS[self.conditions],
            "sampler": self.sampler,
            "n_trials": N_TRIALS,
            "pruning": kind,
        }

    @property
    def knows_one_objective(self) -> bool:
        """Whether something of it does, as the manual says."""
        return self.objectives == 2 and (self.sampler == "cmaes" or self.pruning != "none")

    def __str__(self) -> str:
        return "-".join(map(str, vars(self).values()))


CASES = [
    Case(*items) for items in itertools.product(SAMPLERS, PRUNING, (1, 2), CONSTRAINTS, CONDITIONS, LIMITS)
]
VALID = [case for case in CASES if not case.knows_one_objective]
REFUSED = [case for case in CASES if case.knows_one_objective]


def seconds(plan: RunPlan) -> float:
    return 1000 * plan.config.optimizer.matrix.lr


def gib(plan: RunPlan) -> float:
    return 10.0 if abs(plan.config.optimizer.x0.beta1 - 0.91) < 0.01 else 8.0


def diverges(plan: RunPlan) -> bool:
    return plan.config.optimizer.matrix.lr < 0.015 and plan.config.model.window_pattern == "SSSL"


class Clocked(FormulaSession):
    """Every run takes an hour by the clock, one after the other, and ``seconds`` of training."""

    def __init__(self, clock: Iterator[int]) -> None:
        super().__init__(diverges=diverges, memory=gib)
        self.clock = clock

    def run(self, plan: RunPlan, run_dir: RunDir, *args: Any, **given: Any) -> Any:
        record = super().run(plan, run_dir, *args, **given)
        hour = next(self.clock)
        record.started_at, record.ended_at = (f"2026-01-01T{at:02}:00:00+00:00" for at in (hour, hour + 1))
        if record.state is RunState.complete:
            record.results["train_time_s"] = seconds(plan)
        run_dir.write_record(record)
        return record


def search(sweep: Frozen) -> None:
    clock = itertools.count()
    drive.search(
        sweep, LauncherConfig(), results_dir=sweep.sweep_dir.parent, prepare=lambda config: None,
        session_factory=lambda: Clocked(clock),
    )  # fmt: skip


def is_feasible(case: Case, plan: RunPlan) -> bool:
    slow = case.constraints == "measured" and seconds(plan) > MAX_S
    return not (diverges(plan) or slow or (case.limits == "memory" and gib(plan) > MAX_GIB))


def answers(case: Case, sweep: Frozen) -> dict[int, tuple[float, ...]]:
    """Trial → what it has to be compared by, of those that were trained to their ends and hold."""
    found = {}
    for trial in trials.load(sweep.sweep_dir):
        if not trial.cells:
            continue
        plan = trial.cells[0].plan
        record = RunDir.of(sweep.sweep_dir.parent, plan.run_id).read_record()
        if record is not None and record.state is RunState.complete and is_feasible(case, plan):
            found[trial.number] = (loss_of(plan), seconds(plan))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("case", sample.sample(VALID, 10), ids=str)
def test_it_ends_right(case: Case, tmp_path: Path) -> None:
    sweep = freeze(tmp_path, **case.search)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing of Optuna's, or of ours, that nobody can act on
        search(sweep)
    ledger = TrialLedger(sweep, tmp_path)
    lines = trials.load(sweep.sweep_dir)
    asked = [line for line in lines if line.counts]
    runs = [line.cells[0].plan for line in asked if line.cells]

    points = [json.dumps(line.params, sort_keys=True) for line in asked]
    assert len(set(points)) == len(points) and len({plan.run_id for plan in runs}) == len(runs), "no repeats"
    assert len(asked) <= N_TRIALS and (len(asked) == N_TRIALS or ledger.end), ledger.end
    if case.conditions == "when":
        assert all((LR in line.params) == (line.params[PATTERN] == "SSSL") for line in lines if line.params)
    if case.constraints == "known":
        assert all(plan.config.optimizer.matrix.lr <= 0.025 for plan in runs), "known before it is run"

    done = answers(case, sweep)
    state = {number: outcome.state.value for number, outcome in ledger.outcomes.items()}
    assert {number for number in state if state[number] == "complete"} == set(done), state
    if case.pruning == "none":
        assert all(
            state[line.number] == ("complete" if is_feasible(case, line.cells[0].plan) else "infeasible")
            for line in asked
            if line.cells
        ), state
    assert 0 in done, "the reference"
    best = best_point.of(tmp_path, "s")
    assert best.value == pytest.approx(min(value for value, _ in done.values()))
    assert best.value == pytest.approx(done[best.trial][0])
    if case.objectives == 2:
        front = [
            mine
            for mine in done.values()
            if not any(
                other != mine and all(a <= b for a, b in zip(other, mine, strict=True))
                for other in done.values()
            )
        ]
        assert [done[number] for number in pareto_front.numbers(ledger)] == sorted(front)

    ended = ledger.end or ""
    if case.limits == "hours" and len(asked) < N_TRIALS:
        assert "max_hours" in ended, ended
    idle, best_so_far = 0, list[tuple[float, ...]]()
    for line in (line for line in asked if line.cells):
        assert case.limits != "patience" or idle < PATIENCE, "it should have ended"
        mine = done.get(line.number, ())[: case.objectives]
        if mine and not any(
            (old[0] <= mine[0] or old[0] - sweep.decision.min_effect < mine[0]) and old[1:] <= mine[1:]
            for old in best_so_far
        ):
            best_so_far.append(mine)
            idle = 0
        else:
            idle += 1
    if "patience" in ended:
        assert idle >= PATIENCE and case.limits == "patience"


def test_the_hours_are_those_of_the_clock(tmp_path: Path) -> None:
    """Of five runs of an hour the fifth begins within the limit, and no sixth does."""
    case = Case("random", "none", 1, "free", "always", "hours")
    sweep = freeze(tmp_path, **case.search)
    search(sweep)
    assert len([line for line in trials.load(sweep.sweep_dir) if line.counts]) == 5


@pytest.mark.parametrize("some", sample.sample([REFUSED[at::24] for at in range(24)], 1))
def test_what_knows_one_objective_is_refused_by_plan_and_sweep_alike(
    some: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweeps").mkdir()
    for place, case in enumerate(some):
        content = {"base": BASE, "seeds": [1], "search": case.search}
        (tmp_path / "sweeps" / f"s{place}.yaml").write_text(json.dumps(content))
        said = []
        for words in (["plan", f"sweep=s{place}"], ["sweep", f"s{place}"]):
            assert main(words) == 2
            said.append(capsys.readouterr().err.splitlines())
        assert said[0] == said[1] and len(said[0]) == 1 and "it knows one objective" in said[0][0], case
