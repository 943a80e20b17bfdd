"""The front of a search with two objectives: its trials that no other one beats in both, by Optuna."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sweepkit.analysis import comparable
from sweepkit.errors import invalid
from sweepkit.results import store
from sweepkit.results.record import RunState
from sweepkit.search import trials_table
from sweepkit.search.trial_ledger import TrialLedger
from sweepkit.search.trial_outcome import TrialState
from sweepkit.sweep import frozen


def table(name: str, results_dir: Path) -> pd.DataFrame:
    """One row a trial on the front, the best first objective first; columns as of the trials' table.

    Raises:
        ConfigError: the sweep does not search, or has one objective.
        SweepkitError: its runs were measured on different text, or on machines whose clocks do not compare.
    """
    sweep = frozen.load_frozen(results_dir, name)
    spec = sweep.search
    if spec is None or spec.second_objective is None:
        remedy = "give its search: block a second_objective, as train_time_s"
        raise invalid("--front", name, "name a search with two objectives", remedy)
    runs = store.load(name, results_dir)
    runs = runs[(runs["state"] == RunState.complete) & (runs["rung"] == sweep.rungs[0].name)]
    comparable.check(runs, sweep.decision.metric)
    on_it = numbers(TrialLedger(sweep, results_dir))
    found = trials_table.table(name, results_dir).set_index("trial", drop=False).loc[on_it]
    return found.reset_index(drop=True).drop(columns=["state", "counts", "origin", "reason"])


def numbers(ledger: TrialLedger) -> list[int]:
    """Of the trials on the front, the best first objective first; of equal values all."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(directions=["minimize", "minimize"])
    for number, outcome in ledger.outcomes.items():
        if outcome.state is TrialState.complete and ledger.trials[number].cells:
            study.add_trial(optuna.trial.create_trial(values=outcome.values, user_attrs={"number": number}))
    best = sorted(study.best_trials, key=lambda trial: trial.values)
    return [trial.user_attrs["number"] for trial in best]
