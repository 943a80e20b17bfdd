"""Lion for one parameter group: steps of one size in every element, by the sign of a mean of gradients.

arXiv 2302.06675, algorithm 2: ``p -= lr · (sign(β₁·m + (1 − β₁)·g) + wd·p)``, then ``m = β₂·m + (1 − β₂)·g``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from sweepkit.optim.schedule import Now
from sweepkit.optim.update import Members, Setting
from sweepkit.plan.roles import LION, ROLES


class LionGroup:
    """Parameters that share hyperparameters, with their mean gradients, fp32."""

    def __init__(
        self, named: Members, lr: float, betas: tuple[float, float], weight_decay: float, scheduled: bool
    ) -> None:
        self.named, self.betas, self.scheduled = named, betas, scheduled
        self.lr, self.weight_decay = lr, weight_decay
        self.means = [
            torch.zeros(LION.state(tuple(p.shape))["exp_avg"], dtype=p.dtype, device=p.device)
            for _, p in named
        ]
        self._lr, self._weight_decay = lr, weight_decay

    def set_step(self, now: Now) -> None:
        """Set this step's scheduled values."""
        self._lr = self.lr * now.lr_by_batch
        self._weight_decay = self.weight_decay * (now.weight_decay if self.scheduled else 1.0)

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter from its gradient."""
        beta1, beta2 = self.betas
        for (name, parameter), mean in zip(self.named, self.means, strict=True):
            gradient = parameter.grad
            assert gradient is not None, f"{name} has no gradient"
            update = torch.lerp(gradient, mean, beta1).sign_()
            parameter.mul_(1 - self._lr * self._weight_decay).sub_(update, alpha=self._lr)
            mean.lerp_(gradient, 1 - beta2)

    def state(self) -> Iterator[tuple[str, Tensor]]:
        """(key, tensor) of all that must be saved; the tensors are the live ones."""
        for (name, _), mean in zip(self.named, self.means, strict=True):
            yield f"{name}.exp_avg", mean


def groups(role: str, device: torch.device, setting: Setting) -> Callable[[Members], LionGroup]:
    """What makes the groups of a role."""
    block, plan = getattr(setting.plan.config.optimizer, role), setting.plan
    rates = plan.learning_rates[role], (block.beta1, block.beta2), plan.weight_decays[role]
    return lambda members: LionGroup(members, *rates, ROLES[role].decay_is_scheduled)
