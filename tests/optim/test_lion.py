"""Lion against the paper's algorithm, one number at a time."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from sweepkit.optim.lion import LionGroup
from sweepkit.optim.schedule import Now


@pytest.mark.parametrize("scheduled", [False, True])
def test_steps_are_those_of_the_algorithm(scheduled: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    ours = nn.Parameter(torch.randn(3, 4, generator=generator, dtype=torch.float64))
    theirs, mean = ours.tolist(), [[0.0] * 4 for _ in range(3)]
    group = LionGroup([("p", ours)], 0.1, (0.9, 0.99), 0.2, scheduled)
    for step in range(5):
        ours.grad = torch.randn(3, 4, generator=generator, dtype=torch.float64)
        group.set_step(Now(step, lr=0.5, weight_decay=0.25))
        group.step()
        decay = 0.2 * (0.25 if scheduled else 1.0)
        for i in range(3):
            for j in range(4):
                g = ours.grad[i, j].item()
                sign = math.copysign(1.0, 0.9 * mean[i][j] + 0.1 * g)
                theirs[i][j] -= 0.1 * 0.5 * (sign + decay * theirs[i][j])
                mean[i][j] = 0.99 * mean[i][j] + 0.01 * g
        torch.testing.assert_close(ours.detach(), torch.tensor(theirs, dtype=torch.float64))
        torch.testing.assert_close(group.means[0], torch.tensor(mean, dtype=torch.float64))


def test_a_gradient_of_zero_moves_nothing() -> None:
    """At step 0 many gradients are exactly zero."""
    parameter = nn.Parameter(torch.ones(3))
    parameter.grad = torch.zeros(3)
    group = LionGroup([("p", parameter)], 0.1, (0.9, 0.99), 0.0, False)
    group.step()
    assert torch.equal(parameter.detach(), torch.ones(3))
