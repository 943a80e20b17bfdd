"""The feed-forward half of a block: D → mlp_ratio·D, ReLU², back to D."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sweepkit.model.layers import Linear


class MLP(nn.Module):
    """ReLU² feed-forward layer without biases."""

    def __init__(self, width: int, mlp_ratio: int, device: torch.device | str | None) -> None:
        super().__init__()
        self.up = Linear(width, mlp_ratio * width, device)
        self.down = Linear(mlp_ratio * width, width, device)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """[B, T, D] → [B, T, D]."""
        y_BTD: Tensor = self.down(F.relu(self.up(x_BTD)).square())
        return y_BTD
