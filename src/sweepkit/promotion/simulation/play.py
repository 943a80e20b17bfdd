"""Play policies in worlds and keep score."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from sweepkit.promotion.simulation import worlds
from sweepkit.promotion.simulation.policies import Play, Policy
from sweepkit.promotion.simulation.worlds import Truth, World

_CHUNK = 250  # worlds at a time, for the memory


@dataclass(frozen=True)
class Score:
    """How a policy did in many worlds of one kind.

    Attributes:
        num_false: worlds in which it adopted any variant that is useless or harmful at the target.
        found_best: share of worlds in which it shipped the best variant, of those where one helps.
        gain: mean true improvement of what it shipped at the target, bits per byte (0 where nothing).
        compute: mean cost, in runs of the lowest rung.
    """

    world: str
    policy: str
    num_worlds: int
    num_false: int
    found_best: float | None
    gain: float
    compute: float

    @property
    def false_adoption(self) -> float:
        return self.num_false / self.num_worlds

    @property
    def gain_per_compute(self) -> float:
        """Bits per byte in a thousand runs of the lowest rung."""
        return 1000.0 * self.gain / self.compute

    def false_adoption_interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """What so many worlds leave open of the rate (exact binomial; Clopper and Pearson 1934)."""
        found = stats.binomtest(self.num_false, self.num_worlds).proportion_ci(confidence, method="exact")
        return float(found.low), float(found.high)

    def exceeds(self, alpha: float) -> bool:
        """Whether the false adoptions are more than ``alpha`` explains (exact binomial test at 1%)."""
        test = stats.binomtest(self.num_false, self.num_worlds, alpha, alternative="greater")
        return bool(test.pvalue < 0.01)


def play(
    kinds: Mapping[str, World],
    policies: Mapping[str, Policy],
    num_worlds: int,
    seed: int,
    on_progress: Callable[[str, str], None] = lambda world, policy: None,
) -> list[Score]:
    """Every policy in ``num_worlds`` worlds of every kind; all see the same truths.

    The same arguments give the same scores.
    """
    scores = []
    for kind, world in kinds.items():
        for name, policy in policies.items():
            on_progress(kind, name)
            parts = []
            for start in range(0, num_worlds, _CHUNK):
                size = min(_CHUNK, num_worlds - start)
                truth = worlds.draw(world, size, _generator(seed, kind, start))
                parts.append((truth, policy(truth, _generator(seed, kind, start, name))))
            scores.append(_score(kind, name, parts))
    return scores


def table(scores: list[Score]) -> pd.DataFrame:
    """One row a world and policy."""
    return pd.DataFrame(
        [
            {
                "world": score.world,
                "policy": score.policy,
                "worlds": score.num_worlds,
                "false_adoption": score.false_adoption,
                "found_best": score.found_best,
                "gain_bpb": score.gain,
                "compute": score.compute,
                "gain_per_compute": score.gain_per_compute,
            }
            for score in scores
        ]
    )


def _score(kind: str, name: str, parts: list[tuple[Truth, Play]]) -> Score:
    num_false, gain, compute, found, possible, total = 0, 0.0, 0.0, 0, 0, 0
    for truth, done in parts:
        target_WV = truth.target_WV
        num_false += int((done.adopted_WV & (target_WV >= 0.0)).any(axis=1).sum())
        rows = np.arange(len(target_WV))
        shipped_W = np.where(done.best_W >= 0, target_WV[rows, done.best_W], 0.0)
        gain -= float(shipped_W.sum())
        compute += float(done.compute_W.sum())
        helps_W = target_WV.min(axis=1) < 0.0
        found += int((helps_W & (done.best_W == target_WV.argmin(axis=1))).sum())
        possible += int(helps_W.sum())
        total += len(target_WV)
    best = found / possible if possible else None
    return Score(kind, name, total, num_false, best, gain / total, compute / total)


def _generator(seed: int, *words: str | int) -> np.random.Generator:
    """A generator of its own for every purpose, the same on every machine."""
    text = " ".join(str(word) for word in words).encode()
    return np.random.default_rng([seed, *text])
