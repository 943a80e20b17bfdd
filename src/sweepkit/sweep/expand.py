"""From a sweep file to its cells: variants × rungs × seeds, each with a finished RunPlan.

A variant is a choice of levels, named by its difference from the reference; label and key hold no depth, so
that it can be followed up the ladder. Its configuration at a rung is composed in the order of precedence
schema < groups < rung (the ladder's base, then the rung) < sweep base < level < command line.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sweepkit import errors, fsio
from sweepkit.code import planner
from sweepkit.code.planner import Planner, Trees
from sweepkit.config import compose
from sweepkit.config.schema import LadderConfig, RunConfig, RungConfig
from sweepkit.plan.command_plan import Plan
from sweepkit.plan.run_plan import RunPlan
from sweepkit.sweep import command_runs, conflicts, horizons, last_rung, reference_runs, set_fields
from sweepkit.sweep.cell import REFERENCE, VARIANT, Cell
from sweepkit.sweep.decision import DecisionRule
from sweepkit.sweep.file import ALL, SweepFile
from sweepkit.sweep.seeds import on_rung

#: The rung of a sweep without a ladder.
SINGLE_RUNG = "single"


@dataclass(frozen=True)
class Variant:
    """One combination of levels.

    Attributes:
        label: ``reference``, or ``axis=level`` for every axis that differs from it, joined by commas.
        key: 12 hex digits of the hash of what differs from the reference; the same at every depth.
        levels: axis → level, for the axes that have one.
        overrides: all that its levels set, in the order of the axes.
    """

    label: str
    key: str
    levels: dict[str, str]
    overrides: tuple[str, ...]
    is_reference: bool


@dataclass(frozen=True)
class Stack:
    """What a variant's own overrides are put on top of on one rung, and its runs there.

    Attributes:
        seeds: one run of every variant each.
        reference_replicates: runs of the reference a seed; above 1 every run starts from weights of its own.
    """

    rung: str
    below: tuple[str, ...]
    seeds: tuple[int, ...]
    rungs: tuple[RungConfig, ...]
    decision: DecisionRule
    reference_replicates: int = 1
    trees: Trees | None = None

    @property
    def own_weights(self) -> bool:
        return self.reference_replicates > 1

    def config(self, own: Sequence[str], seed: int | None = None, init_seed: int | None = None) -> RunConfig:
        """The configuration of a variant here, ``own`` on top; on the last rung with a text held back."""
        seeds = {"seed": self.seeds[0] if seed is None else seed, "init_seed": init_seed}
        replicate = [f"{key}={value}" for key, value in seeds.items() if value is not None]
        config = self.planner(own).compose([*self.below, *own, *replicate])
        is_last = self.rung == self.rungs[-1].name
        return last_rung.evaluated(config, self.decision, self.rungs) if is_last else config

    def plan(self, own: Sequence[str]) -> RunPlan:
        """The run of a variant with the first seed."""
        return self.planner(own).build(self.config(own))

    def planner(self, own: Sequence[str] = ()) -> Planner:
        """What composes and plans a variant's runs: the code that carries them out."""
        return planner.planner(self.trees, own)


def pile(
    ladder_base: Sequence[str],
    rungs: Sequence[RungConfig],
    base: Sequence[str],
    seeds: Sequence[int],
    decision: DecisionRule,
    replaced: Mapping[int, int] | None = None,
    trees: Trees | None = None,
) -> list[Stack]:
    """Of every rung, from the bottom up. Raises ConfigError where one wants more seeds than there are."""
    return [
        Stack(
            rung.name,
            (*ladder_base, *rung.overrides, *base),
            on_rung(seeds, rungs, rung, decision.looks, replaced),
            tuple(rungs),
            decision,
            trees=trees,
        )
        for rung in rungs
    ]


def stacks(sweep: SweepFile, extra: Sequence[str] = ()) -> list[Stack]:
    """Of every rung of a sweep file. Raises ConfigError for one of a command, which has no configuration."""
    if sweep.command:
        contract = "be of this package's trainer, whose configuration this needs"
        raise errors.invalid("sweep", sweep.name, contract, "name another sweep")
    ladder = ladder_of(sweep, extra)
    return _stacks(sweep, ladder, rungs_of(ladder))


