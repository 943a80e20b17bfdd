"""How often a variant seems better after equal tuning, where at its best it is no better than the reference.

Every variant tries its own value and two others. Where these cost something, selection on few seeds misses
the best one now and then, for the reference too. What is compared afterwards are the values that were taken.
"""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import pytest

from sweepkit.analysis import multiplicity
from sweepkit.analysis.effects import effects

ALPHA, NUM_VARIANTS, NUM_SEEDS, TUNE_SEEDS = 0.05, 4, 3, 2
WORLDS = 2000 if os.environ.get("SWEEPKIT_TEST_FULL") else 150


def shown(rng: np.random.Generator, cost: float) -> tuple[bool, bool]:
    """One world: whether anything is shown to be better, and whether something is that truly is not.

    Args:
        cost: of the two values beside the best one, in SDs of a run's noise.
    """
    true_VX = np.tile([0.0, cost, cost], (NUM_VARIANTS + 1, 1))
    picked_VXS = true_VX[..., None] + rng.standard_normal((*true_VX.shape, TUNE_SEEDS))
    best_V = picked_VXS.mean(axis=2).argmin(axis=1)
    loss_V = true_VX[np.arange(NUM_VARIANTS + 1), best_V]
    luck_S = 3.0 * rng.standard_normal(NUM_SEEDS)
    runs_VS = loss_V[:, None] + luck_S + rng.standard_normal((NUM_VARIANTS + 1, NUM_SEEDS))
    rows = [
        {
            "variant": f"v{v}" if v else "reference",
            "seed": s,
            "pair_key": f"seed {s}",
            "val_bpb": runs_VS[v, s],
        }
        for v in range(NUM_VARIANTS + 1)
        for s in range(NUM_SEEDS)
    ]
    found = effects(pd.DataFrame(rows), "val_bpb", ALPHA)
    corrected, _ = multiplicity.correct(found, [1.0 if item.p is None else item.p for item in found])
    are = np.asarray(corrected) <= ALPHA
    return bool(are.any()), bool((are & (loss_V[1:] >= loss_V[0])).any())


@pytest.mark.parametrize("cost", [0.0, 1.0, 3.0])
def test_selection_on_other_seeds_keeps_alpha(cost: float) -> None:
    """Of what is truly no better at the values that were taken; what is shown at all is printed (-s)."""
    rng = np.random.default_rng(5)
    found = np.asarray([shown(rng, cost) for _ in range(WORLDS)])
    anything, wrong = found.mean(axis=0)
    print(f"cost {cost:g} SD: shown anything {anything:.3f}, wrongly {wrong:.3f} of {WORLDS} worlds")
    assert wrong <= ALPHA + 3.0 * np.sqrt(ALPHA * (1 - ALPHA) / WORLDS)
