"""Which rank owns which parameter: the owner alone keeps its optimizer state and computes its update.

Whole parameters, so that a matrix is orthogonalised in one place. The costliest first, each to the rank
that has the least to do. Costs are what update rules say of themselves (``plan/roles.py``); the parameters of
each rule are spread on their own, because one is bound by arithmetic and another by memory.
"""

from __future__ import annotations

from collections.abc import Mapping

from sweepkit.config.schema import OptimizerConfig
from sweepkit.optim.update import Members
from sweepkit.plan.roles import UpdateRule, update_rule

Owners = dict[str, int]


def assign(roles: Mapping[str, Members], optimizer: OptimizerConfig, num_ranks: int) -> Owners:
    """Parameter name → rank, the same on every rank."""
    work: dict[UpdateRule, dict[str, int]] = {}
    for role, named in roles.items():
        rule = update_rule(role, optimizer)
        work.setdefault(rule, {}).update((name, rule.work(tuple(p.shape))) for name, p in named)
    owners: Owners = {}
    for costs in work.values():
        load = [0] * num_ranks
        for name in sorted(costs, key=lambda name: (-costs[name], name)):
            owners[name] = min(range(num_ranks), key=lambda rank: load[rank])
            load[owners[name]] += costs[name]
    return owners
