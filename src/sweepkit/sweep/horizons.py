"""The reference at other horizons, and the order in which a rung's runs are made.

A candidate at equal time or FLOPs is held against what the reference reaches when it is given more or less of
them. So the reference is also run at multiples of the rung's horizon, with the same seeds, each to the end of
its own schedule. Only the number of steps changes: batch, learning rates and weight decay stay those of the
planned horizon, or two things would change at once.

Wall clock drifts with time and neighbours, so the reference is not run first and its variants later: every
seed is a block that holds them all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from sweepkit.config.schema import LadderConfig, RunConfig
from sweepkit.errors import invalid
from sweepkit.plan import build
from sweepkit.plan.run_plan import RunPlan
from sweepkit.sweep import reference_runs
from sweepkit.sweep.cell import HORIZON, Cell
from sweepkit.sweep.file import MULTIPLES, SweepFile


def wanted(sweep: SweepFile, ladder: LadderConfig | None) -> tuple[float, ...]:
    """The sweep file's multiples, else the ladder's."""
    if sweep.reference_horizons is not None or ladder is None:
        return sweep.reference_horizons or ()
    MULTIPLES.check("ladder.reference_horizons", ladder.reference_horizons, "")
    return tuple(ladder.reference_horizons)


def with_reference_horizons(
    cells: Sequence[Cell],
    multiples: Sequence[float],
    build: Callable[[RunConfig], RunPlan] = build.build,
) -> list[Cell]:
    """The cells of one rung, those of the reference's other horizons behind the reference's.

    Args:
        build: of the reference's code.

    Raises:
        ConfigError: a horizon comes out as long as the planned one, or without a step.
    """
    reference = [cell for cell in cells if cell.variant == cells[0].variant]
    first = [cell for cell in reference if cell.number == 0]
    added = [_at(cell, multiple, build) for multiple in sorted(multiples) for cell in first]
    return [*reference, *added, *cells[len(reference) :]]


def interleaved(cells: Sequence[Cell]) -> list[Cell]:
    """Seed by seed, in the order of the first variant's seeds; each with the reference's runs spread out."""
    found = []
    for seed in dict.fromkeys(cell.plan.seed for cell in cells):
        here = [cell for cell in cells if cell.plan.seed == seed]
        reference = [cell for cell in here if cell.variant == cells[0].variant]
        others = [cell for cell in here if cell.variant != cells[0].variant]
        for place, cell in enumerate(reference):
            start, end = (round(at * len(others) / len(reference)) for at in (place, place + 1))
            found += [cell, *others[start:end]]
    return found


def _at(cell: Cell, multiple: float, build: Callable[[RunConfig], RunPlan]) -> Cell:
    steps = round(multiple * cell.own.num_steps)
    if steps < 1 or steps == cell.plan.num_steps:
        raise invalid(
            "reference_horizons",
            multiple,
            f"give another number of steps than the {cell.plan.num_steps} of rung {cell.rung}, at least 1",
            "leave it out, or make the runs longer",
        )
    config = cell.own.config
    horizon = dataclasses.replace(config.horizon, num_steps=steps, target_flops=None)
    longer = dataclasses.replace(config, horizon=horizon)
    plan = reference_runs.plan(
        reference_runs.reseeded(longer), config.seed, config.init_seed is not None, build=build
    )
    label = f"{cell.variant}@{multiple:g}x"
    return dataclasses.replace(cell, variant=label, variant_key=label, role=HORIZON, plan=plan)
