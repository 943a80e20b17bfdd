"""Groups against a bar, and ledgers of single runs, against scipy and worlds where the truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from sweepkit.analysis import bar, kept
from sweepkit.analysis.unequal import Variance


def test_a_bar_without_a_sigma_is_the_t_test() -> None:
    values = [3.27, 3.275, 3.262, 3.281]
    (found,) = bar.against({"mine": values}, 3.28, None)
    assert found.p == pytest.approx(stats.ttest_1samp(values, 3.28, alternative="less").pvalue)
    assert found.p is not None and found.p_above == pytest.approx(1 - found.p)


def test_a_known_sigma_is_the_z_test_and_a_measured_one_students() -> None:
    values = [3.277, 3.279, 3.2785]
    margin = (3.28 - np.mean(values)) * math.sqrt(3)
    for df, law in ((math.inf, stats.norm()), (9.0, stats.t(9))):
        (found,) = bar.against({"mine": values}, 3.28, Variance(0.0013**2, df))
        assert found.margin == pytest.approx(margin) and found.p == pytest.approx(law.sf(margin / 0.0013))
    assert bar.against({"mine": [3.2, 3.3, 3.1, 3.4]}, 3.28, Variance(0.0013**2, math.inf))[0].is_noisier


def ledger(rng: np.random.Generator, truths: np.ndarray) -> list[kept.Try]:
    """An agent that keeps whatever looks better; ``truths`` is what each change does to the loss."""
    losses, kept_ones, best, level = [], [], math.inf, 0.0
    for truth in (0.0, *truths):
        loss = level + truth + rng.normal()
        losses.append(loss)
        kept_ones.append(loss < best)
        if loss < best:
            best, level = loss, level + truth
    return kept.tries([str(place) for place in range(len(losses))], losses, kept_ones)


def test_where_nothing_helps_few_ledgers_show_anything_and_luck_is_as_said() -> None:
    rng, alpha, num, worlds = np.random.default_rng(3), 0.05, 30, 600
    wrong, num_kept, gained = 0, [], []
    for _ in range(worlds):
        found = ledger(rng, np.zeros(num))
        noise = math.sqrt(rng.chisquare(9) / 9)  # as ten runs would have measured it
        wrong += any(
            item.is_kept and item.p_corrected is not None and item.p_corrected <= alpha
            for item in kept.judged(found, noise, 9)
        )
        ours = [item.loss for item in found if item.is_kept and item.loss is not None]
        num_kept.append(len(ours) - 1)
        gained.append(-ours[-1])
    assert wrong <= stats.binom.ppf(0.999, worlds, alpha)
    assert np.mean(num_kept) == pytest.approx(
        kept.kept_by_luck(num + 1), abs=4 * np.std(num_kept) / math.sqrt(worlds)
    )
    assert np.mean(gained) == pytest.approx(
        kept.gained_by_luck(num + 1), abs=4 * np.std(gained) / math.sqrt(worlds)
    )


def test_the_smallest_gain_that_is_shown_is_just_shown() -> None:
    for df in (4.0, 20.0, math.inf):
        size = kept.smallest_shown(50, df, 0.05) * 0.7
        losses = [0.0, -size, *np.full(49, 5.0)]
        found = kept.tries([""] * 51, losses, [True, True] + [False] * 49)
        judged = kept.judged(found, 0.7, df)
        assert judged[1].p_corrected == pytest.approx(0.05)
    assert kept.gained_by_luck(2) == pytest.approx(1 / math.sqrt(math.pi))  # E of the larger of two
