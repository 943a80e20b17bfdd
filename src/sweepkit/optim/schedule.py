"""The schedules as pure functions of step and plan: learning rate, momentum, weight decay.

Steps count from 0; one may be divided into several updates, which lie at fractions of it. The plan has
already turned ratios into steps. Source: the baseline model's "Schedules" (linear warm-up, constant, linear
warm-down; momentum up, then down again; cosine decay).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from sweepkit.config.choices import FurtherSchedule, WeightDecaySchedule
from sweepkit.plan.run_plan import RunPlan


class Now(NamedTuple):
    """One step's scheduled values: all that an update rule is told of time.

    Attributes:
        num_updates: steps before in which something was updated; under fp16 some are skipped.
        lr: what learning rates are multiplied by.
        weight_decay: what weight decays that follow the schedule are multiplied by.
        momentum: the matrices'.
        batch_share: of a step's batch, that goes into this update.
    """

    num_updates: int
    lr: float = 1.0
    weight_decay: float = 1.0
    momentum: float = 0.0
    batch_share: float = 1.0

    @property
    def lr_by_batch(self) -> float:
        """What rates that scale with the root of the batch are multiplied by."""
        return self.lr * math.sqrt(self.batch_share)


def at(step: int, plan: RunPlan, num_skipped: int = 0, part: int = 0) -> Now:
    """The values of an update.

    Args:
        step: whose batch it uses.
        num_skipped: updates before that were none.
        part: of the batch, where the step makes several updates (``updates_in``).
    """
    share = 1 / updates_in(step, plan)
    time = step + part * share
    factors = lr_factor(time, plan, share), weight_decay_factor(time, plan), momentum(time, plan)
    return Now(updates_before(step, plan) + part - num_skipped, *factors, share)


def further_weights(step: int, plan: RunPlan) -> list[float]:
    """Loss weights of the tokens after the next: a power each, and a factor that may fade.

    Staged: of k further tokens the furthest fades to 0 over the first (k + 1)th of the run, the one before it
    over the second, and in the last part the next token is all that counts.
    """
    block = plan.config.model.multi_token
    num, weight = block.num_further, block.weight
    weights = [weight**ahead for ahead in range(1, num + 1)]
    if block.schedule is FurtherSchedule.constant:
        return weights
    stage = step / plan.num_steps * (num + 1)
    return [
        weight * min(max(num + 1 - ahead - stage, 0.0), 1.0) for ahead, weight in enumerate(weights, start=1)
    ]


def updates_in(step: int, plan: RunPlan) -> int:
    """How many updates a step's batch makes: ``schedule.batch_ramp``, whose entries share the run equally."""
    ramp = plan.config.schedule.batch_ramp
    return ramp[step * len(ramp) // plan.num_steps]


def updates_before(step: int, plan: RunPlan) -> int:
    """How many updates the steps before this one make."""
    ramp = plan.config.schedule.batch_ramp
    starts = [-(-index * plan.num_steps // len(ramp)) for index in range(len(ramp) + 1)]
    return sum(
        num * max(0, min(step, end) - start)
        for num, start, end in zip(ramp, starts[:-1], starts[1:], strict=True)
    )


def lr_factor(step: float, plan: RunPlan, share: float = 1.0) -> float:
    """What every learning rate is multiplied by; the warm-up has precedence over the warm-down.

    Args:
        step: before this update; a fraction within a step that makes several.
        share: of a step, that this update is.
    """
    if step < plan.warmup_steps:
        return (step + share) / plan.warmup_steps
    remaining = plan.num_steps - step
    if remaining >= plan.warmdown_steps:
        return 1.0
    final = plan.config.schedule.final_lr_frac
    left = remaining / plan.warmdown_steps
    return left + (1 - left) * final


def momentum(step: float, plan: RunPlan) -> float:
    """Muon's momentum: start → plateau over its warm-up, plateau → end over the warm-down."""
    matrix = plan.config.optimizer.matrix
    start, plateau, end = matrix.momentum_start, matrix.momentum, matrix.momentum_end
    if step < plan.momentum_warmup_steps:
        share = step / plan.momentum_warmup_steps
        return (1 - share) * start + share * plateau
    into_warmdown = step - (plan.num_steps - plan.warmdown_steps)
    if into_warmdown < 0 or plan.warmdown_steps == 0:
        return plateau
    share = min(into_warmdown / plan.warmdown_steps, 1.0)
    return (1 - share) * plateau + share * end


def weight_decay_factor(step: float, plan: RunPlan) -> float:
    """What the matrix group's weight decay is multiplied by: ½(1 + cos(π s/S)), or 1 when constant."""
    if plan.config.schedule.weight_decay is WeightDecaySchedule.constant:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * step / plan.num_steps))