def _stacks(sweep: SweepFile, ladder: LadderConfig | None, rungs: Sequence[RungConfig]) -> list[Stack]:
    below = ladder.base if ladder else ()
    wanted, num_fixed = reference_runs.wanted(sweep, ladder), sum(1 for _ in _combinations(sweep)) - 1
    return [
        dataclasses.replace(
            stack,
            reference_replicates=reference_runs.on_rung(
                wanted,
                len(stack.seeds),
                reference_runs.most_variants(sweep, num_fixed, rungs, place),
                proposes=sweep.search is not None and place == 0,
            ),
        )
        for place, stack in enumerate(
            pile(below, rungs, sweep.base, sweep.seeds, sweep.decision, sweep.replaced_seeds, sweep.trees)
        )
    ]


def above(extra: Sequence[str]) -> list[str]:
    """Overrides of the command line that go on top of a variant's own."""
    return [item for item in extra if set_fields.block(item) != "ladder"]


def variants(sweep: SweepFile) -> list[Variant]:
    """The reference first, then every variant in the order of the file.

    Raises:
        ConfigError: two axes that are combined set the same field.
    """
    return [_variant(sweep, chosen) for chosen in _combinations(sweep)]


def ladder_of(sweep: SweepFile, extra: Sequence[str] = ()) -> LadderConfig | None:
    """The ladder to climb: ``ladder=NAME`` of the command line, else the file's; None for a single rung."""
    if sweep.command:
        return command_runs.ladder(sweep)
    from_command_line = [item for item in extra if set_fields.block(item) == "ladder"]
    from_file = [f"ladder={sweep.ladder}"] if sweep.ladder else []
    chosen = [*from_file, *from_command_line]
    if not chosen:
        return None
    ladder = compose.compose(chosen).ladder
    return ladder if ladder.rungs else None


def rungs_of(ladder: LadderConfig | None) -> list[RungConfig]:
    """The rungs from the bottom up; one unnamed depth counts as a single rung."""
    return ladder.rungs if ladder else [RungConfig(name=SINGLE_RUNG)]


def expand(sweep: SweepFile, rung: RungConfig | None, extra: Sequence[str] = ()) -> list[Cell]:
    """All cells of one rung: seed by seed the reference, its other horizons and the variants in order.

    Args:
        sweep: the sweep file.
        rung: a rung of ``ladder_of(sweep, extra)``; None for a sweep without a ladder.
        extra: overrides of the command line; they win over levels.

    Raises:
        ConfigError: an override is unknown or breaks a contract, a level sets what the rung owns, or two
            variants come out as the same run.
    """
    if sweep.command:
        return _of_command(sweep, rung, extra)
    command_runs.check_none(sweep)
    ladder = ladder_of(sweep, extra)
    conflicts.check_levels(sweep, ladder, extra)
    _check_tuned(sweep, ladder)
    rung = rung or RungConfig(name=SINGLE_RUNG)
    rungs = [rung if item.name == rung.name else item for item in rungs_of(ladder)]
    here = next(item for item in _stacks(sweep, ladder, rungs) if item.rung == rung.name)
    conflicts.check_own_weights(sweep, extra, here.reference_replicates)
    cells = []
    for variant in variants(sweep):
        own = [*variant.overrides, *above(extra)]
        composing, build = functools.partial(here.config, own), here.planner(own).build
        cells += [
            _cell(variant, rung, plan, number)
            for number in range(here.reference_replicates if variant.is_reference else 1)
            for seed in here.seeds
            for plan in [reference_runs.plan(composing, seed, here.own_weights, number, build)]
        ]
    conflicts.check_owned_fields(cells, ladder, rung)
    if sweep.axes or sweep.search:  # else there is nothing to be held against it
        cells = horizons.with_reference_horizons(cells, horizons.wanted(sweep, ladder), here.planner().build)
    conflicts.check_distinct_variants(sweep, cells)
    return horizons.interleaved(cells)


