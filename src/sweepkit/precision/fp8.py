"""Linear layers that multiply in FP8, tensorwise: e4m3 inputs and weights, e5m2 gradients.

Every operand is scaled so that its largest element becomes FP8's largest number, by a scale taken from
the tensor itself (dynamic), and rounded; products are summed in higher precision and come out in the dtype of
the input. All three products of a layer (output, gradient of the input, gradient of the weight) are FP8. The
master weight is untouched: it is rounded anew in every call. arXiv 2209.05433 has the formats.

``native`` multiplies with torch's scaled_mm. ``emulated`` multiplies the rounded numbers in fp32, scales and
rounds once: same errors, no speed, any device. Scaling and rounding are plain tensor operations, which
``torch.compile`` fuses; eagerly they read and write every operand several times, and FP8 is slower than bf16.

The vocabulary projection goes through its loss a chunk of tokens at a time: ``Projection`` has its products.
The input's and the weight's scales are the whole tensor's there too; the gradient of the logits, which never
exists as a whole, has one scale a chunk.

Shapes: N tokens, K inputs, O outputs; of the projection C tokens of a chunk, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sweepkit.config.choices import Fp8Backend

E4M3, E5M2 = torch.float8_e4m3fn, torch.float8_e5m2
_TENSORWISE = F.ScalingType.TensorWise
_AMAX_MIN = 1e-30  # a tensor of zeros has a scale, too


def quantize(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Round to FP8.

    Returns:
        ``x8`` in ``dtype`` and the fp32 scale (0-d) for which ``x8 · scale`` is about ``x``.
    """
    limit = torch.finfo(dtype).max
    scale = limit / x.abs().amax().float().clamp(min=_AMAX_MIN)
    # e5m2 would round what is just above its largest number to inf
    return (x.float() * scale).clamp(-limit, limit).to(dtype), scale.reciprocal()


def _native(a: Tensor, b: Tensor, scale: tuple[Tensor, Tensor], dtype: torch.dtype, fast: bool) -> Tensor:
    """``a @ b`` on FP8 units, which want ``a`` by rows and ``b`` by columns."""
    return F.scaled_mm(
        a.contiguous(),
        b.t().contiguous().t(),
        scale[0],
        _TENSORWISE,
        scale[1],
        _TENSORWISE,
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
    def forward(ctx: Any, x_NK: Tensor, weight_OK: Tensor, native: bool) -> Tensor:
        x8_NK, x_scale = quantize(x_NK, E4M3)
        weight8_OK, weight_scale = quantize(weight_OK, E4M3)
        ctx.save_for_backward(x8_NK, x_scale, weight8_OK, weight_scale)
        ctx.multiply = _native if native else _emulated
        y_NO: Tensor = ctx.multiply(x8_NK, weight8_OK.t(), (x_scale, weight_scale), x_NK.dtype, True)
        return y_NO

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, Tensor, None]:
        x8_NK, x_scale, weight8_OK, weight_scale = ctx.saved_tensors
        (grad_NO,) = gradients
        grad8_NO, grad_scale = quantize(grad_NO, E5M2)
        # fast accumulation sums in fewer bits: good enough for outputs, not for gradients
        grad_x_NK = ctx.multiply(grad8_NO, weight8_OK, (grad_scale, weight_scale), grad_NO.dtype, False)
        grad_weight_OK = ctx.multiply(grad8_NO.t(), x8_NK, (grad_scale, x_scale), grad_NO.dtype, False)
        return grad_x_NK, grad_weight_OK, None


def _linear(x: Tensor, weight_OK: Tensor, native: bool) -> Tensor:
    y_NO: Tensor = _Fp8Linear.apply(x.flatten(0, -2), weight_OK, native)  # type: ignore[no-untyped-call]
    return y_NO.view(*x.shape[:-1], -1)


def native_linear(x: Tensor, weight_OK: Tensor) -> Tensor:
    """``x @ weight.T`` [..., K] → [..., O] in the dtype of ``x``, on the device's FP8 units."""
    return _linear(x, weight_OK, True)


def emulated_linear(x: Tensor, weight_OK: Tensor) -> Tensor:
    """``x @ weight.T`` [..., K] → [..., O] in the dtype of ``x``, with the errors of FP8."""
    return _linear(x, weight_OK, False)


Quantize = Callable[[Tensor, torch.dtype], tuple[Tensor, Tensor]]


class Projection:
    """The vocabulary projection of one batch: what ``model.loss`` asks of one."""

    def __init__(
        self, x_ND: Tensor, weight_VD: Tensor, native: bool = False, quantize: Quantize = quantize
    ) -> None:
        """Round both operands.

        Args:
            x_ND: in the compute dtype.
            weight_VD: fp32.
            native: on the device's FP8 units, for which C, D and V are multiples of 16.
            quantize: ``quantize``, compiled or not.
        """
        self._dtype, self._quantize = x_ND.dtype, quantize
        self._multiply = _native if native else _emulated
        self._x8_ND, self._x_scale = quantize(x_ND, E4M3)
        self._weight8_VD, self._weight_scale = quantize(weight_VD, E4M3)
        # by columns, as FP8 units want it for the input's gradient; here once, not once a chunk
        self._columns8_VD = self._weight8_VD.t().contiguous().t()

    def logits(self, rows: slice) -> Tensor:
        """[C, V] in the compute dtype."""
        scales = self._x_scale, self._weight_scale
        return self._multiply(self._x8_ND[rows], self._weight8_VD.t(), scales, self._dtype, True)

    def gradients(self, rows: slice, gradient_CV: Tensor) -> tuple[Tensor, Tensor]:
        """Of the input [C, D] and of the weight [V, D], in the compute dtype."""
        grad8_CV, scale = self._quantize(gradient_CV, E5M2)
        scales = scale, self._weight_scale
        grad_x_CD = self._multiply(grad8_CV, self._columns8_VD, scales, self._dtype, False)
        scales = scale, self._x_scale
        return grad_x_CD, self._multiply(grad8_CV.t(), self._x8_ND[rows], scales, self._dtype, False)


LINEAR: dict[Fp8Backend, Callable[[Tensor, Tensor], Tensor]] = {
    Fp8Backend.native: native_linear,
    Fp8Backend.emulated: emulated_linear,
}
