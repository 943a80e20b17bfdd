"""Every kind of MLP against loops in fp64: values, gradients, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from small_plans import tiny_plan

from sweepkit.config.choices import MlpKind
from sweepkit.model.mlp import MLP
from sweepkit.plan.part_weights import ZERO, Weight
from sweepkit.plan.parts import MLPS
from sweepkit.plan.sizing import size

#: What one hidden unit comes out as, and its derivative by each of what goes in.
Unit = Callable[..., tuple[float, tuple[float, ...]]]


def relu2(up: float) -> tuple[float, tuple[float, ...]]:
    return (up * up, (2 * up,)) if up > 0 else (0.0, (0.0,))


def swiglu(gate: float, up: float) -> tuple[float, tuple[float, ...]]:
    sigmoid = 1 / (1 + math.exp(-gate))
    silu = gate * sigmoid
    return silu * up, ((sigmoid + silu * (1 - sigmoid)) * up, silu)


def gelu(up: float) -> tuple[float, tuple[float, ...]]:
    below = 0.5 * (1 + math.erf(up / math.sqrt(2)))
    density = math.exp(-0.5 * up * up) / math.sqrt(2 * math.pi)
    return up * below, (below + up * density,)


def geglu(gate: float, up: float) -> tuple[float, tuple[float, ...]]:
    value, (slope,) = gelu(gate)
    return value * up, (slope * up, value)


def leaky_relu2(up: float) -> tuple[float, tuple[float, ...]]:
    leak = 1.0 if up > 0 else 0.5
    return (leak * up) ** 2, (2 * leak * leak * up,)


UNITS: dict[MlpKind, Unit] = {
    MlpKind.relu2: relu2,
    MlpKind.swiglu: swiglu,
    MlpKind.geglu: geglu,
    MlpKind.gelu: gelu,
    MlpKind.leaky_relu2: leaky_relu2,
}


@pytest.mark.parametrize("kind", MlpKind)
def test_values_and_gradients_are_those_of_loops(kind: MlpKind) -> None:
    num_tokens, width, hidden = 5, 4, 6
    names = (*MLPS[kind].inputs, "down")
    shapes = {name: (width, hidden) if name == "down" else (hidden, width) for name in names}
    weights = {f"{name}.weight": Weight(name, shape, "matrix", ZERO) for name, shape in shapes.items()}
    generator = torch.Generator().manual_seed(0)
    mlp = MLP(kind, weights, "cpu").double()
    for parameter in mlp.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    x, gradient = (torch.randn(num_tokens, width, generator=generator).double() for _ in range(2))
    found = mlp(x.requires_grad_())
    grads = torch.autograd.grad(found, (x, *mlp.parameters()), gradient)

    p = {name: parameter.tolist() for name, parameter in mlp.named_parameters()}
    inputs = [p[f"{name}.weight"] for name in MLPS[kind].inputs]
    down = p["down.weight"]
    y = [[0.0] * width for _ in range(num_tokens)]
    grad = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in shapes.items()}
    grad_x = torch.zeros(num_tokens, width, dtype=torch.float64)
    for t in range(num_tokens):
        for f in range(hidden):
            before = [sum(matrix[f][d] * x[t, d].item() for d in range(width)) for matrix in inputs]
            value, slopes = UNITS[kind](*before)
            back = 0.0
            for d in range(width):
                y[t][d] += down[d][f] * value
                grad["down"][d, f] += gradient[t, d] * value
                back += gradient[t, d].item() * down[d][f]
            for name, matrix, slope in zip(MLPS[kind].inputs, inputs, slopes, strict=True):
                for d in range(width):
                    grad[name][f, d] += back * slope * x[t, d].item()
                    grad_x[t, d] += back * slope * matrix[f][d]
    torch.testing.assert_close(found, torch.tensor(y, dtype=torch.float64))
    for ours, theirs in zip(grads, (grad_x, *(grad[name] for name in names)), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("kind", MlpKind)
def test_a_kind_costs_what_relu2_costs(kind: MlpKind) -> None:
    """To the nearest multiple of 16 hidden units, of which d12 has 2,048 or 3,072."""
    ours, relu2 = (
        size(tiny_plan(f"model.mlp.kind={name}", "model=d12", depth=12).config)
        for name in (kind.name, "relu2")
    )
    apart = 8 * (len(MLPS[kind].inputs) + 1) * ours.width * ours.depth
    assert abs(ours.total_params - relu2.total_params) <= apart
    assert abs(ours.flops_per_token - relu2.flops_per_token) <= 6 * apart
