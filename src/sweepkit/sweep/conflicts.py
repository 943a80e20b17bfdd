"""What a sweep may not say: contradictions between axes, levels, rungs and the command line.

A level that sets what its rung owns would silently undo the ladder; two variants that are one run would be
compared with themselves. Both are refused with the two places that disagree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sweepkit import errors
from sweepkit.code import planner
from sweepkit.config import compose, measured, typed
from sweepkit.config.schema import LadderConfig, RungConfig
from sweepkit.plan import text
from sweepkit.plan.run_plan import RunPlan
from sweepkit.sweep import last_rung, set_fields
from sweepkit.sweep import metric as metrics
from sweepkit.sweep.cell import Cell
from sweepkit.sweep.file import SweepFile
from sweepkit.sweep.futility_rule import EVALUATIONS, WINDOW


def check_levels(sweep: SweepFile, ladder: LadderConfig | None, extra: Sequence[str]) -> None:
    """No level, base or command line sets a seed or a ladder field; no level sets what a rung names.

    Raises:
        ConfigError: names the level and the rung.
    """
    base = "multirun" if sweep.is_typed else "base"
    for where, item in [(base, item) for item in sweep.base] + [("command line", item) for item in extra]:
        _check_not_sweep_level(where, item, is_level=False)
    for axis, levels in sweep.axes.items():
        for level, overrides in levels.items():
            for item in overrides:
                check_level(_place(sweep, axis, level), item, ladder)


def check_level(where: str, item: str, ladder: LadderConfig | None) -> None:
    """An override that tells variants apart sets what a run computes, and nothing that a rung owns."""
    _check_not_sweep_level(where, item, is_level=True)
    if set_fields.is_execution(item):
        raise errors.invalid(
            where,
            item,
            "set what a run computes (launcher, logging and trainer say how it is carried out)",
            "give it on the command line instead",
        )
    for rung in ladder.rungs if ladder else ():
        _check_not_owned(where, item, rung)


def _place(sweep: SweepFile, axis: str, level: str) -> str:
    """Where a level's overrides were written."""
    return "multirun" if sweep.is_typed else f"axes.{axis}.{level}"


def _check_not_sweep_level(where: str, item: str, is_level: bool) -> None:
    key, value = set_fields.split(item, where)
    if key == "seed" or (key == "init_seed" and (is_level or not isinstance(value, int | None))):
        raise errors.invalid(
            where,
            item,
            f"leave the {key} alone, seeds are replicates of one variant",
            "list seeds under seeds:; a single init_seed in base gives all runs the same initial weights",
        )
    if key == planner.FIELD and where == "command line":
        contract = "leave the code alone, which is frozen with what the file names"
        raise errors.invalid(where, item, contract, "write it under base: for all runs, or as a level")
    if set_fields.block(item) == "ladder" and where != "command line":
        raise errors.invalid(where, item, "leave the ladder alone", "name it with ladder: in the sweep file")


def _check_not_owned(where: str, item: str, rung: RungConfig) -> None:
    key, _ = set_fields.split(item, where)
    for other in rung.overrides:
        owned, _ = set_fields.split(other, f"ladder rung {rung.name}")
        if key == owned or owned.startswith(f"{key}."):
            raise errors.invalid(
                where,
                item,
                f"leave alone what rung {rung.name} of the ladder owns ({other})",
                "drop that override, or sweep it without a ladder",
            )


def check_disjoint(sweep: SweepFile, levels: Mapping[str, str], label: str) -> None:
    """Two axes of one variant never set the same field, for the later one would win silently."""
    owner: dict[str, str] = {}
    for axis, level in levels.items():
        where = _place(sweep, axis, level)
        for key, value in set_fields.settings(sweep.axes[axis][level], where).items():
            if owner.setdefault(key, axis) != axis and key == planner.FIELD:
                contract = f"be the only code of variant {label} (axis {owner[key]} has one too)"
                remedy = "write combine: 1, or one patch of both as a level of its own"
                raise errors.invalid(where, f"{key}={value}", contract, remedy)
            if owner[key] != axis:
                raise errors.invalid(
                    where,
                    f"{key}={value}",
                    f"set a field that axis {owner[key]} leaves alone (both are part of variant {label})",
                    "drop one of them" if sweep.is_typed else "put both into one axis as levels",
                )


