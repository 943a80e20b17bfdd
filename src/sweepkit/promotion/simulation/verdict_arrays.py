"""One rung's verdicts in W worlds at once, where no run is lost and all seeds are shared.

The same rule as ``effects``, ``unequal``, ``suspicion``, ``multiplicity`` and ``judging`` in closed form, for
complete blocks: a hundred times as fast, which is what thousands of worlds take. A test holds it against the
code that judges real runs, world by world. Axes: W worlds, V variants, N seeds, M runs of the reference a
seed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

from sweepkit.analysis import dunnett, multiplicity, noise, suspicion, unequal
from sweepkit.analysis.unequal import Variance
from sweepkit.promotion import doubts

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


def judge(
    reference_WMN: Array, loss_WVN: Array, alpha: float, *, is_trusting: bool = False
) -> tuple[Mask, Mask]:
    """Who is promoted [W, V] without a smallest effect, and whose verdict waits [W].

    ``is_trusting``: by the rule to compare with, which takes noise as equal but for variants that are too
    noisy for the pool, suspects no run of the reference, and promotes on two seeds.
    """
    num_worlds, m, n = reference_WMN.shape
    promoted_WV = np.zeros(loss_WVN.shape[:2], dtype=bool)
    kept_WV = _kept(reference_WMN, loss_WVN)
    waits_W = np.zeros(num_worlds, dtype=bool)
    if not is_trusting:
        waits_W = _waits(reference_WMN, loss_WVN, kept_WV)
        if n < doubts.MIN_SEEDS:
            return promoted_WV, waits_W
    gain_WV = reference_WMN.mean(axis=(1, 2))[:, None] - loss_WVN.mean(axis=2)
    everybody_W = np.zeros(num_worlds, dtype=bool) if is_trusting else _differ(loss_WVN)
    sse_W, df_W = _residual(reference_WMN, loss_WVN, kept_WV)
    theirs_W, theirs_df_W, mine_W, mine_df = _apart(reference_WMN, loss_WVN, kept_WV)
    ratio_W = mine_W / theirs_W
    noisier_W = special.fdtrc(mine_df, theirs_df_W, ratio_W) < unequal.REFERENCE_LEVEL
    noisier_W &= not is_trusting
    for world in range(num_worlds):
        if waits_W[world]:
            continue
        kept_V = kept_WV[world]
        if everybody_W[world]:
            p_V = _moderated_p(reference_WMN[world], loss_WVN[world], gain_WV[world])
            promoted_WV[world] = np.asarray(multiplicity.holm(list(p_V))) <= alpha
            continue
        pooled = Variance(sse_W[world] / df_W[world], float(df_W[world]))
        error, rho = Variance(pooled.value * (1.0 + 1.0 / m) / n, pooled.df), 1.0 / (1.0 + m)
        if noisier_W[world]:
            theirs = Variance(theirs_W[world], float(theirs_df_W[world]))
            share = _share_of_theirs(m, n, int(kept_V.sum()))
            alone = (mine_W[world] - share * theirs.value) / (1.0 - share)
            prior = unequal.PRIOR_DF
            mine = Variance(
                (prior * theirs.value + mine_df * alone) / (prior + mine_df), float(prior + mine_df)
            )
            parts = (theirs.value / n, theirs.df), (mine.value / (m * n), mine.df)
            error, rho = _sum(*parts), parts[1][0] / (parts[0][0] + parts[1][0])
        t_V = gain_WV[world] / np.sqrt(error.value)
        p_V = special.stdtr(error.df, -t_V)
        if kept_V.all():
            promoted_WV[world] = _dunnett(p_V, error.df, rho, alpha)
            continue
        for place in np.flatnonzero(~kept_V):
            own_N = reference_WMN[world].mean(axis=0) - loss_WVN[world, place]
            p_V[place] = special.stdtr(n - 1, -own_N.mean() / (own_N.std(ddof=1) / np.sqrt(n)))
        promoted_WV[world] = np.asarray(multiplicity.holm(list(p_V))) <= alpha
    return promoted_WV, waits_W


def _residual(reference_WMN: Array, loss_WVN: Array, kept_WV: Mask) -> tuple[Array, Array]:
    """Sum of squares and degrees of freedom of the two-way fit of the kept variants and the reference."""
    residual_WQN = _residuals(reference_WMN, loss_WVN, kept_WV)
    _, m, n = reference_WMN.shape
    df_W = (m + kept_WV.sum(axis=1)) * n - (kept_WV.sum(axis=1) + 1) - (n - 1)
    return (residual_WQN**2).sum(axis=(1, 2)), df_W.astype(np.float64)


def _residuals(reference_WMN: Array, loss_WVN: Array, kept_WV: Mask) -> Array:
    """Q runs a seed, the reference's first; 0 where nobody is kept."""
    num_worlds, m, _ = reference_WMN.shape
    centred_WQN = np.concatenate(
        [
            reference_WMN - reference_WMN.mean(axis=(1, 2), keepdims=True),
            loss_WVN - loss_WVN.mean(axis=2, keepdims=True),
        ],
        axis=1,
    )
    kept_WQ1 = np.concatenate([np.ones((num_worlds, m), dtype=bool), kept_WV], axis=1)[:, :, None]
    seed_W1N = (centred_WQN * kept_WQ1).sum(axis=1, keepdims=True) / kept_WQ1.sum(axis=1, keepdims=True)
    return np.asarray((centred_WQN - seed_W1N) * kept_WQ1, dtype=np.float64)


