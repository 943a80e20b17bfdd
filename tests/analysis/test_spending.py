"""Interim looks against published boundaries, and p values that stay uniform however often one looks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from sweepkit.analysis import spending


def test_published_boundaries() -> None:
    """Lan and DeMets, O'Brien-Fleming type, one-sided 2.5%, five equal looks."""
    found = spending.boundaries(0.025, (0.2, 0.4, 0.6, 0.8, 1.0))
    assert found == pytest.approx((4.877, 3.357, 2.680, 2.290, 2.031), abs=1e-3)


def test_everything_is_spent_at_the_end_and_one_look_costs_nothing() -> None:
    assert spending.spent(0.05, 1.0) == pytest.approx(0.05)
    assert spending.spent(0.05, 0.3) < 0.001
    assert spending.boundaries(0.05, (1.0,)) == pytest.approx((stats.norm.isf(0.05),))
    assert spending.sequential_p([0.123], [1.0]) == 0.123


def test_the_boundaries_are_crossed_with_probability_alpha() -> None:
    rng = np.random.default_rng(3)
    fractions = (0.375, 0.625, 1.0)
    steps = np.sqrt(np.diff([0.0, *fractions])) * rng.standard_normal((200_000, 3))
    z = np.cumsum(steps, axis=1) / np.sqrt(fractions)
    crossed = int((z >= spending.boundaries(0.05, fractions)).any(axis=1).sum())
    assert stats.binomtest(crossed, len(z), 0.05).pvalue > 0.001


def test_the_sequential_p_is_the_level_at_which_it_would_have_stopped() -> None:
    p, fractions = [0.2, 0.004, 0.03], (1 / 3, 2 / 3, 1.0)
    level = spending.sequential_p(p, fractions)
    z = -stats.norm.ppf(p)
    assert (z >= np.array(spending.boundaries(level * 1.001, fractions))).any()
    assert not (z >= np.array(spending.boundaries(level * 0.999, fractions))).any()


def test_more_looks_only_ever_make_it_smaller() -> None:
    assert spending.sequential_p([0.01], (0.5,)) >= spending.sequential_p([0.01, 0.001], (0.5, 1.0))
    assert spending.sequential_p([1.0], (0.5,)) == 1.0
    assert spending.sequential_p([0.0, 0.5], (0.5, 1.0)) < 1e-5


@pytest.mark.parametrize("seeds", [(4, 8), (3, 5, 8)])
def test_p_is_uniform_under_the_null_with_t_statistics(seeds: tuple[int, ...]) -> None:
    """Three variants and a reference: the first is called at any look as often as the level says."""
    rng = np.random.default_rng(5)
    worlds = 4000
    y_WKN = rng.normal(0, 1, (worlds, 4, seeds[-1])) + rng.normal(0, 3, (worlds, 1, seeds[-1]))
    p_WL = np.empty((worlds, len(seeds)))
    for look, n in enumerate(seeds):
        y = y_WKN[:, :, :n]
        centred = y - y.mean(2, keepdims=True)
        residual = centred - centred.mean(1, keepdims=True)
        df = 3 * (n - 1)
        error = np.sqrt((residual**2).sum((1, 2)) / df * 2 / n)
        p_WL[:, look] = stats.t.cdf((y[:, 1].mean(1) - y[:, 0].mean(1)) / error, df)
    fractions = tuple(n / seeds[-1] for n in seeds)
    z_WL = -stats.norm.ppf(p_WL)
    for level in (0.02, 0.05, 0.1, 0.2):  # sequential p at most level: see the test above
        below = int((z_WL >= spending.boundaries(level, fractions)).any(axis=1).sum())
        assert stats.binomtest(below, worlds, level).pvalue > 0.001
