"""One transformer block, residual mixing included, in two pieces around the attention kernel.

``x = resid_λ·x + x0_λ·x0 (+ λ·bigrams)``, then attention, then the MLP, each on the normed stream. The pieces
are what is compiled; the kernel between them is opaque to the compiler anyway. The layer's number appears
nowhere in here and what differs between layers comes in as tensors, so a model of any depth compiles three
graphs: before (with and without value embeddings) and after. Whole blocks take 1.5 times as long to compile
(they differ in their windows too) and run no faster.

Shapes: B batch, T time, D width, E key/value width, k half of the head size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sweepkit.config.schema import ModelConfig
from sweepkit.model.attend import Attend
from sweepkit.model.attention import Attention
from sweepkit.model.experts import Experts
from sweepkit.model.layers import norm
from sweepkit.model.mlp import MLP
from sweepkit.plan.part_weights import Weight, within


class Block(nn.Module):
    """Residual mix, attention, MLP."""

    def __init__(
        self, model: ModelConfig, weights: Mapping[str, Weight], device: torch.device | str | None
    ) -> None:
        super().__init__()
        self.attention = Attention(model, within(weights, "attention."), device)
        of_mlp, has_experts = within(weights, "mlp."), model.experts.num_routed > 0
        self.mlp = Experts(model, of_mlp, device) if has_experts else MLP(model.mlp.kind, of_mlp, device)

    def compile_pieces(self, **options: Any) -> None:
        """Compile ``before`` and ``after``; ``options`` go to ``torch.compile``."""
        self.before = torch.compile(self.before, **options)  # type: ignore[method-assign]
        self.after = torch.compile(self.after, **options)  # type: ignore[method-assign]

    def forward(
        self,
        x_BTD: Tensor,
        x0_BTD: Tensor,
        resid_lambda: Tensor,
        x0_lambda: Tensor,
        ve_BTE: Tensor | None,
        cos_T1k: Tensor,
        sin_T1k: Tensor,
        attend: Attend,
        bigrams: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """[B, T, D] → [B, T, D]; the λs are fp32 scalars (0-d), multiplied in fp32.

        Also the loss of an uneven load of experts, where there is one.

        ``bigrams``: a λ and what it is added by, [B, T, D].
        """
        x_BTD, q_BHTK, k_BGTK, v_BGTK = self.before(
            x_BTD, x0_BTD, resid_lambda, x0_lambda, ve_BTE, cos_T1k, sin_T1k, bigrams
        )
        return self.after(x_BTD, attend(q_BHTK, k_BGTK, v_BGTK))

    def before(
        self,
        x_BTD: Tensor,
        x0_BTD: Tensor,
        resid_lambda: Tensor,
        x0_lambda: Tensor,
        ve_BTE: Tensor | None,
        cos_T1k: Tensor,
        sin_T1k: Tensor,
        bigrams: tuple[Tensor, Tensor] | None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """All up to the attention kernel: the mixed stream, queries, keys and values."""
        x_BTD = resid_lambda * x_BTD + x0_lambda * x0_BTD
        if bigrams is not None:
            x_BTD = x_BTD + bigrams[0] * bigrams[1]
        return x_BTD, *self.attention.project(norm(x_BTD), ve_BTE, cos_T1k, sin_T1k)

    def after(self, x_BTD: Tensor, y_BHTK: Tensor) -> tuple[Tensor, Tensor | None]:
        """All that follows the attention kernel: output projection and MLP, added to the stream."""
        x_BTD = x_BTD + self.attention.merge(y_BHTK)
        if isinstance(self.mlp, MLP):
            return x_BTD + self.mlp(norm(x_BTD)), None
        y_BTD, unevenness = self.mlp(norm(x_BTD))
        return x_BTD + y_BTD, unevenness
