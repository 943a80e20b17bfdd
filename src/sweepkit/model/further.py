"""Multi-token prediction: the tokens after the next are predicted too, while training (arXiv 2404.19737).

By the head of the next token, whose logits then serve several targets, or by a head of each one's own.

Shapes: B batch, T time, K tokens that a position predicts, the next one first.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sweepkit.model.loss import IGNORED


def targets(next_BT: Tensor, num_further: int) -> Tensor:
    """[B, T, 1 + num_further] targets; those behind the end of a row are not scored."""
    columns = [next_BT]
    for ahead in range(1, num_further + 1):
        missing = next_BT.new_full((next_BT.size(0), min(ahead, next_BT.size(1))), IGNORED)
        columns.append(torch.cat((next_BT[:, ahead:], missing), dim=1))
    return torch.stack(columns, dim=-1)
