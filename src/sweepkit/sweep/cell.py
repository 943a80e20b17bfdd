"""A cell: one run of a sweep, and where it stands in it."""

from __future__ import annotations

from dataclasses import dataclass, field

from sweepkit.plan.command_plan import CommandPlan, Plan, own
from sweepkit.plan.run_plan import RunPlan

#: Roles of a cell.
REFERENCE = "reference"
VARIANT = "variant"
#: The reference at another horizon, whose labels are ``reference@0.5x`` and the like.
HORIZON = "horizon"


@dataclass(frozen=True)
class Cell:
    """One run of a sweep: a variant at a rung with a seed (the plan's); ``number`` counts the reference's."""

    variant: str
    variant_key: str
    role: str  # REFERENCE, VARIANT or HORIZON
    rung: str
    plan: Plan
    levels: dict[str, str] = field(default_factory=dict)  # axis → level, for the axes that have one
    number: int = 0

    @property
    def own(self) -> RunPlan:
        """The plan, where it is known to be of this package's trainer."""
        return own(self.plan)

    @property
    def code(self) -> str | None:
        """What its code was frozen as, of a command what it was frozen of; None: it is the reference's."""
        return self.plan.program.of or None if isinstance(self.plan, CommandPlan) else self.plan.config.code

    @property
    def label(self) -> str:
        """``d2 reference seed 1``, and which of them where it is not the first of that seed."""
        return f"{self.rung} {self.variant} seed {self.plan.seed}" + (
            f" ({self.number + 1})" if self.number else ""
        )
