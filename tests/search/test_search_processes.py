"""Searches by several processes: slots refill, any of them may be killed at any moment, drivers share."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from optuna.trial import TrialState
from search_fakes import BETA, LR, freeze, loss_of, ran

from sweepkit import fsio
from sweepkit.launch.cancelling import cancel
from sweepkit.results import store
from sweepkit.results.record import RunDir, RunState
from sweepkit.search import study
from sweepkit.search.trial_ledger import TrialLedger
from sweepkit.sweep import frozen, trials

HANGS_S = 600.0  # a machine with a load of ten takes a minute where a quiet one takes five seconds
SPACE = {LR: {"low": 0.005, "high": 0.2, "log": True}, BETA: {"low": 0.7, "high": 0.99}}


def drive(results: Path, step_s: float) -> subprocess.Popen[bytes]:
    """A driver with three workers."""
    log = (results / "driver.log").open("ab")
    return subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("search_driver.py")), str(results)],
        env=os.environ | {"FAKE_STEP_S": str(step_s)}, stdout=log, stderr=log,
    )  # fmt: skip


def children(pid: int) -> list[int]:
    """Processes that a process started."""
    with contextlib.suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def check_whole(results: Path, n_trials: int) -> None:
    """Every trial has ended once, its runs too, and Optuna knows what the folders say."""
    sweep = frozen.load_frozen(results, "s")
    lines = trials.load(sweep.sweep_dir)
    assert [trial.number for trial in lines] == list(range(n_trials))
    items = {}
    for item in study.load(sweep.sweep_dir).get_trials():
        assert item.state in (TrialState.COMPLETE, TrialState.FAIL)
        if item.state == TrialState.COMPLETE:
            assert item.user_attrs[study.NUMBER] not in items, "told once"
            items[item.user_attrs[study.NUMBER]] = item
    for trial in lines:
        plans = [cell.plan for cell in trial.cells]
        assert items[trial.number].params == trial.params
        assert items[trial.number].value == pytest.approx(sum(map(loss_of, plans)) / len(plans))
    ended = [
        row["run_id"] for row in fsio.read_lines(results / "ran.jsonl")
        if row["event"] == "end" and row["state"] == "complete"
    ]  # fmt: skip
    assert len(set(ended)) == len(store.load("s", results))


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_storm_of_kills_loses_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    results = tmp_path / "results"
    freeze(results, seeds=(1, 2), space=SPACE, n_trials=16)
    draw = random.Random(11)
    killed = 0
    driver = drive(results, 0.01)
    until = time.monotonic() + 12
    while time.monotonic() < until and driver.poll() in (None, -signal.SIGKILL):
        time.sleep(draw.uniform(0.02, 0.6))
        family = [driver.pid, *children(driver.pid)]
        victim = driver.pid if draw.random() < 0.2 else draw.choice(family)
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
            killed += 1
        if victim == driver.pid:
            driver.wait()
            driver = drive(results, 0.01)
    assert driver.wait(HANGS_S) in (0, -signal.SIGKILL)
    last = drive(results, 0.0)
    assert last.wait(HANGS_S) == 0, (results / "driver.log").read_text()[-3000:]
    assert killed > 10
    check_whole(results, 16)


@pytest.mark.slow
def test_two_drivers_share_one_search(tmp_path: Path) -> None:
    results = tmp_path / "results"
    freeze(results, space=SPACE, n_trials=20)
    drivers = [drive(results, 0.005) for _ in range(2)]
    assert [driver.wait(HANGS_S) for driver in drivers] == [0, 0], (results / "driver.log").read_text()[
        -3000:
    ]
    check_whole(results, 20)
    started = ran(results)
    assert len(started) == len(set(started)) == 20, "no run was done twice"


@pytest.mark.slow
def test_a_slot_is_refilled_as_soon_as_its_run_ends(tmp_path: Path) -> None:
    """The reference is still running while everything else is proposed and done."""
    results = tmp_path / "results"
    space = {LR: SPACE[LR]}
    sweep = freeze(results, space=space, n_trials=9, sampler="random")
    slow = sweep.cells[0].plan.run_id
    held = RunDir.of(results, slow)
    from sweepkit.launch import claims

    claim = claims.claim(held)  # as a living process has it that takes its time
    assert claim is not None
    driver = drive(results, 0.001)
    deadline = time.monotonic() + HANGS_S
    while len(trials.load(sweep.sweep_dir)) < 9 and time.monotonic() < deadline:
        time.sleep(0.05)
    ledger = TrialLedger(sweep, results)
    time.sleep(1.0)
    ledger.refresh()
    assert len(ledger.trials) == 9, "the others were asked for while one was still running"
    assert slow not in ran(results)
    assert driver.poll() is None, "and are waited for"
    claim.release()
    assert driver.wait(HANGS_S) == 0
    record = held.read_record()
    assert record is not None
    assert record.state is RunState.complete


@pytest.mark.slow
def test_cancel_stops_asking_and_the_next_launch_goes_on(tmp_path: Path) -> None:
    results = tmp_path / "results"
    sweep = freeze(results, space=SPACE, n_trials=12)
    driver = drive(results, 0.2)  # a trial lasts 4 s: the others are asked for long after the fourth
    deadline = time.monotonic() + HANGS_S
    while len(trials.load(sweep.sweep_dir)) < 4 and time.monotonic() < deadline:
        time.sleep(0.05)
    done = cancel(results, "s")
    assert done.stopped
    assert driver.wait(HANGS_S) == 1, "cancelled"
    asked = len(trials.load(sweep.sweep_dir))
    assert 4 <= asked < 12
    assert drive(results, 0.0).wait(HANGS_S) == 0
    check_whole(results, 12)
