"""Muon for all matrices of one shape, stacked: orthogonalised momentum with variance reduction.

One step on a stack [N, m, n], in order: momentum (lerp), Nesterov look-ahead, row equilibration
(arXiv 2603.28254), division by 1.01·‖X‖ + 1e-6, Polar Express (arXiv 2505.16932), Frobenius reset (arXiv
2602.21545), NorMuon variance reduction (arXiv 2510.05491), cautious weight decay, update. LR and decay
carry the factor √max(1, m/n). Every division is clamped: at step 0 many gradients are exactly zero, and
a zero gradient must give a zero update, never a NaN.

What changes from step to step comes in as 0-d tensors, so that nothing here ever recompiles.

Shapes: N matrices, m rows, n columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Polar Express (arXiv 2505.16932), 5 iterations, safety 2e-2, cushion 2: X ← aX + (bA + cA²)X, A = XXᵀ.
POLAR_EXPRESS = (
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
)
_NORM_SAFETY, _NORM_EPS = 1.01, 1e-6
_ROW_NORM_MIN = 1e-6
_FROBENIUS_MIN = 1e-6
_SECOND_MOMENT_MIN = 1e-10


@dataclass(frozen=True)
class MuonRule:
    """What is fixed for a run and traced into the compiled step."""

    num_iterations: int
    row_equilibration: bool
    frobenius_reset: bool
    cautious_weight_decay: bool
    iteration_dtype: torch.dtype


def muon_step(
    weight_Nmn: Tensor,
    gradient_Nmn: Tensor,
    momentum_Nmn: Tensor,
    second_moment: Tensor,
    lr: Tensor,
    weight_decay: Tensor,
    momentum: Tensor,
    beta2: Tensor,
    rule: MuonRule,
) -> None:
    """One step, in place on weight, momentum and second moment, all fp32.

    Args:
        second_moment: [N, m, 1] when m >= n, else [N, 1, n]: one value per index of the longer axis.
        lr: of the group, schedule included; 0-d, like the three that follow.
    """
    rows, columns = weight_Nmn.shape[-2:]
    lr = lr * max(1.0, rows / columns) ** 0.5
    momentum_Nmn.lerp_(gradient_Nmn, 1 - momentum)
    update_Nmn = gradient_Nmn.lerp(momentum_Nmn, momentum)
    update_Nmn = (update_Nmn * input_scale(update_Nmn, rule.row_equilibration)).to(rule.iteration_dtype)
    update_Nmn = polar_express(update_Nmn, rule.num_iterations)
    update_Nmn = update_Nmn * (lr * output_scale(update_Nmn, second_moment, beta2, rule.frobenius_reset))
    if rule.cautious_weight_decay:
        weight_Nmn.mul_(1 - lr * weight_decay * (update_Nmn * weight_Nmn >= 0))
    else:
        weight_Nmn.mul_(1 - lr * weight_decay)
    weight_Nmn.sub_(update_Nmn)


def input_scale(x_Nmn: Tensor, row_equilibration: bool) -> Tensor:
    """What every row is multiplied by before Polar Express, fp32 [N, m, 1].

    Row equilibration brings each row to the root-mean-square row norm of its matrix; the division by
    1.01·‖X‖ + 1e-6 brings all singular values below 1. Both follow from the row norms alone.
    """
    row_norm_Nm1: Tensor = torch.linalg.vector_norm(x_Nmn, dim=-1, keepdim=True)
    scale_Nm1 = torch.ones_like(row_norm_Nm1)
    if row_equilibration:
        target_N11 = row_norm_Nm1.square().mean(dim=-2, keepdim=True).sqrt()
        scale_Nm1 = target_N11 / row_norm_Nm1.clamp(min=_ROW_NORM_MIN)
    norm_N11: Tensor = torch.linalg.vector_norm(row_norm_Nm1 * scale_Nm1, dim=-2, keepdim=True)
    return scale_Nm1 / (_NORM_SAFETY * norm_N11 + _NORM_EPS)


def polar_express(x_Nmn: Tensor, num_iterations: int) -> Tensor:
    """Approximate the orthogonal polar factor of every matrix, in the dtype of ``x_Nmn``.

    The input's singular values must lie in [0, 1]; the output's lie near 1. The Gram matrix is taken on
    the smaller side.
    """
    tall = x_Nmn.size(-2) > x_Nmn.size(-1)
    for a, b, c in POLAR_EXPRESS[:num_iterations]:
        gram = x_Nmn.mT @ x_Nmn if tall else x_Nmn @ x_Nmn.mT
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        left, right = (x_Nmn, polynomial) if tall else (polynomial, x_Nmn)
        x_Nmn = torch.baddbmm(x_Nmn, left, right, beta=a)
    return x_Nmn


def output_scale(x_Nmn: Tensor, second_moment: Tensor, beta2: Tensor, frobenius_reset: bool) -> Tensor:
    """What is multiplied onto the orthogonalised update, fp32, shaped like ``second_moment``.

    The Frobenius reset sets the norm to √min(m, n). NorMuon then divides by the root of the running mean
    square along the longer axis (``second_moment``, updated in place) and restores the norm. Both follow from
    the mean squares over the shorter axis.
    """
    axis = -1 if x_Nmn.size(-2) >= x_Nmn.size(-1) else -2
    size = x_Nmn.size(axis)
    norm: Tensor = torch.linalg.vector_norm(x_Nmn, dim=axis, keepdim=True, dtype=torch.float32)
    reset_N11 = torch.ones_like(norm[:, :1, :1])
    if frobenius_reset:
        frobenius_N11: Tensor = torch.linalg.vector_norm(norm, dim=(-2, -1), keepdim=True)
        reset_N11 = min(x_Nmn.shape[-2:]) ** 0.5 / frobenius_N11.clamp(min=_FROBENIUS_MIN)
    mean_square = (norm * reset_N11).square() / size
    second_moment.lerp_(mean_square, 1 - beta2)
    scale = second_moment.clamp(min=_SECOND_MOMENT_MIN).rsqrt()
    before_N11 = (size * mean_square).sum(dim=(-2, -1), keepdim=True).sqrt()
    after_N11 = (size * mean_square * scale.square()).sum(dim=(-2, -1), keepdim=True).sqrt()
    return reset_N11 * scale * (before_N11 / after_N11.clamp(min=_SECOND_MOMENT_MIN))
