"""The three axes of a comparison: the metric at equal steps, wall-clock time and training FLOPs.

Each axis answers its demand with ``met``, ``failed`` or ``unresolved``, a one-sided p and a sentence.

* steps: the metric's effect. ``superior``: below zero. ``not_worse``: not above the margin. A variant that
  took more steps than the reference has shown nothing at equal steps: it is held against the frontier where
  there is one, counts where its FLOPs are known not to be higher (a smaller batch), and else is unresolved.
* wall clock: median step time × steps, so that compiling, evaluating and checkpointing stay apart; compared
  as a ratio, with hosts and moments in the error of its logarithm (``step_time.py``), among runs of one
  hardware and concurrency alone. "Not worse" has to be shown (non-inferiority at alpha) and so does "worse";
  between the two it is unresolved. A variant that runs the reference's own compiled
  program (equal ``compile_key``) on the same tokens for as many steps does the same work: its wall clock is
  equal by construction, whatever a noisy machine measured, and the measured ratio is reported beside it.
* FLOPs: counted from the architecture, so exact.

Where the reference was run at other horizons too, a cost axis is decided by what the variant gets for its
cost (``matched.py``): better at equal time or FLOPs, or not worse than the reference with the margin's extra.
A cost that is equal by construction or exactly not higher needs no such trade.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
import pandas as pd

from sweepkit.analysis import step_time
from sweepkit.analysis.effects import SAME, Effect
from sweepkit.analysis.matched import COSTS, Matched
from sweepkit.analysis.step_time import StepTime
from sweepkit.results.columns import REFERENCE, is_reference
from sweepkit.sweep.decision import SUPERIOR

#: The columns that the axes are judged by, beside the metric.
READ = (*step_time.READ, "num_steps", "total_flops")


class Status(StrEnum):
    met = "met"
    failed = "failed"
    unresolved = "unresolved"


@dataclass(frozen=True)
class Axis:
    """One variant on one axis.

    Attributes:
        name: steps, wall_clock or flops.
        demand: ``superior`` or ``not_worse``.
        margin: how much worse still counts as not worse, as a ratio.
        status: whether the demand is shown to be met, shown to fail, or neither.
        p: one-sided, small when the demand is met; None without a measurement.
        by_construction: the answer follows from the plans and needs no measurement.
        ratio, low, high: variant over reference with its interval; None where not measured.
        sentence: all of this in words.
        matched: the variant on the reference's frontier, where the reference was run at other horizons.
        is_at_equal_cost: whether the metric at equal cost decided, instead of a ratio of costs; of steps,
            whether both took as many.
    """

    name: str
    demand: str
    margin: float
    status: Status
    p: float | None
    by_construction: bool
    ratio: float | None
    low: float | None
    high: float | None
    sentence: str
    matched: Matched | None = None
    is_at_equal_cost: bool = False


def wall_clock(
    rows: pd.DataFrame,
    demand: str,
    margin: float,
    alpha: float,
    reference: str = REFERENCE,
    names: Sequence[str] | None = None,
    told: bool = True,
) -> dict[str, Axis]:
    """Every variant's wall-clock time against the reference's.

    Args:
        rows: complete runs of one rung, those of the reference's other horizons among them:
            median_step_time_s (seconds), num_steps, what ``step_time.compare_each`` reads and what tells
            equal work.
        demand, margin: the decision rule's.
        alpha: one-sided level of "met" and of "failed".
        names: the variants; by default all in ``rows``.
        told: False: the ratio is left out where equal work settles the axis whatever it is.
    """
    rows = rows[rows.columns.intersection(list(READ), sort=False)]
    labels = rows["variant"].astype(str)
    if names is None:
        names = [name for name in dict.fromkeys(labels) if not is_reference(name, reference)]
    same_work = _same_work(rows, reference)
    places = labels.groupby(labels, sort=False).indices
    steps = rows["num_steps"].to_numpy(dtype=float, na_value=np.nan)
    log_steps = {str(name): math.log(float(steps[own].mean())) for name, own in places.items()}
    is_read = "median_step_time_s" in rows
    read = [name for name in names if is_read and (told or name not in same_work)]
    clocks = step_time.compare_each(rows, read, alpha, reference) if read else {}
    found = {}
    for name in names:
        timed = clocks.get(name) or StepTime(Effect.unknown(name, 1.0 - 2.0 * alpha))
        longer = log_steps.get(name, math.nan) - log_steps.get(reference, math.nan)
        effect = timed.effect if math.isnan(longer) else timed.effect.shifted(longer)
        found[name] = _wall_clock(replace(timed, effect=effect), demand, margin, alpha, name in same_work)
    return found


def flops(rows: pd.DataFrame, demand: str, margin: float, reference: str = REFERENCE) -> dict[str, Axis]:
    """Every variant's training FLOPs against the reference's; exact, from ``total_flops``."""
    names = [str(name) for name in dict.fromkeys(rows["variant"]) if name != reference]
    totals = (
        rows.groupby("variant")["total_flops"].mean()
        if "total_flops" in rows
        else pd.Series(index=[reference, *names], dtype=float)
    )
    return {name: _flops(totals.get(name), totals.get(reference), demand, margin) for name in names}


def at_equal_cost(
    judged: dict[str, dict[str, Axis]], held: Sequence[Matched], alpha: float
) -> dict[str, dict[str, Axis]]:
    """Axis → variant → axis, with the cost axes decided on the reference's frontier where it reaches."""
    found = {axis: dict(by_variant) for axis, by_variant in judged.items()}
    for item in held:
        if (plain := found.get(item.axis, {}).get(item.variant)) is None:
            continue
        plain = replace(plain, matched=item)
        settled = plain.by_construction and plain.status is Status.met and plain.demand != SUPERIOR
        decided = not settled and (item.axis != "steps" or not plain.is_at_equal_cost)
        found[item.axis][item.variant] = _at_equal_cost(plain, item, alpha) if decided else plain
    return found


