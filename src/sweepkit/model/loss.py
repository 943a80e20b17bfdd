"""Softcapped logits and cross-entropy, in fp32.

Shapes: B batch, T time, V vocabulary.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORED = -1  # the target of a position that is not scored


def softcap(logits: Tensor, cap: float) -> Tensor:
    """``cap · tanh(logits / cap)`` in fp32: logits stay within ±cap."""
    return cap * torch.tanh(logits.float() / cap)


def token_nats(logits_BTV: Tensor, targets_BT: Tensor, cap: float) -> Tensor:
    """Cross-entropy of softcapped logits for every token, nats, fp32 [B, T]; 0 where the target is ignored.

    The logits come in the compute dtype and uncapped: compiled, the fp32 values never exist in memory.
    """
    return F.cross_entropy(
        softcap(logits_BTV, cap).flatten(0, 1),
        targets_BT.flatten().long(),
        ignore_index=IGNORED,
        reduction="none",
    ).view(targets_BT.shape)


def mean_nats(nats_BT: Tensor, targets_BT: Tensor) -> Tensor:
    """Mean over the scored tokens, fp32 scalar; 0 when there are none."""
    return nats_BT.sum() / (targets_BT != IGNORED).sum().clamp(min=1)
