"""Python's garbage collector, out of the way of the training steps.

A collection walks every object torch has ever made: pauses of half a second (methodology §6). So after
the first step everything is collected and frozen and the collector switched off; the loop collects by
hand now and then. Several runs share a process, so leaving puts back what was there; what somebody else has
frozen could not be put back, and is walked by no collection already: then nothing more is frozen.
"""

from __future__ import annotations

import gc


class FrozenGarbage:
    """A context; ``after_step`` is called once a step."""

    def __init__(self, every_steps: int) -> None:
        """``every_steps``: collect by hand that often; 0 for never."""
        self._every_steps = every_steps
        self._was_enabled = gc.isenabled()
        self._was_frozen = gc.get_freeze_count() > 0
        self._steps = 0

    def __enter__(self) -> FrozenGarbage:
        return self

    def after_step(self) -> None:
        """Freeze after the first step, collect by hand every so many after it."""
        self._steps += 1
        if self._steps == 1:
            gc.collect()
            if not self._was_frozen:
                gc.freeze()
            gc.disable()
        elif self._every_steps and self._steps % self._every_steps == 0:
            gc.collect()

    def __exit__(self, *error: object) -> None:
        if self._steps and not self._was_frozen:
            gc.unfreeze()
        if self._was_enabled:
            gc.enable()
