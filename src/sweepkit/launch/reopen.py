"""Runs that a launch starts again: those whose end is no answer (``results/answer.py``), others if asked."""

from __future__ import annotations

import time

from sweepkit.launch import job
from sweepkit.launch.ledger import Ledger, Run
from sweepkit.results import answer
from sweepkit.results.record import RunState

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
    if run.is_pruned:
        return False
    if answer.is_answer(run.record.state, run.record.failure_class):
        return retry_failed and run.record.state is RunState.failed
    return True
