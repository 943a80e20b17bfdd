"""Points of a search space: what they override, which of them are named, and the runs they stand for.

A point is a variant like any other: its label is what differs from the reference, its levels are the proposed
values, its seeds are replicates, and it has cells on every rung, whether it climbs or not. A point that is
the reference, or a variant of a fixed axis, has those very cells. Precedence is that of a sweep's levels:
schema < groups < rung < base < point < command line.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

from sweepkit import errors
from sweepkit.config import compose
from sweepkit.config import override as overriding
from sweepkit.config.facts import spelled
from sweepkit.config.schema import RunConfig
from sweepkit.config.typed import flatten
from sweepkit.errors import ConfigError, FrozenPlanError
from sweepkit.plan.run_plan import RunPlan
from sweepkit.sweep import (
    conflicts,
    constraint,
    expand,
    feasible,
    last_rung,
    reference_runs,
    search_space,
    set_fields,
)
from sweepkit.sweep import labels as names
from sweepkit.sweep.cell import VARIANT, Cell
from sweepkit.sweep.constraint import Constraint
from sweepkit.sweep.expand import Stack
from sweepkit.sweep.search_space import Choices, Interval, Value
from sweepkit.sweep.search_spec import SearchSpec

Params = dict[str, Value]


def spell(key: str, value: Value) -> str:
    """The override that sets ``key`` to exactly ``value``; text that reads like another value is quoted."""
    text = spelled(value)
    if isinstance(value, str):
        try:
            plain = overriding.parse(f"{key}={text}").value == value
        except ConfigError:
            plain = False
        if not plain:
            from hydra.core.override_parser.types import Quote, QuotedString

            text = QuotedString(text, Quote.double).with_quotes()
    return f"{key}={text}"


def check(spec: SearchSpec, stacks: Sequence[Stack], fixed: Sequence[Cell], extra: Sequence[str]) -> None:
    """Every end and every choice is a value its field takes on every rung, and sets nothing that rungs set.

    Args:
        fixed: the sweep's cells, the reference's first on every rung.
        extra: the command line's overrides, which leave the space alone.

    Raises:
        ConfigError: names the field and the value.
    """
    for item in extra:
        key, _ = set_fields.split(item, "command line")
        if key in spec.space:
            raise errors.invalid(
                "command line",
                item,
                "leave what is searched alone",
                "drop it, or change the sweep file",
            )
    references = {cell.rung: cell.plan.settings for cell in reversed(fixed)}
    plans = {cell.rung: cell.own for cell in reversed(fixed)}
    for own in spec.parsed:  # of kinds that do not compare, or of runs that measure it
        if not own.is_measured:
            constraint.before_a_run(own, references[fixed[0].rung], fixed[0].own)
    configs = list(references.values())
    if spec.second_objective == stacks[0].decision.metric:
        contract = "be another than decision.metric, which it is weighed against"
        remedy = "leave it out, or name train_time_s or peak_memory_gib"
        raise errors.invalid("search.second_objective", spec.second_objective, contract, remedy)
    _check_all_tried(spec, [*stacks[0].below, *expand.above(extra)], fixed[0].own.config)
    _check_constraints(spec, stacks[0], references[fixed[0].rung], extra)
    owned = {name for name in configs[0] if any(it.get(name) != configs[0][name] for it in configs)}
    owned -= {"seed", "init_seed"}
    for key, parameter in spec.space.items():
        ends = parameter.choices if isinstance(parameter, Choices) else (parameter.low, parameter.high)
        for value in ends:
            if is_group(key) and not isinstance(value, str):
                raise errors.invalid(f"search.space.{key}", value, "name options of that group", "list them")
            for stack in stacks:
                item = spell(key, value)
                given = [spell(name, other) for name, other in search_space.parents(spec.space, key).items()]
                try:
                    plan = stack.plan([*given, item, *expand.above(extra)])
                except ConfigError as error:
                    raise ConfigError(f"search.space.{key}: {error}") from error
                _check_comparable(key, item, plan, plans[stack.rung], stack.decision.metric)
                _check_not_owned(key, item, plan.settings, references[stack.rung], owned)


def _check_constraints(spec: SearchSpec, stack: Stack, flat: Mapping[str, Any], extra: Sequence[str]) -> None:
    """Some point of the space keeps the constraints that are known before a run."""

    def keeps(point: Params, item: Constraint) -> bool:
        try:
            plan = stack.plan([*(spell(key, value) for key, value in point.items()), *expand.above(extra)])
            _keep([item], plan)
        except ConfigError:
            return False
        return True

    feasible.check(spec.space, [item for item in spec.parsed if not item.is_measured], flat, keeps)


def _check_all_tried(spec: SearchSpec, base: Sequence[str], config: RunConfig) -> None:
    """Every named point is among the trials, and each is another one."""
    wanted = named(spec, reference(spec, base, config))
    if len(wanted) > spec.n_trials:
        raise errors.invalid(
            "search.n_trials",
            spec.n_trials,
            f"be {len(wanted)} or more: the reference and the points to enqueue are among the trials",
            "raise it, or enqueue fewer points",
        )
    for index, point in enumerate(wanted):
        if point in wanted[:index]:
            raise errors.invalid(
                "search.enqueue",
                point,
                "name every point once, and not the reference",
                "delete the repeated one",
            )


def _check_comparable(key: str, item: str, plan: RunPlan, reference: RunPlan, metric: str) -> None:
    """A point is measured on what the reference is, else the lowest loss is the easiest text's."""
    if (found := conflicts.apart(plan, reference, last_rung.stream_of(metric))) is None:
        return
    name, mine, base = found
    stays = conflicts.apart(plan, reference, "probe") is None
    remedy = "decide by a text that all share (decision: {metric: bpb_probe}), or take" if stays else "take"
    raise errors.invalid(
        f"search.space.{key}",
        item,
        f"leave what {metric} is measured on ({name} would be {mine} instead of {base}): "
        "losses on other text, bytes or rows do not compare",
        f"{remedy} it out of the space",
    )


