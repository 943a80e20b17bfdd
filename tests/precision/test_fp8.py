"""FP8 products: against torchao's recipes, the exact product, and CUDA's rules of layout."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from sweepkit.precision import fp8

pytestmark = pytest.mark.xdist_group("fp8")

TOKENS, INPUTS, OUTPUTS = 64, 256, 384
Triple = tuple[Tensor, Tensor, Tensor]
Linear = Callable[[Tensor, Tensor], Tensor]
RECIPES = ("tensorwise", "rowwise")


def layer(recipe: str, native: bool) -> Linear:
    return partial(fp8.linear, native=native, rowwise=recipe == "rowwise")


LAYERS = [
    pytest.param(layer(recipe, native), id=f"{recipe}-{native}")
    for recipe in RECIPES
    for native in (True, False)
]


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


def torchao_outcome(operands: Triple, recipe: str) -> Triple:
    from torchao.float8 import Float8LinearConfig, convert_to_float8_training

    x, weight, gradient = operands
    plain = nn.Linear(INPUTS, OUTPUTS, bias=False, dtype=torch.bfloat16)
    with torch.no_grad():
        plain.weight.copy_(weight)
    config = Float8LinearConfig.from_recipe_name(recipe)
    model = convert_to_float8_training(nn.Sequential(plain), config=config)
    x = x.detach().requires_grad_()
    y = model(x)
    y.backward(gradient)
    return y.detach(), x.grad, model[0].weight.grad


@pytest.fixture(scope="module")
def references(operands: Triple) -> dict[str, Triple]:
    return {recipe: torchao_outcome(operands, recipe) for recipe in RECIPES}


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("native", [True, False])
def test_agrees_with_torchao_forward_and_both_gradients(
    native: bool, recipe: str, operands: Triple, references: dict[str, Triple]
) -> None:
    """The same numbers, up to the last bit of a scale, and of a sum where it is taken in another order."""
    found = outcome(layer(recipe, native), operands)
    assert max(error(found, references[recipe])) <= 1e-4


def test_rowwise_a_large_row_costs_only_itself(operands: Triple) -> None:
    """One scale for all leaves the others nothing: what is 2^26 times smaller is 0 in e4m3."""
    x, weight, gradient = (part.flatten(0, -2).clone() for part in operands)
    x[3], weight[5] = 2.0**26 * x[3], 2.0**26 * weight[5]
    exact, others = x.double() @ weight.double().T, torch.ones(TOKENS, OUTPUTS, dtype=torch.bool)
    others[3], others[:, 5] = False, False
    lost, kept = (fp8.linear(x, weight, native=False, rowwise=rowwise)[others] for rowwise in (False, True))
    assert not lost.any()
    assert error((kept,) * 3, (exact[others],) * 3)[0] < 0.045
    for rows in (x, weight, gradient):
        _, scales = fp8.quantize(rows, fp8.E4M3, 1)
        assert torch.equal(scales.log2(), scales.log2().round()) and scales.shape == (rows.size(0), 1)
        largest = rows.abs().amax(dim=1, keepdim=True).float() / scales
        assert largest.min() > 224 and largest.max() <= 448


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


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("native", [True, False])
def test_the_projection_agrees_with_torchao_in_one_chunk_and_in_many(
    native: bool, recipe: str, operands: Triple, references: dict[str, Triple]
) -> None:
    limit, how = 1e-4, {"native": native, "rowwise": recipe == "rowwise"}
    assert max(error(outcome(projected(TOKENS, **how), operands), references[recipe])) <= limit
    y, grad_x, grad_weight = error(outcome(projected(16, **how), operands), references[recipe])
    assert y <= limit  # the whole tensor's scales whatever the chunks
    if recipe == "rowwise":
        assert grad_x <= limit  # of a token, whatever the chunks
    assert max(grad_x, grad_weight) <= 0.07  # scaled a chunk at a time: other roundings, of the same size


@pytest.mark.slow
def test_compiles_whole_and_agrees(operands: Triple, references: dict[str, Triple]) -> None:
    """Both backends and recipes in one graph, and rounding alone: compiling is what takes the time."""

    def mean(x: Tensor, weight: Tensor) -> Tensor:
        return sum(part.values[0](x, weight) for part in LAYERS) / 4  # type: ignore[return-value]

    torch._dynamo.reset()
    fused = torch.compile(fp8.quantize, fullgraph=True)
    found = outcome(projected(TOKENS, native=True, quantize=fused), operands)
    assert max(error(found, references["tensorwise"])) <= 1e-4
    found = outcome(torch.compile(mean, fullgraph=True), operands)
    assert max(error(found, outcome(mean, operands))) <= 0.004
    means = tuple((a.float() + b.float()) / 2 for a, b in zip(*references.values(), strict=True))
    assert max(error(found, means)) <= 0.01  # type: ignore[arg-type]  # quarters of gradients round otherwise


def test_errors_are_those_of_fp8_and_no_more(operands: Triple) -> None:
    """e4m3 rounds to 3 bits (relative error up to 1/16, 0.026 on average), e5m2 to 2; two a product.

    Gradients are e5m2 tensorwise, e4m3 rowwise.
    """
    exact = outcome(lambda x, weight: x @ weight.T, operands, torch.float64)
    bf16 = outcome(lambda x, weight: x @ weight.to(x.dtype).T, operands)
    assert max(error(bf16, exact)) < 0.005
    for recipe, (least, most) in {"tensorwise": (0.04, 0.07), "rowwise": (0.02, 0.045)}.items():
        for native in (True, False):
            y, grad_x, grad_weight = error(outcome(layer(recipe, native), operands), exact)
            assert 0.02 < y < 0.045
            assert least < grad_x < most and least < grad_weight < most


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
    kernel, emulated = (
        error(outcome(layer("tensorwise", native), operands, torch.bfloat16), tuple(products))  # type: ignore[arg-type]
        for native in (True, False)
    )
    for theirs, ours in zip(kernel, emulated, strict=True):
        assert ours == pytest.approx(theirs, rel=0.02)
        assert ours < 1.8e-3
    projections = error(outcome(projected(128, native=False), operands, torch.bfloat16), tuple(products))  # type: ignore[arg-type]
    assert max(projections) < 1.8e-3


@pytest.mark.parametrize("linear", LAYERS)
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


@pytest.mark.parametrize("linear", LAYERS)
@pytest.mark.parametrize("value", [torch.inf, torch.nan])
def test_what_is_not_finite_stays_so(linear: Linear, value: float) -> None:
    """A NaN must reach the loss, where it ends the run."""
    x = torch.ones(16, 16, dtype=torch.bfloat16)
    x[3, 5] = value
    assert not linear(x, torch.ones(16, 16)).isfinite().all()


def cuda_accepts(a: Tensor, b: Tensor, scales: tuple[Tensor, Tensor], output_dtype: torch.dtype) -> None:
    """Ask the registration that CUDA's graphs are traced with: a fake tensor on "cuda" of the same layout."""
    with FakeTensorMode():
        a, b, of_a, of_b = (
            torch.empty_strided(t.shape, t.stride(), dtype=t.dtype, device="cuda") for t in (a, b, *scales)
        )
        recipe = F.ScalingType.RowWise if of_a.dim() else F.ScalingType.TensorWise
        F.scaled_mm(a, b, of_a, recipe, of_b, recipe, output_dtype=output_dtype)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda recipe: layer(recipe, True), id="layer"),
        pytest.param(
            lambda recipe: projected(TOKENS, native=True, rowwise=recipe == "rowwise"), id="projection"
        ),
    ],
)
def test_cuda_accepts_the_layout_of_all_three_products(
    make: Callable[..., Linear], recipe: str, monkeypatch: pytest.MonkeyPatch, operands: Triple
) -> None:
    original, products = F.scaled_mm, []

    def spy(
        a: Tensor, b: Tensor, of_a: Tensor, _: object, of_b: Tensor, *args: Any, **options: Any
    ) -> Tensor:
        products.append((a, b, (of_a, of_b), options["output_dtype"]))
        return original(a, b, of_a, _, of_b, *args, **options)

    monkeypatch.setattr(F, "scaled_mm", spy)
    outcome(make(recipe), operands)
    monkeypatch.undo()
    assert [(a.shape[0], b.shape[1]) for a, b, *_ in products] == [
        (TOKENS, OUTPUTS),
        (TOKENS, INPUTS),
        (OUTPUTS, INPUTS),
    ]
    for a, b, scales, dtype in products:
        assert {a.dtype, b.dtype} <= {fp8.E4M3, fp8.E5M2} and (a.dtype, b.dtype) != (fp8.E5M2, fp8.E5M2)
        cuda_accepts(a, b, scales, dtype)
        with pytest.raises(RuntimeError, match="col_major"):  # the question is asked
            cuda_accepts(a, b.contiguous(), scales, dtype)
        with pytest.raises(RuntimeError, match="row_major"):
            cuda_accepts(a.t().contiguous().t(), b, scales, dtype)
        if recipe == "rowwise":
            assert dtype is torch.bfloat16  # all that its kernel gives
            with pytest.raises(ValueError, match="scale_b"):
                cuda_accepts(a, b, (scales[0], scales[1].t()), dtype)
