"""Which rank owns which parameter: the owner alone keeps its optimizer state and computes its update.

Whole parameters, so that a matrix is orthogonalised in one place. The costliest first, each to the rank
that has the least to do. A matrix costs what its orthogonalisation does, rows × columns × the smaller of
both, any other parameter its elements; each kind is spread on its own, because one is bound by arithmetic
and the other by memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

Owners = dict[str, int]


def assign(roles: Mapping[Any, Sequence[tuple[str, nn.Parameter]]], num_ranks: int) -> Owners:
    """Parameter name → rank, the same on every rank."""
    owners: Owners = {}
    matrices = list(roles.get("matrix", ()))
    others = [item for role, named in roles.items() if role != "matrix" for item in named]
    for named, cost in ((matrices, _orthogonalisation), (others, _size)):
        load = [0] * num_ranks
        for name, parameter in sorted(named, key=lambda item: (-cost(item[1]), item[0])):
            owners[name] = min(range(num_ranks), key=lambda rank: load[rank])
            load[owners[name]] += cost(parameter)
    return owners


def _orthogonalisation(parameter: nn.Parameter) -> int:
    return parameter.numel() * min(parameter.shape)


def _size(parameter: nn.Parameter) -> int:
    return parameter.numel()
