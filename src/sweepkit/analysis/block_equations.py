"""The normal equations of a two-way model's block effects, solved on its smaller side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_NOTHING = 1e-9  # relative; a smaller eigenvalue is none

Array = NDArray[np.float64]


@dataclass(frozen=True)
class BlockEquations:
    """The normal equations of the block effects: gram = diag(d) - Sᵀ N S, and a generalised inverse of it.

    With fewer variants than blocks the inverse is that of the variants' equations carried over (Woodbury),
    and else a pseudo-inverse; contrasts that exist come out alike.
    """

    runs_b: Array  # d, in each block
    share_vb: Array  # S
    runs_v: Array  # N
    diagonal_b: Array
    left_bk: Array
    core_kk: Array
    rank: int

    @classmethod
    def of(cls, shares: Sequence[Array], runs: Sequence[int]) -> BlockEquations:
        """Of variants whose runs are that many, with these shares [b] of them in the blocks."""
        share_vb, runs_v = np.stack(shares), np.asarray(runs, dtype=np.float64)
        weighted_vb = share_vb * runs_v[:, None]
        runs_b = weighted_vb.sum(axis=0)
        there_b = runs_b > 0.0
        per_run_b = np.divide(1.0, runs_b, out=np.zeros_like(runs_b), where=there_b)
        if len(runs_v) < len(runs_b):
            left_bk = per_run_b[:, None] * weighted_vb.T
            core_kk, rank = inverted(np.diag(runs_v) - weighted_vb @ left_bk)
            rank += int(there_b.sum()) - len(runs_v)
            return cls(runs_b, share_vb, runs_v, per_run_b, left_bk, core_kk, rank)
        gram_bb = np.diag(runs_b) - weighted_vb.T @ share_vb
        core_kk, rank = inverted(gram_bb)
        return cls(runs_b, share_vb, runs_v, np.zeros_like(runs_b), np.eye(len(runs_b)), core_kk, rank)

    def gram(self, x_b: Array) -> Array:
        """The gram times ``x``."""
        return np.asarray(self.runs_b * x_b - (self.runs_v * (self.share_vb @ x_b)) @ self.share_vb)

    def inverse(self, x_nb: Array) -> Array:
        """The inverse times each row of ``x``."""
        return np.asarray(self.diagonal_b * x_nb + ((x_nb @ self.left_bk) @ self.core_kk) @ self.left_bk.T)


def inverted(gram_kk: Array) -> tuple[Array, int]:
    """Pseudo-inverse and rank of a symmetric matrix without negative eigenvalues."""
    if not gram_kk.size:
        return gram_kk, 0
    value_k, vector_kk = np.linalg.eigh(gram_kk)
    is_there_k = value_k > _NOTHING * max(float(value_k[-1]), 0.0)
    kept_kj = vector_kk[:, is_there_k]
    return (kept_kj / value_k[is_there_k]) @ kept_kj.T, int(is_there_k.sum())
