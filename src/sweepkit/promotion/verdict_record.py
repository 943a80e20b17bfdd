"""What a decision is: one Verdict a variant and rung, one Promotion a ladder.

Both are plain values that survive JSON unchanged. Whatever was measured with a clock stands apart
(``evidence["wall_clock"]``, ``costs.csv``), because two runs of the same plan agree on losses and not on
seconds: everything else here is the same on every rerun.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sweepkit.analysis.effects import Effect
from sweepkit.analysis.transfer import TransferRow
from sweepkit.sweep.decision import DecisionRule


class Outcome(StrEnum):
    """What a rung decided about one variant; ``adopt`` only on the last rung, ``promote`` only before it.

    A table of runs (``compare.py``) is no ladder and adopts nothing: at its deepest depth, which is judged as
    strictly as a last rung, the word is ``promote`` too.

    ``unselected``: not judged; it lost on a rung below and is run to measure transfer (``unselected.py``).
    """

    promote = "promote"
    adopt = "adopt"
    reject = "reject"
    inconclusive = "inconclusive"
    unselected = "unselected"


class Final(StrEnum):
    """What became of a variant when its ladder ended; ``pending`` while it has not."""

    adopted = "adopted"
    rejected = "rejected"
    inconclusive = "inconclusive"
    pending = "pending"


@dataclass(frozen=True)
class Verdict:
    """One variant judged against the reference on one rung.

    Attributes:
        variant: its label.
        rung: name of the rung.
        outcome: what was decided.
        climbs: whether it is run on the next rung (an inconclusive one may; see ``gate.decide``).
        reasons: plain sentences with their numbers, the decisive one first.
        notes: what else a reader wants to know: the noise, the cost axes, runs that are missing.
        unselected: whether it lost, and is run on the next rungs, or was on this one, to measure transfer.
        evidence: run_ids, reference_run_ids, n, noise, and one mapping an axis (steps, wall_clock, flops).
    """

    variant: str
    rung: str
    outcome: Outcome
    climbs: bool
    reasons: list[str]
    notes: list[str] = field(default_factory=list)
    unselected: bool = False
    evidence: dict[str, Any] = field(default_factory=dict)

    @property
    def effect(self) -> Effect:
        """What was decided by."""
        return Effect(**self.evidence["effect"])

    @property
    def followed(self) -> Effect:
        """The effect on the text that all rungs are evaluated on, by which a variant is followed up."""
        return Effect(**(self.evidence.get("usual_effect") or self.evidence["effect"]))


@dataclass(frozen=True)
class RungResult:
    """All verdicts of one rung and the digest of the runs they are based on."""

    rung: str
    depth: int | None
    verdicts: list[Verdict]
    inputs_sha256: str
    amendment: int = 0  # its number; 0 for a rung of the plan

    @property
    def survivors(self) -> list[str]:
        """Labels of the variants that climb."""
        return [verdict.variant for verdict in self.verdicts if verdict.climbs]

    @property
    def unselected(self) -> list[str]:
        """Labels of the variants that are run on the next rung to measure transfer alone."""
        return [verdict.variant for verdict in self.verdicts if verdict.unselected]


@dataclass(frozen=True)
class FinalVerdict:
    """How one variant ended: the outcome, the rung that settled it and why."""

    variant: str
    outcome: Final
    rung: str
    reasons: list[str]


@dataclass(frozen=True)
class Promotion:
    """A ladder's end, or where it stands while runs are missing (``finished`` is False).

    Attributes:
        sweep: its name.
        frozen_sha256: hash of the frozen plan and rule it was decided by.
        decision: the rule.
        finished: whether every variant has its final outcome.
        message: one sentence that says how the ladder ended or what it waits for.
        rungs: what each rung decided, in order.
        finals: one a variant, in the plan's order.
        transfer: the effect of every variant at every rung it reached.
    """

    sweep: str
    frozen_sha256: str
    decision: DecisionRule
    finished: bool
    message: str
    rungs: list[RungResult]
    finals: list[FinalVerdict]
    transfer: list[TransferRow]

    def of(self, outcome: Final) -> list[str]:
        """Labels of the variants that ended so."""
        return [final.variant for final in self.finals if final.outcome is outcome]
