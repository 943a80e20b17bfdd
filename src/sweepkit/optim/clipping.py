"""The norm of a model's gradient, and clipping it to a largest norm (arXiv 1211.5063)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sweepkit.distributed.ranks import Ranks


@torch.no_grad()
def gradient_norm(owned: Sequence[nn.Parameter], ranks: Ranks, device: torch.device) -> Tensor:
    """L2 norm of all gradients of all ranks, fp32, 0-d; a tensor, so that nobody waits for the device.

    Args:
        owned: by this rank, whose gradients are the sums over ranks; every rank must call, and each
            parameter is owned once.
    """
    gradients = [p.grad for p in owned if p.grad is not None]
    norms = torch._foreach_norm(gradients, 2, dtype=torch.float32) if gradients else ()
    squares = torch.stack([torch.zeros((), device=device), *norms]).square().sum()
    return ranks.sum(squares).sqrt()


@torch.no_grad()
def clip(owned: Sequence[nn.Parameter], norm: Tensor, max_norm: float) -> None:
    """Scale gradients in place so that their ``norm`` is at most ``max_norm``; smaller ones stay."""
    torch.nn.utils.clip_grads_with_norm_(owned, max_norm, norm)
