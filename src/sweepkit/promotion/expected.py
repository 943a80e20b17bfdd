"""What a frozen plan can be expected to show, before anything is spent: its power at the last rung.

The chance of a verdict follows from the number of variants and seeds, the level and the noise that was
measured beforehand. Two questions are kept apart: whether an effect is *shown* to be there, and whether
it is *adopted*, which also asks that its shrunken estimate reach min_effect; an effect of exactly
min_effect does so half the time at best, however many seeds there are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scipy import special

from sweepkit import errors
from sweepkit.analysis import calibration_file, dunnett, power
from sweepkit.analysis.calibration import LEVELS, PAIRS, Calibration
from sweepkit.config import sources
from sweepkit.config.schema import RungConfig
from sweepkit.plan import text
from sweepkit.plan.run_plan import RunPlan
from sweepkit.printable import counted, degrees
from sweepkit.results.columns import REFERENCE, is_reference
from sweepkit.sweep import expand, frozen, last_rung, reference_runs
from sweepkit.sweep.cell import Cell
from sweepkit.sweep.decision import DecisionRule
from sweepkit.sweep.file import AUTO, SweepFile

#: More seeds than this are not proposed.
MAX_SEEDS = 64


@dataclass(frozen=True)
class Power:
    """Of one rung's verdicts.

    Attributes:
        rung: its name.
        num_variants: the most that are compared there.
        seeds: replicates of each of them.
        reference_replicates: runs of the reference a seed.
        noise: what was measured under the rung's conditions, None where nothing was.
        shown: chance that an effect of min_effect is shown to be there.
        adopted: chance that an effect of twice min_effect is shown and reaches min_effect when shrunken.
        seeds_needed: replicates for ``shown`` to be 80%; None where more than ``MAX_SEEDS`` would be.
        seeds_needed_auto: the same with ``reference_replicates: auto``.
        unused: why no measurement serves although there are some.
    """

    rung: str
    num_variants: int
    seeds: int
    reference_replicates: int
    noise: Calibration | None
    shown: float | None
    adopted: float | None
    seeds_needed: int | None
    seeds_needed_auto: int | None = None
    unused: str = ""

    @property
    def is_enough(self) -> bool:
        """False only where it is known to be too little."""
        return self.shown is None or self.shown >= power.POWER


def of(
    cells: Sequence[Cell], rungs: Sequence[RungConfig], decision: DecisionRule, known: Sequence[Calibration]
) -> Power:
    """The power of the last rung.

    Args:
        cells: the plan's.
        rungs: its ladder, whose ``max_promoted`` limits how many variants come to the top.
        decision: the rule.
        known: all noise measurements.
    """
    last = rungs[-1]
    here = [cell for cell in cells if cell.rung == last.name]
    limits = [rung.max_promoted for rung in rungs[:-1] if rung.max_promoted is not None]
    num_variants = min([len({cell.variant for cell in here if not is_reference(cell.variant)}), *limits])
    reference = [cell for cell in here if cell.variant == REFERENCE]
    seeds = len({cell.plan.seed for cell in reference})
    own = max(cell.number for cell in reference) + 1
    noise = _serving(here, rungs, decision, known)
    if noise is None or num_variants == 0 or decision.min_effect == 0.0:
        why = _unused(here, rungs, decision, known) if noise is None else ""
        return Power(last.name, num_variants, seeds, own, noise, None, None, None, unused=why)

    def shown(n: int, replicates: int = own) -> float:
        return chance(decision.min_effect, n, num_variants, noise, decision.alpha, 0.0, replicates)

    def needed(replicates: int) -> int | None:
        return next((n for n in range(2, MAX_SEEDS + 1) if shown(n, replicates) >= power.POWER), None)

    wanted = decision.min_effect
    adopted = chance(2 * wanted, seeds, num_variants, noise, decision.alpha, wanted, own)
    auto = reference_runs.on_rung(AUTO, 2, num_variants)
    return Power(last.name, num_variants, seeds, own, noise, shown(seeds), adopted, needed(own), needed(auto))


def with_seeds(sweep: SweepFile, overrides: Sequence[str], results_dir: Path) -> SweepFile:
    """The sweep; where its seeds are ``auto``, with as many as show an effect of min_effect with 80% chance.

    A sweep that is frozen keeps the seeds it has.

    Raises:
        ConfigError: the noise was not measured, or no number of seeds would do.
    """
    if sweep.seeds:
        return sweep
    if sweep.name in frozen.frozen_names(results_dir):
        return replace(sweep, seeds=frozen.load_frozen(results_dir, sweep.name).seeds)
    trial = replace(sweep, seeds=(1, 2))
    rungs = expand.rungs_of(expand.ladder_of(trial, overrides))
    known = calibration_file.read(results_dir)
    found = of(expand.expand_all(trial, overrides), rungs, sweep.decision, known)
    if found.seeds_needed is None:
        unknown = found.noise is None
        raise errors.invalid(
            f"sweep {sweep.name}: seeds",
            "auto",
            "follow from measured noise" if unknown else f"come out as at most {MAX_SEEDS}",
            f"run sweepkit calibrate sweep={sweep.name} first" if unknown else "raise min_effect",
        )
    return replace(sweep, seeds=tuple(range(1, found.seeds_needed + 1)))


def chance(
    effect: float,
    seeds: int,
    num_variants: int,
    noise: Calibration,
    alpha: float,
    min_effect: float,
    reference_replicates: int = 1,
) -> float:
    """Chance that a true improvement is shown (and its shrunken estimate reaches ``min_effect``).

    The noise has the calibration's degrees of freedom and the sweep's own, as in a verdict. The first of the
    step-down steps is taken, which holds whatever the other variants do.
    """
    if seeds < 1 or num_variants < 1:
        return 0.0
    df = noise.df + seeds * (num_variants + reference_replicates - 1) - num_variants
    error = noise.sd * math.sqrt((1.0 + 1.0 / reference_replicates) / seeds)
    wanted = dunnett.critical(alpha, num_variants, df, dunnett.rho(reference_replicates)) * error
    # shrunken alone: estimate × (1 - error² / estimate²) ≥ min_effect
    large = (min_effect + math.sqrt(min_effect**2 + 4.0 * error**2)) / 2.0 if min_effect else 0.0
    threshold = max(wanted, large)
    return 1.0 - float(special.nctdtr(df, effect / error, threshold / error))


def _serving(
    here: Sequence[Cell], rungs: Sequence[RungConfig], decision: DecisionRule, known: Sequence[Calibration]
) -> Calibration | None:
    """The measurement that fits the reference's plan; hardware and dtype are the runs' to find out."""
    plan = next(cell.plan for cell in here if cell.variant == REFERENCE)
    if not isinstance(plan, RunPlan):
        return None  # nothing is calibrated for a command
    metric = last_rung.metric(decision, rungs, plan.config)
    wanted = (metric, plan.depth, text.label(plan), plan.total_tokens)
    known = [item for item in known if item.sources in ("", sources.digest())]
    fitting = [item for item in known if (item.metric, item.depth, item.dataset, item.total_tokens) == wanted]
    fitting = [item for item in fitting if item.of == (PAIRS if _is_paired(here) else LEVELS)]
    return max(fitting, key=lambda item: (item.df, item.measured_at), default=None)


def _is_paired(here: Sequence[Cell]) -> bool:
    """Whether any variant sees the tokens of the reference."""
    base = {cell.plan.pair_key for cell in here if cell.variant == REFERENCE}
    return any(cell.plan.pair_key in base for cell in here if not is_reference(cell.variant))


def _unused(
    here: Sequence[Cell], rungs: Sequence[RungConfig], decision: DecisionRule, known: Sequence[Calibration]
) -> str:
    """Why none of the measurements serves; nothing where there are none."""
    plan = next(cell.plan for cell in here if cell.variant == REFERENCE)
    if not isinstance(plan, RunPlan):
        return ""
    wanted = {
        "metric": last_rung.metric(decision, rungs, plan.config),
        "depth": plan.depth,
        "dataset": text.label(plan),
        "total_tokens": plan.total_tokens,
        "of": PAIRS if _is_paired(here) else LEVELS,
    }
    if not known:
        return ""
    nearest = max(known, key=lambda item: sum(getattr(item, name) == wanted[name] for name in wanted))
    apart = [
        f"{name.replace('total_', '')} {getattr(nearest, name)} instead of {value}"
        for name, value in wanted.items()
        if getattr(nearest, name) != value
    ]
    return f"the nearest calibration (SD {nearest.sd:.5f}) is of {', '.join(apart)}"


def describe(found: Power, decision: DecisionRule) -> str:
    """In sentences."""
    start = (
        f"rung {found.rung}: {counted(found.num_variants, 'variant')} at most, {counted(found.seeds, 'seed')}"
    )
    if found.reference_replicates > 1:
        start += f" (the reference runs {found.reference_replicates} times with each)"
    if found.noise is None:
        return (
            f"{start}; power unknown, for the noise was not measured"
            + (f" under its conditions: {found.unused}\n" if found.unused else "\n")
            + "measure it: sweepkit calibrate sweep=NAME (a verdict needs it, or four degrees of freedom)"
        )
    if found.shown is None or found.adopted is None:
        return f"{start}; min_effect is 0, so there is no effect to have power for"
    low, high = found.noise.sd_interval()
    needed = counted(found.seeds_needed, "seed") if found.seeds_needed else f"more than {MAX_SEEDS} seeds"
    if found.seeds_needed_auto and found.seeds_needed_auto < (found.seeds_needed or MAX_SEEDS + 1):
        needed += f" ({found.seeds_needed_auto} with reference_replicates: auto)"
    return (
        f"{start}; noise {found.noise.sd:.5f} ({low:.5f} to {high:.5f}, {degrees(found.noise.df)}, "
        f"{found.noise.measured_at[:10]})\n"
        f"an effect of min_effect {decision.min_effect:g} is shown with {found.shown:.0%} chance, one of "
        f"twice that is adopted with {found.adopted:.0%}; 80% to show min_effect takes {needed}"
    )
