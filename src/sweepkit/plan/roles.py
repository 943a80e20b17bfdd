"""Roles of parameters: which update rule moves them, and how their rates scale.

An update rule is described here without torch: what it keeps of a weight, how much it holds while it works,
and what an update costs. The memory estimate and the owners of ranks follow from that; the rule itself is
found in ``optim/`` by the same name.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

from sweepkit.config.choices import MatrixOptimizer
from sweepkit.config.schema import OptimizerConfig

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Role:
    """Parameters with one learning rate and weight decay: the block of ``optimizer`` with the role's name.

    Attributes:
        lr_by_width: whether the LR scales with (width / reference width)^-0.5.
        lr_by_batch: whether the LR scales with the root of the batch.
        decay_is_scheduled: whether weight decay is scaled with batch and horizon, and follows its schedule.
    """

    lr_by_width: bool = False
    lr_by_batch: bool = True
    decay_is_scheduled: bool = False


#: In the order in which parameters are listed everywhere.
ROLES: dict[str, Role] = {
    "matrix": Role(decay_is_scheduled=True),
    "embedding": Role(lr_by_width=True),
    "unembedding": Role(lr_by_width=True),
    "value_embedding": Role(lr_by_width=True),
    "bigram": Role(lr_by_width=True),
    "resid": Role(),
    "x0": Role(),
    "smear": Role(lr_by_batch=False),
}


@dataclass(frozen=True)
class UpdateRule:
    """What is known of an update rule before anything runs.

    Attributes:
        state: shape of a weight → what is kept of it from step to step, by name, in the weight's dtype.
        work: shape of a weight → what its update costs, in units that compare within one rule.
        is_stacked: weights of one shape are updated together.
        every: steps whose gradients go into one update.
        held: arrays of the size of the largest stack that an update makes, in fp32 and in the compute dtype.
    """

    name: str
    state: Callable[[Shape], dict[str, Shape]]
    work: Callable[[Shape], int]
    is_stacked: bool = False
    every: int = 1
    held: tuple[int, int] = (0, 0)


def _second_moment(shape: Shape) -> Shape:
    """One value per index of the longer axis (arXiv 2510.05491)."""
    *several, rows, columns = shape
    return (*several, rows, 1) if rows >= columns else (*several, 1, columns)


ADAMW = UpdateRule("adamw", lambda shape: {"exp_avg": shape, "exp_avg_sq": shape}, math.prod)
LION = UpdateRule("lion", lambda shape: {"exp_avg": shape}, math.prod)
#: Orthogonalisation multiplies each matrix with its smaller side; it holds the look-ahead and two iterates.
MUON = UpdateRule(
    "muon",
    lambda shape: {"momentum": shape, "second_moment": _second_moment(shape)},
    lambda shape: math.prod(shape) * min(shape[-2:]),
    is_stacked=True,
    held=(1, 2),
)
_OF_MATRICES = {MatrixOptimizer.muon: MUON, MatrixOptimizer.adamw: ADAMW, MatrixOptimizer.lion: LION}


def update_rule(role: str, optimizer: OptimizerConfig) -> UpdateRule:
    """The rule that moves the parameters of a role."""
    rule = _OF_MATRICES[optimizer.matrix.kind] if role == "matrix" else ADAMW
    return _every(rule, optimizer.adam_every_steps) if rule is ADAMW else rule


@lru_cache(maxsize=16)
def _every(rule: UpdateRule, num_steps: int) -> UpdateRule:
    """The rule applied once in ``num_steps`` steps, to the mean of their gradients, which is kept too."""
    if num_steps == 1:
        return rule
    return replace(rule, every=num_steps, state=lambda shape: rule.state(shape) | {"gradient": shape})
