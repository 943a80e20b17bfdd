"""One optimizer for the whole model: Muon (or AdamW) for matrices, AdamW by role for the rest.

It knows roles and named parameters, not models. Learning rates and weight decays come scaled from the
plan; ``set_step`` sets the scheduled values of all groups. The state is keyed by parameter
name, so a checkpoint outlives the way parameters are grouped here. The step number is not state: all
that depends on it is set by ``set_step``.

With several ranks each keeps state for the parameters it owns, updates those, and sends them to the others
while the next part is computed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sweepkit.config import codec
from sweepkit.config.choices import MatrixOptimizer
from sweepkit.config.schema import AdamGroupConfig, MatrixGroupConfig
from sweepkit.distributed.ranks import Ranks
from sweepkit.errors import CheckpointError
from sweepkit.optim import schedule
from sweepkit.optim.adamw import AdamRule, AdamWGroup
from sweepkit.optim.muon import MuonRule, muon_step
from sweepkit.optim.muon_stack import MuonStack
from sweepkit.optim.owners import Owners
from sweepkit.plan.run_plan import RunPlan

NamedParameters = Sequence[tuple[str, nn.Parameter]]


@dataclass(frozen=True)
class Part:
    """Parameters that are updated together.

    Attributes:
        named: of all ranks.
        update: has those that this rank owns; None where it owns none.
    """

    named: NamedParameters
    update: AdamWGroup | MuonStack | None


def build_optimizer(
    roles: Mapping[str, NamedParameters],
    plan: RunPlan,
    compute_dtype: torch.dtype,
    compile_options: Mapping[str, Any] | None,
    ranks: Ranks | None = None,
    owners: Owners | None = None,
) -> Optimizer:
    """Build the planned optimizer over a model's parameters.

    Args:
        roles: parameter group → its named parameters, as the model lists them.
        plan: scaled learning rates, weight decays, schedules.
        compute_dtype: Polar Express iterates in bf16 where this is bf16, else in fp32.
        compile_options: for ``torch.compile`` of Muon's step, one graph a matrix shape, where that pays (not
            on a CPU); None: do not compile.
        ranks: those that train together; None: this process alone.
        owners: which rank owns which parameter (``owners.assign``); with several ranks.
    """
    ranks, owners = ranks or Ranks(), owners or {}
    config = codec.from_json(plan.config).optimizer
    parts: list[Part] = []
    stacks: list[Part] = []

    def mine(named: NamedParameters) -> list[tuple[str, nn.Parameter]]:
        return [item for item in named if owners.get(item[0], ranks.rank) == ranks.rank]

    for role, named in roles.items():
        if role == "matrix" and config.matrix.kind is MatrixOptimizer.muon:
            make = _stack_factory(named, config.matrix, plan, compute_dtype, compile_options)
            for members in _by_shape(named):
                stacks.append(Part(members, make(mine(members)) if mine(members) else None))
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
            parts.append(Part(named, AdamWGroup(mine(named), rule) if mine(named) else None))
    return Optimizer([*parts, *stacks], plan, ranks, owners)


def _by_shape(named: NamedParameters) -> list[list[tuple[str, nn.Parameter]]]:
    by_shape: dict[torch.Size, list[tuple[str, nn.Parameter]]] = defaultdict(list)
    for name, parameter in named:
        by_shape[parameter.shape].append((name, parameter))
    return list(by_shape.values())


def _stack_factory(
    named: NamedParameters,
    config: MatrixGroupConfig,
    plan: RunPlan,
    compute_dtype: torch.dtype,
    compile_options: Mapping[str, Any] | None,
) -> Callable[[list[tuple[str, nn.Parameter]]], MuonStack]:
    rule = MuonRule(
        num_iterations=config.num_iterations,
        row_equilibration=config.row_equilibration,
        frobenius_reset=config.frobenius_reset,
        cautious_weight_decay=config.cautious_weight_decay,
        iteration_dtype=torch.bfloat16 if compute_dtype is torch.bfloat16 else torch.float32,
    )
    # On a CPU the step is matmuls for the most part: compiling it takes 10 s a model and gains 2% of a step.
    on_cpu = all(parameter.device.type == "cpu" for _, parameter in named)
    compiled = compile_options is not None and not on_cpu
    step_function = torch.compile(muon_step, **compile_options or {}) if compiled else muon_step

    def make(members: list[tuple[str, nn.Parameter]]) -> MuonStack:
        lr = plan.learning_rates["matrix"]
        return MuonStack(members, lr, plan.weight_decay, config.beta2, rule, step_function)

    return make


class Optimizer:
    """All parameter groups of a model. Call ``set_step`` before every ``step``."""

    def __init__(self, parts: Sequence[Part], plan: RunPlan, ranks: Ranks, owners: Owners) -> None:
        self.plan, self._parts, self._ranks, self._owners = plan, parts, ranks, owners
        updates = [part.update for part in parts]
        self.groups = [update for update in updates if isinstance(update, AdamWGroup)]
        self.stacks = [update for update in updates if isinstance(update, MuonStack)]
        self._ready = False

    def set_step(self, step: int, num_skipped: int = 0) -> None:
        """Fill learning rates, momentum and weight decay for step ``step`` (from 0).

        Args:
            num_skipped: of the steps before, those in which nothing was updated (fp16): schedules count them,
                the corrections of AdamW's moments do not.
        """
        lr_factor = schedule.lr_factor(step, self.plan)
        decay_factor = schedule.weight_decay_factor(step, self.plan)
        momentum = schedule.momentum(step, self.plan)
        for group in self.groups:
            group.set_step(step - num_skipped, lr_factor, decay_factor)
        for stack in self.stacks:
            stack.set_step(lr_factor, decay_factor, momentum)
        self._ready = True

    def step(self, send: bool = True) -> None:
        """Update all parameters in place from their gradients.

        Args:
            send: to the other ranks, which must do the same; without it only what this rank owns changes.
        """
        assert self._ready, "set_step must precede every step"
        self._ready = False
        for part in self._parts:
            if part.update is not None:
                part.update.step()
            for name, parameter in part.named if send and self._ranks.size > 1 else ():
                self._ranks.start_copy_from(parameter.detach(), self._owners[name])
        self._ranks.finish()

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for part in self._parts:
            for _, parameter in part.named:
                parameter.grad = None

    def reset(self) -> None:
        """Back to a fresh state, in place and bit for bit."""
        self.zero_grad()
        self._ready = False
        for _, tensor in self._state():
            tensor.zero_()

    def kept(self) -> list[Tensor]:
        """Its state, not copied."""
        return [tensor for _, tensor in self._state()]

    def state_dict(self) -> dict[str, Tensor]:
        """Copies of this rank's state, flat: ``{parameter}.{momentum|second_moment|exp_avg|exp_avg_sq}``."""
        return {key: tensor.detach().clone() for key, tensor in self._state()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what the ``state_dict`` of all ranks gave, bit for bit, in place.

        Raises:
            CheckpointError: keys, shapes or dtypes are not those of this optimizer; nothing was changed.
        """
        own = dict(self._state())
        others = {
            name for part in self._parts for name, _ in part.named
            if self._owners.get(name, self._ranks.rank) != self._ranks.rank
        }  # fmt: skip
        here = {key for key in state if key.rpartition(".")[0] not in others}
        if own.keys() != here:
            odd = sorted(own.keys() ^ here)[:3]
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
            if part.update is not None:
                yield from part.update.state()