def _kept(reference_WMN: Array, loss_WVN: Array) -> Mask:
    """Without the variants that are too noisy for the pool, as ``noise.pool`` leaves them out one by one."""
    n = reference_WMN.shape[2]
    kept_WV: Mask = np.ones(loss_WVN.shape[:2], dtype=bool)
    while True:
        sse_W, _ = _residual(reference_WMN, loss_WVN, kept_WV)
        p_WV = np.ones(kept_WV.shape)
        for place in range(kept_WV.shape[1]):
            rest_WV = kept_WV.copy()
            rest_WV[:, place] = False
            rest_W, df_W = _residual(reference_WMN, loss_WVN, rest_WV)
            ratio_W = np.maximum(sse_W - rest_W, 0.0) / (n - 1) / (rest_W / np.maximum(df_W, 1.0))
            counts_W = kept_WV[:, place] & (kept_WV.sum(axis=1) > 1)
            p_WV[:, place] = np.where(counts_W, special.fdtrc(n - 1, np.maximum(df_W, 1.0), ratio_W), 1.0)
        worst_W = p_WV.argmin(axis=1)
        out_W = p_WV.min(axis=1) <= noise.OUTLIER_LEVEL / np.maximum(kept_WV.sum(axis=1), 1)
        if not out_W.any():
            return kept_WV
        kept_WV[np.flatnonzero(out_W), worst_W[out_W]] = False


def _waits(reference_WMN: Array, loss_WVN: Array, kept_WV: Mask) -> Mask:
    """Whether a run of the reference is out of line, by its deleted studentised residual."""
    num_worlds, m, n = reference_WMN.shape
    sse_W, df_W = _residual(reference_WMN, loss_WVN, kept_WV)
    residual_WR = _residuals(reference_WMN, loss_WVN, kept_WV)[:, :m].reshape(num_worlds, -1)
    leverage_W = 1.0 / (m * n) + (1.0 - 1.0 / n) / (m + kept_WV.sum(axis=1))
    square_W = (residual_WR**2).max(axis=1) / (1.0 - leverage_W)
    t_W = np.sqrt(square_W / (np.maximum(sse_W - square_W, 1e-12 * sse_W) / (df_W - 1.0)))
    return np.asarray(2.0 * special.stdtr(df_W - 1.0, -t_W) * m * n < suspicion.LEVEL)


