"""An update rule that is applied once in several steps, to the mean of their gradients.

Steps whose gradients overflowed (fp16) do not count. Gradients of a last, incomplete group are not used.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from sweepkit.optim.schedule import Now
from sweepkit.optim.update import Members, Update


class Accumulated:
    """Parameters whose ``update`` waits for ``every`` steps; gradients are kept in the parameters' dtypes."""

    def __init__(self, update: Update, members: Members, every: int) -> None:
        self._update, self._members, self._every = update, members, every
        self._means = [torch.zeros_like(p.detach()) for _, p in members]
        self._is_due = False

    def set_step(self, now: Now) -> None:
        """Set this step's scheduled values; moments are corrected for the updates that were made."""
        self._is_due = (now.num_updates + 1) % self._every == 0
        self._update.set_step(now._replace(num_updates=now.num_updates // self._every))

    @torch.no_grad()
    def step(self) -> None:
        """Take in every parameter's gradient; where it is the last of its group, update."""
        gradients = [p.grad for _, p in self._members if p.grad is not None]
        assert len(gradients) == len(self._members), f"missing gradients among {dict(self._members).keys()}"
        torch._foreach_add_(self._means, gradients, alpha=1 / self._every)
        if self._is_due:
            torch._foreach_copy_(gradients, self._means)
            self._update.step()
            torch._foreach_zero_(self._means)

    def state(self) -> Iterator[tuple[str, Tensor]]:
        """(key, tensor) of all that must be saved; the tensors are the live ones."""
        yield from self._update.state()
        for (name, _), mean in zip(self._members, self._means, strict=True):
            yield f"{name}.gradient", mean