def check_distinct_variants(sweep: SweepFile, cells: Sequence[Cell]) -> None:
    """No two variants of a rung are the same run."""
    labels: dict[str, str] = {}
    for cell in cells:
        label = labels.setdefault(cell.plan.variant_id, cell.variant)
        if label != cell.variant:
            raise errors.invalid(
                "variant",
                cell.variant,
                f"differ from {label} (at rung {cell.rung} both come out as {cell.plan.variant_id})",
                "write one of the two values"
                if sweep.is_typed
                else "drop that level; or, if the reference is one of the levels, name it under reference:; "
                "an override on the command line also wins over a level",
            )


def check_one_launcher(cells: Sequence[Cell]) -> None:
    """All runs of a rung are carried out by one launcher: a sweep's is the one its first run names."""
    first: dict[str, Cell] = {}
    for cell in cells:
        here = first.setdefault(cell.rung, cell)
        wanted, found = here.plan.launcher, cell.plan.launcher
        if wanted == found:
            continue
        flat, other = typed.flatten(wanted), typed.flatten(found)
        name = next(name for name in flat if flat[name] != other[name])
        raise errors.invalid(
            f"variant {cell.variant}: launcher.{name}",
            other[name],
            f"be {flat[name]!r} as for {here.variant} (the runs of a rung share one launcher)",
            f"give launcher.{name} on the command line, which holds for all",
        )


def check_own_weights(sweep: SweepFile, extra: Sequence[str], most_replicates: int) -> None:
    """The weights are not both pinned and drawn for every run of the reference anew."""
    pinned = [item for item in [*sweep.base, *extra] if set_fields.block(item) == "init_seed"]
    if most_replicates > 1 and pinned and set_fields.split(pinned[-1], "base")[1] is not None:
        raise errors.invalid(
            "init_seed",
            set_fields.split(pinned[-1], "base")[1],
            f"be left out where the reference runs {most_replicates} times a seed, from weights of their own",
            "leave it out, or write reference_replicates: 1",
        )


def check_distinct_rungs(cells: Sequence[Cell]) -> None:
    """No two rungs hold the same run."""
    rungs: dict[str, str] = {}
    for cell in cells:
        rung = rungs.setdefault(cell.plan.variant_id, cell.rung)
        if rung != cell.rung:
            raise errors.invalid(
                "rung",
                cell.rung,
                f"differ from rung {rung} (for {cell.variant} both come out as {cell.plan.variant_id})",
                "do not override on the command line or in base what the rungs set, usually model",
            )


def check_metric(metric: str, cells: Sequence[Cell]) -> None:
    """Every run measures what the sweep is decided by (``val_bpb`` always is)."""
    if metrics.known(metric) is None:
        raise errors.invalid(
            "decision.metric",
            metric,
            f"be measured by the runs of a sweep, one of {', '.join(metrics.names())}",
            errors.did_you_mean(metric, metrics.names()),
        )
    for cell in cells if metrics.is_stream(metric) else ():
        streams = cell.own.config.evaluation.streams
        if metric.startswith(metrics.EMA) and cell.own.config.optimizer.ema_decay is None:
            raise errors.invalid(
                "decision.metric",
                metric,
                f"be measured by every run ({cell.variant} averages no weights)",
                "set optimizer.ema_decay for every variant; 0 makes the average the weights themselves",
            )
        if last_rung.stream_of(metric) not in streams:
            raise errors.invalid(
                "decision.metric",
                metric,
                f"be measured by every run ({cell.variant} evaluates on {', '.join(streams)})",
                f"write val_bpb or {' or '.join(f'bpb_{name}' for name in streams)}",
            )


