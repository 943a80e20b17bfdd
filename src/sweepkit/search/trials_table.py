"""The trials of a search as a table: what was proposed, and what became of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from sweepkit.config import paths
from sweepkit.errors import invalid
from sweepkit.results import columns
from sweepkit.search.trial_ledger import TrialLedger
from sweepkit.search.trial_outcome import Outcome
from sweepkit.sweep import frozen
from sweepkit.sweep.cell import REFERENCE
from sweepkit.sweep.decision import DecisionRule
from sweepkit.sweep.search_spec import SearchSpec
from sweepkit.sweep.trials import Trial

#: The state of a trial whose runs are missing.
OPEN = "open"


def table(sweep: str, results_dir: Path | str | None = None) -> pd.DataFrame:
    """One row a proposal, in their order.

    Args:
        sweep: name of a sweep that searches.
        results_dir: where results are; by default $SWEEPKIT_RESULTS_DIR, else ``./results``.

    Returns:
        ``trial`` (its number), ``state`` (complete, pruned, infeasible, invalid, dead, and ``open`` while its
        runs are missing), the decision metric and the second objective, where there is one (means over its
        seeds; missing where there are none), a column
        for every parameter, of the type of its field, ``counts`` (whether it is one of the ``n_trials``),
        ``origin`` (reference, enqueued, proposed, earlier, or the search of a warm start), ``run_ids``,
        ``reason``.

    Raises:
        ConfigError: the sweep does not search.
        FrozenPlanError: a frozen file was edited.
    """
    folder = paths.results_dir() if results_dir is None else Path(results_dir).absolute()
    found = frozen.load_frozen(folder, sweep)
    if found.search is None:
        raise invalid("sweep", sweep, "be a sweep that searches", f"sweepkit results {sweep} lists its runs")
    ledger, rule = TrialLedger(found, folder), found.decision
    rows: list[dict[str, Any]] = []
    for trial in ledger.trials:
        outcome = ledger.outcomes.get(trial.number)
        row: dict[str, Any] = {"trial": trial.number, "state": outcome.state.value if outcome else OPEN}
        row |= objectives(outcome, rule, found.search) if outcome else {}
        row |= {key: trial.params.get(key) for key in found.search.space}
        row |= {"counts": trial.counts, "origin": _origin(trial)}
        row["run_ids"] = " ".join(cell.plan.run_id for cell in trial.cells)
        row["reason"] = outcome.reason if outcome and outcome.reason else None
        rows.append(row)
    measured = [rule.metric, *filter(None, [found.search.second_objective])]
    names = ["trial", "state", *measured, *found.search.space, "counts", "origin", "run_ids", "reason"]
    frame = pd.DataFrame(rows, columns=names).convert_dtypes()
    return frame.astype(dict.fromkeys(measured, columns.FLOAT))


def objectives(outcome: Outcome, rule: DecisionRule, spec: SearchSpec) -> dict[str, float]:
    """Column → value of a trial, as it was measured; empty where it has none."""
    found = {} if outcome.value is None else {rule.metric: rule.sign * outcome.value}
    if spec.second_objective and outcome.second is not None:
        found[spec.second_objective] = spec.second_sign * outcome.second
    return found


def _origin(trial: Trial) -> str:
    if trial.cells and trial.cells[0].role == REFERENCE:
        return "reference"
    if trial.is_earlier:
        return trial.warm or "earlier"
    return "proposed" if trial.point is None else "enqueued"
