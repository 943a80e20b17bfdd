"""Equal tuning: every variant, the reference too, takes its best values before anything is compared.

A change of architecture or optimizer that is run at the reference's rates is held against a reference that
was tuned for them. With ``tune: {optimizer.matrix.lr: [0.5x, 2x]}`` every variant is run on the lowest rung
with its own value and each of these (a grid over several fields), on *selection seeds* that the sweep does
not compare by, and keeps what was best in the mean. These runs are a frozen sweep of their own, ``NAME-
tune``, which decides nothing; what they selected is frozen with NAME as ``tuned``. Multiples are of what
the variant itself has.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweepkit import fsio
from sweepkit.config.schema import RungConfig
from sweepkit.sweep import conflicts, expand, frozen, reference_runs, relative, set_fields
from sweepkit.sweep.cell import REFERENCE, VARIANT, Cell
from sweepkit.sweep.expand import Stack, Variant
from sweepkit.sweep.file import SweepFile
from sweepkit.sweep.frozen import Frozen


@dataclass(frozen=True)
class Point:
    """A variant with certain values of the tuned fields.

    Attributes:
        label: the variant's, and ``field=value`` of each that is not the variant's own.
        values: field → as it was written; ``own`` for what the variant has.
        overrides: what that sets.
    """

    variant: Variant
    label: str
    values: dict[str, str]
    overrides: tuple[str, ...]


OWN = "own"


def name_of(sweep: str) -> str:
    """Of the sweep that tunes another."""
    return f"{sweep}-tune"


def seeds(sweep: SweepFile, extra: Sequence[str] = ()) -> tuple[int, ...]:
    """The selection seeds: the first integers behind those of all rungs."""
    start = max(seed for stack in expand.stacks(sweep, extra) for seed in stack.seeds) + 1
    return tuple(range(start, start + sweep.tune_seeds))


def points(sweep: SweepFile, extra: Sequence[str] = ()) -> list[Point]:
    """Every variant's, its own values first. Raises ConfigError for a multiple of what is no number."""
    here = expand.stacks(sweep, extra)[0]
    return [point for variant in expand.variants(sweep) for point in _points(sweep, variant, here, extra)]


def _points(sweep: SweepFile, variant: Variant, here: Stack, extra: Sequence[str]) -> Iterator[Point]:
    own = conflicts.flatten(here.config([*variant.overrides, *expand.above(extra)]))
    seen: list[Mapping[str, object]] = []
    for chosen in itertools.product(*([OWN, *listed] for listed in sweep.tune.values())):
        values = dict(zip(sweep.tune, chosen, strict=True))
        changed = {name: text for name, text in values.items() if text != OWN}
        overrides = tuple(
            relative.number(f"tune.{name}", f"{name}={text}", own) for name, text in changed.items()
        )
        settings = {name: own.get(name) for name in sweep.tune} | set_fields.settings(overrides, "tune")
        if settings in seen:
            continue
        seen.append(settings)
        first = [] if variant.is_reference else [variant.label]
        label = ",".join([*first, *(f"{name}={text}" for name, text in changed.items())]) or REFERENCE
        yield Point(variant, label, values, overrides)


def cells(sweep: SweepFile, extra: Sequence[str] = ()) -> list[Cell]:
    """The selection runs: seed by seed all points, on the lowest rung.

    Raises:
        ConfigError: a field or value is wrong, or two points are one run.
    """
    ladder = expand.ladder_of(sweep, extra)
    for name, listed in sweep.tune.items():
        for text in listed:
            conflicts.check_level(f"tune.{name}", f"{name}={text}", ladder)
    here, chosen = expand.stacks(sweep, extra)[0], points(sweep, extra)
    made = []
    for seed in seeds(sweep, extra):
        for point in chosen:
            composing = functools.partial(
                here.config, [*point.variant.overrides, *point.overrides, *expand.above(extra)]
            )
            is_reference = point.label == REFERENCE
            key = fsio.digest([point.variant.key, sorted(point.overrides)])[:12]
            made.append(
                Cell(
                    variant=point.label,
                    variant_key=point.variant.key if not point.overrides else key,
                    role=REFERENCE if is_reference else VARIANT,
                    rung=here.rung,
                    plan=reference_runs.plan(composing, seed, own_weights=False),
                    levels=point.variant.levels | point.values,
                )
            )
    conflicts.check_owned_fields(made, ladder, expand.rungs_of(ladder)[0])
    conflicts.check_distinct_variants(sweep, made)
    conflicts.check_one_launcher(made)
    return made


def freeze(
    sweep: SweepFile,
    results_dir: Path,
    extra: Sequence[str] = (),
    check: Callable[[Sequence[Cell]], None] = lambda cells: None,
) -> Frozen:
    """The selection runs as a sweep of their own. Raises what ``frozen.freeze`` does."""
    rung = expand.rungs_of(expand.ladder_of(sweep, extra))[0]
    asked = dataclasses.replace(
        sweep,
        name=name_of(sweep.name),
        seeds=seeds(sweep, extra),
        question=f"Which values are best? ({sweep.name})",
    )
    alone = [RungConfig(name=rung.name, overrides=rung.overrides)]
    return frozen.freeze_cells(asked, alone, cells(sweep, extra), results_dir, extra, check)
