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
    from optuna.trial import TrialState

    from sweepkit.search import study as studies

    known = studies.load(sweep.sweep_dir) if (sweep.sweep_dir / studies.FILE).exists() else None
    every = known.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)) if known else []
    complete = [trial for trial in every if all(excess <= 0 for excess in trial.constraints.values())]
    if len(complete) < _LEAST:
        more = TrialLedger(sweep, results_dir).for_more(_LEAST - len(complete))
        remedy = f"run: {more}"
        contract = f"have at least {_LEAST} complete trials (it has {len(complete)})"
        raise invalid("--importances", name, contract, remedy)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study()  # of the first objective, without those that stand in for a value
    for trial in complete:
        made = optuna.trial.create_trial(
            params=trial.params, distributions=trial.distributions, value=trial.values[0]
        )
        study.add_trial(made)
    common = [key for key in complete[0].params if all(key in trial.params for trial in complete)]
    shares = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(), params=common)
    rows = [(key, share, str(study.best_params.get(key, ""))) for key, share in shares.items()]
    return pd.DataFrame(rows, columns=["parameter", "importance", "best"])