def at_own_steps(
    judged: dict[str, dict[str, Axis]], rows: pd.DataFrame, reference: str = REFERENCE
) -> dict[str, dict[str, Axis]]:
    """Axis → variant → axis, with the steps of those that took other steps than the reference in words.

    Args:
        rows: of one rung; where they have no ``num_steps``, equal steps are taken for granted.
    """
    if "num_steps" not in rows:
        return judged
    means = rows.groupby("variant")["num_steps"].mean().astype("Float64")
    taken = {str(name): math.nan if pd.isna(steps) else float(steps) for name, steps in means.items()}
    base = taken.get(reference, math.nan)
    found = dict(judged["steps"])
    for name, axis in judged["steps"].items():
        mine = taken.get(name, math.nan)
        if mine == base or math.isnan(mine) or math.isnan(base):
            continue
        flops_axis = judged.get("flops", {}).get(name)
        is_paid = flops_axis is not None and flops_axis.status is Status.met
        said = f"after {mine:,.0f} steps, the reference after {base:,.0f}"
        now = replace(axis, is_at_equal_cost=False)
        if mine > base and not is_paid and axis.status is Status.met:
            said += "; not compared at equal steps, and not shown to cost no more FLOPs"
            now = replace(now, status=Status.unresolved, p=None)
        found[name] = replace(now, sentence="; ".join(filter(None, (axis.sentence, said))))
    return judged | {"steps": found}


def _at_equal_cost(plain: Axis, item: Matched, alpha: float) -> Axis:
    superior = plain.demand == SUPERIOR
    below = item.p if superior else item.p_margin
    above = item.p_not_better if superior else item.p_worse
    if below is None or above is None:
        said = item.note or "the noise at equal cost is not known"
        return replace(plain, sentence=f"{plain.sentence}; not decided at equal {COSTS[item.axis]}: {said}")
    status = Status.met if below <= alpha else Status.failed if above <= alpha else Status.unresolved
    limit = "better" if superior else f"not worse with {plain.margin:.1%} more of it"
    shown = {
        Status.met: f"shown to be {limit}",
        Status.failed: f"shown not to be {limit}",
        Status.unresolved: f"unresolved whether {limit}",
    }[status]
    sentence = f"at equal {COSTS[item.axis]} {shown}: {item.sentence}"
    return replace(
        plain, status=status, p=below, by_construction=False, sentence=sentence, is_at_equal_cost=True
    )


def steps(
    found: list[Effect], demand: str, margin: float, alpha: float, reference_mean: float | None
) -> dict[str, Axis]:
    """The metric itself as an axis; a margin is a ratio of ``reference_mean``."""
    return {effect.variant: _steps(effect, demand, margin, alpha, reference_mean) for effect in found}


