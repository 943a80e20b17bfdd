"""Which parameter of a search mattered: PED-ANOVA (Watanabe, Bansal, Hutter 2023), by Optuna.

It asks how differently a parameter is distributed among the better trials than among all, so that it needs
no model and no further library. Trials that are infeasible or were pruned take no part.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sweepkit.analysis import comparable
from sweepkit.errors import SweepkitError, invalid
from sweepkit.results import store
from sweepkit.results.record import RunState
from sweepkit.search.trial_ledger import TrialLedger
from sweepkit.search.trial_outcome import TrialState
from sweepkit.sweep import frozen

_LEAST = 5  # complete trials


def table(results_dir: Path, name: str) -> pd.DataFrame:
    """One row a parameter, the most important first: its share, and its value in the best trial.

    Raises:
        ConfigError: the sweep does not search, or too few of its trials are complete.
        SweepkitError: trials were measured on different text.
    """
    sweep = frozen.load_frozen(results_dir, name)
    if sweep.search is None:
        raise invalid(
            "--importances", name, "name a sweep that searches", "give its sweep file a search: block"
        )
    import optuna

    runs = store.load(name, results_dir)
    runs = runs[(runs["state"] == RunState.complete) & (runs["rung"] == sweep.rungs[0].name)]
    if (problem := comparable.difference(runs, sweep.decision.metric)) is not None:
        raise SweepkitError(f"--importances: {problem}")
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    from sweepkit.search import space

    ledger = TrialLedger(sweep, results_dir)
    found = ((trial, ledger.outcomes.get(trial.number)) for trial in ledger.trials)
    complete = [
        (trial.params, outcome.values[0])
        for trial, outcome in found
        if outcome is not None and outcome.state is TrialState.complete
    ]
    if len(complete) < _LEAST:
        more = ledger.for_more(_LEAST - len(complete))
        remedy = f"run: {more}"
        contract = f"have at least {_LEAST} complete trials (it has {len(complete)})"
        raise invalid("--importances", name, contract, remedy)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study()  # of the first objective
    known = space.distributions(ledger.spec.space)
    for params, value in complete:
        of = {key: known[key] for key in params}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=of, value=value))
    common = [key for key in complete[0][0] if all(key in params for params, _ in complete)]
    shares = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(), params=common)
    best = {key: "null" if value is None else str(value) for key, value in study.best_params.items()}
    rows = [(key, share, best.get(key, "")) for key, share in shares.items()]
    return pd.DataFrame(rows, columns=["parameter", "importance", "best"])
