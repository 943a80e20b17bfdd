"""What the optimizer asks of an update rule, whatever the rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from sweepkit.optim.schedule import Now
from sweepkit.plan.run_plan import RunPlan

#: Parameters with their names.
Members = Sequence[tuple[str, nn.Parameter]]


@dataclass(frozen=True)
class Setting:
    """What a rule is made from.

    Attributes:
        plan: scaled learning rates, weight decays, switches.
        compute_dtype: of activations.
        compile_options: for ``torch.compile``, where that pays; None: do not compile.
    """

    plan: RunPlan
    compute_dtype: torch.dtype
    compile_options: Mapping[str, Any] | None


class Update(Protocol):
    """Parameters that are updated together, and what their rule keeps of them."""

    def set_step(self, now: Now) -> None:
        """Set this step's scheduled values."""
        ...

    def step(self) -> None:
        """Update every parameter from its gradient."""
        ...

    def state(self) -> Iterator[tuple[str, Tensor]]:
        """(parameter.name of the state, tensor) of all that must be saved; the tensors are the live ones."""
        ...
