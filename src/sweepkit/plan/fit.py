"""Whether a run fits into the memory of its device."""

from __future__ import annotations

from sweepkit.plan.run_plan import RunPlan

_SLACK = 1.25  # estimates are within a quarter of what runs on a CPU were measured to take


def check(plan: RunPlan, device: str, there_gib: float | None) -> None:
    """Refuse what cannot fit before anything is computed: the kernel would kill it, others perhaps too.

    Args:
        device: its name, for the message.
        there_gib: all the memory that ``device`` has; None where it is not known.

    Raises:
        MemoryError: the run would need far more.
    """
    needed_gib = plan.estimated_peak_memory_gib
    if there_gib is not None and needed_gib > _SLACK * there_gib:
        raise MemoryError(f"the run needs about {needed_gib:.1f} GiB, {device} has {there_gib:.1f} GiB")
