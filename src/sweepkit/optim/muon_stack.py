"""The stateful side of Muon: all matrices of one shape, stacked for the step and copied back.

Stacking costs one copy of gradients and weights a step and keeps the compiled graph independent of how
many layers there are. Saved state is per parameter, so a checkpoint does not know about stacks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from sweepkit.optim.muon import MuonRule, muon_step
from sweepkit.optim.schedule import Now
from sweepkit.optim.update import Members, Setting
from sweepkit.plan.roles import MUON


class MuonStack:
    """Parameters of one shape, [m, n] or stacks of such, with their momentum and second moment."""

    def __init__(
        self,
        named: Members,
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
        shapes = MUON.state((len(self.parameters), *first.shape))
        self.momentum, self.second_moment = (
            torch.zeros(shapes[key], dtype=torch.float32, device=first.device)
            for key in ("momentum", "second_moment")
        )
        # 0-d tensors: compiled code reads their value at run time and never recompiles for it.
        self._lr, self._weight_decay, self._momentum = (
            torch.zeros((), device=first.device) for _ in range(3)
        )
        self._beta2 = torch.tensor(beta2, device=first.device)

    def set_step(self, now: Now) -> None:
        """Set this step's scheduled values."""
        self._lr.fill_(self.lr * now.lr_by_batch)
        self._weight_decay.fill_(self.weight_decay * now.weight_decay)
        self._momentum.fill_(now.momentum)

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter from its gradient."""
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        assert len(gradients) == len(self.parameters), f"missing gradients among {self.names}"
        weights = [p.detach() for p in self.parameters]
        stack = torch.stack(weights)
        self._step_function(
            stack.flatten(0, -3),
            torch.stack(gradients).flatten(0, -3),
            self.momentum.flatten(0, -3),
            self.second_moment.flatten(0, -3),
            self._lr,
            self._weight_decay,
            self._momentum,
            self._beta2,
            self.rule,
        )
        torch._foreach_copy_(weights, list(stack.unbind(0)))

    def state(self) -> Iterator[tuple[str, Tensor]]:
        """(key, tensor) of all that must be saved; the tensors are views of the live ones."""
        for i, name in enumerate(self.names):
            yield f"{name}.momentum", self.momentum[i]
            yield f"{name}.second_moment", self.second_moment[i]


def stacks(role: str, device: torch.device, setting: Setting) -> Callable[[Members], MuonStack]:
    """What makes the stacks of a role; all share one step function.

    Polar Express iterates in bf16 where the compute dtype is bf16, else in fp32.
    """
    config, plan = setting.plan.config.optimizer.matrix, setting.plan
    rule = MuonRule(
        num_iterations=config.num_iterations,
        row_equilibration=config.row_equilibration,
        frobenius_reset=config.frobenius_reset,
        cautious_weight_decay=config.cautious_weight_decay,
        iteration_dtype=torch.bfloat16 if setting.compute_dtype is torch.bfloat16 else torch.float32,
    )
    options, step = setting.compile_options, muon_step
    # On a CPU the step is matmuls for the most part: compiling it takes 10 s a model and gains 2% of a step.
    if options is not None and device.type != "cpu":
        step = torch.compile(muon_step, **options)
    rates = plan.learning_rates[role], plan.weight_decays[role], config.beta2
    return lambda members: MuonStack(members, *rates, rule, step)
