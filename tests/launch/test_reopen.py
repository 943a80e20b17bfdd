"""Which ended runs a launch starts again."""

from __future__ import annotations

from pathlib import Path

import pytest
from launch_fakes import make_plan

from sweepkit.launch import job
from sweepkit.launch.ledger import Ledger
from sweepkit.launch.reopen import reopen
from sweepkit.results import answer
from sweepkit.results.record import FailureClass, RunDir


def test_every_failure_is_either_a_runs_own_or_from_outside() -> None:
    assert set(FailureClass) == answer.OWN | answer.FROM_OUTSIDE
    assert not answer.OWN & answer.FROM_OUTSIDE


@pytest.mark.parametrize("failure_class", FailureClass)
def test_what_befell_a_run_from_outside_is_started_again_unasked(
    failure_class: FailureClass, tmp_path: Path
) -> None:
    """``trainer.device=cuda`` on a machine without it must not name the run a failure for ever."""
    plan = make_plan("a")
    job.mark_failed(plan, RunDir.of(tmp_path, "a"), failure_class, "")
    ledger = Ledger([plan], tmp_path)
    is_outside = failure_class in answer.FROM_OUTSIDE
    assert reopen(ledger, retry_failed=False) == (["a"] if is_outside else [])
    assert len(ledger.startable()) == is_outside
    reopen(ledger, retry_failed=True)
    assert len(ledger.startable()) == 1
