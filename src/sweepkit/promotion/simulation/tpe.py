"""TPE with pruning: Optuna proposes points of the grid, a median pruner stops them between rungs.

Sequential by nature, so it plays one world after the other, in far fewer worlds than the policies in arrays.
"""

from __future__ import annotations

import numpy as np

from sweepkit.promotion.simulation import worlds
from sweepkit.promotion.simulation.policies import Play
from sweepkit.promotion.simulation.worlds import Truth

_NUM_TRIALS = 320


def tpe(truth: Truth, rng: np.random.Generator) -> Play:
    """As many trials as variants; the best on the last rung is adopted, if it beats the reference."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    num_worlds, num_variants = truth.target_WV.shape
    place = {tuple(point): index for index, point in enumerate(worlds.coordinates(truth.world).tolist())}
    adopted_WV = np.zeros((num_worlds, num_variants), dtype=bool)
    best_W, compute_W = np.full(num_worlds, -1), np.zeros(num_worlds)
    for world in range(num_worlds):
        reference_R = [
            float(worlds.noise(truth.world, item, (), rng)) for item in range(truth.world.num_rungs)
        ]
        compute_W[world] += sum(truth.world.cost)

        def objective(
            trial: optuna.Trial, world: int = world, reference_R: list[float] = reference_R
        ) -> float:
            point = tuple(trial.suggest_int(f"x{i}", 0, n - 1) for i, n in enumerate(truth.world.grid))
            variant = place[point]
            trial.set_user_attr("variant", variant)
            loss = float("nan")
            for item, cost in enumerate(truth.world.cost):
                compute_W[world] += cost
                if rng.random() < truth.divergence_WVR[world, variant, item]:
                    raise optuna.TrialPruned
                noise = float(worlds.noise(truth.world, item, (), rng))
                loss = float(truth.effect_WVR[world, variant, item]) + noise - reference_R[item]
                trial.report(loss, item)
                if item < truth.world.num_rungs - 1 and trial.should_prune():
                    raise optuna.TrialPruned
            return loss

        study = optuna.create_study(
            sampler=optuna.samplers.TPESampler(seed=int(rng.integers(2**31))),
            pruner=optuna.pruners.PercentilePruner(25.0, n_startup_trials=8),
        )
        study.optimize(objective, n_trials=_NUM_TRIALS)
        done = study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE])
        winner = min(done, key=lambda trial: float(trial.value or 0.0), default=None)
        if winner is not None and winner.value is not None and winner.value < 0.0:
            best_W[world] = winner.user_attrs["variant"]
            adopted_WV[world, best_W[world]] = True
    return Play(adopted_WV, best_W.astype(np.int64), compute_W)
