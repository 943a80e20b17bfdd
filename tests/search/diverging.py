"""How many of 60 trials a sampler spends where they diverge: ``python tests/search/diverging.py [SEARCHES]``.

Two learning rates, each with a bowl and a cliff behind it; the optimum lies well before either. Compared
are telling Optuna that such a trial has failed, which its samplers ignore, with what a search tells.
docs/search.md has the table.
"""

from __future__ import annotations

import math
import sys
import tempfile
import warnings
from pathlib import Path

import optuna

from sweepkit.config import typed
from sweepkit.search.study import Study
from sweepkit.search.trial_outcome import Outcome, TrialState
from sweepkit.sweep.search_spec import SearchSpec
from sweepkit.sweep.trials import Trial

MATRIX, HEAD = "optimizer.matrix.lr", "optimizer.unembedding.lr"
SPACE = {
    MATRIX: {"low": 0.001, "high": 1.0, "log": True},
    HEAD: {"low": 0.001, "high": 100.0, "log": True},
}
N_TRIALS = 60


def outcome(params: dict[str, float], told: bool) -> Outcome:
    """What becomes of a point: 38% of the space (in logarithms) diverges."""
    matrix, head = math.log10(params[MATRIX]), math.log10(params[HEAD])
    if matrix > -0.7 or head > 1.0:
        return Outcome(TrialState.infeasible if told else TrialState.dead)
    return Outcome(TrialState.complete, 1.0 + 0.05 * (matrix + 1.5) ** 2 + 0.02 * (head + 0.5) ** 2)


def search(sampler: str, seed: int, told: bool) -> tuple[int, int, float]:
    """Trials that diverged, those of the last 30, and the best value."""
    spec = typed.load(
        SearchSpec, {"space": SPACE, "sampler": sampler, "seed": seed, "n_trials": N_TRIALS}, "search"
    )
    known: list[Trial] = []
    outcomes: dict[int, Outcome] = {}
    with tempfile.TemporaryDirectory() as folder:
        study = Study(Path(folder), spec)
        for number in range(N_TRIALS):
            study.catch_up(known, outcomes)
            params, _ = study.ask(number, lambda _: False, is_endless=True)
            assert params is not None
            known.append(Trial(number, params))
            outcomes[number] = outcome(params, told)
    diverged = [outcomes[number].value is None for number in range(N_TRIALS)]
    values = [found.value for found in outcomes.values() if found.value is not None]
    return sum(diverged), sum(diverged[-30:]), min(values)


def main() -> None:
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    searches = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    print(
        f"of {N_TRIALS} trials, mean of {searches} searches: diverged, of these among the last 30, best loss"
    )
    for sampler in ("random", "qmc", "tpe", "gp"):
        for told in (False, True):
            found = [search(sampler, seed, told) for seed in range(1, searches + 1)]
            diverged, late, best = (sum(column) / searches for column in zip(*found, strict=True))
            how = "infeasible" if told else "failed"
            print(f"{sampler:7} told as {how:10} {diverged:5.1f} {late:5.1f}   {best:.5f}", flush=True)


if __name__ == "__main__":
    main()
