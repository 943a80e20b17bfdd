"""Says which fields of a command line nothing reads: they stand in no run's name, and change nothing."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence

from sweepkit.config.facts import Field
from sweepkit.errors import Notice
from sweepkit.plan import build
from sweepkit.plan.run_plan import RunPlan
from sweepkit.sweep import set_fields


def say(overrides: Sequence[str], plans: Iterable[RunPlan]) -> None:
    """A notice for every field that an override names and none of the runs reads."""
    given = {set_fields.key(item): item for item in overrides}
    left: dict[str, Field] | None = None
    for plan in {plan.variant_id: plan for plan in plans}.values():
        here = {field.key: field for field in build.unread(plan, given if left is None else left)}
        left = here if left is None else {name: left[name] for name in here}
        if not left:
            return
    for name, field in (left or {}).items():
        conditions = ", and ".join(map(str, field.facts.when))
        warnings.warn(
            f"{given[name]} has no effect here: it is read where {conditions}", Notice, stacklevel=2
        )