def _check_not_owned(
    key: str, item: str, config: Mapping[str, Any], reference: Mapping[str, Any], owned: set[str]
) -> None:
    """A point leaves alone what tells the ladder's rungs apart, and the launcher, which all runs share."""
    for name in config:
        if config[name] == reference.get(name) or not (name in owned or name.startswith("launcher.")):
            continue
        raise errors.invalid(
            f"search.space.{key}",
            item,
            f"leave {name} alone, "
            + ("in which the rungs of the ladder differ" if name in owned else "which all runs share"),
            "take it out of the space, or "
            + ("search without a ladder" if name in owned else f"give {name} on the command line"),
        )


def is_group(key: str) -> bool:
    """Whether a key chooses an option of a configuration group."""
    return compose.is_group_override(f"{key}=x")


def reference(spec: SearchSpec, base: Sequence[str], config: RunConfig) -> dict[str, Value | None]:
    """The reference's value of every field of the space, in the space or not; None for an unknown option.

    Args:
        base: the sweep's overrides and the command line's.
        config: of the reference's plan.
    """
    flat = flatten(config)
    chosen = dict(set_fields.split(item, "base") for item in base)
    return {key: chosen.get(key) if is_group(key) else flat.get(key) for key in spec.space}


def named(spec: SearchSpec, reference: Mapping[str, Value]) -> list[Params]:
    """The reference and then the points to enqueue, those that lie in the space.

    Only the reference may lie outside: it is run, but the sampler does not learn from it.
    """
    given = [dict(set_fields.split(item, "search.enqueue") for item in point) for point in spec.enqueue]
    found = [typed(spec, dict(reference) | point) for point in [{}, *given]]
    for index, (point, wanted) in enumerate(zip(found[1:], given, strict=True)):
        for key in wanted:
            if key not in point:
                when = ", ".join(f"{name} is {list(them)}" for name, them in spec.space[key].when.items())
                raise errors.invalid(
                    f"search.enqueue.{index}",
                    key,
                    f"be left out of that point: it is proposed where {when}",
                    "delete it there, or set the other field too",
                )
    outside = [
        (index, key, value)
        for index, point in enumerate(found)
        for key, value in point.items()
        if not spec.space[key].holds(value)
    ]
    for index, key, value in outside:
        if index:
            raise errors.invalid(
                f"search.enqueue.{index - 1}",
                f"{key}={value}",
                "lie in the space (what a point leaves out is the reference's)",
                f"give {key} in that point, or widen the space",
            )
    return found[1:] if outside else found