def _steps(effect: Effect, demand: str, margin: float, alpha: float, reference_mean: float | None) -> Axis:
    bound = 0.0 if demand == SUPERIOR else margin * abs(reference_mean or 0.0)
    if effect.method == SAME and demand != SUPERIOR:
        said = "metric not worse: every run equals the reference's"
        return Axis(
            "steps", demand, margin, Status.met, 0.0, True, 1.0, None, None, said, is_at_equal_cost=True
        )
    status = _status(effect, bound, alpha)
    sentence = "" if demand == SUPERIOR else f"metric not worse by more than {margin:.1%}: {status.value}"
    ratio = None
    if reference_mean and effect.effect is not None:
        ratio = 1.0 + effect.effect / reference_mean
    p = effect.p_below(bound)
    return Axis("steps", demand, margin, status, p, False, ratio, None, None, sentence, is_at_equal_cost=True)


def _wall_clock(timed: StepTime, demand: str, margin: float, alpha: float, same_work: bool) -> Axis:
    effect = timed.effect
    ratio, low, high = (
        None if value is None else math.exp(value) for value in (effect.effect, effect.low, effect.high)
    )
    measured = "not measured" if ratio is None else f"measured ratio {ratio:.3f}"
    if low is not None and high is not None:
        measured += f" ({effect.confidence:.0%} interval {low:.3f} to {high:.3f})"
    measured += f" {timed.note}" if ratio is not None and timed.note else ""

    def axis(status: Status, p: float | None, structural: bool, sentence: str) -> Axis:
        return Axis("wall_clock", demand, margin, status, p, structural, ratio, low, high, sentence)

    if same_work:
        met = demand != SUPERIOR
        return axis(
            Status.met if met else Status.failed,
            0.0 if met else 1.0,
            True,
            "wall clock equal by construction: the reference's own compiled program, on the same tokens for "
            f"as many steps; {measured}",
        )
    if timed.is_refused:
        return axis(
            Status.unresolved,
            None,
            False,
            f"wall clock is not compared: {timed.note}, but must be the same; run both again with one "
            "launcher.num_workers on one kind of machine",
        )
    bound = 0.0 if demand == SUPERIOR else math.log1p(margin)
    status = _status(effect, bound, alpha)
    limit = "shorter" if demand == SUPERIOR else f"not worse by more than {margin:.1%}"
    shown = {
        Status.met: f"shown to be {limit}",
        Status.failed: f"shown to be not {limit}"
        if demand == SUPERIOR
        else f"worse by more than {margin:.1%}",
        Status.unresolved: f"unresolved, not known well enough to tell whether it is {limit}",
    }[status]
    return axis(status, effect.p_below(bound), False, f"wall clock {shown}: {measured}")


def _flops(mine: Any, base: Any, demand: str, margin: float) -> Axis:
    if mine is None or base is None or pd.isna(mine) or pd.isna(base) or float(base) == 0.0:
        return Axis(
            "flops", demand, margin, Status.unresolved, None, True, None, None, None, "FLOPs not recorded"
        )
    ratio = float(mine) / float(base)
    met = ratio < 1.0 if demand == SUPERIOR else ratio <= 1.0 + margin
    limit = "below 1" if demand == SUPERIOR else f"at most {1.0 + margin:.3f}"
    sentence = f"FLOPs ratio {ratio:.4f}, " + (limit if met else f"but must be {limit}")
    status = Status.met if met else Status.failed
    return Axis("flops", demand, margin, status, 0.0 if met else 1.0, True, ratio, ratio, ratio, sentence)


def _status(effect: Effect, bound: float, alpha: float) -> Status:
    below, above = effect.p_below(bound), effect.p_above(bound)
    if below is not None and below <= alpha:
        return Status.met
    if above is not None and above <= alpha:
        return Status.failed
    return Status.unresolved


def _same_work(rows: pd.DataFrame, reference: str) -> set[str]:
    """Variants whose every run has the reference's compiled program, step count and data order."""
    needed = ("compile_key", "pair_key", "num_steps")
    if any(name not in rows for name in needed) or rows[list(needed)].isna().any(axis=None):
        return set()
    works: dict[str, dict[Any, tuple[Any, ...]]] = {}
    for row in rows[["variant", "seed", *needed]].to_dict("records"):
        works.setdefault(str(row["variant"]), {})[row["seed"]] = tuple(row[name] for name in needed)
    return {name for name, mine in works.items() if _agree(mine, works.get(reference, {}))}


def _agree(mine: Mapping[Any, Any], base: Mapping[Any, Any]) -> bool:
    shared = mine.keys() & base.keys()
    return bool(shared) and all(mine[seed] == base[seed] for seed in shared)
