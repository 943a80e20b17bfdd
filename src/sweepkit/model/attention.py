"""Causal self-attention with rotary positions, QK norm, GQA and value embeddings: all but the kernel.

The kernel, with its window, is ``attend.py``'s; what stands here is what is compiled around it.

Shapes: B batch, T time, D width, H query heads, G key/value heads, K head size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sweepkit.config.schema import ModelConfig
from sweepkit.model.layers import Linear, norm, rotate
from sweepkit.plan.run_plan import RunPlan


class Attention(nn.Module):
    """One layer's attention; ``value_embedding`` adds the gate of that layer's value table."""

    def __init__(
        self, model: ModelConfig, plan: RunPlan, value_embedding: bool, device: torch.device | str | None
    ) -> None:
        super().__init__()
        self.num_heads, self.num_kv_heads, self.head_dim = plan.num_heads, plan.num_kv_heads, plan.head_dim
        self.qk_scale = model.qk_scale
        self.gate_channels, self.gate_scale = model.value_gate_channels, model.value_gate_scale
        query_width, kv_width = plan.num_heads * plan.head_dim, plan.num_kv_heads * plan.head_dim
        self.q = Linear(plan.width, query_width, device)
        self.k = Linear(plan.width, kv_width, device)
        self.v = Linear(plan.width, kv_width, device)
        self.out = Linear(query_width, plan.width, device)
        self.value_gate = (
            Linear(model.value_gate_channels, plan.num_kv_heads, device) if value_embedding else None
        )

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
