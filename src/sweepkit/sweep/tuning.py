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

from sweepkit import errors, fsio
from sweepkit.config import compose, typed
from sweepkit.config.facts import fields_of
from sweepkit.config.schema import RunConfig, RungConfig
from sweepkit.sweep import conflicts, expand, frozen, frozen_head, reference_runs, relative, set_fields
from sweepkit.sweep.cell import REFERENCE, VARIANT, Cell
from sweepkit.sweep.expand import Stack, Variant
from sweepkit.sweep.file import SweepFile
from sweepkit.sweep.frozen import Frozen


@dataclass(frozen=True)
class Point:
    """A variant with certain values of the tuned fields.

    Attributes:
        label: the variant's, and behind ``with`` each ``field=value`` that is not its own.
        values: field → as it was written; ``own`` for what the variant has.
        overrides: what that sets.
        settings: field → its value here, own ones too.
    """

    variant: Variant
    label: str
    values: dict[str, str]
    overrides: tuple[str, ...]
    settings: Mapping[str, object]


OWN = "own"
_WITH = " with "  # in a point's label
_SLACK = 0.05  # steps are whole numbers


def name_of(sweep: str) -> str:
    """Of the sweep that tunes another."""
    return f"{sweep}{frozen_head.TUNING}"


def seeds(sweep: SweepFile, extra: Sequence[str] = ()) -> tuple[int, ...]:
    """The selection seeds: the first integers behind those of all rungs."""
    start = max(seed for stack in expand.stacks(sweep, extra) for seed in stack.seeds) + 1
    return tuple(range(start, start + sweep.tune_seeds))


def points(sweep: SweepFile, extra: Sequence[str] = ()) -> list[Point]:
    """Every variant's, its own values first. Raises ConfigError for a multiple of what is no number."""
    here = expand.stacks(sweep, extra)[0]
    return [point for variant in expand.variants(sweep) for point in _points(sweep, variant, here, extra)]


def _points(sweep: SweepFile, variant: Variant, here: Stack, extra: Sequence[str]) -> Iterator[Point]:
    own = typed.flatten(here.config([*variant.overrides, *expand.above(extra)]))
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
        added = ",".join(f"{name}={text}" for name, text in changed.items())
        label = f"{variant.label}{_WITH}{added}" if added else variant.label
        yield Point(variant, label, values, overrides, settings)


def cells(sweep: SweepFile, extra: Sequence[str] = ()) -> list[Cell]:
    """The selection runs: seed by seed all points, on the lowest rung.

    Raises:
        ConfigError: a field or value is wrong, or two points are one run.
    """
    ladder = expand.ladder_of(sweep, extra)
    for name, listed in sweep.tune.items():
        if compose.is_group(name):
            contract = "be a field, and is a group: what its options set has values of its own to be tuned"
            raise errors.invalid("tune", name, contract, f"name a field, or make {name} an axis")
        if name not in fields_of(RunConfig):
            remedy = errors.did_you_mean(name, list(fields_of(RunConfig)))
            raise errors.invalid("tune", name, "be a field", remedy)
        for text in listed:
            conflicts.check_level(f"tune.{name}", f"{name}={text}", ladder)
    here, chosen = expand.stacks(sweep, extra)[0], points(sweep, extra)
    made = []
    for seed in seeds(sweep, extra):
        for point in chosen:
            own = [*point.variant.overrides, *point.overrides, *expand.above(extra)]
            composing, build = functools.partial(here.config, own), here.planner(own).build
            is_reference = point.label == REFERENCE
            try:
                plan = reference_runs.plan(composing, seed, own_weights=False, build=build)
            except errors.ConfigError as error:
                if not point.overrides:
                    raise
                multiples = ", ".join(
                    f"tune.{name} ({text})" for name, text in point.values.items() if text != OWN
                )
                raise errors.ConfigError(f"{multiples}: {error}; a multiple is written 0.5x") from error
            key = fsio.digest([point.variant.key, sorted(point.overrides)])[:12]
            made.append(
                Cell(
                    variant=point.label,
                    variant_key=point.variant.key if not point.overrides else key,
                    role=REFERENCE if is_reference else VARIANT,
                    rung=here.rung,
                    plan=plan,
                    levels=point.variant.levels | point.values,
                )
            )
    conflicts.check_owned_fields(made, ladder, expand.rungs_of(ladder)[0])
    conflicts.check_distinct_variants(sweep, made)
    conflicts.check_one_launcher(made)
    conflicts.check_metric(sweep.decision.metric, made)
    conflicts.check_comparable(sweep.decision.metric, made)
    _check_tokens(made)
    return made


def _check_tokens(made: Sequence[Cell]) -> None:
    """No point trains longer than its variant: more text is better, and no value of a field."""
    own: dict[str, int] = {}
    for cell in made:
        variant = cell.variant.partition(_WITH)[0]
        tokens = own.setdefault(variant, cell.own.total_tokens)  # its own point comes first
        if abs(cell.own.total_tokens - tokens) > _SLACK * tokens:
            contract = (
                f"leave the tokens of a run alone ({tokens:,} without it, {cell.own.total_tokens:,} with it)"
            )
            raise errors.invalid(
                "tune", cell.variant, contract, "make it an axis, which is judged at equal cost"
            )


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
        decision=dataclasses.replace(sweep.decision, futility=None),
    )
    alone = [RungConfig(name=rung.name, overrides=rung.overrides)]
    return frozen.freeze_cells(asked, alone, cells(sweep, extra), results_dir, extra, check)


def with_selected(sweep: SweepFile, results_dir: Path) -> SweepFile:
    """The sweep with what ``tune`` had selected when it was frozen, where it has been.

    Raises:
        FrozenPlanError: it now tunes in another way.
    """
    if not sweep.tune or sweep.name not in frozen.frozen_names(results_dir):
        return sweep
    sweep_dir = results_dir / sweep.name
    stored = frozen_head.read(sweep_dir)
    if stored.sweep.tune and (stored.sweep.tune, stored.sweep.tune_seeds) != (sweep.tune, sweep.tune_seeds):
        wanted = dataclasses.replace(stored, sweep=sweep)
        raise errors.FrozenPlanError(frozen_head.explain_change(sweep_dir, stored, wanted))
    return dataclasses.replace(sweep, tuned=stored.sweep.tuned)
