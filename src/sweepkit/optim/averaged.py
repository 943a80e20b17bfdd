"""Exponential moving averages of weights (EMA), in fp32.

After n updates the average is Σ d^(n-i) w_i / Σ d^(n-i), of the weights after each update: normalised, as
Adam's moments are, so that it does not lean to where the run began. With d = 0 it is the weights themselves.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from sweepkit.optim.schedule import Now
from sweepkit.optim.update import Members


class AveragedWeights:
    """The averages of some parameters; ``step`` comes after the parameters' own update."""

    def __init__(self, members: Members, decay: float) -> None:
        self._members, self._decay = members, decay
        self._averages = [torch.zeros(p.shape, dtype=torch.float32, device=p.device) for _, p in members]
        self._share = 1.0

    def set_step(self, now: Now) -> None:
        """Set what share of the average this step's weights are."""
        self._share = (1 - self._decay) / (1 - self._decay ** (now.num_updates + 1))

    @torch.no_grad()
    def step(self) -> None:
        """Take in the weights as they are."""
        torch._foreach_lerp_(self._averages, [p.detach().float() for _, p in self._members], self._share)

    @torch.no_grad()
    def put(self) -> None:
        """Overwrite the parameters with their averages, rounded to their dtype."""
        torch._foreach_copy_([p.detach() for _, p in self._members], self._averages)

    def state(self) -> Iterator[tuple[str, Tensor]]:
        """(key, tensor) of all that must be saved; the tensors are the live ones."""
        for (name, _), average in zip(self._members, self._averages, strict=True):
            yield f"{name}.average", average
