"""The feed-forward half of a block: D → hidden, ReLU², back to D."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sweepkit.model.layers import Linear, add_linears
from sweepkit.plan.weights import Weight


class MLP(nn.Module):
    """ReLU² feed-forward layer without biases."""

    up: Linear
    down: Linear

    def __init__(self, weights: Mapping[str, Weight], device: torch.device | str | None) -> None:
        super().__init__()
        add_linears(self, weights, device)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """[B, T, D] → [B, T, D]."""
        y_BTD: Tensor = self.down(F.relu(self.up(x_BTD)).square())
        return y_BTD
