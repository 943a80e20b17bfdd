"""FP8 products: against torchao's tensorwise recipe, the exact product, and CUDA's rules of layout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from sweepkit.config.choices import Fp8Backend
from sweepkit.precision import fp8

TOKENS, INPUTS, OUTPUTS = 64, 256, 384
Triple = tuple[Tensor, Tensor, Tensor]
Linear = Callable[[Tensor, Tensor], Tensor]


@pytest.fixture(scope="module")
def operands() -> Triple:
    """Input, weight, gradient of the output; bf16 values of unlike sizes, as training has them."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, TOKENS // 4, INPUTS, generator=generator).bfloat16()
    weight = (0.05 * torch.randn(OUTPUTS, INPUTS, generator=generator)).bfloat16()
    gradient = (1e-4 * torch.randn(4, TOKENS // 4, OUTPUTS, generator=generator)).bfloat16()
    return x, weight, gradient


def outcome(linear: Linear, operands: Triple, dtype: torch.dtype | None = None) -> Triple:
    """Output and both gradients, with an fp32 master weight; all in ``dtype`` instead where it is given."""
    x, weight, gradient = operands
    x = x.detach().to(dtype or x.dtype).requires_grad_()
    weight = weight.detach().to(dtype or torch.float32).requires_grad_()
    y = linear(x, weight)
    y.backward(gradient.to(y.dtype))
    assert x.grad is not None and weight.grad is not None
    assert weight.grad.dtype == weight.dtype and x.grad.dtype == x.dtype == y.dtype
    return y.detach(), x.grad, weight.grad


def error(found: Triple, reference: Triple) -> list[float]:
    """Relative to the reference's norm."""
    pairs = zip(found, reference, strict=True)
    return [((a.double() - b.double()).norm() / b.double().norm()).item() for a, b in pairs]


def torchao_outcome(operands: Triple) -> Triple:
    from torchao.float8 import Float8LinearConfig, convert_to_float8_training

    x, weight, gradient = operands
    layer = nn.Linear(INPUTS, OUTPUTS, bias=False, dtype=torch.bfloat16)
    with torch.no_grad():
        layer.weight.copy_(weight)
    recipe = Float8LinearConfig.from_recipe_name("tensorwise")
    model = convert_to_float8_training(nn.Sequential(layer), config=recipe)
    x = x.detach().requires_grad_()
    y = model(x)
    y.backward(gradient)
    return y.detach(), x.grad, model[0].weight.grad


@pytest.fixture(scope="module")
def reference(operands: Triple) -> Triple:
    return torchao_outcome(operands)


@pytest.mark.parametrize("backend", [Fp8Backend.native, Fp8Backend.emulated])
def test_agrees_with_torchao_forward_and_both_gradients(
    backend: Fp8Backend, operands: Triple, reference: Triple
) -> None:
    """The same numbers, up to the last bit of a scale, and of a sum where it is taken in another order."""
    found = outcome(fp8.LINEAR[backend], operands)
    assert max(error(found, reference)) <= 1e-4


class _Projected(torch.autograd.Function):
    """``fp8.Projection`` as a linear layer that takes its tokens in chunks of ``size``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, size: int, projection: fp8.Projection) -> Tensor:
        ctx.rows = [slice(first, first + size) for first in range(0, TOKENS, size)]
        ctx.projection, ctx.shape = projection, x.shape
        return torch.cat([projection.logits(rows) for rows in ctx.rows]).view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, Tensor, None, None]:
        flat = gradients[0].flatten(0, -2)
        parts = [ctx.projection.gradients(rows, flat[rows]) for rows in ctx.rows]
        grad_weight = torch.stack([part[1] for part in parts]).float().sum(dim=0)
        return torch.cat([part[0] for part in parts]).view(ctx.shape), grad_weight, None, None


def projected(size: int, **options: Any) -> Linear:
    def linear(x: Tensor, weight: Tensor) -> Tensor:
        projection = fp8.Projection(x.detach().flatten(0, -2), weight.detach(), **options)
        y: Tensor = _Projected.apply(x, weight, size, projection)  # type: ignore[no-untyped-call]
        return y

    return linear


@pytest.mark.parametrize("native", [True, False])
def test_the_projection_agrees_with_torchao_in_one_chunk_and_in_many(
    native: bool, operands: Triple, reference: Triple
) -> None:
    limit = 1e-4
    assert max(error(outcome(projected(TOKENS, native=native), operands), reference)) <= limit
    y, grad_x, grad_weight = error(outcome(projected(16, native=native), operands), reference)
    assert y <= limit  # one scale whatever the chunks
    assert max(grad_x, grad_weight) <= 0.07  # a scale a chunk: other roundings, of the same size


@pytest.mark.compile
def test_compiles_whole_and_agrees(operands: Triple, reference: Triple) -> None:
    """Both backends in one graph, and rounding alone: compiling is what takes the time."""

    def mean(x: Tensor, weight: Tensor) -> Tensor:
        return (fp8.native_linear(x, weight) + fp8.emulated_linear(x, weight)) / 2

    torch._dynamo.reset()
    fused = torch.compile(fp8.quantize, fullgraph=True)
    found = outcome(projected(TOKENS, native=True, quantize=fused), operands)
    assert max(error(found, reference)) <= 1e-4
    found = outcome(torch.compile(mean, fullgraph=True), operands)
    assert max(error(found, outcome(mean, operands))) <= 0.004
    assert max(error(found, reference)) <= 0.01  # halved gradients round to other numbers


def test_errors_are_those_of_fp8_and_no_more(operands: Triple) -> None:
    """e4m3 rounds to 3 bits (relative error up to 1/16, 0.026 on average), e5m2 to 2; two a product."""
    exact = outcome(lambda x, weight: x @ weight.T, operands, torch.float64)
    bf16 = outcome(lambda x, weight: x @ weight.to(x.dtype).T, operands)
    assert max(error(bf16, exact)) < 0.005
    for linear in fp8.LINEAR.values():
        y, grad_x, grad_weight = error(outcome(linear, operands), exact)
        assert 0.02 < y < 0.045
        assert 0.04 < grad_x < 0.07 and 0.04 < grad_weight < 0.07


@pytest.mark.parametrize("seed", range(3))
def test_emulation_has_the_kernels_errors(seed: int) -> None:
    """Both beside the exact product of the same FP8 numbers: what is left is one rounding to bf16.

    That is 1.65e-3 on average; a second one makes it 2.3e-3.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).bfloat16()

    x, weight, gradient = draw(128, 256), 0.05 * draw(384, 256), 1e-4 * draw(128, 384)

    def exact(a: Tensor, b: Tensor, scale: tuple[Tensor, Tensor], *_: Any) -> Tensor:
        return (a.double() @ b.double()) * (scale[0] * scale[1])

    rounded = [fp8.quantize(x, fp8.E4M3), fp8.quantize(weight, fp8.E4M3), fp8.quantize(gradient, fp8.E5M2)]
    (x8, sx), (w8, sw), (g8, sg) = rounded
    products = [exact(x8, w8.t(), (sx, sw)), exact(g8, w8, (sg, sw)), exact(g8.t(), x8, (sg, sx))]
    operands = (x, weight, gradient)
    native, emulated = (
        error(outcome(fp8.LINEAR[backend], operands, torch.bfloat16), tuple(products))  # type: ignore[arg-type]
        for backend in (Fp8Backend.native, Fp8Backend.emulated)
    )
    for theirs, ours in zip(native, emulated, strict=True):
        assert ours == pytest.approx(theirs, rel=0.02)
        assert ours < 1.8e-3
    projections = error(outcome(projected(128, native=False), operands, torch.bfloat16), tuple(products))  # type: ignore[arg-type]
    assert max(projections) < 1.8e-3


@pytest.mark.parametrize("linear", fp8.LINEAR.values())
@pytest.mark.parametrize("size", [0.0, 1e-30, 1e30])
def test_any_size_of_operand_keeps_its_relative_error(linear: Linear, size: float, operands: Triple) -> None:
    """Zeros stay zeros (every first step has some); what fp32 holds neither over- nor underflows."""
    x, weight, gradient = (part.float() for part in operands)
    found = outcome(linear, (size * x, weight, gradient))
    expected = outcome(lambda x, weight: x @ weight.T, (size * x, weight, gradient))
    if size == 0:
        assert not found[0].any() and not found[2].any()
    else:
        assert max(error(found, expected)) < 0.07
    assert all(part.isfinite().all() for part in found)


def test_what_is_not_finite_stays_so() -> None:
    """A NaN must reach the loss, where it ends the run."""
    x = torch.ones(16, 16, dtype=torch.bfloat16)
    x[3, 5] = torch.inf
    for linear in fp8.LINEAR.values():
        assert not linear(x, torch.ones(16, 16)).isfinite().all()


def cuda_accepts(a: Tensor, b: Tensor, output_dtype: torch.dtype) -> None:
    """Ask the registration that CUDA's graphs are traced with: a fake tensor on "cuda" of the same layout."""
    with FakeTensorMode():
        a, b = (torch.empty_strided(t.shape, t.stride(), dtype=t.dtype, device="cuda") for t in (a, b))
        scale = torch.empty((), device="cuda")
        recipe = F.ScalingType.TensorWise
        F.scaled_mm(a, b, scale, recipe, scale, recipe, output_dtype=output_dtype)


@pytest.mark.parametrize("linear", [fp8.native_linear, projected(TOKENS, native=True)])
def test_cuda_accepts_the_layout_of_all_three_products(
    linear: Linear, monkeypatch: pytest.MonkeyPatch, operands: Triple
) -> None:
    original, products = F.scaled_mm, []

    def spy(a: Tensor, b: Tensor, *args: object, **options: object) -> Tensor:
        products.append((a, b, options["output_dtype"]))
        return original(a, b, *args, **options)

    monkeypatch.setattr(F, "scaled_mm", spy)
    outcome(linear, operands)
    monkeypatch.undo()
    assert [(a.shape[0], b.shape[1]) for a, b, _ in products] == [
        (TOKENS, OUTPUTS),
        (TOKENS, INPUTS),
        (OUTPUTS, INPUTS),
    ]
    for a, b, dtype in products:
        assert {a.dtype, b.dtype} <= {fp8.E4M3, fp8.E5M2} and (a.dtype, b.dtype) != (fp8.E5M2, fp8.E5M2)
        cuda_accepts(a, b, dtype)
        with pytest.raises(RuntimeError, match="col_major"):  # the question is asked
            cuda_accepts(a, b.contiguous(), dtype)
        with pytest.raises(RuntimeError, match="row_major"):
            cuda_accepts(a.t().contiguous().t(), b, dtype)
