"""Initial values: one fixed order, one CPU generator, fp32, then copied to where the model lives.

So the values depend on the seed and the shapes only, never on the device, the compute dtype or what
the tensors held before: a model re-initialised in place equals one built in a fresh process, bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sweepkit.plan.part_weights import Constant, Init, Line, Normal, Uniform, Weight


@torch.no_grad()
def initialize(model: nn.Module, weights: Mapping[str, Weight], seed: int, moved_by: float = 0.0) -> None:
    """Fill every parameter of ``model`` in place.

    Args:
        weights: name of a parameter → its description, in the order in which values are drawn.
        moved_by: share by which all values are then moved at random.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, weight in weights.items():
        parameter = model.get_parameter(name)
        _copy(parameter, _drawn(weight.init, parameter.shape, generator))
    if moved_by:
        for parameter in model.parameters():
            share = torch.empty(parameter.shape).normal_(0.0, moved_by, generator=generator)
            _copy(parameter, parameter.float().cpu() * (1 + share))


def _drawn(init: Init, shape: torch.Size, generator: torch.Generator) -> Tensor:
    match init:
        case Normal(std):
            return torch.empty(shape).normal_(0.0, std, generator=generator)
        case Uniform(low, high):
            return torch.empty(shape).uniform_(low, high, generator=generator)
        case Line(first, last):
            steps = max(shape[0] - 1, 1)
            return torch.tensor([first + (last - first) * i / steps for i in range(shape[0])])
        case Constant(value):
            return torch.tensor(value).expand(shape)


def _copy(target: Tensor, value: Tensor) -> None:
    """Round to the target's dtype on the CPU, so that every device gets the same bits."""
    target.copy_(value.to(target.dtype))
