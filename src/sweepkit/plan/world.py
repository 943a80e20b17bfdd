"""How the batch of a step is shared among the ranks that train a run together."""

from __future__ import annotations

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
