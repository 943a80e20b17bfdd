"""Variances that differ, against scipy's tests and worlds with a known prior."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from sweepkit.analysis.unequal import Variance, bartlett_p, drawn, f_test_p, moderated


@pytest.mark.parametrize("seed", range(5))
def test_the_tests_are_scipys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = [s * rng.standard_normal(n) for s, n in zip((1, 2, 1, 3), (3, 4, 6, 5), strict=True)]
    found = [Variance(float(g.var(ddof=1)), len(g) - 1) for g in groups]
    assert bartlett_p(found) == pytest.approx(stats.bartlett(*groups).pvalue)
    ratio = found[0].value / found[1].value
    assert f_test_p(found[0], found[1]) == pytest.approx(stats.f.sf(ratio, 2, 3))


@pytest.mark.parametrize(("prior_df", "prior"), [(3.0, 2.0), (12.0, 0.5)])
def test_the_prior_of_many_variances_is_found(prior_df: float, prior: float) -> None:
    """Smyth's model (2004): 1/σ² is χ² with the prior's degrees of freedom, s²/σ² is χ² with its own."""
    rng, df, many = np.random.default_rng(0), 4, 4000
    true = prior * prior_df / rng.chisquare(prior_df, many)
    seen = true * rng.chisquare(df, many) / df
    own = {str(place): Variance(float(value), df) for place, value in enumerate(seen)}
    found = moderated(own | {"reference": Variance(7.0, 2)}, "reference")
    assert found["0"].df - df == pytest.approx(prior_df, rel=0.15)
    drawn_df = found["reference"].df - 2
    assert drawn_df == pytest.approx(found["0"].df - df), (
        "the reference is drawn, and tells nothing of the others"
    )
    centre = (found["reference"].value * found["reference"].df - 2 * 7.0) / drawn_df
    assert centre == pytest.approx(prior, rel=0.1)
    error = [math.log(found[name].value / sigma) for name, sigma in zip(own, true, strict=True)]
    alone = [math.log(own[name].value / sigma) for name, sigma in zip(own, true, strict=True)]
    assert np.mean(np.square(error)) < 0.75 * np.mean(np.square(alone))


def test_equal_variances_become_one() -> None:
    rng, df = np.random.default_rng(1), 2
    own = {str(p): Variance(float(v) / df, df) for p, v in enumerate(rng.chisquare(df, 2000))}
    found = moderated(own, "reference")
    assert max(item.value for item in found.values()) == pytest.approx(1.0, abs=0.4)
    assert min(item.df for item in found.values()) > 20


def test_a_variance_is_drawn_by_one_degree_of_freedom() -> None:
    assert drawn(Variance(4.0, 3.0), Variance(2.0, 20.0)) == Variance(3.5, 4.0)