def check_comparable(metric: str, cells: Sequence[Cell]) -> None:
    """The runs of a rung are measured on one text, else the lowest loss is the easiest text's."""
    if not metrics.is_stream(metric):
        return
    stream = last_rung.stream_of(metric)
    first: dict[str, Cell] = {}
    for cell in cells:
        base = first.setdefault(cell.rung, cell)
        if (found := apart(base.own, cell.own, stream)) is None:
            continue
        name, theirs, mine = found
        shared = apart(base.own, cell.own, "probe") is None
        probe = "decision: {metric: bpb_probe}, a text of the package, or " if shared else ""
        raise errors.invalid(
            "decision.metric",
            metric,
            f"be measured on one text by all ({name} is {mine} in {cell.variant} and {theirs} in "
            f"{base.variant})",
            f"decide by a text that all share: {probe}your own (dataset.validation_path=PATH in base), with "
            "one tokenizer (tokenizer=shared); or drop that level",
        )


def apart(one: RunPlan, other: RunPlan, stream: str) -> tuple[str, object, object] | None:
    """The first field by which losses on a stream do not compare, with both its values; None: they do."""
    mine, theirs = _measured_on(one, stream), _measured_on(other, stream)
    found = ((name, mine.get(name), theirs.get(name)) for name in {**mine, **theirs})
    return next((item for item in found if item[1] != item[2]), None)


def _measured_on(plan: RunPlan, stream: str) -> dict[str, object]:
    """``measured.measured_on``, own text by what is in it instead of where it lies."""
    found = measured.measured_on(plan.config, stream)
    for key, name in (("dataset.path", text.DATASET), ("dataset.validation_path", text.VALIDATION)):
        if found.get(key) is not None and plan.texts.get(name):
            found[key] = f"text {str(plan.texts[name])[:12]}"
    return found


def check_futility(sweep: SweepFile, cells: Sequence[Cell]) -> None:
    """Variants can be stopped by the sweep's rule: nobody else stops them, and curves reach its looks."""
    rule = sweep.decision.futility
    if rule is None:
        return
    found = "search" if sweep.search else "command" if sweep.command else ""
    if found:
        why = "search.pruning stops its trials" if sweep.search else "whether its curves compare is not known"
        raise errors.invalid(
            "decision.futility", typed.dump(rule), f"be left out with {found}: {why}", "leave it out"
        )
    for cell in cells if rule.curve == EVALUATIONS else ():
        every, steps = cell.own.config.evaluation.every_steps, cell.own.num_steps
        for look in rule.looks:
            if every < 1 or int(look * steps) // every * every <= (look - WINDOW) * steps:
                raise errors.invalid(
                    "decision.futility.looks",
                    look,
                    f"follow an interim evaluation within {WINDOW:.0%} of the schedule, and {cell.label} "
                    f"({steps:,} steps) has none there with evaluation.every_steps={every}",
                    f"set evaluation.every_steps={max(1, int(WINDOW * steps) // 2)}, or write curve: loss",
                )


def check_scale_sensitive(names: Sequence[str], cells: Sequence[Cell]) -> None:
    """Every name is a field or a block of the configuration: a typo would protect nothing."""
    fields = cells[0].plan.settings
    blocks = {".".join(name.split(".")[:depth]) for name in fields for depth in range(1, name.count(".") + 1)}
    for name in names:
        if name not in fields and name not in blocks:
            raise errors.invalid(
                "decision.scale_sensitive",
                name,
                "be a field or a block of the configuration",
                errors.did_you_mean(name, [*fields, *blocks]),
            )


def check_owned_fields(cells: Sequence[Cell], ladder: LadderConfig | None, rung: RungConfig) -> None:
    """No level reaches what the rungs differ in through a group (``experiment=...``) either."""
    if ladder is None:
        return
    owned = _owned_fields(ladder)
    reference = {name: value for name, value in cells[0].plan.settings.items() if name in owned}
    for cell in cells:
        config = cell.plan.settings
        for name, value in reference.items():
            if config.get(name) != value:
                raise errors.invalid(
                    f"variant {cell.variant}: {name}",
                    config.get(name),
                    f"stay what rung {rung.name} of the ladder makes it ({value})",
                    "drop the override that sets it, or sweep it without a ladder",
                )


def _owned_fields(ladder: LadderConfig) -> set[str]:
    """Fields in which the ladder's rungs differ from one another."""
    stacks = [[*ladder.base, *rung.overrides] for rung in ladder.rungs]
    first, *others = [typed.flatten(compose.compose(stack)) for stack in stacks]
    return {name for config in others for name, value in config.items() if first.get(name) != value}
