"""The two-way fit against least squares on the full design matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sweepkit.analysis import noise

VARIANTS, BLOCKS = "rabcd", "123456"


def brute_force(rows: list[tuple[str, str, float]]) -> tuple[NDArray[Any], NDArray[Any], float, int]:
    """Design matrix with a column a variant and a block; coefficients, residual squares, residual df."""
    design = np.array(
        [[float(v == name) for name in VARIANTS] + [float(b == name) for name in BLOCKS] for v, b, _ in rows]
    )
    y = np.array([value for _, _, value in rows])
    coefficients, _, rank, _ = np.linalg.lstsq(design, y, rcond=None)
    residual = y - design @ coefficients
    return design, coefficients, float(residual @ residual), len(rows) - int(rank)


@st.composite
def unbalanced(draw: st.DrawFn) -> list[tuple[str, str, float]]:
    cells = draw(
        st.lists(
            st.tuples(st.sampled_from(VARIANTS), st.sampled_from(BLOCKS)),
            min_size=2,
            max_size=24,
            unique=True,
        )
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return [(variant, block, 2.0 + float(rng.normal())) for variant, block in cells]


@given(unbalanced())
@settings(max_examples=150, deadline=None)
def test_fit_equals_least_squares_on_any_pattern_of_missing_runs(rows: list[tuple[str, str, float]]) -> None:
    fit = noise.fit_two_way(*zip(*rows, strict=True))
    design, coefficients, sse, df = brute_force(rows)
    assert fit.df == df
    assert fit.sse == pytest.approx(sse if df else 0.0, rel=1e-6, abs=1e-12)
    weights = np.zeros(design.shape[1])
    weights[VARIANTS.index("a")], weights[VARIANTS.index("r")] = 1.0, -1.0
    _, singular, rows_v = np.linalg.svd(design)
    space = rows_v[: int((singular > 1e-9).sum())]
    estimable = np.allclose(space.T @ (space @ weights), weights) and {"a", "r"} <= {row[0] for row in rows}
    contrast = fit.contrast("a", "r")
    assert (contrast is not None) == estimable
    if contrast is not None:
        assert contrast[0] == pytest.approx(weights @ coefficients, abs=1e-9)
        assert contrast[1] == pytest.approx(weights @ np.linalg.pinv(design.T @ design) @ weights, rel=1e-6)


@given(unbalanced(), st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_the_order_of_runs_does_not_matter(rows: list[tuple[str, str, float]], random: Any) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)
    first, second = (
        noise.fit_two_way(*zip(*rows, strict=True)),
        noise.fit_two_way(*zip(*shuffled, strict=True)),
    )
    assert (first.df, first.sse) == (second.df, pytest.approx(second.sse, abs=1e-12))


def test_complete_blocks_have_the_textbook_residual() -> None:
    y = np.random.default_rng(1).normal(size=(4, 5))  # variants × seeds
    fit = noise.fit_two_way(
        [v for v in "rabc" for _ in range(5)], [str(s) for _ in "rabc" for s in range(5)], list(y.ravel())
    )
    interaction = y - y.mean(1, keepdims=True) - y.mean(0, keepdims=True) + y.mean()
    assert fit.df == 3 * 4
    assert fit.sd == pytest.approx(np.sqrt((interaction**2).sum() / 12))
    assert fit.contrast("b", "r") == (pytest.approx(y[2].mean() - y[0].mean()), pytest.approx(2 / 5))


@pytest.mark.parametrize("seeds", [1, 2])
def test_noise_needs_degrees_of_freedom(seeds: int) -> None:
    variants = ["r", "a"] if seeds == 1 else ["r", "r"]
    fit = noise.fit_two_way(variants, ["1", "1" if seeds == 1 else "2"], [1.0, 2.0])
    assert fit.df == 0
    assert fit.sd is None


def test_seeds_that_change_nothing_measure_no_noise() -> None:
    fit = noise.fit_two_way(list("rrraaa"), list("123123"), [2.1, 2.2, 2.3, 2.0, 2.1, 2.2])
    assert fit.df == 2
    assert fit.sse == 0.0
    assert fit.sd is None


def test_empty_data_have_no_noise() -> None:
    assert noise.fit_two_way([], [], []).sd is None


def wild_world(rng: np.random.Generator, wild: float) -> tuple[list[str], list[str], list[float]]:
    """Five variants and the reference, five seeds; variant ``a`` is ``wild`` times as noisy."""
    variants = [v for v in "rabcde" for _ in range(5)]
    blocks = [str(s) for _ in "rabcde" for s in range(5)]
    return variants, blocks, [float(rng.normal(0, wild if v == "a" else 1.0)) for v in variants]


def test_a_variant_far_noisier_than_the_rest_leaves_the_pool() -> None:
    found = noise.pool(*wild_world(np.random.default_rng(2), 20.0), reference="r")
    assert found.excluded == ("a",)
    assert 0.5 < (found.fit.sd or 0.0) < 1.6


def test_equal_noise_rarely_loses_a_variant() -> None:
    rng = np.random.default_rng(3)
    lost = sum(bool(noise.pool(*wild_world(rng, 1.0), reference="r").excluded) for _ in range(400))
    assert lost <= 13  # 1% of 400, plus three standard deviations and a little


def test_the_reference_never_leaves_the_pool() -> None:
    variants, blocks, values = wild_world(np.random.default_rng(4), 20.0)
    assert noise.pool(variants, blocks, values, reference="a").excluded == ()
