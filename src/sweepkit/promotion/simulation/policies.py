"""Policies that play in synthetic worlds: each spends runs and adopts at most one variant, or several.

All but sweepkit's adopt whatever came out best, as is usual. ``tested_halving`` is successive halving
whose winner must pass a t test on fresh seeds: the strongest of the simple policies that keep an error
rate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sweepkit.promotion.simulation import rung
from sweepkit.promotion.simulation.design import Design
from sweepkit.promotion.simulation.rung import Index, Mask
from sweepkit.promotion.simulation.worlds import Array, Truth

_ETA = 4  # one in four goes on, for both kinds of halving
_TEST_SEEDS = 8


@dataclass(frozen=True)
class Play:
    """What a policy did in W worlds.

    Attributes:
        adopted_WV: which variants it adopted.
        best_W: the one it would ship; -1 for none.
        compute_W: cost of all its runs, in runs of the lowest rung.
        shrunk_WV: shrunken effects on the lowest rung, where a policy of several rungs has them.
    """

    adopted_WV: Mask
    best_W: Index
    compute_W: Array
    shrunk_WV: Array | None = None


Policy = Callable[[Truth, np.random.Generator], Play]
SWEEPKIT = "sweepkit"


def usual() -> dict[str, Policy]:
    """The policies to compare with, by name."""
    return {
        "best of n=1": best_of_one,
        "successive halving": successive_halving,
        "asynchronous halving": asynchronous_halving,
        "halving, then a test": tested_halving,
    }


def best_of_one(truth: Truth, rng: np.random.Generator) -> Play:
    """Run everything once on the lowest rung and take the best, if it beats the reference's run."""
    effect_WV = _single(truth, 0, _everybody(truth), rng)
    winner_W = effect_WV.argmin(axis=1)
    is_better_W = effect_WV.min(axis=1) < 0.0
    cost = truth.world.cost[0] * (truth.world.num_variants + 1)
    return _one(truth, np.where(is_better_W, winner_W, -1), np.full(len(effect_WV), cost))


def successive_halving(truth: Truth, rng: np.random.Generator) -> Play:
    """Single runs; a quarter of the variants goes on to each next rung, the best on the last is adopted."""
    best_W, compute_W = _halve(truth, rng)
    return _one(truth, best_W, compute_W)


def tested_halving(truth: Truth, rng: np.random.Generator) -> Play:
    """Successive halving; its winner is adopted when a paired t test on fresh seeds shows it, at 5%."""
    best_W, compute_W = _halve(truth, rng)
    runs = rung.run(truth, truth.world.num_rungs - 1, np.maximum(best_W, 0)[:, None], _TEST_SEEDS, rng)
    found = rung.estimate(runs, (best_W >= 0)[:, None], _TEST_SEEDS)
    shown_W = (found.p_WS[:, 0] <= 0.05) & runs.stable_WS[:, 0] & (best_W >= 0)
    compute_W = compute_W + np.where(best_W >= 0, 2 * _TEST_SEEDS * truth.world.cost[-1], 0.0)
    return _one(truth, np.where(shown_W, best_W, -1), compute_W)


