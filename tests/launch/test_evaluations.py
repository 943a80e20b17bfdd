"""A run that is trained is evaluated in other ways by whoever asks, once each, whatever befalls them."""

from __future__ import annotations

import multiprocessing
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from launch_fakes import FakeSession, make_plan, ran
from test_execute import INLINE, launch, local

from sweepkit.config.schema import LauncherConfig
from sweepkit.errors import SweepkitError
from sweepkit.launch import claims, job
from sweepkit.launch.execute import LaunchCancelledError
from sweepkit.launch.other_sources import OtherSources
from sweepkit.plan.run_plan import RunPlan
from sweepkit.results import asked
from sweepkit.results.record import FailureClass, RunDir, RunRecord, RunState

FORK = multiprocessing.get_context("fork")


def otherwise(plan: RunPlan) -> RunPlan:
    """The same training, evaluated in another way."""
    return replace(plan, evaluation_key="other")


def trained(results: Path, plan: RunPlan) -> RunRecord:
    """Train and evaluate it as the plan asks; the weights are there."""
    assert launch([plan], results).counts == {"complete": 1}
    run_dir = RunDir.of(results, plan.run_id)
    run_dir.weights_path.touch()
    record = run_dir.read_record()
    assert record is not None
    return record


def seen(results: Path, plan: RunPlan) -> RunRecord:
    record = asked.read(RunDir.of(results, plan.run_id), plan.evaluation_key)
    assert record is not None
    return record


@pytest.mark.parametrize("launcher", [INLINE, local()])
def test_it_is_evaluated_once_and_not_trained_again(launcher: LauncherConfig, own_results_dir: Path) -> None:
    plan = make_plan("r")
    record = trained(own_results_dir, plan)
    for _ in range(2):
        assert launch([otherwise(plan)], own_results_dir, launcher).counts == {"complete": 1}
    assert len(ran(own_results_dir)) == len(ran(own_results_dir, "evaluate")) == 1
    assert seen(own_results_dir, plan) == record, "its own evaluation stands"
    other = seen(own_results_dir, otherwise(plan))
    assert other.results == record.results | {"val_bpb": 7.0}


def test_a_run_half_trained_for_another_evaluation_ends_with_that_and_is_then_evaluated(
    own_results_dir: Path,
) -> None:
    """What it logs on its way is then of one text."""
    plan = make_plan("r", num_steps=5)
    run_dir = RunDir.of(own_results_dir, plan.run_id)
    run_dir.write_plan(plan)
    polls = iter(range(3))
    FakeSession().run(plan, run_dir, 1, lambda: next(polls) == 2)
    assert launch([otherwise(plan)], own_results_dir).counts == {"complete": 1}
    assert seen(own_results_dir, plan).results["val_bpb"] == 1 / 5
    assert seen(own_results_dir, otherwise(plan)).results["val_bpb"] == 7.0


@pytest.mark.slow
@pytest.mark.parametrize(("deaths", "state"), [(2, "complete"), (99, "failed")])
def test_killed_while_evaluating_it_is_tried_again_and_the_training_stands(
    deaths: int, state: str, own_results_dir: Path
) -> None:
    plan = make_plan("r", evaluation_deaths=deaths)
    record = trained(own_results_dir, plan)
    summary = launch([otherwise(plan)], own_results_dir, local(1))
    assert summary.counts == {state: 1}
    assert seen(own_results_dir, plan) == record and len(ran(own_results_dir)) == 1
    if state == "failed":
        (failure,) = summary.failures
        assert failure.failure_class is FailureClass.evaluation and "died 3 times" in failure.message
        mended = replace(otherwise(plan), config=make_plan("r").config)
        assert launch([mended], own_results_dir).counts == {"complete": 1}, "the next launch tries again"


def test_cancelled_while_evaluating_it_goes_on_with_the_next_launch(
    own_results_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "WATCH_S", 0.01)
    plan = make_plan("r", evaluation_s=0.7)
    record = trained(own_results_dir, plan)
    run_dir = RunDir.of(own_results_dir, plan.run_id)

    def cancel() -> None:
        while not ran(own_results_dir, "evaluate"):
            time.sleep(0.01)
        job.cancel_marker(run_dir).touch()

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(LaunchCancelledError):
        launch([otherwise(plan)], own_results_dir)
    thread.join()
    assert seen(own_results_dir, plan) == record
    assert seen(own_results_dir, otherwise(plan)).state is RunState.cancelled
    assert launch([otherwise(plan)], own_results_dir).counts == {"complete": 1}
    assert len(ran(own_results_dir)) == 1


def test_of_two_that_evaluate_at_once_one_does(own_results_dir: Path) -> None:
    plan = make_plan("r", evaluation_s=0.2)
    trained(own_results_dir, plan)
    drivers = [FORK.Process(target=launch, args=([otherwise(plan)], own_results_dir)) for _ in range(2)]
    for driver in drivers:
        driver.start()
    for driver in drivers:
        driver.join()
    assert [driver.exitcode for driver in drivers] == [0, 0]
    assert len(ran(own_results_dir, "evaluate")) == 1


def test_without_weights_it_is_refused_in_a_line_and_trained_again_if_asked(own_results_dir: Path) -> None:
    plan = make_plan("r")
    trained(own_results_dir, plan)
    run_dir = RunDir.of(own_results_dir, plan.run_id)
    run_dir.weights_path.unlink()
    with pytest.raises(SweepkitError, match=r"no weights are there .*; say --rerun") as refusal:
        launch([otherwise(plan)], own_results_dir)
    assert "\n" not in str(refusal.value) and not ran(own_results_dir, "evaluate")
    summary = launch([otherwise(plan)], own_results_dir, other_sources=OtherSources.rerun)
    assert summary.counts == {"complete": 1}
    assert len(ran(own_results_dir)) == 2 and not ran(own_results_dir, "evaluate")
    assert seen(own_results_dir, plan).state is RunState.trained, "it was evaluated as was asked last"
