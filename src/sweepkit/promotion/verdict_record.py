"""What a decision is: one Verdict a variant and rung, one Promotion a ladder.

Both are plain values that survive JSON unchanged. Whatever was measured with a clock stands apart
(``evidence.axes["wall_clock"]``, ``costs.csv``), because two runs of the same plan agree on losses and not on
seconds: everything else here is the same on every rerun.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from sweepkit.analysis.axes import Axis
from sweepkit.analysis.effects import Effect
from sweepkit.analysis.scores import Score
from sweepkit.analysis.stability import Divergence
from sweepkit.analysis.transfer import TransferRow
from sweepkit.config.facts import fact
from sweepkit.promotion.doubts import Doubts
from sweepkit.sweep.decision import DecisionRule
from sweepkit.sweep.seen import Judgement

if TYPE_CHECKING:
    import pandas as pd


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
class Evidence:
    """The numbers behind a verdict, losses turned back into the metric.

    Attributes:
        metric: what was compared.
        run_ids, reference_run_ids: the complete runs.
        against, missing, stopped: run → what happened to it; stopped for futility.
        effect: what was decided by.
        num_variants: judged together, for which p is corrected.
        p: the largest over the axes that count; 1 where there is none.
        metric_p_corrected: of the metric alone, with no clock in it.
        correction: its name.
        axes: the metric at equal steps, wall_clock and flops.
        scores: on the last rung, those that the rule names.
        mixed_environments: what differed between the runs, where that was allowed.
        usual_metric, usual_effect: of the rungs below, where the last is decided by another metric.
        after_the_fact: what had been judged before with these runs.
    """

    metric: str
    run_ids: list[str]
    reference_run_ids: list[str]
    against: dict[str, str]
    missing: dict[str, str]
    divergence: Divergence
    divergence_p: float
    num_variants: int
    effect: Effect
    p: float
    p_corrected: float
    metric_p_corrected: float
    correction: str
    axes: dict[str, Axis]
    doubts: Doubts
    scores: list[Score]
    mixed_environments: str | None = None
    usual_metric: str | None = None
    usual_effect: Effect | None = None
    after_the_fact: list[Judgement] = field(default_factory=list)
    stopped: dict[str, str] | None = fact(None, "where there are any", is_sparse=True)

    @property
    def own_runs(self) -> set[str]:
        """The variant's runs that have ended."""
        return {*self.run_ids, *self.against, *self.missing, *(self.stopped or ())}


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
    """

    variant: str
    rung: str
    outcome: Outcome
    climbs: bool
    reasons: list[str]
    evidence: Evidence
    notes: list[str] = field(default_factory=list)
    unselected: bool = False

    @property
    def effect(self) -> Effect:
        """What was decided by."""
        return self.evidence.effect

    @property
    def followed(self) -> Effect:
        """The effect on the text that all rungs are evaluated on, by which a variant is followed up."""
        return self.evidence.usual_effect or self.evidence.effect


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

    def to_frame(self) -> pd.DataFrame:
        """All verdicts as a table, one row a variant and rung (``verdicts_table.py``)."""
        from sweepkit.promotion import verdicts_table

        return verdicts_table.of(verdict for rung in self.rungs for verdict in rung.verdicts)
