"""``search``: have a sweep's trials proposed and run, with the launcher's own machinery.

A search is a launch whose list of runs grows. Inline, one worker asks and runs in this process; the local
launcher starts and replaces N processes that each do. What was asked for and not finished goes on first.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from sweepkit.config.schema import LauncherConfig
from sweepkit.launch import execute
from sweepkit.launch.execute import LaunchSummary, Prepare
from sweepkit.launch.other_sources import OtherSources
from sweepkit.launch.stopping import Stopping
from sweepkit.launch.worker import SessionFactory, Work
from sweepkit.search import trial_worker
from sweepkit.search.proposals import Proposals
from sweepkit.search.trial_ledger import TrialLedger
from sweepkit.sweep import trials
from sweepkit.sweep.frozen import Frozen

WORKER_COMMAND = (sys.executable, "-m", "sweepkit.search.trial_worker")


def search(
    sweep: Frozen,
    launcher: LauncherConfig,
    *,
    results_dir: Path,
    overrides: Sequence[str] = (),
    retry_failed: bool = False,
    session_factory: SessionFactory | None = None,
    worker_command: Sequence[str] = WORKER_COMMAND,
    prepare: Prepare | None = None,
    unattended: bool = False,
    other_sources: OtherSources = OtherSources.refuse,
) -> LaunchSummary:
    """Run the frozen cells, then trials until ``n_trials`` have been.

    Args:
        sweep: a frozen sweep that searches.
        overrides: the command line's, with which trials are composed.
        retry_failed, session_factory, worker_command, prepare, unattended, other_sources: as ``execute``
            takes them.

    Returns:
        Counts by state and failures of all runs, those of trials included.

    Raises:
        FrozenPlanError: the configuration folder has changed since the sweep was frozen.
        KeyboardInterrupt, LaunchCancelledError, SweepkitError: as ``execute``.
    """
    results_dir = results_dir.absolute()
    labels: dict[str, str] = {}
    if not unattended:
        (sweep.sweep_dir / trials.STOP_FILE).unlink(missing_ok=True)
    Proposals(sweep, overrides, TrialLedger(sweep, results_dir), other_sources).begin()
    summary = execute.look_after(
        lambda: TrialLedger(sweep, results_dir, labels),
        launcher,
        title=sweep.name,
        labels=labels,
        retry_failed=retry_failed,
        work=_work(sweep, overrides, other_sources),
        session_factory=session_factory,
        worker_command=[*worker_command, sweep.name, other_sources, *overrides],
        prepare=prepare,
        unattended=unattended,
        other_sources=other_sources,
    )
    Proposals(sweep, overrides, TrialLedger(sweep, results_dir)).settle()
    return summary


def _work(sweep: Frozen, overrides: Sequence[str], other_sources: OtherSources) -> Work:
    def work(
        ledger: TrialLedger,
        session_factory: SessionFactory,
        stop: Stopping,
        *,
        driver: str,
        max_attempts: int,
    ) -> None:
        proposals = Proposals(sweep, overrides, ledger, other_sources)
        trial_worker.work(ledger, proposals, session_factory, stop, driver=driver, max_attempts=max_attempts)

    return work
