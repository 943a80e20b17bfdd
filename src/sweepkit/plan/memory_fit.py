"""Whether a run fits into the memory of its device."""

from __future__ import annotations

from sweepkit.plan.run_plan import RunPlan

_SLACK = 2.0  # estimates are of the eager program; the compiler keeps fewer activations


def check(plan: RunPlan, num_ranks: int, device: str, there_gib: float | None) -> None:
    """Refuse what cannot fit before anything is computed: the kernel would kill it, others perhaps too.

    Args:
        num_ranks: several share the optimizer's state, and the estimate is of one: they are let through.
        device: its name, for the message.
        there_gib: all the memory that ``device`` has; None where it is not known.

    Raises:
        MemoryError: the run would need far more.
    """
    needed_gib = plan.estimated_peak_memory_gib
    if num_ranks == 1 and there_gib is not None and needed_gib > _SLACK * there_gib:
        raise MemoryError(f"the run needs about {needed_gib:.1f} GiB, {device} has {there_gib:.1f} GiB")
