"""Dunnett's distribution against scipy's, adaptive integration, published tables and simulated nulls."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, special, stats

from sweepkit.analysis import dunnett
from sweepkit.analysis.multiplicity import holm


@pytest.mark.parametrize("seed", [1, 2])
def test_on_one_way_data_it_is_scipys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = [rng.normal(shift, 1.0, 6) for shift in (-0.8, 0.1, -0.3, 0.5)]
    control = rng.normal(0.0, 1.0, 6)
    expected = stats.dunnett(*groups, control=control, alternative="less", rng=np.random.default_rng(0))
    df = 5 * 5
    spread = np.sqrt(np.mean([group.var(ddof=1) for group in (*groups, control)]) * 2 / 6)
    t = np.array([(control.mean() - group.mean()) / spread for group in groups])
    assert t == pytest.approx(-expected.statistic)
    assert dunnett.upper_tail(t, 4, df) == pytest.approx(expected.pvalue, abs=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("t", "k", "df", "rho"), [(2.5, 5, 10, 0.5), (6.0, 16, 4, 0.5), (1.0, 3, 2, 0.3), (2.0, 3, 4, 0.0)]
)
def test_it_is_the_double_integral(t: float, k: int, df: int, rho: float) -> None:
    def inner(s: float) -> float:
        def density(u: float) -> float:
            x = (t * s + np.sqrt(rho) * u) / np.sqrt(1 - rho)
            return float(stats.norm.pdf(u) * -np.expm1(k * special.log_ndtr(x)))

        return float(integrate.quad(density, -9, 9, epsabs=1e-13)[0])

    def outer(s: float) -> float:
        return 2 * df * s * float(stats.chi2.pdf(df * s * s, df)) * inner(s)

    expected = integrate.quad(outer, 0, 8, epsabs=1e-9)[0]
    assert dunnett.upper_tail(t, k, df, rho) == pytest.approx(expected, abs=1e-8)


def test_published_critical_values() -> None:
    """One-sided 5% points (Dunnett 1955, table 1a)."""
    for (k, df), value in {
        (1, 5): 2.02,
        (2, 5): 2.44,
        (9, 10): 2.81,
        (3, np.inf): 2.06,
        (4, 20): 2.3,
    }.items():
        assert dunnett.critical(0.05, k, df) == pytest.approx(value, abs=0.0051)


def test_one_variant_is_a_t_test_and_zero_correlation_is_independence() -> None:
    assert dunnett.upper_tail(1.7, 1, 9) == pytest.approx(stats.t.sf(1.7, 9))
    assert dunnett.upper_tail(2.1, 4, np.inf, rho=0.0) == pytest.approx(1 - stats.norm.cdf(2.1) ** 4)
    assert dunnett.adjust([0.03], 6) == [pytest.approx(0.03)]


def test_it_is_less_strict_than_holm_and_keeps_the_order() -> None:
    p = [0.004, 0.3, 0.02, 0.6, 0.02]
    adjusted, bonferroni = dunnett.adjust(p, 12), holm(p)
    assert all(mine <= other + 1e-12 for mine, other in zip(adjusted, bonferroni, strict=True))
    assert np.argsort(adjusted, kind="stable").tolist() == np.argsort(p, kind="stable").tolist()
    assert dunnett.adjust([1.0, 0.0, 0.5], 4)[:2] == [1.0, 0.0]
    assert dunnett.adjust([], 4) == []


def test_a_smaller_correlation_is_on_the_safe_side() -> None:
    tails = [float(dunnett.upper_tail(2.2, 6, 15, rho)) for rho in (0.0, 0.2, 0.5, 0.8)]
    assert tails == sorted(tails, reverse=True)


def test_the_largest_of_blocked_nulls_has_a_uniform_p() -> None:
    """Variants and reference share seeds; the adjusted p of the best is uniform when nothing is true."""
    rng = np.random.default_rng(8)
    worlds, k, n = 1000, 6, 4
    y_WKN = rng.normal(0, 1, (worlds, k + 1, n)) + rng.normal(0, 5, (worlds, 1, n))
    centred = y_WKN - y_WKN.mean(2, keepdims=True)
    residual = centred - centred.mean(1, keepdims=True)
    df = k * (n - 1)
    error = np.sqrt((residual**2).sum((1, 2)) / df * 2 / n)
    t = (y_WKN[:, :1].mean(2) - y_WKN[:, 1:].mean(2)) / error[:, None]
    p = dunnett.upper_tail(t.max(1), k, df)
    assert stats.kstest(p, "uniform").pvalue > 0.001
