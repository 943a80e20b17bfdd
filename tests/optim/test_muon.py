"""Muon against a plain per-matrix version, Polar Express against the SVD, both against torch's Muon."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_muon import COEFFICIENTS, PlainMuon
from torch._dynamo.utils import counters
from torch.optim._muon import _zeropower_via_newtonschulz

from sweepkit.optim import muon
from sweepkit.optim.muon import MuonRule, input_scale, muon_step, polar_express

RULE = MuonRule(5, True, True, True, torch.float32)
SHAPES = [(8, 8), (12, 4), (4, 12), (16, 1), (1, 16), (3, 12)]


def values(*numbers: float) -> list[torch.Tensor]:
    return [torch.tensor(number) for number in numbers]


def stack(num: int, rows: int, columns: int, seed: int = 0) -> list[torch.Tensor]:
    """Weight, momentum, second moment."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(num, rows, columns, generator=generator)
    second = torch.zeros((num, rows, 1) if rows >= columns else (num, 1, columns))
    return [weight, torch.zeros_like(weight), second]


def test_coefficients_are_the_published_table() -> None:
    path = Path(__file__).parents[2] / "docs" / "reference" / "polar_express_coefficients.csv"
    with path.open() as file:
        table = [tuple(float(row[k]) for k in "abc") for row in csv.DictReader(file)]
    assert list(muon.POLAR_EXPRESS) == table == COEFFICIENTS


@settings(max_examples=40, deadline=None)
@given(
    num=st.integers(1, 3), rows=st.integers(1, 24), columns=st.integers(1, 24), seed=st.integers(0, 10_000)
)
def test_polar_express_is_near_the_svds_orthogonal_factor(
    num: int, rows: int, columns: int, seed: int
) -> None:
    """Singular values end near 1; directions are those of U and V."""
    generator = torch.Generator().manual_seed(seed)
    smaller = min(rows, columns)
    u, _ = torch.linalg.qr(torch.randn(num, rows, smaller, generator=generator))
    v, _ = torch.linalg.qr(torch.randn(num, columns, smaller, generator=generator))
    singular = 0.02 + torch.rand(num, smaller, generator=generator)
    x = (u * singular[:, None]) @ v.mT
    result = polar_express(x * input_scale(x, False), 5)
    reached = (u.mT @ result @ v).diagonal(dim1=-2, dim2=-1)
    # These five iterations map [1e-3, 1] into [0.859, 1.141], as iterating the scalars shows.
    assert (reached - 1).abs().max() < 0.145
    torch.testing.assert_close(result, (u * reached[:, None]) @ v.mT, atol=1e-4, rtol=1e-3)


