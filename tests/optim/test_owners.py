"""Every parameter has one owner, and no rank has much more to do than another."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sweepkit.config.schema import OptimizerConfig
from sweepkit.optim import owners


@given(
    shapes=st.lists(st.tuples(st.integers(1, 64), st.integers(1, 64)), min_size=1, max_size=30),
    num_ranks=st.integers(1, 9),
)
def test_ownership_is_a_balanced_partition(shapes: list[tuple[int, int]], num_ranks: int) -> None:
    named = [(f"m{i}", nn.Parameter(torch.empty(shape, device="meta"))) for i, shape in enumerate(shapes)]
    found = owners.assign({"matrix": named, "x0": []}, OptimizerConfig(), num_ranks)
    assert found.keys() == {name for name, _ in named}
    assert set(found.values()) <= set(range(num_ranks))
    costs = {name: p.numel() * min(p.shape) for name, p in named}
    loads = [sum(costs[name] for name, rank in found.items() if rank == r) for r in range(num_ranks)]
    # Longest first (Graham 1969): nobody is given more while another rank has less.
    assert max(loads) <= sum(costs.values()) / num_ranks + max(costs.values()) * (1 - 1 / num_ranks) + 1e-9


def test_kinds_are_spread_apart() -> None:
    def parameters(name: str, num: int, *shape: int) -> list[tuple[str, nn.Parameter]]:
        return [(f"{name}{i}", nn.Parameter(torch.empty(shape, device="meta"))) for i in range(num)]

    roles = {"matrix": parameters("m", 8, 64, 64), "embedding": parameters("e", 4, 512, 64)}
    found = owners.assign(roles, OptimizerConfig(), 4)
    for rank in range(4):
        assert sum(found[f"m{i}"] == rank for i in range(8)) == 2
        assert sum(found[f"e{i}"] == rank for i in range(4)) == 1
