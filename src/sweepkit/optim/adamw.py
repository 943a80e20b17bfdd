"""AdamW for one parameter group: torch's fused kernel over moments that this module owns.

Standard semantics: decoupled decay ``p -= lr·wd·p``, bias-corrected moments. The kernel computes in fp32
whatever the storage, so a bf16 table keeps bf16 moments and loses nothing else. It is one call a group on
CPU, CUDA and MPS and is not compiled, so LR, betas and decay are plain numbers to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class AdamRule:
    """The constants of one group, after the plan's scaling."""

    lr: float
    beta1: float
    beta2: float
    eps: float
    weight_decay: float
    scheduled_decay: bool = False  # only the matrix group's decay follows a schedule


class AdamWGroup:
    """Parameters that share hyperparameters, with their first and second moments."""

    def __init__(self, named: list[tuple[str, nn.Parameter]], rule: AdamRule) -> None:
        self.names = [name for name, _ in named]
        self.parameters = [parameter for _, parameter in named]
        self.rule = rule
        self.exp_avgs = [torch.zeros_like(p, requires_grad=False) for p in self.parameters]
        self.exp_avg_sqs = [torch.zeros_like(p, requires_grad=False) for p in self.parameters]
        # Float counters, one a parameter: the kernel reads the step for the bias correction there.
        self._steps = [torch.zeros((), dtype=torch.float32, device=p.device) for p in self.parameters]
        self._lr = rule.lr
        self._weight_decay = rule.weight_decay

    def set_step(self, step: int, lr_factor: float, weight_decay_factor: float) -> None:
        """Prepare step ``step`` (from 0), not counting any that were skipped."""
        self._lr = self.rule.lr * lr_factor
        self._weight_decay = self.rule.weight_decay
        if self.rule.scheduled_decay:
            self._weight_decay *= weight_decay_factor
        torch._foreach_zero_(self._steps)
        torch._foreach_add_(self._steps, step + 1)

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter from its gradient."""
        if not self.parameters:
            return
        torch._fused_adamw_(
            [p.detach() for p in self.parameters],
            [_gradient(name, p) for name, p in zip(self.names, self.parameters, strict=True)],
            self.exp_avgs,
            self.exp_avg_sqs,
            [],
            self._steps,
            amsgrad=False,
            lr=self._lr,
            beta1=self.rule.beta1,
            beta2=self.rule.beta2,
            weight_decay=self._weight_decay,
            eps=self.rule.eps,
            maximize=False,
        )

    def state(self) -> Iterator[tuple[str, Tensor]]:
        """(key, tensor) of all that must be saved; the tensors are the live ones."""
        for name, first, second in zip(self.names, self.exp_avgs, self.exp_avg_sqs, strict=True):
            yield f"{name}.exp_avg", first
            yield f"{name}.exp_avg_sq", second


def _gradient(name: str, parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None, f"{name} has no gradient"
    return parameter.grad
