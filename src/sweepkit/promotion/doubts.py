"""Why a rung's numbers may not be what they seem: the reference, lost runs, a single seed.

* A run of the reference that is out of line (``analysis/suspicion.py``): the verdict waits.
* A variant that lost a larger share of its runs than the reference is not promoted: they may be its worst.
* What would be shown without each of the seeds. That is evidence and decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from sweepkit.analysis import multiplicity
from sweepkit.analysis.effects import Effect
from sweepkit.analysis.replicates import Replicates
from sweepkit.analysis.suspicion import Suspect
from sweepkit.printable import counted
from sweepkit.results.columns import REFERENCE
from sweepkit.sweep.decision import SUPERIOR, DecisionRule

#: Two seeds cannot tell which of the reference's runs is off, nor whether it is noisier than its variants.
MIN_SEEDS = 3
#: Of more seeds no single one carries a verdict, and leaving each out takes its time: that of so many rows.
_MOST_SEEDS, _MOST_ROWS = 64, 500_000


@dataclass(frozen=True)
class LeftOut:
    """Without one seed: effect (as a loss), p over the axes, corrected, and whether that would show it."""

    seed: str
    effect: float | None
    p_corrected: float
    shown: bool


@dataclass(frozen=True)
class Doubts:
    """Of one variant.

    Attributes:
        suspect: the reference's run that is out of line.
        lost, runs: how many of its runs have no answer through no fault of theirs, of how many.
        reference_lost, reference_runs: the same of the reference.
        left_out: one a seed; empty with fewer than ``MIN_SEEDS``.
    """

    suspect: Suspect | None
    lost: int
    runs: int
    reference_lost: int
    reference_runs: int
    left_out: list[LeftOut]

    @classmethod
    def of(
        cls, runs: Replicates, base: Replicates, suspect: Suspect | None, left_out: list[LeftOut]
    ) -> Doubts:
        return cls(suspect, len(runs.missing), runs.total, len(base.missing), base.total, left_out)

    @property
    def lost_more(self) -> bool:
        """Whether it lost a larger share than the reference."""
        return self.lost * max(self.reference_runs, 1) > self.reference_lost * max(self.runs, 1)

    def turned(self, sign: int) -> Doubts:
        """The same of the metric times ``sign`` (1 or -1)."""
        left_out = [
            item if item.effect is None else replace(item, effect=sign * item.effect)
            for item in self.left_out
        ]
        suspect = self.suspect and replace(self.suspect, difference=sign * self.suspect.difference)
        return replace(self, suspect=suspect, left_out=left_out)


def without_each(
    rows: pd.DataFrame,
    decision: DecisionRule,
    apart: Sequence[str],
    judged: Callable[[pd.DataFrame], tuple[list[Effect], Mapping[str, float]]],
) -> dict[str, list[LeftOut]]:
    """Variant → the verdict on all axes that count without each of the reference's seeds, where few are.

    Args:
        judged: gives the effects of some of the rows, and each variant's largest p over its axes.
    """
    seeds = sorted(set(rows.loc[(rows["variant"] == REFERENCE) & rows[decision.metric].notna(), "seed"]))
    told: dict[str, list[LeftOut]] = {}
    is_told = MIN_SEEDS <= len(seeds) <= _MOST_SEEDS and len(seeds) * len(rows) <= _MOST_ROWS
    for seed in seeds if is_told else ():
        rest = rows[rows["seed"] != seed]
        found, p_of = judged(rest)
        for are_apart in (False, True):
            family = [item for item in found if (item.variant in apart) is are_apart]
            corrected, _ = multiplicity.correct(family, [p_of[item.variant] for item in family])
            for item, p in zip(family, corrected, strict=True):
                is_large = decision.axes.steps != SUPERIOR or (
                    item.shrunk is not None and -item.shrunk >= decision.min_effect
                )
                shown = p <= decision.alpha and is_large
                told.setdefault(item.variant, []).append(LeftOut(str(seed), item.effect, p, shown))
    return told


def waiting(suspect: Suspect, unit: str, sign: int) -> str:
    """What is wrong with the reference, and what to do."""
    off = sign * suspect.difference
    amount = f"{abs(off):.3g} {unit}".rstrip()
    how = f"by {amount}, {suspect.size_sd:.1f} SDs of a run's noise (p = {suspect.p:.1g})"
    if len(suspect.seeds) > 1:
        what = (
            f"the reference's runs with seeds {' and '.join(suspect.seeds)} disagree {how}: one of them is "
            "out of line, and nobody can say which"
        )
    else:
        makes = "better" if suspect.difference > 0.0 else "worse"
        what = (
            f"the reference's run with seed {suspect.seeds[0]} is too {'high' if off > 0.0 else 'low'} "
            f"{how}, beside its other seeds and this seed's other runs; it makes every variant look {makes}"
        )
    return (
        f"{what}: the verdict waits for fresh seeds of the reference and of every variant, judged without "
        "these (a last rung's come with sweepkit promote NAME --amend-to SEEDS)"
    )


def lost_runs(doubts: Doubts) -> str:
    """How many runs were lost."""
    return (
        f"lost {doubts.lost} of {counted(doubts.runs, 'run')}, the reference {doubts.reference_lost} of "
        f"{doubts.reference_runs}"
    )


def lost_more(doubts: Doubts) -> str:
    return (
        f"{lost_runs(doubts)}: not promoted until they have been run again, for the lost ones may be its "
        "worst (a sweep's with sweepkit promote NAME --retry-failed)"
    )


def leaning(doubts: Doubts, shown: bool, num_seeds: int) -> list[str]:
    """On which of its seeds the verdict leans."""
    if not doubts.left_out:
        untried = "not tried without each of its seeds: so many runs would take too long"
        return [untried] if shown and num_seeds >= MIN_SEEDS else []
    other = [item.seed for item in doubts.left_out if item.shown is not shown]
    if not other and not shown:
        return []
    if not other:
        return ["holds without any one of its seeds"]
    seeds = f"seed{'s' if len(other) > 1 else ''} {', '.join(other)}"
    each = " (each left out alone)" if len(other) > 1 else ""
    return [f"would {'not ' if shown else ''}be shown without {seeds}{each}"]
