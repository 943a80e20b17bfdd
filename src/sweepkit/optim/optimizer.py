"""One optimizer for the whole model: Muon (or AdamW) for matrices, AdamW by role for the rest.

It knows roles and named parameters, not models. Learning rates and weight decays come scaled from the
plan; ``set_step`` sets the scheduled values of all groups. The state is keyed by parameter
name, so a checkpoint outlives the way parameters are grouped here. The step number is not state: all
that depends on it is set by ``set_step``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sweepkit.config import codec
from sweepkit.config.schema import AdamGroupConfig, MatrixGroupConfig, MatrixOptimizer
from sweepkit.errors import CheckpointError
from sweepkit.optim import schedule
from sweepkit.optim.adamw import AdamRule, AdamWGroup
from sweepkit.optim.muon import MuonRule, muon_step
from sweepkit.optim.muon_stack import MuonStack
from sweepkit.plan.run_plan import RunPlan

COMPILE_OPTIONS: dict[str, Any] = {"fullgraph": True, "dynamic": False, "recompile_limit": 192}
NamedParameters = Sequence[tuple[str, nn.Parameter]]


def build_optimizer(
    roles: Mapping[str, NamedParameters], plan: RunPlan, compute_dtype: torch.dtype, compile: bool
) -> Optimizer:
    """Build the planned optimizer over a model's parameters.

    Args:
        roles: parameter group → its named parameters, as the model lists them.
        plan: scaled learning rates, weight decays, schedules.
        compute_dtype: Polar Express iterates in bf16 where this is bf16, else in fp32.
        compile: compile Muon's step, one graph a matrix shape, where that pays (not on a CPU).
    """
    config = codec.from_json(plan.config).optimizer
    groups: list[AdamWGroup] = []
    stacks: list[MuonStack] = []
    for role, named in roles.items():
        if role == "matrix" and config.matrix.kind is MatrixOptimizer.muon:
            stacks = _muon_stacks(named, config.matrix, plan, compute_dtype, compile)
        elif named:
            block: AdamGroupConfig | MatrixGroupConfig = getattr(config, role)
            rule = AdamRule(
                lr=plan.learning_rates[role],
                beta1=block.beta1,
                beta2=block.beta2,
                eps=block.eps,
                weight_decay=plan.weight_decays[role],
                scheduled_decay=role == "matrix",
            )
            groups.append(AdamWGroup(list(named), rule))
    return Optimizer(groups, stacks, plan)


def _muon_stacks(
    named: NamedParameters,
    config: MatrixGroupConfig,
    plan: RunPlan,
    compute_dtype: torch.dtype,
    compile: bool,
) -> list[MuonStack]:
    rule = MuonRule(
        num_iterations=config.num_iterations,
        row_equilibration=config.row_equilibration,
        frobenius_reset=config.frobenius_reset,
        cautious_weight_decay=config.cautious_weight_decay,
        iteration_dtype=torch.bfloat16 if compute_dtype is torch.bfloat16 else torch.float32,
    )
    by_shape: dict[torch.Size, list[tuple[str, nn.Parameter]]] = defaultdict(list)
    for name, parameter in named:
        by_shape[parameter.shape].append((name, parameter))
    # On a CPU the step is matmuls for the most part: compiling it takes 10 s a model and gains 2% of a step.
    worthwhile = compile and any(parameter.device.type != "cpu" for _, parameter in named)
    step_function = torch.compile(muon_step, **COMPILE_OPTIONS) if worthwhile else muon_step
    return [
        MuonStack(
            members, plan.learning_rates["matrix"], plan.weight_decay, config.beta2, rule, step_function
        )
        for members in by_shape.values()
    ]


class Optimizer:
    """All parameter groups of a model. Call ``set_step`` before every ``step``."""

    def __init__(self, groups: list[AdamWGroup], stacks: list[MuonStack], plan: RunPlan) -> None:
        self.groups, self.stacks, self.plan = groups, stacks, plan
        self._parts: list[AdamWGroup | MuonStack] = [*groups, *stacks]
        self._ready = False

    def set_step(self, step: int) -> None:
        """Fill learning rates, momentum and weight decay for step ``step`` (from 0)."""
        lr_factor = schedule.lr_factor(step, self.plan)
        decay_factor = schedule.weight_decay_factor(step, self.plan)
        momentum = schedule.momentum(step, self.plan)
        for group in self.groups:
            group.set_step(step, lr_factor, decay_factor)
        for stack in self.stacks:
            stack.set_step(lr_factor, decay_factor, momentum)
        self._ready = True

    def step(self) -> None:
        """Update all parameters in place from their gradients."""
        assert self._ready, "set_step must precede every step"
        self._ready = False
        for group in self.groups:
            group.step()
        for stack in self.stacks:
            stack.step()

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for part in self._parts:
            for parameter in part.parameters:
                parameter.grad = None

    def reset(self) -> None:
        """Back to a fresh state, in place and bit for bit."""
        self.zero_grad()
        self._ready = False
        for _, tensor in self._state():
            tensor.zero_()

    def state_dict(self) -> dict[str, Tensor]:
        """Copies of all state, flat: ``{parameter name}.{momentum|second_moment|exp_avg|exp_avg_sq}``."""
        return {key: tensor.detach().clone() for key, tensor in self._state()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what ``state_dict`` gave, bit for bit, in place.

        Raises:
            CheckpointError: keys, shapes or dtypes are not those of this optimizer; nothing was changed.
        """
        own = dict(self._state())
        if own.keys() != state.keys():
            odd = sorted(own.keys() ^ state.keys())[:3]
            raise CheckpointError(
                f"optimizer state is keyed differently (for example {', '.join(odd)}), but must come from "
                "a run of the same plan; delete the checkpoint to start that run again"
            )
        for key, tensor in own.items():
            saved = state[key]
            if saved.shape != tensor.shape or saved.dtype != tensor.dtype:
                raise CheckpointError(
                    f"optimizer state {key} is {saved.dtype} {tuple(saved.shape)}, but must be "
                    f"{tensor.dtype} {tuple(tensor.shape)}; delete the checkpoint to start that run again"
                )
        for key, tensor in own.items():
            tensor.copy_(state[key])

    def _state(self) -> Iterator[tuple[str, Tensor]]:
        for part in self._parts:
            yield from part.state()
