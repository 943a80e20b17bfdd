"""Screening by single runs, then a decision on fresh seeds: the survivors' luck is left behind."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sweepkit.analysis import multiplicity
from sweepkit.analysis.effects import effects
from sweepkit.config.schema import RungConfig
from sweepkit.sweep.seeds import on_rung

VARIANTS = [f"v{number}" for number in range(12)]
KEEP, ALPHA = 3, 0.1
RUNGS = [RungConfig(name="low", num_seeds=1, max_promoted=KEEP), RungConfig(name="top")]


def losses(names: list[str], seeds: tuple[int, ...], luck: Mapping[tuple[str, int], float]) -> pd.DataFrame:
    """A rung where nothing is true. Luck with a seed is the same on every rung, which is the worst case."""
    cells = [(name, seed) for name in names for seed in seeds]
    return pd.DataFrame(
        {
            "variant": [name for name, _ in cells],
            "seed": [seed for _, seed in cells],
            "val_bpb": [2.0 + luck["everybody", seed] + luck[name, seed] for name, seed in cells],
        }
    )


def p_of_survivors(rng: np.random.Generator, fresh: bool) -> list[float]:
    """Corrected p values of the best ``KEEP`` of twelve useless variants, on the seeds of the rung above."""
    seeds = [1, 2, 3]
    low = on_rung(seeds, RUNGS, RUNGS[0])
    top = on_rung(seeds, RUNGS, RUNGS[1]) if fresh else tuple(seeds)
    luck = {("everybody", seed): rng.normal(0.0, 0.02) for seed in {*low, *top}}
    luck |= {
        (name, seed): rng.normal(0.0, 0.002) for name in ["reference", *VARIANTS] for seed in {*low, *top}
    }
    assert len(low) == 1
    best = sorted(VARIANTS, key=lambda name: luck[name, low[0]])[:KEEP]
    found = effects(losses(["reference", *best], top, luck), "val_bpb", ALPHA)
    corrected, _ = multiplicity.correct(found, [1.0 if item.p is None else item.p for item in found])
    return [found[0].p or 0.0, min(corrected)]


@pytest.mark.parametrize("fresh", [True, False])
def test_p_is_uniform_on_fresh_seeds_and_only_there(fresh: bool) -> None:
    rng = np.random.default_rng(31)
    best, family = np.transpose([p_of_survivors(rng, fresh) for _ in range(150)])
    for p in (best, family):
        pvalue = stats.kstest(p, "uniform").pvalue
        assert (pvalue > 0.001) if fresh else (pvalue < 1e-4), "the screening seed would be counted twice"
