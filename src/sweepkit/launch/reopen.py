"""Runs that a launch starts again: cancelled ones, failed by their surroundings, others if asked."""

from __future__ import annotations

import time

from sweepkit.launch import job
from sweepkit.launch.ledger import Ledger, Run
from sweepkit.results.record import FailureClass, RunState

#: Failures by what is around a run: a device, a folder and a disk may be right by now, and none is part of
#: the run's name.
SURROUNDINGS = frozenset({FailureClass.bad_config, FailureClass.bad_data, FailureClass.disk_full})
_CANCELLING_TICK_S = 0.2


def reopen(ledger: Ledger, retry_failed: bool) -> list[str]:
    """Make runs startable again; those only just being cancelled are waited for. Returns their ids."""
    reopened = []
    for run in ledger.runs.values():
        marker = job.cancel_marker(run.run_dir)
        if not run.is_final and marker.exists():
            while run.is_held and marker.exists():
                time.sleep(_CANCELLING_TICK_S)
                run.refresh()
            marker.unlink(missing_ok=True)
            run.refresh()
        if _is_reopened(run, retry_failed):
            job.reopen(run.plan, ledger.results_dir)
            run.refresh()
            reopened.append(run.run_id)
    return reopened


def _is_reopened(run: Run, retry_failed: bool) -> bool:
    if not run.is_final or run.record is None:
        return False
    if run.record.state is RunState.failed:
        return retry_failed or run.record.failure_class in SURROUNDINGS
    return run.record.state is RunState.cancelled
