"""``python -m sweepkit.search.worker SWEEP [OVERRIDE...] LISTFILE``: a process that runs trials until none is
left.

Like ``launch/worker.py``, of which it is started and looked after in place, it takes runs that nobody holds.
When there is none it asks for one more trial instead of ending. A run whose process died, in this search or
an earlier one, is such a run: it goes on from its checkpoint, and its trial with it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from sweepkit.errors import StorageError
from sweepkit.launch import job, worker
from sweepkit.launch.choose import next_run
from sweepkit.launch.job import Runs
from sweepkit.launch.ledger import Run
from sweepkit.launch.stopping import Stopping, on_signals
from sweepkit.launch.worker import DISK_FULL, DONE, STOPPED, SessionFactory
from sweepkit.search.proposals import Proposals
from sweepkit.search.pruning import Judge
from sweepkit.search.trial_ledger import TrialLedger
from sweepkit.sweep import frozen
from sweepkit.sweep.pruning_rule import NONE

_AGAIN_S = 0.02


def main(argv: Sequence[str] | None = None, session_factory: SessionFactory | None = None) -> int:
    """Run trials until none is left; returns 0, or 75 when stopped before that, 74 when the disk is full."""
    name, *overrides, list_file = sys.argv[1:] if argv is None else argv
    head, _ = worker.read_list(Path(list_file))
    make_session = session_factory or (lambda: worker.real_session(head.processes_per_run))
    with on_signals() as stop:
        worker.end_with_parent(head.driver_process, stop)
        try:
            sweep = frozen.load_frozen(head.results_dir, name)
            ledger = TrialLedger(sweep, head.results_dir)
            proposals = Proposals(sweep, overrides, ledger)
            work(ledger, proposals, make_session, stop, driver=head.driver, max_attempts=head.max_attempts)
        except StorageError as error:
            print(error, file=sys.stderr)
            return DISK_FULL
        return STOPPED if stop() else DONE


def work(
    ledger: TrialLedger,
    proposals: Proposals,
    session_factory: SessionFactory,
    stop: Stopping,
    *,
    driver: str,
    max_attempts: int,
) -> None:
    """Run what nobody holds, asking for more, until nothing is left to start or to ask for.

    Raises:
        StorageError: the disk is full.
    """
    session: Runs | None = None
    last_key: str | None = None
    compiled: set[str] = set()
    while not stop():
        ledger.refresh()
        startable = [run.plan for run in ledger.startable()]
        if not startable:
            if not proposals.ask(stop):
                return
            continue
        session = session or session_factory()
        plan = next_run(startable, last_key=last_key, compiled=compiled, busy=ledger.busy())
        record = job.carry_out(
            plan,
            ledger.results_dir,
            session,
            driver=driver,
            max_attempts=max_attempts,
            stop=stop,
            hopeless=_judge(ledger, ledger.runs[plan.run_id]),
        )
        if record is not None:
            last_key = plan.compile_key
            compiled.add(last_key)
        else:
            stop.wait(_AGAIN_S)  # someone was faster


def _judge(ledger: TrialLedger, run: Run) -> Callable[[], str | None]:
    rule = ledger.spec.pruning
    if rule.kind == NONE or not ledger.is_judged(run.run_id):
        return lambda: None

    def peers() -> list[Run]:
        ledger.refresh()
        return ledger.peers(run)

    return Judge(rule, run, peers)


if __name__ == "__main__":
    sys.exit(main())
