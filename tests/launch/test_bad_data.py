"""Data is prepared before anything is started; runs that lack theirs do not hold up the others."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from launch_fakes import FakeSession, make_plan, ran

from sweepkit.config.choices import LauncherKind
from sweepkit.config.schema import LauncherConfig, RunConfig
from sweepkit.errors import DataError
from sweepkit.launch.execute import LaunchSummary, execute
from sweepkit.plan.run_plan import RunPlan
from sweepkit.results.record import FailureClass, RunDir

WORKER = (sys.executable, str(Path(__file__).parent / "fake_worker.py"))


def launch(plans: list[RunPlan], results: Path, prepare: Any, kind: str = "inline") -> LaunchSummary:
    launcher = LauncherConfig(kind=LauncherKind(kind), num_workers=2)
    return execute(
        plans, launcher, results_dir=results, prepare=prepare, session_factory=FakeSession,
        worker_command=WORKER,
    )  # fmt: skip


def test_data_is_prepared_once_per_recipe_and_its_errors_come_first(own_results_dir: Path) -> None:
    plans = [make_plan("a", dataset="x"), make_plan("b", dataset="x"), make_plan("c", dataset="y")]
    calls: list[object] = []
    launch(plans, own_results_dir, calls.append)
    assert len(calls) == 2

    def fail(config: object) -> None:
        raise DataError("dataset.path is '/nowhere'")

    with pytest.raises(DataError, match="nowhere"):
        launch([*plans, make_plan("d"), make_plan("e", dataset="z")], own_results_dir, fail)
    assert not RunDir.of(own_results_dir, "d").path.exists()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["inline", "local"])
def test_runs_whose_data_is_bad_do_not_hold_up_the_others(
    kind: str, own_results_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plans = [make_plan("a", dataset="x"), make_plan("b", dataset="y"), make_plan("c", dataset="x")]
    bad = {"x"}

    def prepare(config: RunConfig) -> None:
        if config.dataset.name in bad:
            raise DataError("x.parquet is corrupt")

    summary = launch(plans, own_results_dir, prepare, kind)
    assert summary.counts == {"complete": 1, "failed": 2}
    assert {item.failure_class for item in summary.failures} == {FailureClass.bad_data}
    assert [row["run_id"] for row in ran(own_results_dir)] == ["b"]
    assert "2 of 3 runs are not started: x.parquet is corrupt" in capsys.readouterr().err
    bad.clear()
    assert launch(plans, own_results_dir, prepare, kind).counts == {"complete": 3}
