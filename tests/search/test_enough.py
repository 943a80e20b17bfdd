"""A search that ends by its patience or its hours, and goes on by an amendment."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_fakes import LR, FormulaSession, freeze, ran

from sweepkit.config.schema import LauncherConfig
from sweepkit.launch.ledger import Run
from sweepkit.launch.sweep_status import status
from sweepkit.plan.run_plan import RunPlan
from sweepkit.results.record import RunDir, RunRecord
from sweepkit.search import drive, enough, raising
from sweepkit.search.trial_outcome import Outcome, TrialState
from sweepkit.sweep import frozen
from sweepkit.sweep.frozen import Frozen
from sweepkit.sweep.trials import Trial

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def search(sweep: Frozen, session: Any = None) -> None:
    drive.search(
        sweep, LauncherConfig(), results_dir=sweep.sweep_dir.parent, prepare=lambda config: None,
        session_factory=lambda: session or FormulaSession(),
    )  # fmt: skip


class Timed(FormulaSession):
    """Every run takes half an hour and follows the one before at once."""

    def run(self, plan: RunPlan, run_dir: RunDir, *args: Any, **kwargs: Any) -> RunRecord:
        began = NOON + timedelta(minutes=30 * len(ran(run_dir.path.parents[1])))
        record = super().run(plan, run_dir, *args, **kwargs)
        ends = began + timedelta(minutes=30)
        record = dataclasses.replace(record, started_at=began.isoformat(), ended_at=ends.isoformat())
        run_dir.write_record(record)
        return record


def test_hours_end_a_search_and_an_amendment_gives_as_many_again(tmp_path: Path) -> None:
    sweep = freeze(tmp_path, n_trials=20, sampler="random", max_hours=2.0)
    (tmp_path / "ran.jsonl").touch()
    search(sweep, Timed())
    assert len(ran(tmp_path)) == 4
    (note,) = status(tmp_path, "s")[0].notes
    assert "4 of 20 trials proposed; it has ended: its runs were at work for 2.00 hours (max_hours=2)" in note
    search(sweep, Timed())
    assert len(ran(tmp_path)) == 4, "it has ended"
    raising.raise_to(20, "s", tmp_path)
    search(frozen.load_frozen(tmp_path, "s"), Timed())
    assert len(ran(tmp_path)) == 8


def test_patience_ends_a_search_and_an_amendment_begins_it_anew(tmp_path: Path) -> None:
    """The reference, at 0.03, is the best there is."""
    space = {LR: {"low": 0.005, "high": 0.2, "log": True}}
    sweep = freeze(tmp_path, n_trials=30, space=space, sampler="random", patience=4, enqueue=[[f"{LR}=0.03"]])
    search(sweep)
    assert len(ran(tmp_path)) == 6
    (note,) = status(tmp_path, "s")[0].notes
    assert "it has ended: 4 trials in a row were no better by min_effect (0.0003)" in note
    raising.raise_to(30, "s", tmp_path)
    search(frozen.load_frozen(tmp_path, "s"))
    assert len(ran(tmp_path)) == 10


values = st.lists(st.one_of(st.none(), st.integers(0, 30)), max_size=25)


@given(values, st.integers(0, 3))
def test_trials_without_gain_are_counted_as_by_hand(found: list[int | None], by: int) -> None:
    cells: Any = ("a run",)
    trials = [Trial(number, {}, cells=cells) for number in range(len(found))]
    outcomes = {
        number: Outcome(TrialState.infeasible)
        if value is None
        else Outcome(TrialState.complete, float(value))
        for number, value in enumerate(found)
    }
    best, since_gain = None, 0
    for value in found:
        if value is not None and (best is None or value <= best - by) and value != best:
            best, since_gain = value, 0
        else:
            since_gain += 1
    assert enough.trials_without_gain(trials, outcomes, float(by)) == since_gain


def test_what_had_ended_before_or_was_lost_is_no_trial_without_a_gain() -> None:
    cells: Any = ("a run",)
    trials = [
        Trial(0, {}, cells=cells, is_earlier=True), Trial(1, {}, cells=cells, is_earlier=True),
        Trial(2, {}, cells=cells), Trial(3, {}, error="none"), Trial(4, {}, cells=cells),
        Trial(5, {}, cells=cells),
    ]  # fmt: skip
    states = (TrialState.complete,) * 3 + (TrialState.invalid, TrialState.dead, TrialState.pruned)
    outcomes = {number: Outcome(state, 1.0 if number < 3 else None) for number, state in enumerate(states)}
    assert enough.trials_without_gain(trials, outcomes, 0.1) == 2
    assert enough.trials_without_gain(trials, outcomes, 0.1, since=5) == 1


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(1, 50)), max_size=12))
def test_hours_are_the_minutes_in_which_any_run_was_at_work(spans: list[tuple[int, int]]) -> None:
    def run(start: int, length: int) -> Any:
        record = RunRecord("r", "v", 1, "complete")  # type: ignore[arg-type]
        record.started_at = (NOON + timedelta(minutes=start)).isoformat()
        record.ended_at = (NOON + timedelta(minutes=start + length)).isoformat()
        return Run(None, RunDir(Path("r")), record)  # type: ignore[arg-type]

    minutes = {minute for start, length in spans for minute in range(start, start + length)}
    now = (NOON + timedelta(days=1)).timestamp()
    assert enough.hours([run(*span) for span in spans], now) == pytest.approx(len(minutes) / 60)
