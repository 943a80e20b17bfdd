"""The vocabulary projection, softcap and cross-entropy in one piece, a few tokens at a time.

The logits of a batch are by far the largest array of a step, and their gradient is as large again. Here a
chunk of tokens is projected, its logits are replaced in place by their gradient, and the gradient is
multiplied into those of the input and of the weight, all in the forward pass; the backward pass only scales
what is there. So no array of all tokens × the vocabulary ever exists, in any dtype. Softcap, softmax and loss
are fp32 inside ``nats_and_gradient``, which is compiled; the three products are a ``Projection``'s, and the
weight's gradient is summed over chunks in fp32 (under fp16 over the tokens of a chunk, too).

Shapes: B batch, T time, N tokens, D width, V vocabulary, C tokens of a chunk, R tokens of a tile, K tokens
that a position predicts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORED = -1  # the target of a position that is not scored

# Logits in flight between the matmuls: 32 MiB in bf16 on a CPU. Every chunk is a pass over the weight's
# gradient, so fewer would be faster, but a larger array is new memory in every step, zeroed page by page.
# More on a GPU, which has faster memory for it.
_CHUNK_LOGITS = {"cpu": 1 << 24}
_CHUNK_LOGITS_ELSEWHERE = 1 << 27
# On a CPU the fp32 values of a tile stay in a core's second-level cache: twice as fast as through memory.
_TILE_LOGITS = {"cpu": 1 << 18}
# Chunks are of whole multiples of this: FP8 units sum over multiples of 16 tokens.
_CHUNK_MULTIPLE = 16

#: ``nats_and_gradient``, or with the targets of several tokens a kernel of that shape.
NatsAndGradient = Callable[[Tensor, Tensor, float], Tensor]


def further_targets(next_BT: Tensor, num_further: int) -> Tensor:
    """[B, T, 1 + num_further] targets of multi-token prediction (arXiv 2404.19737), the next token's first.

    Those behind the end of a row are not scored.
    """
    columns = [next_BT]
    for ahead in range(1, num_further + 1):
        missing = next_BT.new_full((next_BT.size(0), min(ahead, next_BT.size(1))), IGNORED)
        columns.append(torch.cat((next_BT[:, ahead:], missing), dim=1))
    return torch.stack(columns, dim=-1)


class Projection(Protocol):
    """The products of one batch's projection, a chunk of tokens at a time."""

    def logits(self, rows: slice) -> Tensor:
        """[C, V] in the compute dtype; the caller may overwrite them, the next call may too."""
        ...

    def gradients(self, rows: slice, gradient_CV: Tensor) -> tuple[Tensor, Tensor]:
        """Of the input [C, D] in the compute dtype, and of the weight [V, D] in that or in fp32."""
        ...


Project = Callable[[Tensor, Tensor], Projection]  # of the stream [N, D] and the fp32 weight [V, D]


class InComputeDtype:
    """The projection in the dtype of the stream."""

    def __init__(self, x_ND: Tensor, weight_VD: Tensor) -> None:
        self._x_ND, self._matrix_VD = x_ND, weight_VD.to(x_ND.dtype)
        self._buffer_CV: Tensor | None = None  # reused: new memory would be zeroed page by page

    def logits(self, rows: slice) -> Tensor:
        x_CD = self._x_ND[rows]
        if self._buffer_CV is None:
            self._buffer_CV = x_CD.new_empty(x_CD.size(0), self._matrix_VD.size(0))
        return torch.mm(x_CD, self._matrix_VD.T, out=self._buffer_CV[: x_CD.size(0)])

    def gradients(self, rows: slice, gradient_CV: Tensor) -> tuple[Tensor, Tensor]:
        multiply = _multiply_into_fp32 if gradient_CV.dtype is torch.float16 else torch.mm
        return gradient_CV @ self._matrix_VD, multiply(gradient_CV.T, self._x_ND[rows])