def test_polar_express_agrees_with_torchs_newton_schulz(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.optim.Muon has one triple for all iterations and normalises without the margin."""
    triple = (3.4445, -4.7750, 2.0315)
    monkeypatch.setattr(muon, "POLAR_EXPRESS", (triple,) * 5)
    generator = torch.Generator().manual_seed(1)
    for rows, columns in SHAPES:
        x = torch.randn(rows, columns, generator=generator)
        ours = polar_express((x / x.norm())[None].bfloat16(), 5)[0]
        theirs = _zeropower_via_newtonschulz(x, triple, 5, 1e-7)
        assert (ours - theirs).norm() < 0.05 * theirs.norm()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("off", ["", "row_equilibration", "frobenius_reset", "cautious_weight_decay"])
def test_ten_steps_equal_the_plain_version(shape: tuple[int, int], off: str) -> None:
    rule = MuonRule(5, *(name != off for name in ("row_equilibration", "frobenius_reset",
                                                  "cautious_weight_decay")), torch.float32)  # fmt: skip
    weight, momentum_buffer, second = stack(3, *shape)
    plain = [
        PlainMuon(w, rule.row_equilibration, rule.frobenius_reset, rule.cautious_weight_decay) for w in weight
    ]
    generator = torch.Generator().manual_seed(1)
    for step in range(10):
        gradient = torch.randn(weight.shape, generator=generator)
        gradient[0, 0] *= 100  # a row that equilibration must tame
        momentum, lr = 0.85 + 0.01 * step, 0.02 + 0.01 * step
        muon_step(weight, gradient, momentum_buffer, second, *values(lr, 0.3, momentum, 0.9), rule)
        for matrix, g in zip(plain, gradient, strict=True):
            matrix.step(g, lr, 0.3, momentum, 0.9)
    torch.testing.assert_close(weight, torch.stack([p.weight for p in plain]).float(), atol=2e-4, rtol=2e-3)
    torch.testing.assert_close(momentum_buffer, torch.stack([p.momentum for p in plain]).float())
    torch.testing.assert_close(
        second.flatten(1), torch.stack([p.second for p in plain]).float(), atol=1e-6, rtol=1e-3
    )


def test_bf16_iterations_stay_near_fp32() -> None:
    updates = []
    for dtype in (torch.float32, torch.bfloat16):
        weight, momentum, second = stack(2, 32, 16)
        gradient = torch.randn(weight.shape, generator=torch.Generator().manual_seed(5))
        before = weight.clone()
        rule = MuonRule(5, True, True, True, dtype)
        muon_step(weight, gradient, momentum, second, *values(0.1, 0.0, 0.9, 0.9), rule)
        updates.append(weight - before)
    assert (updates[0] - updates[1]).norm() < 0.04 * updates[0].norm()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_zero_gradients_never_give_nan(shape: tuple[int, int], dtype: torch.dtype) -> None:
    """Step 0 of the baseline: most gradients are exactly zero; a later one is not."""
    rule = MuonRule(5, True, True, True, dtype)
    weight, momentum, second = stack(2, *shape)
    before = weight.clone()
    for _ in range(3):
        muon_step(weight, torch.zeros_like(weight), momentum, second, *values(0.02, 0.0, 0.9, 0.9), rule)
        assert torch.equal(weight, before)
    for tiny in (1e-30, 1e-12, 1.0):
        gradient = torch.randn(weight.shape) * tiny
        gradient[:, 0] = 0
        muon_step(weight, gradient, momentum, second, *values(0.02, 0.1, 0.9, 0.9), rule)
        assert weight.isfinite().all()
        assert second.isfinite().all()


def test_update_norm_is_that_of_an_orthogonal_matrix() -> None:
    """Frobenius reset: ‖update‖ = √min(m, n) × LR × √max(1, m/n), whatever the gradient's size."""
    for rows, columns in ((24, 6), (6, 24), (8, 8)):
        for size in (1e-4, 1e4):
            weight, momentum, second = stack(1, rows, columns)
            before = weight.clone()
            gradient = size * torch.randn(weight.shape)
            muon_step(weight, gradient, momentum, second, *values(0.1, 0.0, 0.9, 0.9), RULE)
            expected = 0.1 * min(rows, columns) ** 0.5 * max(1, rows / columns) ** 0.5
            assert (weight - before).norm().item() == pytest.approx(expected, rel=1e-3)


def test_cautious_decay_spares_weights_that_the_update_pushes_out() -> None:
    weight, momentum, second = stack(1, 6, 6)
    plain, momentum2, second2 = (t.clone() for t in (weight, momentum, second))
    gradient = torch.randn(1, 6, 6)
    before = weight.clone()
    muon_step(weight, gradient, momentum, second, *values(0.1, 0.5, 0.9, 0.9), RULE)
    muon_step(plain, gradient, momentum2, second2, *values(0.1, 0.0, 0.9, 0.9), RULE)
    decayed = (weight - plain).abs() > 1e-6
    assert torch.equal(decayed, ((before - plain) * before) > 0)
    torch.testing.assert_close((plain - weight)[decayed], (0.05 * before)[decayed], atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_compiled_step_agrees_and_new_values_never_recompile() -> None:
    compiled = torch.compile(muon_step, fullgraph=True, dynamic=False)
    ours, eager = stack(2, 12, 4), stack(2, 12, 4)
    torch._dynamo.reset()
    counters.clear()
    for step in range(4):
        gradient = torch.randn(ours[0].shape, generator=torch.Generator().manual_seed(step))
        scheduled = values(0.02 * (step + 1), 0.3 - 0.1 * step, 0.85 + 0.03 * step, 0.9 + 0.02 * step)
        compiled(ours[0], gradient, *ours[1:], *scheduled, replace(RULE))  # every run makes its own rule
        muon_step(eager[0], gradient, *eager[1:], *scheduled, RULE)
    for a, b in zip(ours, eager, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"]
