"""RunSpec: what it takes to claim, order, run, time, record and judge a run, whatever trains it.

Two kinds of plans answer as one: ``RunPlan``, of this package's own trainer, and ``CommandPlan``, of any
command. What only one of them has is read where that one is prepared and trained.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol, Self, TypeVar

from sweepkit.config.choices import Device
from sweepkit.config.schema import LauncherConfig, RunConfig


class RunSpec(Protocol):
    """A run as launching, results, promotion and status see it; None: not known before it has run."""

    @property
    def run_id(self) -> str: ...
    @property
    def variant_id(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def pair_key(self) -> str: ...
    @property
    def compile_key(self) -> str: ...
    @property
    def training_id(self) -> str: ...
    @property
    def evaluation_key(self) -> str: ...
    @property
    def depth(self) -> int | None: ...
    @property
    def num_steps(self) -> int | None: ...
    @property
    def total_tokens(self) -> int | None: ...
    @property
    def total_flops(self) -> int | None: ...
    @property
    def estimated_peak_memory_gib(self) -> float | None: ...
    @property
    def estimated_gpu_hours(self) -> float | None: ...
    @property
    def device(self) -> Device: ...
    @property
    def keep_checkpoints(self) -> bool: ...
    @property
    def launcher(self) -> LauncherConfig: ...
    @property
    def settings(self) -> dict[str, Any]: ...
    @property
    def tree(self) -> str | None: ...
    @property
    def config(self) -> RunConfig | None: ...
    def evaluated_as(self, other: Self) -> Self: ...


Spec = TypeVar("Spec", bound=RunSpec)


def execution(plan: RunSpec, launcher: LauncherConfig | None = None) -> RunConfig:
    """A configuration that is carried out as a plan is, or by another launcher.

    The plan's own; of one that has none, what all others have by default.
    """
    return replace(plan.config or RunConfig(), launcher=launcher or plan.launcher)
