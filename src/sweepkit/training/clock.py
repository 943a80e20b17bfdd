"""The clocks of a run: they stop while something else runs and survive a restart.

``train_time_s`` sums the training steps (forward, backward, optimizer, waiting for data), without
compiling, evaluating, saving and diagnosing. The first ``min(10, num_steps // 2)`` steps do not count
(baseline model: training time counts from step 11 on; a shorter run would be left with nothing). All
values are cumulative over attempts: a checkpoint carries them, so steps that were lost with a killed
process and repeated count once, and the time a run did not run counts not at all.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

NUM_WARMUP_STEPS = 10


@dataclass
class Clock:
    """Seconds spent so far. ``step_times_s`` holds every counted step."""

    num_steps: int
    step_times_s: list[float] = field(default_factory=list)
    train_time_s: float = 0.0
    communication_time_s: float = 0.0  # of it, in which this rank waited for others
    setup_time_s: float = 0.0  # data, model, optimizer
    compile_time_s: float = 0.0
    eval_time_s: float = 0.0
    checkpoint_time_s: float = 0.0

    @property
    def num_skipped(self) -> int:
        """How many first steps do not count."""
        return min(NUM_WARMUP_STEPS, self.num_steps // 2)

    def add_step(self, step: int, seconds: float, communication_s: float = 0.0) -> None:
        """Count step ``step`` (from 1), unless it is one of the first."""
        if step > self.num_skipped:
            self.step_times_s.append(round(seconds, 7))
            self.train_time_s += seconds
            self.communication_time_s += communication_s

    @property
    def median_step_time_s(self) -> float | None:
        return statistics.median(self.step_times_s) if self.step_times_s else None

    @property
    def mean_step_time_s(self) -> float | None:
        return self.train_time_s / len(self.step_times_s) if self.step_times_s else None

    @contextlib.contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Add the time of the block to ``<name>_time_s``."""
        started = time.perf_counter()
        try:
            yield
        finally:
            field_name = f"{name}_time_s"
            setattr(self, field_name, getattr(self, field_name) + time.perf_counter() - started)
