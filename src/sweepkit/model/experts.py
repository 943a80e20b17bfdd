"""Mixture of experts: every token passes the shared experts and the few routed ones that it chooses.

Scores are sigmoids of a router in fp32; the experts with the highest scores are chosen, and weigh by their
scores' shares (arXiv 2412.19437). No token is dropped: rows are sorted by expert, and each expert multiplies
as many as chose it. The load is kept even by a bias that is added to scores for the choice alone and moves a
little after every step (arXiv 2408.15664), or by a loss (arXiv 2101.03961), or not at all.

Shapes: B batch, T time, D width, F hidden width, N tokens, E routed experts, K chosen ones, M rows: N · K.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sweepkit.config.choices import ExpertBalance
from sweepkit.config.schema import ModelConfig
from sweepkit.model.layers import Linear
from sweepkit.model.mlp import ACTIVATIONS, MLP
from sweepkit.plan.part_weights import Weight, within
from sweepkit.plan.parts import MLPS


class Experts(nn.Module):
    """Routed and shared experts in place of an MLP.

    Attributes:
        bias: [E] fp32, added to scores for the choice; part of what is trained, and saved with it.
        load: [E] fp32, how often each expert was chosen since it was last set to 0.
    """

    def __init__(
        self, model: ModelConfig, weights: Mapping[str, Weight], device: torch.device | str | None
    ) -> None:
        super().__init__()
        config, kind = model.experts, model.mlp.kind
        self.num_routed, self.num_chosen = config.num_routed, config.num_chosen
        self.has_loss = config.balance is ExpertBalance.loss
        self.inputs, self.activation = MLPS[kind].inputs, ACTIVATIONS[kind]
        for name in (*self.inputs, "down"):
            stack = torch.empty(weights[name].shape, device=device, dtype=torch.float32)
            self.register_parameter(name, nn.Parameter(stack))
        self.shared = MLP(kind, within(weights, "shared."), device) if config.num_shared else None
        rows, columns = weights["router.weight"].shape
        self.router = Linear(columns, rows, device)
        self.bias: Tensor
        self.load: Tensor
        self.register_buffer("bias", torch.zeros(rows, device=device))
        self.register_buffer("load", torch.zeros(rows, device=device), persistent=False)

    def forward(self, x_BTD: Tensor) -> tuple[Tensor, Tensor | None]:
        """[B, T, D] → [B, T, D], and the loss of an uneven load: 1 where it is even, or None."""
        x_ND = x_BTD.flatten(0, 1)
        score_NE = torch.sigmoid(self.router(x_ND.float()))
        chosen_NK = torch.topk(score_NE.detach() + self.bias, self.num_chosen, dim=-1).indices
        weight_NK = score_NE.gather(1, chosen_NK)
        weight_NK = weight_NK / weight_NK.sum(dim=-1, keepdim=True)
        expert_M = chosen_NK.flatten()
        load_E = (expert_M[:, None] == torch.arange(self.num_routed, device=expert_M.device)).sum(dim=0)
        with torch.no_grad():
            self.load.add_(load_E)
        order_M = expert_M.argsort(stable=True)
        ends_E = load_E.cumsum(0).to(torch.int32)
        rows_MD = x_ND[:, None].expand(-1, self.num_chosen, -1).flatten(0, 1)[order_M]
        hidden_MF = self.activation(*(self._product(rows_MD, name, ends_E) for name in self.inputs))
        y_NKD = self._product(hidden_MF, "down", ends_E)[order_M.argsort()].view(*chosen_NK.shape, -1)
        y_BTD = (y_NKD * weight_NK[..., None]).sum(dim=1).to(x_BTD.dtype).view_as(x_BTD)
        if self.shared is not None:
            y_BTD = y_BTD + self.shared(x_BTD)
        return y_BTD, self._unevenness(score_NE, load_E) if self.has_loss else None

    def _product(self, rows_MI: Tensor, name: str, ends_E: Tensor) -> Tensor:
        weight_EOI: Tensor = getattr(self, name)
        return grouped_product(rows_MI, weight_EOI.to(rows_MI.dtype).mT, ends_E)

    def _unevenness(self, score_NE: Tensor, load_E: Tensor) -> Tensor:
        """Experts × the sum over them of their share of choices × their mean share of scores."""
        share_E = load_E / load_E.sum()
        mean_E = (score_NE / score_NE.sum(dim=-1, keepdim=True)).mean(dim=0)
        return self.num_routed * (share_E * mean_E).sum()

    @torch.no_grad()
    def rebalance(self, load_E: Tensor, step: float) -> None:
        """Move the bias of experts with less than the mean load up, of others down."""
        self.bias.add_(step * torch.sign(load_E.mean() - load_E))


def grouped_product(rows_MI: Tensor, weight_EIO: Tensor, ends_E: Tensor) -> Tensor:
    """[M, O]: rows up to the first end times the first matrix, those up to the second times the second, ...

    Args:
        ends_E: int32, ascending; the last is M.
    """
    if rows_MI.is_cuda and rows_MI.dtype is torch.bfloat16:
        return torch._grouped_mm(rows_MI, weight_EIO, offs=ends_E)
    product: Tensor = _looped(rows_MI, weight_EIO, ends_E)
    return product


def _slices(ends_E: Tensor) -> list[slice]:
    return [slice(start, end) for start, end in itertools.pairwise([0, *ends_E.tolist()])]


@torch.library.custom_op("sweepkit::grouped_product", mutates_args=())
def _looped(rows_MI: Tensor, weight_EIO: Tensor, ends_E: Tensor) -> Tensor:
    """An operator of its own, since how many rows an expert has is no shape that compiled code could know."""
    parts = zip(_slices(ends_E), weight_EIO.unbind(), strict=True)
    return torch.cat([rows_MI[rows] @ matrix_IO for rows, matrix_IO in parts])


@_looped.register_fake
def _(rows_MI: Tensor, weight_EIO: Tensor, ends_E: Tensor) -> Tensor:
    return rows_MI.new_empty(rows_MI.size(0), weight_EIO.size(2))


@torch.library.custom_op("sweepkit::grouped_outer", mutates_args=())
def _outer(rows_MI: Tensor, gradient_MO: Tensor, ends_E: Tensor) -> Tensor:
    """[E, I, O]: each expert's rows, transposed, times theirs of the gradient."""
    return torch.stack([rows_MI[rows].T @ gradient_MO[rows] for rows in _slices(ends_E)])


@_outer.register_fake
def _(rows_MI: Tensor, gradient_MO: Tensor, ends_E: Tensor) -> Tensor:
    return rows_MI.new_empty(ends_E.size(0), rows_MI.size(1), gradient_MO.size(1))


def _save(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, gradient_MO: Tensor) -> tuple[Tensor, Tensor, None]:
    rows_MI, weight_EIO, ends_E = ctx.saved_tensors
    return _looped(gradient_MO, weight_EIO.mT, ends_E), _outer(rows_MI, gradient_MO, ends_E), None


_looped.register_autograd(_backward, setup_context=_save)
