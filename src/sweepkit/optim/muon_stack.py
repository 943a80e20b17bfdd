"""The stateful side of Muon: all matrices of one shape, stacked for the step and copied back.

Stacking costs one copy of gradients and weights a step and keeps the compiled graph independent of how
many layers there are. Saved state is per parameter, so a checkpoint does not know about stacks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from sweepkit.optim.muon import MuonRule


class MuonStack:
    """N matrices of one shape [m, n] with their momentum and second moment."""

    def __init__(
        self,
        named: list[tuple[str, nn.Parameter]],
        lr: float,
        weight_decay: float,
        beta2: float,
        rule: MuonRule,
        step_function: Callable[..., None],
    ) -> None:
        self.names = [name for name, _ in named]
        self.parameters = [parameter for _, parameter in named]
        self.rule, self._step_function = rule, step_function
        self.lr, self.weight_decay = lr, weight_decay
        first = self.parameters[0]
        rows, columns = first.shape
        num = len(self.parameters)
        self.momentum = torch.zeros((num, rows, columns), dtype=torch.float32, device=first.device)
        axis_shape = (num, rows, 1) if rows >= columns else (num, 1, columns)
        self.second_moment = torch.zeros(axis_shape, dtype=torch.float32, device=first.device)
        # 0-d tensors: compiled code reads their value at run time and never recompiles for it.
        self._lr, self._weight_decay, self._momentum = (
            torch.zeros((), device=first.device) for _ in range(3)
        )
        self._beta2 = torch.tensor(beta2, device=first.device)

    def set_step(self, lr_factor: float, weight_decay_factor: float, momentum: float) -> None:
        """Set this step's scheduled values."""
        self._lr.fill_(self.lr * lr_factor)
        self._weight_decay.fill_(self.weight_decay * weight_decay_factor)
        self._momentum.fill_(momentum)

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter from its gradient."""
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        assert len(gradients) == len(self.parameters), f"missing gradients among {self.names}"
        weights = [p.detach() for p in self.parameters]
        weight_Nmn = torch.stack(weights)
        self._step_function(
            weight_Nmn,
            torch.stack(gradients),
            self.momentum,
            self.second_moment,
            self._lr,
            self._weight_decay,
            self._momentum,
            self._beta2,
            self.rule,
        )
        torch._foreach_copy_(weights, list(weight_Nmn.unbind(0)))

    def state(self) -> Iterator[tuple[str, Tensor]]:
        """(key, tensor) of all that must be saved; the tensors are views of the live ones."""
        for i, name in enumerate(self.names):
            yield f"{name}.momentum", self.momentum[i]
            yield f"{name}.second_moment", self.second_moment[i]
