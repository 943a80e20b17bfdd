"""What sweep, resume and ``train -m`` share where they search: running trials, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sweepkit.cli import running
from sweepkit.errors import invalid
from sweepkit.results.record import RunState

if TYPE_CHECKING:
    import pandas as pd

    from sweepkit.sweep.frozen import Frozen

_SHOWN = 10
_FINE = frozenset({RunState.complete.value, RunState.diverged.value, RunState.pruned.value})


def run(sweep: Frozen, how: running.How, overrides: Sequence[str]) -> int:
    """Search until ``n_trials`` have been; the exit status is 1 where runs failed or trials are missing."""
    if how.is_slurm:
        raise invalid(
            "launcher",
            "slurm",
            "be inline or local for a search",
            "submit jobs that each run: sweepkit resume SWEEP launcher=local (they share the search)",
        )
    from sweepkit.search import drive

    drive.search(
        sweep,
        how.launcher,
        results_dir=how.results_dir,
        overrides=overrides,
        retry_failed=how.retry_failed,
    )
    return conclude(sweep, how.results_dir)


def conclude(sweep: Frozen, results_dir: Path) -> int:
    """Print the best trials beside the reference, and where files are; returns the exit status."""
    from sweepkit.report import tables
    from sweepkit.search.trial_ledger import TrialLedger

    console = tables.console()
    frame = running.load(sweep, results_dir)
    metric = sweep.decision.metric
    console.print(tables.summary(best(frame, metric), metric))
    ledger = TrialLedger(sweep, results_dir)
    counts: dict[str, int] = {}
    for found in ledger.outcomes.values():
        counts[found.state.value] = counts.get(found.state.value, 0) + 1
    words = ", ".join(f"{number} {state}" for state, number in counts.items())
    console.print(f"{running.count(len(ledger.trials), 'trial')}: {words}")
    for number, found in ledger.outcomes.items():
        if not ledger.trials[number].cells:
            console.print(f"trial {number} is no valid configuration: {found.reason}")
    ended = frame["run_id"].isin([run.run_id for run in ledger.runs.values()])
    failed = frame[ended & ~frame["state"].isin(_FINE)]
    if len(failed):
        console.print(tables.runs(failed))
    files = {
        "sweep": sweep.sweep_dir,
        "study": sweep.sweep_dir / "study.journal",
        "runs": results_dir / "runs",
    }
    console.print(tables.files(running.near(files)))
    return running.RUNS_FAILED if len(failed) or ledger.num_to_ask else running.DONE


def best(frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The rows of the reference and of the ten variants with the lowest mean, best first."""
    means = frame[frame[metric].notna()].groupby("variant")[metric].mean().sort_values()
    names = [str(name) for name in means.index if name != "reference"][:_SHOWN]
    rows = frame[frame["variant"].isin([*names, "reference"])]
    order = {name: place for place, name in enumerate(["reference", *names])}
    return rows.sort_values("variant", key=lambda column: column.map(order), kind="stable")
