"""Which ended runs a launch starts again."""

from __future__ import annotations

from pathlib import Path

import pytest
from launch_fakes import make_plan

from sweepkit.launch import job
from sweepkit.launch.ledger import Ledger
from sweepkit.launch.reopen import reopen
from sweepkit.results.record import FailureClass, RunDir

UNASKED = (FailureClass.bad_config, FailureClass.bad_data, FailureClass.disk_full)


@pytest.mark.parametrize("failure_class", FailureClass)
def test_what_failed_by_its_surroundings_is_started_again_unasked(
    failure_class: FailureClass, tmp_path: Path
) -> None:
    """``trainer.device=cuda`` on a machine without it must not name the run a failure for ever."""
    plan = make_plan("a")
    job.mark_failed(plan, RunDir.of(tmp_path, "a"), failure_class, "")
    ledger = Ledger([plan], tmp_path)
    assert reopen(ledger, retry_failed=False) == (["a"] if failure_class in UNASKED else [])
    assert len(ledger.startable()) == (failure_class in UNASKED)
    reopen(ledger, retry_failed=True)
    assert len(ledger.startable()) == 1
