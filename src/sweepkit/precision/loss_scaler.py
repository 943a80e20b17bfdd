"""Dynamic loss scaling for fp16 (arXiv 1710.03740).

The loss is multiplied by a scale before the backward pass, so that small gradients survive fp16, and the
gradients are divided by it before the step. Where one of them is not finite the step is skipped and the
scale halves; after 2,000 good steps in a row it doubles. With several processes the decision is one: a rank
that sees an overflow tells the others, because a step taken by some ranks only would part their weights.

torch's GradScaler does the same for torch's optimizers; its flag cannot be shared between ranks through its
public interface. The two kernels are the ones it calls.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from sweepkit.distributed.ranks import Ranks

_FIRST_SCALE = 2.0**16
_GROWTH, _BACKOFF, _GROWTH_INTERVAL = 2.0, 0.5, 2_000


class LossScaler:
    """One scale for the whole model."""

    def __init__(self, device: torch.device, ranks: Ranks | None = None) -> None:
        """``ranks``: those that step together; None for a run of one process."""
        self._ranks = ranks or Ranks()
        self._scale = torch.full((), _FIRST_SCALE, device=device)
        self._num_good = torch.zeros((), dtype=torch.int32, device=device)  # steps since the scale changed

    @property
    def scale(self) -> Tensor:
        """What the loss is multiplied by, fp32, 0-d; a tensor, so that nobody waits for the device."""
        return self._scale

    @torch.no_grad()
    def unscale(self, gradients: Iterable[Tensor]) -> bool:
        """Divide ``gradients`` by the scale, in place, and set the scale of the next step.

        Args:
            gradients: fp32, what this rank holds of them; every rank must call.

        Returns:
            Whether all of them, on all ranks, are finite. If not, the step must be skipped.
        """
        found_inf = torch.zeros((), device=self._scale.device)
        held = list(gradients)
        if held:
            torch._amp_foreach_non_finite_check_and_unscale_(held, found_inf, 1 / self._scale)
        self._ranks.max(found_inf)
        torch._amp_update_scale_(self._scale, self._num_good, found_inf, _GROWTH, _BACKOFF, _GROWTH_INTERVAL)
        return not found_inf.item()

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint must hold; the tensors are the live ones."""
        return {"scale": self._scale, "num_good": self._num_good}
