"""More trials on the same study: ``n_trials`` of a frozen search is raised, by an amendment."""

from __future__ import annotations

from pathlib import Path

from sweepkit.errors import invalid
from sweepkit.promotion import verdict_file
from sweepkit.search import turn
from sweepkit.search.trial_ledger import TrialLedger
from sweepkit.sweep import frozen, more_trials, trials
from sweepkit.sweep.more_trials import MoreTrials


def raise_to(n_trials: int, name: str, results_dir: Path) -> MoreTrials | None:
    """Record that a search is to have so many trials in all; None where it is to have them already.

    Raises:
        ConfigError: it does not search, has more, or what climbs from it was decided.
        FrozenPlanError: a frozen file was edited.
    """
    sweep = frozen.load_frozen(results_dir, name)
    if sweep.search is None:
        contract = f"go with a sweep that searches, and {name} lists its points"
        raise invalid("--amend-to", n_trials, contract, "sweepkit promote NAME --amend-to adds seeds")
    with turn.taken(sweep.sweep_dir):
        sweep = frozen.load_frozen(results_dir, name)
        assert sweep.search is not None
        before, ledger = sweep.search.n_trials, TrialLedger(sweep, results_dir)
        is_ended = ledger.end is not None or ledger.limit is not None
        if n_trials == before and not (is_ended and ledger.num_counted < before):
            return None
        if n_trials < before:
            contract = f"be {before} or more: so many trials were asked for already"
            raise invalid("--amend-to", n_trials, contract, f"write --amend-to {2 * before}")
        if sweep.rungs[0].name in verdict_file.read(sweep):
            contract = (
                f"come before rung {sweep.rungs[0].name} is decided: what climbs is chosen among all points"
            )
            remedy = "give the sweep file a new name and n_trials: it begins with all that was found here"
            raise invalid("--amend-to", n_trials, contract, remedy)
        lines, chain = trials.written(sweep.sweep_dir)
        previous = sweep.more_trials[-1].sha256 if sweep.more_trials else sweep.sha256
        item = MoreTrials(len(sweep.more_trials) + 1, n_trials, before, lines, chain, previous)
        more_trials.record(sweep.sweep_dir, item)
    return item