def _multiply_into_fp32(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b`` of fp16 numbers, summed and kept in fp32.

    Each product here is a sum over tokens that is neither divided by their number yet nor scaled: in fp16 it
    overflows where one token is frequent, and no loss scale could help.
    """
    if a.device.type == "cuda":
        return torch.mm(a, b, out_dtype=torch.float32)
    return a.float() @ b.float()


def softcap(logits: Tensor, cap: float) -> Tensor:
    """``cap · tanh(logits / cap)`` in fp32: logits stay within ±cap."""
    return cap * _tanh(logits.float() / cap)


def _tanh(x: Tensor) -> Tensor:
    """tanh by way of the sigmoid, which is faster on a CPU; exact to an fp32 step of 1."""
    return 2 * torch.sigmoid(2 * x) - 1


def nats_and_gradient(logits_RV: Tensor, targets_R: Tensor, cap: float) -> Tensor:
    """Cross-entropy of softcapped logits, nats, fp32 [R]; 0 where the target is ignored.

    Args:
        logits_RV: uncapped, in the compute dtype. Overwritten by the gradient of the summed nats, which lies
            within ±1 and so survives fp16 whatever the loss is scaled by.
        targets_R: int32 or int64.
    """
    scored_R1 = (targets_R != IGNORED)[:, None]
    column_R1 = targets_R.clamp(min=0).long()[:, None]
    tanh_RV = _tanh(logits_RV.float() / cap)
    shift_R1 = softcap(logits_RV.amax(dim=-1, keepdim=True), cap)
    exp_RV = torch.exp(cap * tanh_RV - shift_R1)
    sum_R1 = exp_RV.sum(dim=-1, keepdim=True)
    target_logit_R1 = cap * tanh_RV.gather(1, column_R1)
    nats_R1 = torch.where(scored_R1, sum_R1.log() + shift_R1 - target_logit_R1, 0.0)
    is_target_RV = torch.arange(logits_RV.size(1), device=logits_RV.device)[None, :] == column_R1
    gradient_RV = (exp_RV / sum_R1 - is_target_RV.float()) * (1 - tanh_RV * tanh_RV)
    logits_RV.copy_(torch.where(scored_R1, gradient_RV, 0.0))
    return nats_R1.squeeze(1)


def weighted_nats_and_gradient(
    logits_RV: Tensor, targets_RK: Tensor, cap: float, weights_K: Tensor
) -> Tensor:
    """As ``nats_and_gradient``, for several tokens that the same logits predict.

    Args:
        targets_RK: int32 or int64, the tokens of every row.
        weights_K: fp32; the gradient is that of the nats' weighted sum.

    Returns:
        Nats, fp32 [R, K], not weighted.
    """
    scored_RK = targets_RK != IGNORED
    column_RK = targets_RK.clamp(min=0).long()
    tanh_RV = _tanh(logits_RV.float() / cap)
    shift_R1 = softcap(logits_RV.amax(dim=-1, keepdim=True), cap)
    exp_RV = torch.exp(cap * tanh_RV - shift_R1)
    sum_R1 = exp_RV.sum(dim=-1, keepdim=True)
    nats_RK = torch.where(scored_RK, sum_R1.log() + shift_R1 - cap * tanh_RV.gather(1, column_RK), 0.0)
    weights_RK = weights_K * scored_RK
    gradient_RV = exp_RV / sum_R1 * weights_RK.sum(dim=-1, keepdim=True)
    gradient_RV = gradient_RV.scatter_add(1, column_RK, -weights_RK)
    logits_RV.copy_(gradient_RV * (1 - tanh_RV * tanh_RV))
    return nats_RK


def token_nats(
    x_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, cap: float, kernel: NatsAndGradient
) -> Tensor:
    """Cross-entropy of every token, nats, fp32 [N]; 0 where the target is ignored. Has no gradient.

    Args:
        x_ND: normed stream, in the compute dtype.
        weight_VD: of the projection, fp32; cast to the dtype of ``x_ND``.
        targets_N: tokens to predict, -1 where not scored.
        kernel: ``nats_and_gradient``, compiled or not.
    """
    with torch.no_grad():
        nats_N = torch.empty(x_ND.size(0), device=x_ND.device)
        projection = InComputeDtype(x_ND, weight_VD)
        for _ in _gradient_chunks(projection, weight_VD.size(0), targets_N, cap, kernel, nats_N):
            pass
        return nats_N


def token_ranks(x_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, cap: float) -> tuple[Tensor, Tensor]:
    """Cross-entropy of every token, nats, fp32 [N], and whether it is the most likely one, bool [N].

    Arguments as for ``token_nats``, every target scored. Not compiled: their number changes with every call.
    """
    matrix_VD = weight_VD.to(x_ND.dtype)
    most = _CHUNK_LOGITS.get(x_ND.device.type, _CHUNK_LOGITS_ELSEWHERE) // weight_VD.size(0)
    nats, is_best = [], []
    for x_CD, targets_C in zip(*(torch.split(t, max(1, most)) for t in (x_ND, targets_N)), strict=True):
        logits_CV = softcap(x_CD @ matrix_VD.T, cap)
        nats.append(F.cross_entropy(logits_CV, targets_C.long(), reduction="none"))
        is_best.append(logits_CV.argmax(dim=-1) == targets_C)
    return torch.cat(nats), torch.cat(is_best)


def mean_nats(
    x_ND: Tensor,
    weight_VD: Tensor,
    targets_N: Tensor,
    cap: float,
    kernel: NatsAndGradient,
    project: Project = InComputeDtype,
) -> Tensor:
    """Mean cross-entropy over the scored tokens, fp32 scalar; 0 when there are none.

    Arguments as for ``token_nats``. Differentiable in ``x_ND`` and ``weight_VD``, once.

    Args:
        project: what multiplies.
    """
    loss: Tensor = _MeanNats.apply(x_ND, weight_VD, targets_N, cap, kernel, project)  # type: ignore[no-untyped-call]
    return loss


def weighted_mean_nats(
    x_ND: Tensor,
    weight_VD: Tensor,
    targets_NK: Tensor,
    weights_K: Tensor,
    cap: float,
    kernel: Callable[[Tensor, Tensor, float, Tensor], Tensor],
    project: Project = InComputeDtype,
) -> tuple[Tensor, Tensor]:
    """Several tokens' mean cross-entropies by the same logits: their weighted sum, and the first alone.

    As ``mean_nats``; the second has no gradient.

    Args:
        targets_NK: the tokens that each position predicts, -1 where not scored; some is scored of each.
        weights_K: fp32.
        kernel: ``weighted_nats_and_gradient``, compiled or not.
    """
    counts_K = (targets_NK != IGNORED).sum(dim=0).clamp(min=1)
    weights_K = weights_K * (counts_K[0] / counts_K)  # all sums are divided by the first one's number
    sums_K = torch.zeros_like(weights_K)

    def weighted(logits_RV: Tensor, targets_RK: Tensor, cap: float) -> Tensor:
        nats_RK = kernel(logits_RV, targets_RK, cap, weights_K)
        sums_K.add_(nats_RK.sum(dim=0))
        return nats_RK @ weights_K

    loss: Tensor = _MeanNats.apply(x_ND, weight_VD, targets_NK, cap, weighted, project)  # type: ignore[no-untyped-call]
    return loss, sums_K[0] / counts_K[0]


class _MeanNats(torch.autograd.Function):
    """Loss and gradients in the forward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        x_ND: Tensor,
        weight_VD: Tensor,
        targets_N: Tensor,
        cap: float,
        kernel: NatsAndGradient,
        project: Project,
    ) -> Tensor:
        first_N = targets_N if targets_N.dim() == 1 else targets_N[:, 0]
        share = 1 / (first_N != IGNORED).sum().clamp(min=1)
        projection = project(x_ND, weight_VD)
        nats_N = torch.empty(x_ND.size(0), device=x_ND.device)
        x_gradient_ND = torch.empty_like(x_ND)
        weight_gradient_VD = torch.zeros_like(weight_VD)
        chunks = _gradient_chunks(projection, weight_VD.size(0), targets_N, cap, kernel, nats_N)
        for rows, gradient_CV in chunks:
            x_gradient_ND[rows], weight_part_VD = projection.gradients(rows, gradient_CV)
            weight_gradient_VD += weight_part_VD
        ctx.save_for_backward(x_gradient_ND, weight_gradient_VD, share)
        return nats_N.sum() * share

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, Tensor, None, None, None, None]:
        x_gradient_ND, weight_gradient_VD, share = ctx.saved_tensors
        factor = gradients[0] * share  # fp32; as a factor of a bf16 array it would be rounded to bf16
        x_gradient_ND = (x_gradient_ND.float() * factor).to(x_gradient_ND.dtype)
        return x_gradient_ND, weight_gradient_VD * factor, None, None, None, None