def holds(spec: SearchSpec, point: Mapping[str, Value]) -> bool:
    """Whether a point lies in the space."""
    return all(spec.space[key].holds(value) for key, value in typed(spec, point).items())


def cells(
    params: Mapping[str, Value],
    *,
    stacks: Sequence[Stack],
    extra: Sequence[str],
    fixed: Sequence[Cell],
    labels: Mapping[str, str],
    constraints: Sequence[Constraint] = (),
) -> tuple[Cell, ...]:
    """The runs of one point on every rung, from the bottom up.

    Args:
        stacks: of the rungs.
        fixed: the frozen cells; a point that is one of them has its cell.
        labels: label → variant key of the points there are, so that no two share a label.
        constraints: of the search, kept where it is searched.

    Raises:
        ConfigError: the point breaks a rule across fields, or a constraint.
    """
    overrides = [spell(key, value) for key, value in params.items()]
    known = {cell.plan.run_id: cell for cell in fixed}
    key = expand.variant_key(overrides)
    label = ",".join(f"{name}={_short(value)}" for name, value in params.items())
    taken = {cell.variant: cell.variant_key for cell in fixed} | dict(labels)
    if taken.get(label, key) != key:
        label = f"{label},id={key}"
    levels = {name: spelled(value) for name, value in params.items()}
    found = []
    for stack in stacks:
        composing = functools.partial(stack.config, [*overrides, *expand.above(extra)])
        build = stack.planner(extra).build
        for seed in stack.seeds:
            plan = reference_runs.plan(composing, seed, stack.own_weights, build=build)
            if stack is stacks[0]:
                _keep(constraints, plan)
            cell = Cell(label, key, VARIANT, stack.rung, plan, levels)
            found.append(dataclasses.replace(known[plan.run_id], plan=plan) if plan.run_id in known else cell)
    return tuple(found)


def _keep(constraints: Sequence[Constraint], plan: RunPlan) -> None:
    """Raises ConfigError where a point breaks a constraint that is known before anything runs."""
    config = plan.settings if constraints else {}
    for item in constraints:
        if not item.is_measured and (broken := constraint.before_a_run(item, config, plan)):
            raise ConfigError(broken)


def check_unchanged(stacks: Sequence[Stack], extra: Sequence[str], fixed: Sequence[Cell]) -> None:
    """The reference still composes to what was frozen on every rung, so trials will be what the space means.

    Raises:
        FrozenPlanError: a file in the configuration folder has changed.
    """
    for stack in stacks:
        frozen = next(cell.plan for cell in fixed if cell.rung == stack.rung)
        found = stack.plan(expand.above(extra)).variant_id
        if found != frozen.variant_id:
            raise FrozenPlanError(
                f"the reference comes out as {found}, but must be {frozen.variant_id} as it was frozen; "
                "restore the configuration folder and the files of dataset.path, or give the sweep file a "
                "new name"
            )


def typed(spec: SearchSpec, point: Mapping[str, Value]) -> Params:
    """Values as the space spells them: whole numbers whole, others floats, in the order of the space.

    Without those of fields that are not proposed with the others.
    """
    found: Params = {}
    for key, parameter in spec.space.items():
        if not search_space.applies(parameter, found):
            continue
        value = point[key]
        if isinstance(parameter, Interval) and parameter.holds(value) and isinstance(value, int | float):
            value = int(value) if parameter.is_whole else float(parameter.on_step(value))
        found[key] = value
    return found


def _short(value: Value) -> str:
    """A value as part of a label."""
    return names.cleaned(f"{value:.4g}" if isinstance(value, float) else spelled(value))
