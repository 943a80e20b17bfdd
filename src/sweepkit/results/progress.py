"""Where a run is, as its process says once a second."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Where a living process said that it is, at most a second ago or so. None: not known."""

    phase: str = "starting"
    step: int | None = None
    num_steps: int | None = None
    tokens_per_s: float | None = None
    eta_s: float | None = None
    loss: float | None = None
    updated_at: str | None = None
