"""How many ranks train a run together, and how the batch of a step is shared among them."""

from __future__ import annotations

import os

from sweepkit.config.schema import LauncherConfig
from sweepkit.errors import ConfigError
from sweepkit.plan.run_plan import RunPlan


def check(plan: RunPlan, num_ranks: int) -> None:
    """Raises ConfigError unless every rank gets as many whole micro-batches as the others."""
    unit = plan.device_batch_size * plan.sequence_len * num_ranks
    if plan.total_batch_size % unit == 0:
        return
    rows = plan.total_batch_size // (plan.sequence_len * num_ranks)
    fitting = [n for n in range(1, min(rows, plan.device_batch_size) + 1) if rows % n == 0]
    whole = plan.total_batch_size % (plan.sequence_len * num_ranks) == 0
    remedy = f"use horizon.device_batch_size={fitting[-1]}" if whole and fitting else "use fewer ranks"
    raise ConfigError(
        f"horizon.total_batch_size is {plan.total_batch_size} tokens, but must be a multiple of {unit} "
        f"(device_batch_size {plan.device_batch_size} × sequence_len {plan.sequence_len} × {num_ranks} ranks)"
        f"; {remedy}"
    )


def is_started() -> bool:
    """Whether something (torchrun, a Slurm task) has started this process as one of several ranks."""
    given = ("RANK", "MASTER_ADDR", "MASTER_PORT")
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and all(name in os.environ for name in given)


def is_follower() -> bool:
    """Whether this process is another of these ranks than the first, which leads."""
    return is_started() and os.environ["RANK"] != "0"


def num_ranks(launcher: LauncherConfig) -> int:
    """How many ranks train one run: as many as were started, else what the launcher is to start."""
    return int(os.environ["WORLD_SIZE"]) if is_started() else launcher.processes_per_run
