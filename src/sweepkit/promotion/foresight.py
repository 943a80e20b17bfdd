"""What a design can decide at all: the gate is asked about runs that it could not fail to see.

A remedy is checked before it is given or spent. Made-up runs, in which every variant is better by a thousand
times the noise, are judged by the rule itself; where even these are not adopted, no losses would be. So what
is foreseen follows the rule, whatever it asks for: degrees of freedom, seeds, a calibration.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from sweepkit import errors
from sweepkit.analysis import power
from sweepkit.analysis.calibration import KEY, Calibration
from sweepkit.plan.command_plan import CommandPlan
from sweepkit.printable import counted
from sweepkit.promotion import amend, expected, gate, table, verdict_file
from sweepkit.promotion.verdict_record import Outcome
from sweepkit.results.columns import REFERENCE
from sweepkit.sweep.amendments import MIN_SEEDS, level
from sweepkit.sweep.decision import STEPS_ALONE, DecisionRule
from sweepkit.sweep.frozen import Frozen

_HUGE, _NOISE, _LUCK = 1_000.0, 1e-3, 1e-2
#: Of the made-up noise; one that looks odd by chance is not to decide.
_DRAWS = 3


def can_decide(
    num_variants: int, seeds: int, reference_replicates: int, rule: DecisionRule, noise: Calibration | None
) -> bool:
    """Whether a last rung of this size could adopt anything.

    Args:
        reference_replicates: runs of the reference a seed.
        noise: the calibration that would serve, if there is one.
    """
    own = replace(
        rule, metric="val_bpb", last_metric=None, direction=None, unit=None,
        axes=STEPS_ALONE, looks=(), scores={}, scale_sensitive={},
    )  # fmt: skip
    serving = [replace(noise, metric="val_bpb")] if noise else []
    for draw in range(_DRAWS):
        rows = _obvious(num_variants, seeds, reference_replicates, noise, draw)
        rows = table.read(rows, REFERENCE, own)
        verdicts = gate.decide(rows, own, str(rows["rung"].iloc[0]), is_last=True, known=serving)
        if any(verdict.outcome is Outcome.adopt for verdict in verdicts):
            return True
    return False


def seeds_to_decide(
    num_variants: int, reference_replicates: int, rule: DecisionRule, noise: Calibration | None
) -> int | None:
    """The fewest seeds with which such a rung could adopt anything; None where no number would do."""
    counts = range(MIN_SEEDS, expected.MAX_SEEDS + 1)
    return next((n for n in counts if can_decide(num_variants, n, reference_replicates, rule, noise)), None)


def foreseen(
    found: expected.Power, rule: DecisionRule, name: str | None, is_climbed_to: bool = True
) -> str | None:
    """In a sentence where the last rung could decide nothing, whatever came out; None where it always can.

    Args:
        name: of a sweep whose noise can be calibrated; None of a command's, which nothing calibrates.
        is_climbed_to: whether there are rungs below, that fewer may climb from than are planned.
    """
    replicates = found.reference_replicates

    def decides(count: int) -> bool:
        return can_decide(count, found.seeds, replicates, rule, found.noise)

    first = 1 if is_climbed_to else max(1, found.num_variants)
    enough = next((count for count in range(first, found.num_variants + 1) if decides(count)), None)
    if enough == first or found.num_variants == 0:
        return None
    few = found.num_variants if enough is None else enough - 1
    needed = seeds_to_decide(few, replicates, rule, found.noise)
    who = counted(few, "variant")
    if enough is not None:  # the plan has enough; what climbs may be fewer
        who = f"as few as {who} (those drawn at random count)"
    takes = [counted(needed, "seed")] if needed else []
    takes += [f"the noise measured first (sweepkit calibrate sweep={name})"] if name else []
    seeds = f"{counted(found.seeds, 'seed')} {'leaves' if found.seeds == 1 else 'leave'}"
    return (
        f"rung {found.rung} decides nothing for {who}, whatever comes out: {seeds} too "
        f"little to measure the noise by; it takes {', or '.join(takes) or 'more variants'}"
    )


def check_amendment(
    frozen: Frozen,
    to_seeds: int,
    variants: Sequence[str],
    known: Sequence[Calibration],
    is_accepted: bool = False,
) -> None:
    """Refuse an amendment that could decide nothing, or is known to have little power, before α is spent.

    Args:
        to_seeds: how many seeds there shall be in all.
        variants: whose.
        known: the calibrations that serve the last rung.
        is_accepted: go on although the power is small.

    Raises:
        ConfigError: says how many seeds it would take.
    """
    there = amend.seeds_so_far(frozen)
    fresh, rung = to_seeds - there, frozen.rungs[-1].name
    number = len(frozen.amendments) + 1
    planned = frozen.rule_on(rung)
    rule = replace(planned, alpha=level(planned.alpha, number), looks=())
    again = [cell.number for cell in frozen.cells if cell.rung == rung and cell.variant == REFERENCE]
    replicates, noise = max(again, default=0) + 1, known[0] if known else None
    num_variants = len(variants)
    who = counted(num_variants, "variant")
    if not can_decide(num_variants, fresh, replicates, rule, noise):
        needed = seeds_to_decide(num_variants, replicates, rule, noise)
        takes = [f"write --amend-to {there + needed}"] if needed else []
        if not isinstance(frozen.cells[0].plan, CommandPlan):  # whose noise nothing calibrates
            takes += [f"measure the noise first (sweepkit calibrate sweep={frozen.name})"]
        raise errors.invalid(
            "--amend-to",
            to_seeds,
            f"leave enough to measure the noise by: {fresh} fresh seeds of {who} decide nothing, whatever "
            "comes out",
            ", or ".join(takes) or "give it more variants",
        )
    spread = noise or _own_noise(frozen, variants)
    if is_accepted or spread is None or rule.min_effect == 0.0:
        return

    def shown(count: int) -> float:
        return expected.chance(rule.min_effect, count, num_variants, spread, rule.alpha, 0.0, replicates)

    if (found := shown(fresh)) < power.POWER:
        enough = next((n for n in range(fresh, expected.MAX_SEEDS + 1) if shown(n) >= power.POWER), None)
        raise errors.invalid(
            "--amend-to",
            to_seeds,
            f"show an effect of min_effect {rule.min_effect:g} with 80% chance, and {fresh} fresh seeds of "
            f"{who} at α = {rule.alpha:g} show it with {found:.0%} (noise {spread.sd:.3g})",
            (f"write --amend-to {there + enough}" if enough else f"no {expected.MAX_SEEDS} seeds would do")
            + ", or accept it with --underpowered",
        )


def _own_noise(frozen: Frozen, variants: Sequence[str]) -> Calibration | None:
    """The noise that the last rung's verdicts rest on, as far as it was measured."""
    result = verdict_file.read(frozen).get(frozen.rungs[-1].name)
    found = [
        item.effect
        for item in (result.verdicts if result else ())
        if item.variant in variants and item.effect.noise_sd is not None and item.effect.df > 0
    ]
    if not found:
        return None
    best = max(found, key=lambda effect: effect.df)
    metric = frozen.rule_on(frozen.rungs[-1].name).metric
    return Calibration(0, "", "", "", 0, metric, float(best.noise_sd or 0.0), int(best.df), "", ())


def _obvious(
    num_variants: int, seeds: int, reference_replicates: int, noise: Calibration | None, draw: int
) -> pd.DataFrame:
    """Runs of variants that are better beyond doubt, each with noise of its own and its seed's luck."""
    luck = random.Random(f"{draw} {num_variants} {seeds} {reference_replicates}")
    sd = noise.sd if noise else _NOISE
    names = [
        *[(REFERENCE, number) for number in range(reference_replicates)],
        *[(f"variant={place}", 0) for place in range(num_variants)],
    ]
    rows = []
    for seed in range(1, seeds + 1):
        shared = luck.gauss(0.0, _LUCK)
        for name, number in names:
            gain = 0.0 if name == REFERENCE else _HUGE * sd
            value = 10.0 + 2 * _HUGE * sd + shared - gain + luck.gauss(0.0, sd)
            rows.append(
                {
                    "variant": name, "seed": seed, "pair_key": f"order-{seed}", "state": "complete",
                    "run_id": f"{name}-{number}-s{seed}", "val_bpb": value,
                }
            )  # fmt: skip
    frame = pd.DataFrame(rows)
    return frame.assign(**{name: getattr(noise, name) for name in KEY}) if noise else frame
