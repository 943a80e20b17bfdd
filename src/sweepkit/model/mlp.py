"""The feed-forward half of a block: D → hidden, something that is not linear, back to D.

Shapes: B batch, T time, D width, F hidden width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sweepkit.config.choices import MlpKind
from sweepkit.model.layers import Linear, add_linears
from sweepkit.plan.part_weights import Weight
from sweepkit.plan.parts import MLPS

_LEAK = 0.5  # as published (docs/reference/experiments.csv)


def _relu2(up_BTF: Tensor) -> Tensor:
    return F.relu(up_BTF).square()


def _swiglu(gate_BTF: Tensor, up_BTF: Tensor) -> Tensor:
    """arXiv 2002.05202."""
    return F.silu(gate_BTF) * up_BTF


def _geglu(gate_BTF: Tensor, up_BTF: Tensor) -> Tensor:
    """arXiv 2002.05202."""
    return F.gelu(gate_BTF) * up_BTF


def _leaky_relu2(up_BTF: Tensor) -> Tensor:
    return F.leaky_relu(up_BTF, _LEAK).square()


#: Kind → the hidden layer of what its input matrices give, one argument each.
ACTIVATIONS: dict[MlpKind, Callable[..., Tensor]] = {
    MlpKind.relu2: _relu2,
    MlpKind.swiglu: _swiglu,
    MlpKind.geglu: _geglu,
    MlpKind.gelu: F.gelu,
    MlpKind.leaky_relu2: _leaky_relu2,
}


class MLP(nn.Module):
    """Feed-forward layer without biases."""

    down: Linear

    def __init__(
        self, kind: MlpKind, weights: Mapping[str, Weight], device: torch.device | str | None
    ) -> None:
        super().__init__()
        add_linears(self, weights, device)
        self.inputs, self.activation = MLPS[kind].inputs, ACTIVATIONS[kind]

    def forward(self, x_BTD: Tensor) -> Tensor:
        """[B, T, D] → [B, T, D]."""
        hidden_BTF = self.activation(*(getattr(self, name)(x_BTD) for name in self.inputs))
        y_BTD: Tensor = self.down(hidden_BTF)
        return y_BTD
