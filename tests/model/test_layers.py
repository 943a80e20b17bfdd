"""Layers on their own: the rotary convention, the casting Linear, the fp32 gradient of a bf16 table."""

from __future__ import annotations

import torch

from sweepkit.model.layers import Embedding, Linear, rotary_tables, rotate


def test_rotation_pairs_the_halves_and_keeps_norms() -> None:
    """A complex number a pair: (first − i·second) is turned by +angle."""
    x = torch.randn(2, 5, 3, 8)
    cos, sin = rotary_tables(5, 8, 100_000.0, torch.float32, None)
    turned = rotate(x, cos, sin)
    angle = torch.arange(5)[:, None, None] * 100_000.0 ** (-torch.arange(4) / 4)
    expected = torch.complex(x[..., :4], -x[..., 4:]) * torch.polar(torch.ones_like(angle), angle)
    torch.testing.assert_close(turned[..., :4], expected.real)
    torch.testing.assert_close(turned[..., 4:], -expected.imag)
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))


def test_rotated_products_depend_on_distance_alone() -> None:
    cos, sin = rotary_tables(40, 16, 100_000.0, torch.float32, None)
    q, k = torch.randn(16), torch.randn(16)
    turned_q = rotate(q.expand(1, 40, 1, 16), cos, sin)[0, :, 0]
    turned_k = rotate(k.expand(1, 40, 1, 16), cos, sin)[0, :, 0]
    products = turned_q @ turned_k.T
    for distance in (0, 1, 7):
        diagonal = products.diagonal(-distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), atol=1e-4, rtol=1e-4)


def test_rotary_tables_are_rounded_once() -> None:
    for exact, rounded in zip(
        rotary_tables(64, 8, 1e5, torch.float32, None), rotary_tables(64, 8, 1e5, torch.bfloat16, None),
        strict=True,
    ):  # fmt: skip
        assert torch.equal(exact.bfloat16(), rounded)


def test_linear_follows_its_input() -> None:
    layer = Linear(8, 4, None)
    torch.nn.init.normal_(layer.weight)
    x = torch.randn(3, 8, dtype=torch.bfloat16)
    y = layer(x)
    assert y.dtype == torch.bfloat16
    assert torch.equal(y, x @ layer.weight.bfloat16().T)
    y.float().sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype == torch.float32


def test_a_frequent_tokens_gradient_does_not_stall() -> None:
    """4,000 gradients of 1/64 summed in bf16 stop at 4; the true sum is 62.5."""
    table = Embedding(3, 4, torch.bfloat16, None)
    torch.nn.init.zeros_(table.weight)
    (table(torch.ones(4, 1000, dtype=torch.int32)) / 64).sum().backward()
    assert table.weight.grad is not None
    assert table.weight.grad.dtype == torch.bfloat16
    assert torch.equal(table.weight.grad[:, 0].float(), torch.tensor([0.0, 62.5, 0.0]))
