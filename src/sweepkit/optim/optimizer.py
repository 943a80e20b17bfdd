"""One optimizer for the whole model: Muon (or AdamW) for matrices, AdamW by role for the rest.

It knows roles and named parameters, not models. Learning rates and weight decays come scaled from the
plan; ``set_step`` sets the scheduled values of all groups. The state is keyed by parameter
name, so a checkpoint outlives the way parameters are grouped here. The step number is not state: all
that depends on it is set by ``set_step``.

With several ranks each keeps state for the parameters it owns, updates those, and sends them to the others
while the next part is computed.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sweepkit.config.schema import OptimizerConfig
from sweepkit.distributed.ranks import Ranks
from sweepkit.errors import CheckpointError
from sweepkit.optim import adamw, lion, muon_stack, schedule
from sweepkit.optim.accumulated import Accumulated
from sweepkit.optim.averaged import AveragedWeights
from sweepkit.optim.owners import Owners
from sweepkit.optim.update import Members, Setting, Update
from sweepkit.plan.roles import update_rule
from sweepkit.plan.run_plan import RunPlan

#: Name of a rule (``plan/roles.py``) → what makes its updates for a role on a device.
_RULES: dict[str, Callable[[str, torch.device, Setting], Callable[[Members], Update]]] = {
    "adamw": adamw.groups,
    "lion": lion.groups,
    "muon": muon_stack.stacks,
}


@dataclass(frozen=True)
class Part:
    """Parameters that are updated together.

    Attributes:
        named: of all ranks.
        update: has those that this rank owns; None where it owns none.
        every: steps that go into one update.
    """

    named: Members
    update: Update | None
    every: int


def build_optimizer(
    roles: Mapping[str, Members],
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
        compute_dtype: of activations.
        compile_options: for ``torch.compile``, where a rule gains by it; None: do not compile.
        ranks: those that train together; None: this process alone.
        owners: which rank owns which parameter (``owners.assign``); with several ranks.
    """
    ranks, owners = ranks or Ranks(), owners or {}
    setting = Setting(plan, compute_dtype, compile_options)
    config = plan.config.optimizer
    parts: dict[bool, list[Part]] = {False: [], True: []}  # stacks come last
    for role, named in roles.items():
        if not named:
            continue
        rule = update_rule(role, config)
        make = _RULES[rule.name](role, named[0][1].device, setting)
        for together in _by_shape(named) if rule.is_stacked else [named]:
            mine = [item for item in together if owners.get(item[0], ranks.rank) == ranks.rank]
            update = make(mine) if mine else None
            if update is not None and rule.every > 1:
                update = Accumulated(update, mine, rule.every)
            parts[rule.is_stacked].append(Part(together, update, rule.every))
    return Optimizer([*parts[False], *parts[True]], plan, config, ranks, owners)


def _by_shape(named: Members) -> list[Members]:
    by_shape: dict[torch.Size, list[tuple[str, nn.Parameter]]] = defaultdict(list)
    for name, parameter in named:
        by_shape[parameter.shape].append((name, parameter))
    return list(by_shape.values())


class Optimizer:
    """All parameter groups of a model. Call ``set_step`` before every ``step``."""

    def __init__(
        self, parts: Sequence[Part], plan: RunPlan, config: OptimizerConfig, ranks: Ranks, owners: Owners
    ) -> None:
        self.plan, self._parts, self._ranks, self._owners = plan, parts, ranks, owners
        self._grad_clip = config.grad_clip
        self._updates = [part.update for part in parts if part.update is not None]
        named = [item for part in parts for item in part.named]
        mine = [item for item in named if owners.get(item[0], ranks.rank) == ranks.rank]
        self._device, self._owned = named[0][1].device, [p for _, p in mine]
        self._average = None if config.ema_decay is None else AveragedWeights(mine, config.ema_decay)
        self._ready = False
        self._num_taken = 0  # updates whose gradients counted, this one included

    def set_step(self, step: int, num_skipped: int = 0, part: int = 0) -> None:
        """Fill learning rates, momentum and weight decay for step ``step`` (from 0).

        Args:
            num_skipped: updates before in which nothing was updated (fp16): schedules count them, the
                corrections of AdamW's moments do not.
            part: of the step's batch, where it makes several updates.
        """
        now = schedule.at(step, self.plan, num_skipped, part)
        self._num_taken = now.num_updates + 1
        for update in [*self._updates, *self._averages()]:
            update.set_step(now)
        self._ready = True

    @torch.no_grad()
    def gradient_norm(self) -> Tensor:
        """L2 norm of the whole gradient, fp32, 0-d: a tensor, so that nobody waits for the device.

        Every rank must ask; each parameter is owned once, and its gradient is the sum over ranks.
        """
        gradients = [p.grad for p in self._owned if p.grad is not None]
        norms = torch._foreach_norm(gradients, 2, dtype=torch.float32) if gradients else ()
        squares = torch.stack([torch.zeros((), device=self._device), *norms]).square().sum()
        return self._ranks.sum(squares).sqrt()

    def clip(self) -> Tensor | None:
        """Scale the gradients so that their norm is at most ``optimizer.grad_clip`` (arXiv 1211.5063).

        Returns:
            The norm that they had; None where no limit is set.
        """
        if self._grad_clip is None:
            return None
        norm = self.gradient_norm()
        torch.nn.utils.clip_grads_with_norm_(self._owned, self._grad_clip, norm)
        return norm

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
            is_sent = send and self._ranks.size > 1 and self._num_taken % part.every == 0
            for name, parameter in part.named if is_sent else ():
                self._ranks.start_copy_from(parameter.detach(), self._owners[name])
        for average in self._averages():
            average.step()
        self._ranks.finish()

    @property
    def averages_weights(self) -> bool:
        return self._average is not None

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Have the averaged weights in the parameters of all ranks; after it the raw ones, bit for bit."""
        named = [item for part in self._parts for item in part.named]
        raw = [p.detach().clone() for _, p in named]
        for average in self._averages():
            average.put()
        for name, parameter in named if self._ranks.size > 1 else ():
            self._ranks.start_copy_from(parameter.detach(), self._owners[name])
        self._ranks.finish()
        try:
            yield
        finally:
            torch._foreach_copy_([p.detach() for _, p in named], raw)

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
        """Copies of this rank's state, flat: ``{parameter}.{momentum|second_moment|exp_avg|...}``."""
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
        for update in [*self._updates, *self._averages()]:
            yield from update.state()

    def _averages(self) -> list[AveragedWeights]:
        return [] if self._average is None else [self._average]
