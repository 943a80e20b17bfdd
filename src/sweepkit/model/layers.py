"""The pieces every block shares: RMS norm, a Linear that casts, an embedding, rotary tables.

Dtypes are explicit, there is no autocast: activations are in the compute dtype, master weights are
fp32 and a Linear casts its own weight to its input's dtype. Nothing here has a bias.

Shapes: B batch, T time, D width, H heads, K head size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sweepkit.plan.part_weights import Weight

_TOKEN, _BEFORE = 36_313, 27_191  # of a bigram's hash


def norm(x: Tensor) -> Tensor:
    """RMS norm over the last axis with torch's default eps and no learned parameters."""
    return F.rms_norm(x, (x.size(-1),))


class Linear(nn.Module):
    """``x @ weight.T`` with an fp32 master weight [out, in], cast to the dtype of ``x`` [..., in].

    ``training_product`` replaces the product while training (FP8); evaluation stays in the dtype of ``x``.
    """

    training_product: Callable[[Tensor, Tensor], Tensor] | None

    def __init__(self, in_features: int, out_features: int, device: torch.device | str | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_features, in_features, device=device, dtype=torch.float32))
        self.training_product = None

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] → [..., out], in the dtype of ``x``."""
        if self.training_product is not None and self.training:
            return self.training_product(x, self.weight)
        return F.linear(x, self.weight.to(x.dtype))


def add_linears(module: nn.Module, weights: Mapping[str, Weight], device: torch.device | str | None) -> None:
    """Give ``module`` a Linear for each of its weights, under the weight's name."""
    for name, weight in weights.items():
        rows, columns = weight.shape
        module.add_module(name.removesuffix(".weight"), Linear(columns, rows, device))


class _Lookup(torch.autograd.Function):
    """A table lookup whose gradient is summed in fp32.

    torch sums the rows of a bf16 table's gradient in bf16 on the CPU, where a frequent token's sum
    stops growing after a few hundred terms. Summing in fp32 and rounding once costs nothing that matters.
    """

    @staticmethod
    def forward(ctx: Any, tokens_BT: Tensor, table_VD: Tensor) -> Tensor:
        ctx.save_for_backward(tokens_BT)
        ctx.num_rows, ctx.table_dtype = table_VD.size(0), table_VD.dtype
        return F.embedding(tokens_BT, table_VD)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[None, Tensor]:
        (tokens_BT,) = ctx.saved_tensors
        gradient_VD = torch.ops.aten.embedding_dense_backward(
            gradients[0].float(), tokens_BT, ctx.num_rows, -1, False
        )
        return None, gradient_VD.to(ctx.table_dtype)


class Embedding(nn.Module):
    """A table [V, D]; tokens [...] → rows [..., D] in the compute dtype.

    The table is kept in the compute dtype, but for fp16: there in fp32, because a scaled gradient that must
    be divided again needs fp32's range.
    """

    def __init__(
        self, num_rows: int, width: int, compute_dtype: torch.dtype, device: torch.device | str | None
    ) -> None:
        super().__init__()
        self.compute_dtype = compute_dtype
        dtype = torch.float32 if compute_dtype is torch.float16 else compute_dtype
        self.weight = nn.Parameter(torch.empty(num_rows, width, device=device, dtype=dtype))

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """[B, T] integers → [B, T, D]."""
        rows_BTD: Tensor = _Lookup.apply(tokens_BT, self.weight)  # type: ignore[no-untyped-call]
        return rows_BTD.to(self.compute_dtype)


def bigram_rows(tokens_BT: Tensor, num_rows: int) -> Tensor:
    """Which row of a table stands for a token and the one before it: a hash, so that pairs may share a row.

    (36313·token) xor (27191·token before), modulo the rows but the last, which stands for the first token of
    a row of tokens (docs/reference/experiments.csv).

    Args:
        num_rows: at least 2.

    Returns:
        [B, T] int64.
    """
    tokens_BT = tokens_BT.long()
    pairs = torch.bitwise_xor(_TOKEN * tokens_BT[:, 1:], _BEFORE * tokens_BT[:, :-1])
    first = torch.full_like(tokens_BT[:, :1], num_rows - 1)
    return torch.cat((first, pairs % (num_rows - 1)), dim=1)


def rotary_tables(
    sequence_len: int, head_dim: int, base: float, dtype: torch.dtype, device: torch.device | str | None
) -> tuple[Tensor, Tensor]:
    """Cosines and sines [T, 1, K/2] of position × base^(−2i/K), computed in fp32, kept in ``dtype``."""
    exponent_k = torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim
    angle_Tk = torch.outer(torch.arange(sequence_len, dtype=torch.float32), base**-exponent_k)
    tables = (angle_Tk.cos(), angle_Tk.sin())
    cos, sin = (table.to(dtype).to(device)[:, None, :] for table in tables)
    return cos, sin


def rotate(x_BTHK: Tensor, cos_T1k: Tensor, sin_T1k: Tensor) -> Tensor:
    """Rotary embedding, halves convention: channel i turns together with channel i + K/2."""
    first, second = x_BTHK.chunk(2, dim=-1)
    return torch.cat((first * cos_T1k + second * sin_T1k, second * cos_T1k - first * sin_T1k), dim=-1)
