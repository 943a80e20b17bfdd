"""Causal self-attention with rotary positions, QK norm, GQA and value embeddings: all but the kernel.

The kernel, with its window, is ``attend.py``'s; what stands here is what is compiled around it.

Shapes: B batch, T time, D width, H query heads, G key/value heads, K head size.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sweepkit.config.schema import ModelConfig
from sweepkit.model.layers import Linear, add_linears, norm, rotate
from sweepkit.plan.part_weights import Weight


class Attention(nn.Module):
    """One layer's attention; a layer with a value table has a ``value_gate`` among its weights."""

    q: Linear
    k: Linear
    v: Linear
    out: Linear
    value_gate: Linear | None

    def __init__(
        self, model: ModelConfig, weights: Mapping[str, Weight], device: torch.device | str | None
    ) -> None:
        super().__init__()
        self.head_dim, self.qk_scale = model.head_dim, model.qk_scale
        self.gate_channels, self.gate_scale = model.value_gate_channels, model.value_gate_scale
        add_linears(self, weights, device)
        if "value_gate.weight" not in weights:
            self.register_module("value_gate", None)

    def project(
        self, x_BTD: Tensor, ve_BTE: Tensor | None, cos_T1k: Tensor, sin_T1k: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries [B, H, T, K], keys and values [B, G, T, K] of the normed stream [B, T, D].

        ``ve_BTE`` [B, T, G·K] are this layer's value embeddings, if it has any.
        """
        batch, time, _ = x_BTD.shape
        q_BTHK = self.q(x_BTD).view(batch, time, -1, self.head_dim)
        k_BTGK = self.k(x_BTD).view(batch, time, -1, self.head_dim)
        v_BTGK = self.v(x_BTD).view(batch, time, -1, self.head_dim)
        if self.value_gate is not None:
            assert ve_BTE is not None
            gate_BTG = self.gate_scale * torch.sigmoid(self.value_gate(x_BTD[..., : self.gate_channels]))
            v_BTGK = v_BTGK + gate_BTG[..., None] * ve_BTE.view_as(v_BTGK)
        q_BTHK = norm(rotate(q_BTHK, cos_T1k, sin_T1k)) * self.qk_scale
        k_BTGK = norm(rotate(k_BTGK, cos_T1k, sin_T1k)) * self.qk_scale
        return q_BTHK.transpose(1, 2), k_BTGK.transpose(1, 2), v_BTGK.transpose(1, 2)

    def merge(self, y_BHTK: Tensor) -> Tensor:
        """The output projection: heads [B, H, T, K] → [B, T, D]."""
        y_BTD: Tensor = self.out(y_BHTK.transpose(1, 2).flatten(2))
        return y_BTD
