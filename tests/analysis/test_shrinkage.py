"""Shrunken effects: the closed form for one, unbiased for winners, and robust against one catastrophe."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepkit.analysis.shrinkage import shrink


@pytest.mark.parametrize("t", [1.5, 3.0, 10.0])
def test_alone_it_is_the_closed_form(t: float) -> None:
    found = shrink(np.array([[-t]]), np.array([[1.0]]))[0, 0]
    assert found == pytest.approx(-t * (1 - 1 / t**2), rel=0.03)


def test_a_winner_keeps_what_is_true_on_average() -> None:
    """One in ten of 100 variants does anything; the best looks better than it is, shrunken it does not."""
    rng = np.random.default_rng(0)
    truth = np.where(rng.random((300, 100)) < 0.9, 0.0, rng.normal(0.0, 2.0, (300, 100)))
    seen = truth + rng.standard_normal(truth.shape)
    best, rows = seen.argmin(axis=1), np.arange(300)
    shrunk = shrink(seen, np.ones_like(seen))
    assert seen[rows, best].mean() < 1.15 * truth[rows, best].mean()
    assert shrunk[rows, best].mean() == pytest.approx(truth[rows, best].mean(), rel=0.05)


def test_pure_luck_is_shrunk_away() -> None:
    seen = np.random.default_rng(1).standard_normal((200, 50))
    shrunk = shrink(seen, np.ones_like(seen))
    assert seen.min(axis=1).mean() < -2.0
    assert shrunk.min(axis=1).mean() > -0.8


def test_one_catastrophe_does_not_make_the_others_believable() -> None:
    calm = np.array([[-1.5, 0.5, -0.5, 1.0, 0.2, -0.9]])
    with_one = np.append(calm, [[300.0]], axis=1)
    kept = shrink(with_one, np.ones_like(with_one))[0, 0] / calm[0, 0]
    assert kept < 0.5


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(0.1, 3)), min_size=1, max_size=8))
@settings(max_examples=40, deadline=None)
def test_it_never_changes_the_sign_or_enlarges(values: list[tuple[float, float]]) -> None:
    effect, error = np.array(values).T[:, None, :]
    shrunk = shrink(effect, error)
    assert (np.abs(shrunk) <= np.abs(effect) + 1e-12).all()
    assert (shrunk * effect >= 0.0).all()


def test_the_mixture_is_the_likeliest_one() -> None:
    """Against expectation maximisation carried on until it stands, which takes 10,000 steps and more."""
    rng = np.random.default_rng(3)
    effect = rng.normal(0.0, [[0.5], [1.0], [3.0], [1.5]], (4, 7))
    error = rng.uniform(0.3, 2.0, effect.shape)
    assert shrink(effect, error) == pytest.approx(by_expectation(effect, error), abs=1e-4)


def by_expectation(effect_WV: np.ndarray, error_WV: np.ndarray) -> np.ndarray:
    """Posterior means under the grid of the module's docstring, rung by rung, by 30,000 EM steps."""
    found = []
    for effect_V, error_V in zip(effect_WV, error_WV, strict=True):
        variance_V = error_V**2
        largest = max(0.0, float((effect_V**2 - variance_V).max()))
        smallest = float(variance_V.min()) / 100.0
        sizes_S = np.minimum([0.0, *np.geomspace(smallest, max(largest, smallest), 14)], largest)
        total_VS = variance_V[:, None] + sizes_S
        density_VS = np.exp(-0.5 * effect_V[:, None] ** 2 / total_VS) / np.sqrt(total_VS)
        weight_S = np.full(len(sizes_S), 1.0 / len(sizes_S))
        for _ in range(30_000):
            share_VS = density_VS * weight_S
            share_VS /= share_VS.sum(axis=1, keepdims=True)
            weight_S = share_VS.mean(axis=0)
        found.append(effect_V * (share_VS * sizes_S / total_VS).sum(axis=1))
    return np.asarray(found)
