"""Divergence as a rate: an exact test that keeps α at every rate, and plain cases."""

from __future__ import annotations

import itertools

import pytest
from scipy import stats

from sweepkit.analysis.stability import Divergence


@pytest.mark.parametrize(("runs", "reference_runs"), [(3, 3), (8, 8), (4, 8)])
@pytest.mark.parametrize("alpha", [0.05, 0.1])
def test_equal_rates_are_called_less_stable_at_most_alpha_of_the_time(
    runs: int, reference_runs: int, alpha: float
) -> None:
    counts = list(itertools.product(range(runs + 1), range(reference_runs + 1)))
    shown = [(k, base) for k, base in counts if Divergence(k, runs, base, reference_runs).p <= alpha]
    assert shown
    for rate in (0.02, 0.1, 0.3, 0.5, 0.8):
        mine, base = stats.binom(runs, rate), stats.binom(reference_runs, rate)
        assert sum(mine.pmf(k) * base.pmf(other) for k, other in shown) <= alpha + 1e-6


def test_what_counts() -> None:
    assert Divergence(1, 8, 0, 8).p > 0.3, "one diverged run of eight shows nothing"
    assert Divergence(1, 8, 0, 8).is_more
    assert Divergence(3, 3, 0, 3).p < 0.05
    assert Divergence(0, 3, 0, 9).p == 1.0, "nothing diverged"
    assert not Divergence(1, 3, 1, 3).is_more
    assert not Divergence(1, 8, 3, 8).is_more
    assert Divergence(2, 3, 2, 4).is_more, "as rates"
    low, high = Divergence(1, 4, 0, 4).interval(0.9)
    expected = stats.beta(1.5, 3.5).ppf([0.05, 0.95])
    assert (low, high) == pytest.approx(expected)
    assert Divergence(0, 4, 0, 4).interval(0.9)[0] == 0.0
    assert Divergence(4, 4, 0, 4).interval(0.9)[1] == 1.0
