"""``python -m sweepkit.search.trial_worker SWEEP OTHER_SOURCES [OVERRIDE...] LISTFILE``: a process that runs
trials until none is left.

Like ``launch/worker.py``, of which it is started and looked after in place, it takes runs that nobody holds.
When there is none it asks for one more trial instead of ending. A run whose process died, in this search or
an earlier one, is such a run: it goes on from its checkpoint, and its trial with it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from sweepkit.code import tree
from sweepkit.launch import worker
from sweepkit.launch.job import Pruning
from sweepkit.launch.ledger import Run
from sweepkit.launch.other_sources import OtherSources
from sweepkit.launch.stopping import Stopping
from sweepkit.launch.worker import Head, SessionFactory
from sweepkit.plan.command_plan import Plan
from sweepkit.search.proposals import Proposals
from sweepkit.search.pruning import Judge
from sweepkit.search.trial_ledger import TrialLedger
from sweepkit.sweep import frozen
from sweepkit.sweep.pruning_rule import NONE


def main(argv: Sequence[str] | None = None, session_factory: SessionFactory | None = None) -> int:
    """Run trials until none is left; returns what ``launch.worker.work_off`` does."""
    name, other_sources, *overrides, list_file = sys.argv[1:] if argv is None else argv

    def take(head: Head, _: list[Plan], make_session: SessionFactory, stop: Stopping) -> None:
        sweep = frozen.load_frozen(head.results_dir, name)
        ledger = TrialLedger(sweep, head.results_dir)
        proposals = Proposals(sweep, overrides, ledger, OtherSources(other_sources))
        work(ledger, proposals, make_session, stop, driver=head.driver, max_attempts=head.max_attempts)

    return worker.work_off(Path(list_file), take, session_factory)


def work(
    ledger: TrialLedger,
    proposals: Proposals,
    session_factory: SessionFactory,
    stop: Stopping,
    *,
    driver: str,
    max_attempts: int,
) -> None:
    """``launch.worker.work``, which asks for more and stops what its rule finds hopeless."""

    def pruning(run: Run) -> Pruning | None:
        rule = ledger.spec.pruning
        if rule.kind == NONE or not ledger.is_judged(run.run_id):
            return None

        def peers() -> list[Run]:
            ledger.refresh()
            return ledger.peers(run)

        return Pruning(ledger.pruner, Judge(rule, ledger.sweep_dir.name, run, peers, ledger.numbers.get))

    worker.work(
        ledger,
        session_factory,
        stop,
        driver=driver,
        max_attempts=max_attempts,
        ask=proposals.ask if _proposes(ledger) else lambda stop: False,
        pruning=pruning,
    )


def _proposes(ledger: TrialLedger) -> bool:
    """Whether the points of the search are of this process's code; levels beside them may be of another."""
    return next(iter(ledger.runs.values())).plan.tree == tree.here() if ledger.runs else True


if __name__ == "__main__":
    sys.exit(main())
