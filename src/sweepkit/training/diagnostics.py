"""How large each parameter group is and how far a step moves it: update:data and grad:data ratios.

Ratios are of root-mean-squares, as log10; about −3 is healthy for an update (methodology §6). The weights
before the step are kept for the sampled rows only: tensors larger than 2^22 elements contribute every
k-th row, so that the copy stays small on any model. Every rank looks at what it owns, for only the owner has
the whole gradient.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from sweepkit.distributed.ranks import Ranks

_MAX_ELEMENTS = 1 << 22

Roles = Mapping[str, Sequence[tuple[str, nn.Parameter]]]


class StepProbe:
    """Made between backward and the optimizer's step; ``measure`` after the step."""

    @torch.no_grad()
    def __init__(self, roles: Roles, owners: Mapping[str, int], ranks: Ranks) -> None:
        self._ranks = ranks
        self._roles = {
            role: [p for name, p in named if owners[name] == ranks.rank]
            for role, named in roles.items()
            if named
        }
        self._before = {
            role: [_sample(p).clone() for p in parameters] for role, parameters in self._roles.items()
        }
        self._grads = {
            role: _sum_of_squares([_sample(p.grad) for p in parameters if p.grad is not None])
            for role, parameters in self._roles.items()
        }

    @torch.no_grad()
    def measure(self) -> dict[str, float | None]:
        """``update_data_log10``, ``grad_data_log10``, ``weight_log10`` of every group; None for log of 0."""
        sums: list[Tensor] = []
        for role, parameters in self._roles.items():
            before = self._before[role]
            updates = [_sample(p).float() - old.float() for p, old in zip(parameters, before, strict=True)]
            size = torch.tensor(float(sum(old.numel() for old in before)))
            sums += [_sum_of_squares(before), _sum_of_squares(updates), self._grads[role], size]
        of_roles = self._ranks.sum(torch.stack([item.cpu() for item in sums])).tolist()
        row: dict[str, float | None] = {}
        for index, role in enumerate(self._roles):
            data, update, grad, size = of_roles[4 * index : 4 * index + 4]
            row[f"update_data_log10_{role}"] = _log10_ratio(update, data)
            row[f"grad_data_log10_{role}"] = _log10_ratio(grad, data)
            row[f"weight_log10_{role}"] = _log10_ratio(data, size)
        return row


def _sample(tensor: Tensor) -> Tensor:
    """All of a tensor, or every k-th row of a large one (a view)."""
    step = max(1, tensor.numel() // _MAX_ELEMENTS)
    return tensor.detach()[::step] if tensor.dim() and step > 1 else tensor.detach()


def _sum_of_squares(tensors: Sequence[Tensor]) -> Tensor:
    sums = [tensor.float().square().sum() for tensor in tensors]
    return torch.stack(sums).sum() if sums else torch.zeros(())


def _log10_ratio(over: float, under: float) -> float | None:
    """log10 of the ratio of root-mean-squares, from sums of squares over the same elements."""
    if not (over > 0 and under > 0 and math.isfinite(over) and math.isfinite(under)):
        return None
    return 0.5 * math.log10(over / under)
