"""Which run a worker takes next: a pure function of what is left and who is busy with what.

Compiling costs more than most small runs, so a worker stays with compiled shapes it already has; without
any left it opens a shape nobody else is on; when every shape has someone it joins where the most work is
left for each. Within a shape the longest run goes first, so that workers end at about the same time.

Runs that take much longer than compiling are done seed by seed instead, in the order asked for, so that the
reference runs among the variants: clocks drift, and what ran an hour apart cannot be compared.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sweepkit.plan.run_spec import RunSpec, Spec

_LONG_GPU_HOURS = 0.1  # six minutes on one GPU; compiling takes about one


def next_run(
    candidates: Sequence[Spec], *, last_key: str | None, compiled: Collection[str], busy: Mapping[str, int]
) -> Spec:
    """The run to take next.

    Args:
        candidates: runs that may be started now, in the order asked for; not empty.
        last_key: compile_key of this worker's last run.
        compiled: every compile_key this worker has compiled.
        busy: compile_key -> how many other workers are running it now.
    """
    if outlast_compiling(candidates):
        candidates = [plan for plan in candidates if plan.seed == candidates[0].seed]
    work: dict[str, float] = {}
    for plan in candidates:
        work[plan.compile_key] = work.get(plan.compile_key, 0.0) + (plan.total_flops or 0)

    def preference(key: str) -> tuple[bool, bool, bool, float]:
        others = busy.get(key, 0)
        return key == last_key, key in compiled, others == 0, work[key] / (1 + others)

    best = max(work, key=preference)  # the first asked for among equals
    return max(
        (plan for plan in candidates if plan.compile_key == best), key=lambda plan: plan.total_flops or 0
    )


def outlast_compiling(plans: Sequence[RunSpec]) -> bool:
    """Whether runs take so much longer than compiling that they are done in the order asked for."""
    return max((plan.estimated_gpu_hours or 0.0 for plan in plans), default=0.0) >= _LONG_GPU_HOURS


def grouped(plans: Sequence[Spec]) -> list[Spec]:
    """``plans`` with equal compile_keys next to each other, otherwise in the order asked for."""
    first: dict[str, int] = {}
    for position, plan in enumerate(plans):
        first.setdefault(plan.compile_key, position)
    return sorted(plans, key=lambda plan: first[plan.compile_key])
