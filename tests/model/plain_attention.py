"""Softmax attention written out: one head at a time, all scores, hidden ones set to -inf, in fp64."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def plain_attention(q_BHTK: Tensor, k_BGTK: Tensor, v_BGTK: Tensor, window: int) -> Tensor:
    """[B, H, T, K]; query head h reads key/value head h // (H / G)."""
    q, k, v = q_BHTK.double(), k_BGTK.double(), v_BGTK.double()
    time, heads_a_group = q.shape[2], q.shape[1] // k.shape[1]
    visible = torch.tensor([[0 <= t - s <= window for s in range(time)] for t in range(time)])
    out = []
    for head in range(q.shape[1]):
        group = head // heads_a_group
        scores = q[:, head] @ k[:, group].transpose(1, 2) / math.sqrt(q.shape[3])
        weights = scores.masked_fill(~visible, -torch.inf).exp()
        out.append(weights / weights.sum(-1, keepdim=True) @ v[:, group])
    return torch.stack(out, dim=1)
