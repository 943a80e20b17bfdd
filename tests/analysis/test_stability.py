"""Divergence as a rate: against simulation and against plain cases."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from sweepkit.analysis.stability import Divergence


@pytest.mark.parametrize("counts", [(1, 3, 0, 3), (2, 8, 1, 8), (0, 4, 3, 4), (5, 5, 1, 20)])
def test_the_probability_is_that_of_two_beta_variables(counts: tuple[int, int, int, int]) -> None:
    k, n, base_k, base_n = counts
    rng = np.random.default_rng(0)
    mine, base = (rng.beta(0.5 + a, 0.5 + b - a, 400_000) for a, b in ((k, n), (base_k, base_n)))
    assert Divergence(*counts).probability_worse == pytest.approx((mine > base).mean(), abs=0.004)


def test_what_counts() -> None:
    assert Divergence(1, 3, 0, 3).is_less_stable
    assert not Divergence(0, 3, 0, 9).is_less_stable, "nothing diverged"
    assert not Divergence(1, 3, 1, 3).is_less_stable
    assert not Divergence(1, 8, 3, 8).is_less_stable
    low, high = Divergence(1, 4, 0, 4).interval(0.9)
    expected = stats.beta(1.5, 3.5).ppf([0.05, 0.95])
    assert (low, high) == pytest.approx(expected)
    assert Divergence(0, 4, 0, 4).interval(0.9)[0] == 0.0
    assert Divergence(4, 4, 0, 4).interval(0.9)[1] == 1.0
