"""Hydra's multirun syntax as a sweep: ``-m a=1,2 b=choice(3,4) c=range(1,4)`` is a full product.

What is swept becomes an axis, ``seed=1,2,3`` the seeds, the rest the base; the first value of every axis is
the reference. The name is the content's: the same request is the same sweep, running it again resumes it.
With an interval, or with ``search.*`` options, it is a search instead (``multirun_space.py``): the reference
then has the first of every choice, and the configuration's own value of everything else.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from sweepkit import errors, fsio
from sweepkit.sweep import expand, frozen, multirun_space, override
from sweepkit.sweep.fields import ALL
from sweepkit.sweep.file import SweepFile


def freeze(
    arguments: Sequence[str], results_dir: Path, search: Mapping[str, Any] | None = None
) -> frozen.Frozen:
    """Expand a multirun and freeze it as the sweep ``multirun-<hash>``.

    Args:
        search: options of a search; None searches only where a field is an interval.

    Raises:
        ConfigError: an override is malformed, cannot be enumerated, or breaks a contract.
        FrozenPlanError: a frozen file of this multirun was edited.
    """
    sweep, extra = parse(arguments, search)
    rungs = expand.rungs_of(expand.ladder_of(sweep, extra))
    cells = expand.expand_all(sweep, extra)
    content: list[Any] = [[cell.rung, cell.variant, cell.role, cell.plan.run_id] for cell in cells]
    if sweep.search:
        content.append(sweep.search.to_json())
    named = dataclasses.replace(sweep, name=f"multirun-{fsio.digest(content)[:8]}")
    return frozen.freeze_cells(named, rungs, cells, results_dir, extra)


def parse(arguments: Sequence[str], options: Mapping[str, Any] | None = None) -> tuple[SweepFile, list[str]]:
    """The sweep under a preliminary name, and the overrides that only say how to run it."""
    try:
        parsed = OverridesParser.create().parse_overrides(list(arguments))
    except HydraException as error:
        raise errors.invalid(
            "multirun", " ".join(arguments), f"be overrides key=value ({error})", "quote values with spaces"
        ) from error
    search = options is not None or any(
        item.is_interval_sweep() and item.get_key_element() != "seed" for item in parsed
    )
    options = options or {}
    choices: dict[str, list[str]] = {}
    base: list[str] = []
    extra: list[str] = []
    axes: dict[str, dict[str, tuple[str, ...]]] = {}
    seeds: tuple[int, ...] | None = None
    for item in parsed:
        key = item.get_key_element()
        if not item.is_sweep_override():
            text = str(item.input_line)
            if key == "seed":
                seeds = _seeds(item, [item.get_value_element_as_str()])
            else:
                (extra if override.is_execution(text) or key == "ladder" else base).append(text)
            continue
        values = [] if item.is_interval_sweep() and key != "seed" else _values(item, key)
        if key == "seed":
            seeds = _seeds(item, values)
        elif search:
            choices[key] = values
            base += [f"{key}={values[0]}"] if item.is_choice_sweep() else []
        else:
            axes[key] = {_level(value): (f"{key}={value}",) for value in values}
    if not axes and not search:  # one variant, possibly with many seeds: the axis that says so
        axes["run"] = {"base": ()}
    reference = {axis: next(iter(levels)) for axis, levels in axes.items()}
    sweep = SweepFile(
        name="multirun",
        question=" ".join(["multirun", *arguments, *(f"search.{key}={options[key]}" for key in options)]),
        base=tuple(base),
        axes=axes,
        reference=reference,
        combine=ALL,
        seeds=seeds or (1,),
        search=multirun_space.read(parsed, choices, options) if search else None,
        reference_replicates=1,  # a run for every combination, no more
    )
    return sweep, extra


def _values(item: Override, key: str) -> list[str]:
    if not item.is_discrete_sweep():
        raise errors.invalid(
            key,
            item.get_value_string(),
            "list its values: a,b or choice(...) or range(...), for seeds are replicates",
            "write the seeds you want",
        )
    values = list(dict.fromkeys(item.sweep_string_iterator()))
    if not values:
        raise errors.invalid(
            key, item.get_value_string(), "have at least one value", "check the range's ends"
        )
    return values


def _seeds(item: Override, values: Sequence[str]) -> tuple[int, ...]:
    if not all(value.isdecimal() for value in values):
        raise errors.invalid(
            "seed", item.get_value_string(), "be whole numbers, 0 or more", "write seed=1,2,3"
        )
    return tuple(int(value) for value in values)


def _level(value: str) -> str:
    """A value as a level name: letters, digits and _ . + - stay."""
    return re.sub(r"[^A-Za-z0-9_.+-]+", "_", value.strip("'\"")).strip("_") or "empty"