def _gradient_chunks(
    projection: Projection,
    vocab_size: int,
    targets_N: Tensor,
    cap: float,
    kernel: NatsAndGradient,
    nats_N: Tensor,
) -> Iterator[tuple[slice, Tensor]]:
    """Fill ``nats_N``; give each chunk's rows and the gradient of its logits, valid until the next."""
    device, num_tokens = targets_N.device.type, targets_N.size(0)
    chunk = _even(num_tokens, _CHUNK_LOGITS.get(device, _CHUNK_LOGITS_ELSEWHERE) // vocab_size)
    chunk += -chunk % _CHUNK_MULTIPLE
    tile = _even(chunk, _TILE_LOGITS.get(device, _CHUNK_LOGITS_ELSEWHERE) // vocab_size)
    for first in range(0, num_tokens, chunk):
        rows = slice(first, min(first + chunk, num_tokens))
        logits_CV = projection.logits(rows)
        parts = zip(*(torch.split(t, tile) for t in (logits_CV, targets_N[rows], nats_N[rows])), strict=True)
        for logits_RV, targets_R, nats_R in parts:
            nats_R.copy_(kernel(logits_RV, targets_R, cap))
        yield rows, logits_CV


def _even(total: int, most: int) -> int:
    """The size of equal parts of ``total``, at most ``most`` each (the last part may be smaller)."""
    most = max(1, most)
    return -(-total // -(-total // most))
