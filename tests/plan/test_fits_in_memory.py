"""A run that cannot fit is refused; one that may is not."""

from __future__ import annotations

import pytest

from sweepkit.config.compose import compose
from sweepkit.plan import cost
from sweepkit.plan.build import build


def test_a_run_far_beyond_the_memory_is_refused_with_both_numbers() -> None:
    plan = build(compose(["model=d12"]))
    needed_gib = plan.estimated_peak_memory_gib
    cost.check_memory(plan, 1, "a GPU", needed_gib)
    cost.check_memory(plan, 1, "a GPU", needed_gib / 1.9)  # the estimate may be off by as much
    cost.check_memory(plan, 2, "a GPU", 10.0)  # each keeps a part of the optimizer's state, unknown how much
    with pytest.raises(MemoryError, match=rf"needs about {needed_gib:.1f} GiB, a GPU has 10\.0 GiB"):
        cost.check_memory(plan, 1, "a GPU", 10.0)
