"""``search``: have a sweep's trials proposed and run, with the launcher's own machinery.

A search is a launch whose list of runs grows. Inline, one worker asks and runs in this process; the local
launcher starts and replaces N processes that each do. What was asked for and not finished goes on first.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from sweepkit.config.schema import LauncherConfig
from sweepkit.launch import execute, inline
from sweepkit.launch.execute import LaunchSummary, Prepare
from sweepkit.launch.job import Runs
from sweepkit.launch.stopping import Stopping
from sweepkit.search import worker
from sweepkit.search.proposals import Proposals
from sweepkit.search.trial_ledger import TrialLedger
from sweepkit.sweep import trials
from sweepkit.sweep.frozen import Frozen

WORKER_COMMAND = (sys.executable, "-m", "sweepkit.search.worker")
_TICK_S = 0.5


def search(
    sweep: Frozen,
    launcher: LauncherConfig,
    *,
    results_dir: Path,
    overrides: Sequence[str] = (),
    retry_failed: bool = False,
    session_factory: Callable[[], Runs] | None = None,
    worker_command: Sequence[str] = WORKER_COMMAND,
    prepare: Prepare | None = None,
    unattended: bool = False,
) -> LaunchSummary:
    """Run the frozen cells, then trials until ``n_trials`` have been.

    Args:
        sweep: a frozen sweep that searches.
        overrides: the command line's, with which trials are composed.
        retry_failed, session_factory, worker_command, prepare, unattended: as ``execute`` takes them.

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
    Proposals(sweep, overrides, TrialLedger(sweep, results_dir))  # what is wrong shows before anything starts
    summary = execute.look_after(
        lambda: TrialLedger(sweep, results_dir, labels),
        launcher,
        title=sweep.name,
        labels=labels,
        retry_failed=retry_failed,
        run_inline=_inline(sweep, overrides),
        session_factory=session_factory,
        worker_command=[*worker_command, sweep.name, *overrides],
        prepare=prepare,
        unattended=unattended,
    )
    Proposals(sweep, overrides, TrialLedger(sweep, results_dir)).settle()
    return summary


def _inline(sweep: Frozen, overrides: Sequence[str]) -> execute.RunInline:
    def run(
        ledger: TrialLedger,
        session_factory: Callable[[], Runs],
        stop: Stopping,
        show: Callable[[], None],
        *,
        driver: str,
        max_attempts: int,
    ) -> None:
        proposals = Proposals(sweep, overrides, ledger)
        with inline.ticking(show):
            while not stop() and (ledger.open() or ledger.to_come):
                worker.work(
                    ledger, proposals, session_factory, stop, driver=driver, max_attempts=max_attempts
                )
                ledger.refresh()
                if not ledger.startable() and (ledger.open() or ledger.to_come):  # others are at it
                    stop.wait(_TICK_S)
                    ledger.refresh()

    return run
