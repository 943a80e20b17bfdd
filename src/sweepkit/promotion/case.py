"""What is known of each variant on one rung when it is judged: effect, axes, stability, corrected p.

A variant's p is the largest over the axes that count: all of them on the last rung, those that ask for
superiority below it. Variants that are no candidates are a family of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from sweepkit.analysis import axes, calibration, effects, matched, multiplicity, replicates, suspicion
from sweepkit.analysis import scores as scoring
from sweepkit.analysis.axes import Axis
from sweepkit.analysis.calibration import Calibration
from sweepkit.analysis.effects import Effect
from sweepkit.analysis.replicates import Replicates
from sweepkit.analysis.scores import Score
from sweepkit.analysis.stability import Divergence
from sweepkit.promotion import doubts, looks
from sweepkit.promotion.doubts import Doubts
from sweepkit.results.columns import REFERENCE
from sweepkit.sweep.decision import SUPERIOR, DecisionRule


@dataclass(frozen=True)
class Case:
    """All that is known of one variant on one rung when it is judged."""

    variant: str
    runs: Replicates
    effect: Effect
    axes: dict[str, Axis]
    divergence: Divergence
    p: float  # what is corrected; 1 where there is none
    p_corrected: float
    metric_p_corrected: float  # the same of the metric alone, with no clock in it
    correction: str  # step-down Dunnett or Holm
    num_variants: int
    scores: list[Score]  # on the last rung, those that the rule names
    doubts: Doubts

    @property
    def gain(self) -> float:
        """Estimated improvement, positive is better; minus infinity where there is none."""
        return -self.effect.effect if self.effect.effect is not None else float("-inf")

    @property
    def shrunken_gain(self) -> float:
        """The improvement with its luck taken out."""
        return -self.effect.shrunk if self.effect.shrunk is not None else float("-inf")

    @property
    def is_measured(self) -> bool:
        """Whether the noise is known well enough to judge by."""
        known = self.effect.noise_source != calibration.OWN or self.effect.method != effects.POOLED
        return known or self.effect.df >= calibration.MIN_DF

    @property
    def is_reference_seen(self) -> bool:
        """Whether the reference's own runs would have shown that it is off, or it was calibrated."""
        is_calibrated = self.effect.noise_source in (calibration.SHRUNK, calibration.CALIBRATED)
        return is_calibrated or self.effect.seeds >= doubts.MIN_SEEDS


def cases(
    rows: pd.DataFrame,
    complete: pd.DataFrame,
    decision: DecisionRule,
    is_last: bool,
    known: Calibration | None,
    apart: Sequence[str],
) -> list[Case]:
    """One a variant, in the order of ``rows``.

    Args:
        rows: of one rung, with what is no measurement blanked; the reference at its own horizon alone.
        complete: the complete runs, the reference's other horizons among them.
        decision, is_last, apart: as for ``gate.decide``.
        known: the noise measurement that serves this rung.
    """
    found = effects.effects(rows, decision.metric, decision.alpha, known=known, apart=apart)
    runs = replicates.of_each_variant(rows, decision.metric, replicates.num_hosts(rows))
    base = runs.get(REFERENCE, Replicates([], {}, {}, []))
    by_axis = _axes(rows, complete, found, decision, known, is_last)
    p_of = _p_values(found, by_axis, is_last)

    def judged(part: pd.DataFrame) -> tuple[list[Effect], dict[str, float]]:
        there = effects.effects(part, decision.metric, decision.alpha, known=known, apart=apart)
        done = complete.loc[complete["seed"].isin(part["seed"]), read.columns]
        by_axis = _axes(part, done, there, decision, known, is_last, told=False)
        return there, _p_values(there, by_axis, is_last)

    read = rows[rows.columns.intersection([*axes.READ, decision.metric], sort=False)]
    if is_last and decision.looks:
        p_of |= looks.sequential(read, decision.looks, lambda part: judged(part)[1])
    suspect = suspicion.suspect(rows, decision.metric)
    left_out = doubts.without_each(read, decision, apart, judged)
    scored = [
        scoring.scores(rows, name, margin, decision.alpha)
        for name, margin in (decision.scores.items() if is_last else ())
    ]
    built: dict[str, Case] = {}
    for are_apart in (False, True):
        family = [item for item in found if (item.variant in apart) is are_apart]
        axes_of = [{axis: result[item.variant] for axis, result in by_axis.items()} for item in family]
        p_values = [p_of[item.variant] for item in family]
        corrected, method = multiplicity.correct(family, p_values)
        of_the_metric, _ = multiplicity.correct(
            family, [_p({"steps": item["steps"]}, True) for item in axes_of]
        )
        for index, item in enumerate(family):
            built[item.variant] = Case(
                variant=item.variant,
                runs=runs[item.variant],
                effect=item,
                axes=axes_of[index],
                divergence=Divergence(*runs[item.variant].divergence, *base.divergence),
                p=p_values[index],
                p_corrected=corrected[index],
                metric_p_corrected=of_the_metric[index],
                correction=method,
                num_variants=len(family),
                scores=[result[item.variant] for result in scored],
                doubts=Doubts.of(runs[item.variant], base, suspect, left_out.get(item.variant, [])),
            )
    return [built[item.variant] for item in found]


def _axes(
    rows: pd.DataFrame,
    complete: pd.DataFrame,
    found: list[Effect],
    decision: DecisionRule,
    known: Calibration | None,
    is_last: bool,
    told: bool = True,
) -> dict[str, dict[str, Axis]]:
    """Axis → variant → how it did; on the frontier where ``complete`` has the reference's other horizons.

    Not ``told``: for the p that counts alone; clocks that enter none are not compared.
    """
    margin = decision.margins.given
    base = rows.loc[rows["variant"] == REFERENCE, decision.metric]
    mean = float(base.mean()) if base.notna().any() else None
    demand = decision.axes.judged
    judged = {"steps": axes.steps(found, demand["steps"], margin.get("steps", 0.0), decision.alpha, mean)}
    if "wall_clock" in demand and (told or is_last or demand["wall_clock"] == SUPERIOR):
        judged["wall_clock"] = axes.wall_clock(
            complete, demand["wall_clock"], margin.get("wall_clock", 0.0), decision.alpha,
            names=[item.variant for item in found], told=told,
        )  # fmt: skip
    if "flops" in demand:
        judged["flops"] = axes.flops(rows, demand["flops"], margin.get("flops", 0.0))
    judged = axes.at_own_steps(judged, complete)
    held = matched.matched(complete, decision.metric, decision.alpha, margin, known=known)
    return axes.at_equal_cost(judged, held, decision.alpha)


def _p_values(found: list[Effect], by_axis: dict[str, dict[str, Axis]], is_last: bool) -> dict[str, float]:
    return {
        item.variant: _p({axis: result[item.variant] for axis, result in by_axis.items()}, is_last)
        for item in found
    }


def _p(found: dict[str, Axis], is_last: bool) -> float:
    """The largest p over the axes that count: all on the last rung, those with superiority below it."""
    counted = [axis for axis in found.values() if is_last or axis.demand == SUPERIOR]
    p_values = [1.0 if axis.p is None else axis.p for axis in counted]
    return max(p_values, default=1.0)
