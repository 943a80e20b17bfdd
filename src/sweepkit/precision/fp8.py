"""Linear layers that multiply in FP8: output, gradient of the input, gradient of the weight.

Every operand is scaled so that its largest element becomes FP8's largest number, by scales taken from
the tensor itself (dynamic), and rounded; products are summed in higher precision and come out in the dtype of
the input. The master weight is untouched: it is rounded anew in every call. arXiv 2209.05433 has the formats.

tensorwise
    One scale an operand; e4m3 inputs and weights, e5m2 gradients.
rowwise
    One scale for each row of the left operand and each column of the right one, so that one large number
    costs only its own row. Each tensor is in two products, along one axis and the other, and is rounded for
    both; scales are powers of two, so that a number is rounded alike in both unless it is very small.
    Everything is e4m3: a row needs less range. As torchao's recipe of that name.

``native`` multiplies with torch's scaled_mm. ``emulated`` multiplies the rounded numbers in fp32, scales and
rounds once: same errors, no speed, any device. Scaling and rounding are plain tensor operations, which
``torch.compile`` fuses; eagerly they read and write every operand several times, and FP8 is slower than bf16.

The vocabulary projection goes through its loss a chunk of tokens at a time: ``Projection`` has its products.
The input's and the weight's scales are the whole tensor's there too; the gradient of the logits, which never
exists as a whole, is scaled a chunk at a time.

Shapes: N tokens, K inputs, O outputs; of the projection C tokens of a chunk, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

E4M3, E5M2 = torch.float8_e4m3fn, torch.float8_e5m2
_AMAX_MIN = 1e-30  # a tensor of zeros has a scale, too
_EXPONENT = 0x7F800000  # the bits of fp32 that a power of two has


def quantize(x: Tensor, dtype: torch.dtype, summed: int | None = None) -> tuple[Tensor, Tensor]:
    """Round to FP8.

    Args:
        x: a matrix.
        summed: the axis that the product sums over, whose elements share a scale; None: all do.

    Returns:
        ``x8`` in ``dtype`` and the fp32 scales for which ``x8 · scale`` is about ``x``: 0-d, or with 1 along
        ``summed``.
    """
    limit = torch.finfo(dtype).max
    amax = x.abs().amax() if summed is None else x.abs().amax(dim=summed, keepdim=True)
    scale = limit / amax.float().clamp(min=_AMAX_MIN)
    if summed is not None:
        scale = (scale.view(torch.int32) & _EXPONENT).view(torch.float32)
    # e5m2 would round what is just above its largest number to inf
    return (x.float() * scale).clamp(-limit, limit).to(dtype), scale.reciprocal()


Quantize = Callable[..., tuple[Tensor, Tensor]]
Rounded = tuple[Tensor, Tensor]


def _twice(x: Tensor, dtype: torch.dtype, rowwise: bool, quantize: Quantize) -> tuple[Rounded, Rounded]:
    """``x`` rounded for the product that sums over its columns, and for the one that sums over its rows."""
    if rowwise:
        return quantize(x, dtype, 1), quantize(x, dtype, 0)
    once = quantize(x, dtype)
    return once, once


def _native(a: Tensor, b: Tensor, scale: tuple[Tensor, Tensor], dtype: torch.dtype, fast: bool) -> Tensor:
    """``a @ b`` on FP8 units, which want ``a`` by rows and ``b`` by columns."""
    (scale_a, scale_b), recipe = scale, F.ScalingType.TensorWise
    if scale_a.dim():  # the strides of their axes of size 1 are looked at
        scale_a, scale_b, recipe = scale_a.flatten()[:, None], scale_b.flatten()[None], F.ScalingType.RowWise
    return F.scaled_mm(
        a.contiguous(),
        b.t().contiguous().t(),
        scale_a,
        recipe,
        scale_b,
        recipe,
        output_dtype=dtype,
        use_fast_accum=fast,
    )


def _emulated(a: Tensor, b: Tensor, scale: tuple[Tensor, Tensor], dtype: torch.dtype, fast: bool) -> Tensor:
    """``a @ b`` in fp32, as FP8 units sum, then scaled, then rounded to ``dtype``."""
    if a.device.type == "cuda":  # bf16 holds every FP8 number exactly, and its units sum in fp32
        product = torch.mm(a.bfloat16(), b.bfloat16(), out_dtype=torch.float32)
    else:
        product = a.float() @ b.float()
    return (product * (scale[0] * scale[1])).to(dtype)


class _Fp8Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_NK: Tensor, weight_OK: Tensor, native: bool, rowwise: bool) -> Tensor:
        (x8_NK, x_scale), x_down = _twice(x_NK, E4M3, rowwise, quantize)
        (weight8_OK, weight_scale), weight_down = _twice(weight_OK, E4M3, rowwise, quantize)
        ctx.save_for_backward(*x_down, *weight_down)
        ctx.multiply, ctx.rowwise = _native if native else _emulated, rowwise
        scales = x_scale, weight_scale.t()
        y_NO: Tensor = ctx.multiply(x8_NK, weight8_OK.t(), scales, x_NK.dtype, True)
        return y_NO

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, Tensor, None, None]:
        x8_NK, x_scale, weight8_OK, weight_scale = ctx.saved_tensors
        (grad_NO,) = gradients
        across, down = _twice(grad_NO, _of_gradients(ctx.rowwise), ctx.rowwise, quantize)
        # fast accumulation sums in fewer bits: good enough for outputs, not for gradients
        scales = across[1], weight_scale
        grad_x_NK = ctx.multiply(across[0], weight8_OK, scales, grad_NO.dtype, False)
        scales = down[1].t(), x_scale
        grad_weight_OK = ctx.multiply(down[0].t(), x8_NK, scales, grad_NO.dtype, False)
        return grad_x_NK, grad_weight_OK, None, None


def _of_gradients(rowwise: bool) -> torch.dtype:
    return E4M3 if rowwise else E5M2


def linear(x: Tensor, weight_OK: Tensor, native: bool, rowwise: bool = False) -> Tensor:
    """``x @ weight.T`` [..., K] → [..., O] in the dtype of ``x``.

    Args:
        native: on the device's FP8 units, else with their errors.
        rowwise: see the module's docstring.
    """
    y_NO: Tensor = _Fp8Linear.apply(x.flatten(0, -2), weight_OK, native, rowwise)  # type: ignore[no-untyped-call]
    return y_NO.view(*x.shape[:-1], -1)


class Projection:
    """The vocabulary projection of one batch: what ``model.loss`` asks of one."""

    def __init__(
        self,
        x_ND: Tensor,
        weight_VD: Tensor,
        native: bool = False,
        rowwise: bool = False,
        quantize: Quantize = quantize,
    ) -> None:
        """Round both operands.

        Args:
            x_ND: in the compute dtype.
            weight_VD: fp32.
            native: on the device's FP8 units, for which C, D and V are multiples of 16.
            rowwise: see the module's docstring.
            quantize: ``quantize``, compiled or not.
        """
        self._dtype, self._rowwise, self._quantize = x_ND.dtype, rowwise, quantize
        self._multiply = _native if native else _emulated
        self._x, self._x_down = _twice(x_ND, E4M3, rowwise, quantize)
        self._weight, (weight8_VD, self._weight_scale_down) = _twice(weight_VD, E4M3, rowwise, quantize)
        # by columns, as FP8 units want it for the input's gradient; here once, not once a chunk
        self._columns8_VD = weight8_VD.t().contiguous().t()

    def logits(self, rows: slice) -> Tensor:
        """[C, V] in the compute dtype."""
        x8_ND, x_scale = self._x
        weight8_VD, weight_scale = self._weight
        scales = x_scale[rows] if self._rowwise else x_scale, weight_scale.t()
        return self._multiply(x8_ND[rows], weight8_VD.t(), scales, self._dtype, True)

    def gradients(self, rows: slice, gradient_CV: Tensor) -> tuple[Tensor, Tensor]:
        """Of the input [C, D] and of the weight [V, D], in the compute dtype."""
        across, down = _twice(gradient_CV, _of_gradients(self._rowwise), self._rowwise, self._quantize)
        x8_ND, x_scale = self._x_down
        scales = across[1], self._weight_scale_down
        grad_x_CD = self._multiply(across[0], self._columns8_VD, scales, self._dtype, False)
        scales = down[1].t(), x_scale
        return grad_x_CD, self._multiply(down[0].t(), x8_ND[rows], scales, self._dtype, False)
