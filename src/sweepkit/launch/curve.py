"""The training loss of one run along its schedule, read as its metrics.jsonl grows."""

from __future__ import annotations

import math
from pathlib import Path

from sweepkit import fsio, sealed

_WINDOW = 0.05  # of the schedule: single steps are too noisy to compare


class Curve:
    """Loss by fraction of the schedule; a step that was logged twice has its later loss."""

    def __init__(self, path: Path, num_steps: int) -> None:
        self.num_steps = num_steps
        self.last_step = 0
        self._path = path
        self._offset = 0
        self._losses: dict[int, float] = {}
        self.read()

    def read(self) -> None:
        """Take in what was appended since the last call."""
        text = fsio.read_from(self._path, self._offset)
        whole = text[: text.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            row = sealed.of_line(line, fsio.owner(self._path))  # None: a killed writer
            if row is not None and row.get("loss") is not None:
                self._losses[row["step"]] = float(row["loss"])
                self.last_step = max(self.last_step, row["step"])

    def has_reached(self, frac: float) -> bool:
        """Whether the run has done that part of its schedule."""
        return self.last_step >= self._step(frac)

    def loss_at(self, frac: float) -> float | None:
        """Mean over the twentieth of the schedule before ``frac``; None where the run is not there yet."""
        if not self.has_reached(frac):
            return None
        end = self._step(frac)
        known = {step: loss for step, loss in self._losses.items() if step <= end}
        if not known:
            return None
        near = [loss for step, loss in known.items() if step > end - _WINDOW * self.num_steps]
        return math.fsum(near) / len(near) if near else known[max(known)]

    def _step(self, frac: float) -> int:
        return max(1, math.ceil(frac * self.num_steps - 1e-6))
