"""Rows in which several continuations share what stands before them, on the graphs that training compiled.

A row is a trunk and branches (``data/core_rows.py``). Compiled pieces see M rows of L tokens as the B rows of
T that they were compiled for, since they look at every token for itself. What does not is done here: rotary
positions are turned after the pieces, which are given none (a rotation leaves a norm as it is), the token
before is looked up, and attention sees a token's own branch and the trunk.

Shapes: B batch, T time, M rows, L tokens a row, N = B·T tokens, H query heads, G key/value heads, K head
size, k half of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sweepkit.model.attend import Attend, masked
from sweepkit.model.layers import bigram_rows, rotate

_MASK_ELEMENTS = 1 << 27  # of the rows that attend at once
_FILLING, _TRUNK = -1, 0


@dataclass(frozen=True)
class BranchedRows:
    """A batch on its device.

    Attributes:
        tokens_ML: int64.
        before_ML: int64, place in its row of the token before; -1 for none.
        position_ML: int64.
        branch_ML: int64, 0 for the trunk, -1 for what only fills.
    """

    tokens_ML: Tensor
    before_ML: Tensor
    position_ML: Tensor
    branch_ML: Tensor

    def spread(self, batch: int, time: int) -> Spread:
        """These rows over the tokens of compiled code, B × T, at least as many as there are."""
        return Spread(self, batch, time)

    @property
    def is_plain(self) -> bool:
        """Whether every row is one sequence from its first token on."""
        place_L = torch.arange(self.tokens_ML.size(1), device=self.tokens_ML.device)
        return bool(((self.branch_ML == _FILLING) | (self.position_ML == place_L)).all())


class Spread:
    """Rows as [B, T], and back."""

    def __init__(self, rows: BranchedRows, batch: int, time: int) -> None:
        self.rows, self.shape = rows, (batch, time)
        num, length = rows.tokens_ML.shape
        self.filled = num * length
        self._missing = batch * time - self.filled
        assert self._missing >= 0, "more tokens than compiled code takes"
        first_M1 = torch.arange(num, device=rows.tokens_ML.device)[:, None] * length
        self.has_before_N1 = self._flat(rows.before_ML >= 0)[:, None]
        self.before_N = self._flat(first_M1 + rows.before_ML.clamp(min=0))
        self.tokens_BT = self._flat(rows.tokens_ML).view(batch, time)

    def _flat(self, x_ML: Tensor) -> Tensor:
        return torch.cat((x_ML.flatten(), x_ML.new_zeros(self._missing)))

    def before(self, x_BTD: Tensor) -> Tensor:
        """What stands before every token; 0 where nothing does."""
        x_ND = x_BTD.flatten(0, 1)
        before_ND = torch.where(self.has_before_N1, x_ND[self.before_N], torch.zeros_like(x_ND))
        return before_ND.view_as(x_BTD)

    def bigram_rows(self, num_rows: int) -> Tensor:
        """``layers.bigram_rows`` of every token and the one before it, [B, T]."""
        tokens_N = self.tokens_BT.flatten()
        pairs_N2 = torch.stack((tokens_N[self.before_N], tokens_N), dim=1)
        rows_N = bigram_rows(pairs_N2, num_rows)[:, 1]
        rows_N = torch.where(self.has_before_N1[:, 0], rows_N, torch.full_like(rows_N, num_rows - 1))
        return rows_N.view(self.shape)

    def heads(self, x_BHTK: Tensor) -> Tensor:
        """[M, H, L, K] of [B, H, T, K]."""
        x_NHK = x_BHTK.transpose(1, 2).flatten(0, 1)[: self.filled]
        return x_NHK.view(*self.rows.tokens_ML.shape, *x_NHK.shape[1:]).transpose(1, 2)

    def joined(self, x_MHLK: Tensor) -> Tensor:
        """[B, H, T, K] of [M, H, L, K]."""
        x_NHK = x_MHLK.transpose(1, 2).flatten(0, 1)
        x_NHK = torch.cat((x_NHK, x_NHK.new_zeros(self._missing, *x_NHK.shape[1:])))
        return x_NHK.view(*self.shape, *x_NHK.shape[1:]).transpose(1, 2)


class BranchedAttend:
    """Stands for a layer's ``Attend`` over rows with branches."""

    def __init__(self, attend: Attend, spread: Spread, cos_T1k: Tensor, sin_T1k: Tensor) -> None:
        """``cos_T1k`` and ``sin_T1k`` are the model's tables."""
        rows = spread.rows
        self._attend, self._spread = attend, spread
        self._cos_ML1k, self._sin_ML1k = (table[rows.position_ML] for table in (cos_T1k, sin_T1k))
        self._see_M1LL: Tensor | None = None if rows.is_plain else _visible(rows, attend.window)

    def __call__(self, q_BHTK: Tensor, k_BGTK: Tensor, v_BGTK: Tensor) -> Tensor:
        """[B, H, T, K], of queries and keys that have no positions yet."""
        q_MHLK, k_MGLK = (self._placed(self._spread.heads(x)) for x in (q_BHTK, k_BGTK))
        v_MGLK = self._spread.heads(v_BGTK)
        if self._see_M1LL is None:
            return self._spread.joined(self._attend(q_MHLK, k_MGLK, v_MGLK))
        step = max(1, _MASK_ELEMENTS // q_MHLK.size(2) ** 2)
        split = (torch.split(x, step) for x in (q_MHLK, k_MGLK, v_MGLK, self._see_M1LL))
        return self._spread.joined(torch.cat([masked(*some) for some in zip(*split, strict=True)]))

    def _placed(self, x_MHLK: Tensor) -> Tensor:
        """Turned to where its token stands; in fp32, for it has been rounded already."""
        x_MLHK = x_MHLK.transpose(1, 2)
        turned_MLHK = rotate(x_MLHK.float(), self._cos_ML1k.float(), self._sin_ML1k.float())
        return turned_MLHK.to(x_MHLK.dtype).transpose(1, 2)


def _visible(rows: BranchedRows, window: int) -> Tensor:
    """[M, 1, L, L] bool: which keys a query sees."""
    branch_ML, position_ML = rows.branch_ML, rows.position_ML
    place_L = torch.arange(branch_ML.size(1), device=branch_ML.device)
    is_earlier_LL = place_L[:, None] >= place_L[None, :]
    distance_MLL = position_ML[:, :, None] - position_ML[:, None, :]
    is_own_MLL = branch_ML[:, :, None] == branch_ML[:, None, :]
    is_trunk_M1L = (branch_ML == _TRUNK)[:, None, :]
    see_MLL = is_earlier_LL & (is_own_MLL | is_trunk_M1L) & (distance_MLL <= window)
    return (see_MLL | torch.eye(place_L.numel(), dtype=torch.bool, device=place_L.device))[:, None]