def expand_all(sweep: SweepFile, extra: Sequence[str] = ()) -> list[Cell]:
    """All cells of all rungs, from the bottom up. Raises what ``expand`` does."""
    rungs = rungs_of(ladder_of(sweep, extra))
    cells = [cell for rung in rungs for cell in expand(sweep, rung, extra)]
    conflicts.check_distinct_rungs(cells)
    conflicts.check_futility(sweep, cells)
    if sweep.command:
        return cells
    conflicts.check_one_launcher(cells)
    conflicts.check_metric(sweep.decision.metric, cells)
    if not sweep.is_typed:  # a multirun asks for runs: where no metric compares them, its verdicts say so
        conflicts.check_comparable(sweep.decision.metric, cells)
    conflicts.check_scale_sensitive(list(sweep.decision.scale_sensitive), cells)
    at_top = {cell.variant: cell.own.config for cell in cells if cell.rung == rungs[-1].name}
    last_rung.check(sweep.decision, rungs, at_top)
    return cells


def _of_command(sweep: SweepFile, rung: RungConfig | None, extra: Sequence[str]) -> list[Cell]:
    """``expand`` for a sweep of a command."""
    command_runs.check(sweep, extra)
    rungs = rungs_of(command_runs.ladder(sweep))
    rung = rung or rungs[0]
    seeds = on_rung(sweep.seeds, rungs, rung, sweep.decision.looks, sweep.replaced_seeds)
    cells = [
        _cell(variant, rung, plan)
        for variant in variants(sweep)
        for plan in command_runs.plans(sweep, rung, variant.overrides, extra, seeds)
    ]
    conflicts.check_distinct_variants(sweep, cells)
    return horizons.interleaved(cells)


def _check_tuned(sweep: SweepFile, ladder: LadderConfig | None) -> None:
    """What is tuned is a variant's, and sets what a level may set."""
    known = [variant.label for variant in variants(sweep)] if sweep.tuned else []
    for label, overrides in sweep.tuned.items():
        if label not in known:
            raise errors.invalid("tuned", label, "name a variant", errors.did_you_mean(label, known))
        for item in overrides:
            conflicts.check_level(f"tuned.{label}", item, ladder)


def _combinations(sweep: SweepFile) -> Iterator[dict[str, str | None]]:
    """Axis → level (None: the implicit reference), the reference first."""
    reference: dict[str, str | None] = {axis: sweep.reference.get(axis) for axis in sweep.axes}
    others = {
        axis: [level for level in levels if level != reference[axis]] for axis, levels in sweep.axes.items()
    }
    if sweep.combine == ALL:
        choices = [[reference[axis], *others[axis]] for axis in sweep.axes]
        for chosen in itertools.product(*choices):
            yield dict(zip(sweep.axes, chosen, strict=True))
        return
    sizes = sweep.combine if isinstance(sweep.combine, tuple) else range(1, int(sweep.combine) + 1)
    for size in (0, *sizes):
        for axes in itertools.combinations(sweep.axes, size):
            for chosen in itertools.product(*(others[axis] for axis in axes)):
                yield reference | dict(zip(axes, chosen, strict=True))


def _variant(sweep: SweepFile, chosen: dict[str, str | None]) -> Variant:
    levels = {axis: level for axis, level in chosen.items() if level is not None}
    changed = [axis for axis, level in levels.items() if level != sweep.reference.get(axis)]
    label = ",".join(f"{axis}={levels[axis]}" for axis in changed)
    tuned = sweep.tuned.get(label or REFERENCE, ())
    overrides = tuple(item for axis, level in levels.items() for item in sweep.axes[axis][level])
    conflicts.check_disjoint(sweep, levels, label or REFERENCE)
    return Variant(
        label=label or REFERENCE,
        key=variant_key(
            [item for axis in changed for item in sweep.axes[axis][levels[axis]]]
            + (list(tuned) if changed else [])
        ),
        levels=levels,
        overrides=(*overrides, *tuned),
        is_reference=not changed,
    )


def variant_key(overrides: Sequence[str]) -> str:
    """Hash of a difference: neither the order of axes nor the spelling of values matters."""
    values = set_fields.settings(overrides, "level")
    return fsio.digest(sorted([key, fsio.canonical_json(value)] for key, value in values.items()))[:12]


def _cell(variant: Variant, rung: RungConfig, plan: Plan, number: int = 0) -> Cell:
    return Cell(
        variant=variant.label,
        variant_key=variant.key,
        role=REFERENCE if variant.is_reference else VARIANT,
        rung=rung.name,
        plan=plan,
        levels=variant.levels,
        number=number,
    )