def asynchronous_halving(truth: Truth, rng: np.random.Generator) -> Play:
    """ASHA (Li et al. 2020) with one worker: promote what is in the top quarter so far, else go on."""
    num_rungs, num_variants = truth.world.num_rungs, truth.world.num_variants
    loss_RWV = np.stack([_single(truth, item, _everybody(truth), rng) for item in range(num_rungs)])
    num_worlds = loss_RWV.shape[1]
    worlds = np.arange(num_worlds)
    order_RWV = loss_RWV.argsort(axis=2)  # seen and promoted are kept in the order of the losses
    place_RWV = order_RWV.argsort(axis=2)
    seen_RWV = np.zeros((num_rungs, num_worlds, num_variants), dtype=bool)
    promoted_RWV = np.zeros_like(seen_RWV)
    arrived_W = np.zeros(num_worlds, dtype=np.int64)
    for _ in range(num_variants + num_variants // (_ETA - 1)):
        idle_W = np.ones(num_worlds, dtype=bool)
        for level in range(num_rungs - 2, -1, -1):
            rank_WV = np.cumsum(seen_RWV[level], axis=1, dtype=np.int16)
            top_WV = seen_RWV[level] & (rank_WV <= rank_WV[:, -1:] // _ETA) & ~promoted_RWV[level]
            place_W = top_WV.argmax(axis=1)
            going = np.flatnonzero(top_WV[worlds, place_W] & idle_W)
            promoted_RWV[level, going, place_W[going]] = True
            variant = order_RWV[level, going, place_W[going]]
            seen_RWV[level + 1, going, place_RWV[level + 1, going, variant]] = True
            idle_W[going] = False
        new = np.flatnonzero(idle_W & (arrived_W < num_variants))
        seen_RWV[0, new, place_RWV[0, new, arrived_W[new]]] = True
        arrived_W[new] += 1
    best_W = order_RWV[-1, worlds, seen_RWV[-1].argmax(axis=1)]
    loss_W = loss_RWV[-1, worlds, best_W]
    is_better_W = seen_RWV[-1].any(axis=1) & (loss_W < 0.0)
    compute_W = (seen_RWV.sum(axis=2) + 1).T @ np.asarray(truth.world.cost)
    return _one(truth, np.where(is_better_W, best_W, -1), compute_W)


def sweepkit(design: Design) -> Policy:
    """Our rule: rank, screen on fresh seeds, decide on fresh seeds with the whole rung's noise."""
    return lambda truth, rng: climb(design, truth, np.ones(truth.target_WV.shape, dtype=bool), rng)


def climb(design: Design, truth: Truth, active_WV: Mask, rng: np.random.Generator) -> Play:
    """Up the stages of a design with those variants of each world that are active."""
    variant_WS, active_WS = _everybody(truth), active_WV
    compute_W, shrunk_WV = np.zeros(len(variant_WS)), None
    for stage in design.stages[:-1]:
        own = stage.reference_replicates
        runs = rung.run(truth, stage.rung, np.maximum(variant_WS, 0), stage.seeds, rng, own)
        shrunk_WV = rung.shrunk(runs, active_WS, stage.seeds) if shrunk_WV is None else shrunk_WV
        num_runs_W = (active_WS.sum(axis=1) + own * active_WS.any(axis=1)) * stage.seeds
        compute_W += num_runs_W * truth.world.cost[stage.rung]
        keep = stage.keep or variant_WS.shape[1]
        place_WS = rung.climb(runs, active_WS, stage.seeds, design.decision, keep, stage.is_searched)
        active_WS = place_WS >= 0
        variant_WS = np.take_along_axis(variant_WS, np.maximum(place_WS, 0), axis=1)
    last = design.stages[-1]
    looks = last.looks or (last.seeds,)
    runs = rung.run(truth, last.rung, variant_WS, last.seeds, rng, last.reference_replicates)
    adopted_WS, shrunk_WS, used_W = rung.adopt(runs, active_WS, looks, design.decision)
    compute_W += used_W * truth.world.cost[last.rung]
    adopted_WV = np.zeros(truth.target_WV.shape, dtype=bool)
    world, place = np.nonzero(adopted_WS)
    adopted_WV[world, variant_WS[world, place]] = True
    first_W = np.where(adopted_WS, shrunk_WS, np.inf).argmin(axis=1)
    best_W = variant_WS[np.arange(len(variant_WS)), first_W]
    return Play(adopted_WV, np.where(adopted_WS.any(axis=1), best_W, -1), compute_W, shrunk_WV)


def _halve(truth: Truth, rng: np.random.Generator) -> tuple[Index, Array]:
    variant_WS, compute = _everybody(truth), 0.0
    for level in range(truth.world.num_rungs):
        compute += truth.world.cost[level] * (variant_WS.shape[1] + 1)
        effect_WS = _single(truth, level, variant_WS, rng)
        keep = 1 if level == truth.world.num_rungs - 1 else max(1, variant_WS.shape[1] // _ETA)
        place_WS = effect_WS.argsort(axis=1)[:, :keep]
        variant_WS = np.take_along_axis(variant_WS, place_WS, axis=1)
        best_W = np.take_along_axis(effect_WS, place_WS, axis=1)[:, 0]
    return np.where(best_W < 0.0, variant_WS[:, 0], -1), np.full(len(variant_WS), compute)


def _single(truth: Truth, level: int, variant_WS: Index, rng: np.random.Generator) -> Array:
    """Effects as one run each gives them; a diverged one is infinitely bad."""
    runs = rung.run(truth, level, variant_WS, 1, rng)
    effect_WS = runs.loss_WSN[:, :, 0] - runs.reference_WMN[:, 0]
    return np.where(runs.stable_WS, effect_WS, np.inf)


def _everybody(truth: Truth) -> Index:
    return np.tile(np.arange(truth.world.num_variants), (len(truth.target_WV), 1))


def _one(truth: Truth, best_W: Index, compute_W: Array) -> Play:
    adopted_WV = np.zeros(truth.target_WV.shape, dtype=bool)
    some = np.flatnonzero(best_W >= 0)
    adopted_WV[some, best_W[some]] = True
    return Play(adopted_WV, best_W.astype(np.int64), compute_W)