def _apart(reference_WMN: Array, loss_WVN: Array, kept_WV: Mask) -> tuple[Array, Array, Array, int]:
    """Variance and df of the kept variants among themselves, and what the reference adds to that."""
    _, m, n = reference_WMN.shape
    sse_W, _ = _residual(reference_WMN, loss_WVN, kept_WV)
    own_WVN = loss_WVN - loss_WVN.mean(axis=2, keepdims=True)
    kept_WV1 = kept_WV[:, :, None]
    seed_W1N = (own_WVN * kept_WV1).sum(axis=1, keepdims=True) / kept_WV1.sum(axis=1, keepdims=True)
    rest_W = (((own_WVN - seed_W1N) * kept_WV1) ** 2).sum(axis=(1, 2))
    df_W = np.maximum((kept_WV.sum(axis=1) - 1.0) * (n - 1), 1.0)
    mine_df = m * n - 1
    return rest_W / df_W, df_W, (sse_W - rest_W) / mine_df, mine_df


def _share_of_theirs(m: int, n: int, kept: int) -> float:
    return (n - 1) * m / (m + kept) / (m * n - 1)


def _own_WV(loss_WVN: Array) -> Array:
    """Each variant's own residual variance among the variants."""
    v, n = loss_WVN.shape[1:]
    own_WVN = loss_WVN - loss_WVN.mean(axis=2, keepdims=True)
    own_WVN = own_WVN - own_WVN.mean(axis=1, keepdims=True)
    return np.asarray((own_WVN**2).sum(axis=2) * v / (v - 1) / (n - 1), dtype=np.float64)


def _differ(loss_WVN: Array) -> Mask:
    """Whether the variants are not equally noisy."""
    df = loss_WVN.shape[2] - 1.0
    return np.asarray(
        [
            unequal.bartlett_p([Variance(float(value), df) for value in own_V]) < unequal.VARIANTS_LEVEL
            for own_V in _own_WV(loss_WVN)
        ]
    )


def _moderated_p(reference_MN: Array, loss_VN: Array, gain_V: Array) -> Array:
    """P of each variant where nobody's noise is like another's."""
    m, n = reference_MN.shape
    everybody_V = np.ones((1, len(loss_VN)), dtype=bool)
    _, _, mine_W, mine_df = _apart(reference_MN[None], loss_VN[None], everybody_V)
    own = {str(place): Variance(float(v), n - 1.0) for place, v in enumerate(_own_WV(loss_VN[None])[0])}
    found = unequal.moderated(own | {"reference": Variance(float(mine_W[0]), float(mine_df))}, "reference")
    base = found["reference"]
    errors = [
        _sum((found[str(place)].value / n, found[str(place)].df), (base.value / (m * n), base.df))
        for place in range(len(gain_V))
    ]
    return np.asarray(
        [
            special.stdtr(error.df, -gain / np.sqrt(error.value))
            for gain, error in zip(gain_V, errors, strict=True)
        ]
    )


def _sum(*parts: tuple[float, float]) -> Variance:
    """Of variances with their degrees of freedom (Satterthwaite)."""
    total = sum(value for value, _ in parts)
    return Variance(float(total), float(total**2 / sum(value**2 / df for value, df in parts)))


def _dunnett(p_V: Array, df: float, rho: float, alpha: float) -> Mask:
    """Step-down; stops at the first that is not shown."""
    shown_V = np.zeros(len(p_V), dtype=bool)
    for rank, place in enumerate(np.argsort(p_V)):
        if p_V[place] > alpha:
            break
        t, left = -special.stdtrit(df, p_V[place]), len(p_V) - rank
        if float(df).is_integer():  # few different ones: their critical values are kept
            is_shown = t >= dunnett.critical(alpha, left, df, rho)
        else:
            is_shown = dunnett.upper_tail(t, left, df, rho) <= alpha
        if not is_shown:
            break
        shown_V[place] = True
    return shown_V
