"""Gradients of several ranks, summed at each parameter's owner while backward is still going on.

As soon as a parameter's gradient is whole, its sum over the ranks is begun. All ranks must begin sums in one
order, so a gradient that is early waits for its turn: the order in which the gradients of the leader came in
the warm-up. The sum is over ranks and micro-steps; who scales the loss makes it a mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sweepkit.distributed.ranks import Ranks
from sweepkit.optim.owners import Owners


class GradientExchange:
    """Sums gradients at their owners; does nothing for a process alone."""

    def __init__(self, named: Sequence[tuple[str, nn.Parameter]], owners: Owners, ranks: Ranks) -> None:
        self._parameters, self._owners, self._ranks = dict(named), owners, ranks
        self._seen: list[str] = []  # in the order in which gradients came
        self._order: list[str] = []
        self._ready: set[str] = set()
        self._next = 0
        self.armed = False
        self._watched: list[Tensor] | None = None
        if ranks.size > 1:
            for name, parameter in named:
                hook: Any = lambda _, name=name: self._came(name)  # noqa: E731
                parameter.register_post_accumulate_grad_hook(hook)  # type: ignore[no-untyped-call]

    def agree(self) -> None:
        """Take the leader's order, once; every rank has gone backward before."""
        if self._ranks.size > 1 and not self._order:
            self._order = self._ranks.word(list(dict.fromkeys(self._seen)))
            assert self._order and set(self._order) == self._parameters.keys(), "parameters without gradient"

    def watch(self) -> list[Tensor]:
        """Norms of this rank's own gradients in the next exchange, fp32, 0-d; filled as they become whole."""
        self._watched = []
        return self._watched

    def finish(self) -> None:
        """Wait until every sum that was begun is there."""
        assert self._next == (len(self._order) if self.armed else 0), "a gradient is missing"
        self._ranks.finish()
        self._ready.clear()
        self._next = 0
        self.armed = False
        self._watched = None

    def _came(self, name: str) -> None:
        if not self.armed:
            self._seen += [] if self._order else [name]
            return
        self._ready.add(name)
        while self._next < len(self._order) and self._order[self._next] in self._ready:
            name = self._order[self._next]
            gradient = self._gradient(name)
            if self._watched is not None:
                self._watched.append(torch.linalg.vector_norm(gradient, dtype=torch.float32))
            self._ranks.start_sum_at(gradient, self._owners[name])
            self._next += 1

    def _gradient(self, name: str) -> Tensor:
        gradient = self._parameters[name].grad
        assert gradient is not None
        if not gradient.is_contiguous():
            gradient = self._parameters[name].grad = gradient.contiguous()
        return gradient
