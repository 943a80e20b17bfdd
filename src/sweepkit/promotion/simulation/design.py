"""The design of a promotion: how many variants and seeds each rung gets, and when it is looked at."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sweepkit.sweep.decision import DecisionRule

#: Seeds at the looks of the last rung.
LOOKS = (3, 5, 8)


@dataclass(frozen=True)
class Stage:
    """One rung of a design.

    Attributes:
        rung: which of the world's rungs.
        seeds: replicates of every variant; all the seeds of the last look.
        keep: the most variants that climb on; None on the last rung.
        looks: seeds at each interim look and at the end, on the last rung; empty for a single look.
        reference_replicates: runs of the reference a seed.
        is_searched: whether a search proposes its variants, of which single runs have to beat the reference.
    """

    rung: int
    seeds: int
    keep: int | None = None
    looks: tuple[int, ...] = ()
    reference_replicates: int = 1
    is_searched: bool = False


@dataclass(frozen=True)
class Design:
    """Stages from the bottom up, and the rule they are decided by."""

    stages: tuple[Stage, ...]
    decision: DecisionRule

    def describe(self) -> str:
        """``1 seed, best 40 climb; 2 seeds, best 8 climb; 4, 6, 8 seeds``."""
        parts = []
        for stage in self.stages:
            seeds = ", ".join(str(look) for look in stage.looks or (stage.seeds,))
            noun = "seed" if seeds == "1" else "seeds"
            often = f", reference ×{stage.reference_replicates}" if stage.reference_replicates > 1 else ""
            parts.append(f"{seeds} {noun}{often}" + (f", best {stage.keep} climb" if stage.keep else ""))
        return "; ".join(parts)


def default(
    num_variants: int, num_rungs: int, decision: DecisionRule, reference_replicates: int = 1
) -> Design:
    """The design that is recommended: single runs rank, and a few are decided on with fresh seeds.

    From rung to rung the square root of the variants goes on, never fewer than two, which together have the
    degrees of freedom that a verdict needs; the last rung has the seeds for it, looked at in three steps.
    More runs of the reference do not pay there: few variants share them, and fewer after every look.
    """
    stages = []
    for rung in range(num_rungs):
        is_last = rung == num_rungs - 1
        if is_last:
            stages.append(Stage(rung, LOOKS[-1], None, LOOKS, reference_replicates))
        else:
            num_variants = max(2, round(math.sqrt(num_variants)))
            stages.append(Stage(rung, 1, num_variants))
    return Design(tuple(stages), decision)
