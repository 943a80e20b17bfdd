"""AdamW for one parameter group: torch's fused kernel over moments that this module owns.

Standard semantics: decoupled decay ``p -= lr·wd·p``, bias-corrected moments. The kernel computes in fp32
whatever the storage, so a bf16 table keeps bf16 moments and loses nothing else. It is one call a group on
CPU, CUDA and MPS and is not compiled, so LR, betas and decay are plain numbers to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sweepkit.optim.schedule import Now
from sweepkit.optim.update import Members, Setting
from sweepkit.plan.roles import ADAMW, ROLES


@dataclass(frozen=True)
class AdamRule:
    """The constants of one group, after the plan's scaling."""

    lr: float
    beta1: float
    beta2: float
    eps: float
    weight_decay: float
    scheduled_decay: bool = False
    lr_by_batch: bool = True


class AdamWGroup:
    """Parameters that share hyperparameters, with their first and second moments."""

    def __init__(self, named: Members, rule: AdamRule) -> None:
        self.names = [name for name, _ in named]
        self.parameters = [parameter for _, parameter in named]
        self.rule = rule
        kept = [ADAMW.state(tuple(p.shape)) for p in self.parameters]
        self.exp_avgs, self.exp_avg_sqs = (
            [
                torch.zeros(s[key], dtype=p.dtype, device=p.device)
                for p, s in zip(self.parameters, kept, strict=True)
            ]
            for key in ("exp_avg", "exp_avg_sq")
        )
        # Float counters, one a parameter: the kernel reads the step for the bias correction there.
        self._steps = [torch.zeros((), dtype=torch.float32, device=p.device) for p in self.parameters]
        self._lr = rule.lr
        self._weight_decay = rule.weight_decay

    def set_step(self, now: Now) -> None:
        """Set this step's scheduled values; the moments are corrected for the updates that were made."""
        self._lr = self.rule.lr * (now.lr_by_batch if self.rule.lr_by_batch else now.lr)
        self._weight_decay = self.rule.weight_decay
        if self.rule.scheduled_decay:
            self._weight_decay *= now.weight_decay
        torch._foreach_zero_(self._steps)
        torch._foreach_add_(self._steps, now.num_updates + 1)

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter from its gradient."""
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


def groups(role: str, device: torch.device, setting: Setting) -> Callable[[Members], AdamWGroup]:
    """What makes the groups of a role."""
    block, plan = getattr(setting.plan.config.optimizer, role), setting.plan
    rule = AdamRule(
        lr=plan.learning_rates[role],
        beta1=block.beta1,
        beta2=block.beta2,
        eps=block.eps,
        weight_decay=plan.weight_decays[role],
        scheduled_decay=ROLES[role].decay_is_scheduled,
        lr_by_batch=ROLES[role].lr_by_batch,
    )
    return lambda members: AdamWGroup(members, rule)


def _gradient(name: str, parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None, f"{name} has no gradient"
    return parameter.grad
