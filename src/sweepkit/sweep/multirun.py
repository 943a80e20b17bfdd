"""Hydra's multirun syntax as a sweep: ``-m a=1,2 b=choice(3,4) c=range(1,4)`` is a full product.

What is swept becomes an axis, ``seed=1,2,3`` the seeds, the rest the base; the first value of every axis is
the reference. The name is the content's: the same request is the same sweep, running it again resumes it.
With an interval, or with ``search.*`` options, it is a search instead (``multirun_space.py``): the reference
then has the first of every choice, and the configuration's own value of everything else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, Override, RangeSweep, Sweep
from hydra.errors import HydraException
from omegaconf import OmegaConf

from sweepkit import errors, fsio
from sweepkit.config import compose, hydras_own, typed
from sweepkit.config.override import parse as parse_override
from sweepkit.config.override import refuse_adding, refuse_other_kinds
from sweepkit.sweep import expand, file, frozen, labels, multirun_space, set_fields
from sweepkit.sweep.cell import Cell
from sweepkit.sweep.file import ALL, SweepFile

#: Of one field: more are a slip, as range(1,1e9), which would be listed for hours.
_MOST_VALUES = 10_000


def freeze(
    arguments: Sequence[str],
    results_dir: Path,
    search: Mapping[str, Any] | None = None,
    name: str | None = None,
    check: Callable[[Sequence[Cell]], None] = lambda cells: None,
    with_code: Callable[[SweepFile], SweepFile] = lambda sweep: sweep,
) -> frozen.Frozen:
    """Expand a multirun and freeze it.

    Args:
        search: options of a search; None searches only where a field is an interval.
        name: of the sweep; None: ``multirun-<hash>``.
        check: as ``frozen.freeze`` takes it.
        with_code: freezes what ``code`` names.

    Raises:
        ConfigError: an override is malformed, cannot be enumerated, or breaks a contract.
        FrozenPlanError: a frozen file of this multirun was edited, or there is another of that name.
    """
    sweep, extra = parse(arguments, search)
    sweep = with_code(dataclasses.replace(sweep, name=name) if name else sweep)
    rungs = expand.rungs_of(expand.ladder_of(sweep, extra))
    cells = expand.expand_all(sweep, extra)
    content: list[Any] = [[cell.rung, cell.variant, cell.role, cell.plan.run_id] for cell in cells]
    if sweep.search:
        content.append(typed.dump(sweep.search))
    named = dataclasses.replace(sweep, name=name or f"multirun-{fsio.digest(content)[:8]}")
    file.NAME.check("--name", named.name, "lr_scan")
    if name in file.available():
        contract = f"be free ({file.find(named.name)} is a sweep of that name)"
        raise errors.invalid("--name", name, contract, "name it otherwise")
    return frozen.freeze_cells(named, rungs, cells, results_dir, extra, check)


def parse(arguments: Sequence[str], options: Mapping[str, Any] | None = None) -> tuple[SweepFile, list[str]]:
    """The sweep under a preliminary name, and the overrides that only say how to run it.

    Args:
        arguments: overrides; ``search.n_trials=40`` among them is an option of a search.
        options: further ones of a search.
    """
    options = _of_a_search(arguments, options)
    arguments = [item for item in arguments if not is_of_a_search(item)]
    parser = OverridesParser.create()
    parsed = [_parsed(parser, item) for item in arguments]
    params = compose.sweeper_params(without_several(arguments))
    beside = [f"{key}={value}" for key, value in params.items()]
    parsed = [*(_parsed(parser, item) for item in beside), *parsed]
    given = _last_of_each(parsed)
    _refuse_what_changes_no_number(given)
    search = options is not None or any(
        item.is_interval_sweep() for key, item in given.items() if key != "seed"
    )
    options = options or {}
    choices: dict[str, list[str]] = {}
    base: list[str] = []
    extra: list[str] = []
    axes: dict[str, dict[str, tuple[str, ...]]] = {}
    seeds: tuple[int, ...] = (1,)
    for item in given.values():
        key = _key(item)
        text = f"{key}={item.get_value_string()}"
        if key == "seed":
            seeds = _seeds(item)
        elif key == "init_seed" and not item.is_sweep_override() and item.value() in (None, "${seed}"):
            pass  # which is done anyway
        elif not item.is_sweep_override():
            (extra if set_fields.is_execution(text) or key == "ladder" else base).append(text)
        elif search:
            choices[key] = [] if item.is_interval_sweep() else _values(item, key)
            base += [f"{key}={choices[key][0]}"] if item.is_choice_sweep() else []
        else:
            values = _values(item, key)
            axes[key] = {
                level: (f"{key}={value}",) for level, value in zip(labels.names(values), values, strict=True)
            }
    if not axes and not search:  # one variant, possibly with many seeds: the axis that says so
        axes["run"] = {"base": ()}
    reference = {axis: next(iter(levels)) for axis, levels in axes.items()}
    sweep = SweepFile(
        name="multirun",
        question=" ".join(
            ["multirun", *beside, *arguments, *(f"search.{key}={options[key]}" for key in options)]
        ),
        base=tuple(base),
        axes=axes,
        reference=reference,
        combine=ALL,
        seeds=seeds,
        search=multirun_space.read(list(given.values()), choices, options) if search else None,
        reference_replicates=1,  # a run for every combination, no more
        is_typed=True,
    )
    return sweep, extra


def without_several(arguments: Sequence[str]) -> list[str]:
    """The overrides that have one value: what Hydra composes first of a multirun."""
    parser = OverridesParser.create()
    return [item for item in arguments if not _parsed(parser, item).is_sweep_override()]


def is_of_a_search(text: str) -> bool:
    """Whether it is an option of a search, which is no field of a run's configuration."""
    return text.startswith(("search.", "search="))


def _of_a_search(
    arguments: Sequence[str], options: Mapping[str, Any] | None = None
) -> Mapping[str, Any] | None:
    """The options of a search among overrides, as in a sweep file's ``search:`` block."""
    found = OmegaConf.create({"search": dict(options or {})})
    typed_ones = [parse_override(item) for item in arguments if is_of_a_search(item)]
    for item in typed_ones:
        OmegaConf.update(found, item.key, item.value)
    read = OmegaConf.to_container(found.search)
    assert isinstance(read, dict)
    return {str(key): value for key, value in read.items()} if typed_ones else options


def _parsed(parser: OverridesParser, text: str) -> Override:
    """One override by Hydra's grammar. Raises ConfigError where it has another one, or adds and deletes."""
    try:
        parsed = parser.parse_override(text)
        _check_grammar(parsed.value())
    except (HydraException, ValueError) as error:
        raise errors.invalid(
            "override",
            text,
            f"be key=value ({str(error).splitlines()[0]})",
            "quote values with spaces and special characters: 'key=\"a b\"'",
        ) from error
    refuse_other_kinds(parsed, text)
    key = parsed.get_key_element().lstrip("+")
    if parsed.is_add() and not compose.is_group(key):
        raise refuse_adding(text)
    return parsed


def _check_grammar(value: object) -> None:
    """Raises ValueError for what Hydra's grammar takes, and its sweeper ends in a traceback with."""
    if isinstance(value, RangeSweep):
        value.range()  # whose step may be 0
    elif isinstance(value, ChoiceSweep) and any(isinstance(item, Sweep) for item in value.list):
        raise ValueError("a choice within a choice")
    elif isinstance(value, Glob) and not all(isinstance(item, str) for item in value.include + value.exclude):
        raise ValueError("a glob of what is no text")


def _last_of_each(parsed: Sequence[Override]) -> dict[str, Override]:
    """What is set in the end, by its key: as for Hydra, a later override of the same key replaces an earlier.

    Raises:
        ConfigError: a later one sets a part of what an earlier one sweeps, or all around it.
    """
    last: dict[str, Override] = {}
    for item in parsed:
        key = _key(item)
        value = item.value()
        first = (
            next(iter(value.list), None) if isinstance(value, ChoiceSweep) else value
        )  # shuffle() has none
        is_group = compose.is_group(key) and not isinstance(first, dict)
        place = f"{key} (group)" if is_group else key
        for other in [] if is_group else last:
            if last[other].is_sweep_override() and (
                key.startswith(f"{other}.") or other.startswith(f"{key}.")
            ):
                raise errors.invalid(
                    "multirun",
                    str(item.input_line),
                    f"leave alone what was swept before it ({last[other].input_line})",
                    "write it first, or drop one of them",
                )
        last.pop(place, None)
        last[place] = item
    return last


def _values(item: Override, key: str) -> list[str]:
    """The different values of a sweep, as they are written."""
    if not item.is_discrete_sweep():
        raise errors.invalid(
            key,
            item.get_value_string(),
            "list its values: a,b or choice(...) or range(...), for seeds are replicates",
            "write the seeds you want",
        )
    value = item.value()
    texts = _matching(key, value) if isinstance(value, Glob) else item.sweep_string_iterator()
    found: dict[str, str] = {}
    for text in texts:
        found.setdefault(_meaning(key, text), text)
        if len(found) > _MOST_VALUES:
            contract = f"have at most {_MOST_VALUES:,} values"
            raise errors.invalid(key, item.get_value_string(), contract, "check the range's ends and step")
    if not found:
        raise errors.invalid(
            key, item.get_value_string(), "have at least one value", "check the range's ends, or the pattern"
        )
    return list(found.values())


def _matching(key: str, pattern: Glob) -> list[str]:
    """The options of a group that a glob matches."""
    if not compose.is_group(key):
        raise errors.invalid(
            key,
            f"glob({','.join(pattern.include)})",
            "be a group, whose options a glob matches",
            "list values",
        )
    return pattern.filter(list(compose.options(key)))


def _meaning(key: str, text: str) -> str:
    """Equal for two spellings of one value (0.10 and 1e-1), and for no two values."""
    if compose.is_group_override(f"{key}={text}"):
        return text.strip("'\"")
    return fsio.canonical_json(set_fields.split(f"{key}={text}", "multirun")[1])


def _refuse_what_changes_no_number(given: Mapping[str, Override]) -> None:
    """Raises ConfigError for several values of what says how runs are carried out, or of init_seed."""
    for key, item in given.items():
        if not item.is_sweep_override():
            continue
        if hydras_own.is_hydras(key) or set_fields.is_execution(f"{_key(item)}="):
            raise errors.invalid(
                _key(item),
                item.get_value_string(),
                "have one value in a multirun: it says how runs are carried out, and all of it is one run",
                f"write one of them, as {_key(item)}={_one_of(item)}",
            )
        if key == "init_seed":
            raise errors.invalid(
                key,
                item.get_value_string(),
                "have one value in a multirun: it is a seed of the same variant, and not another one",
                "write seed=1,2,3 for runs with data orders and weights of their own",
            )


def _one_of(item: Override) -> str:
    value = item.value()
    return str(value.list[0]) if isinstance(value, ChoiceSweep) and value.list else "VALUE"


def _key(item: Override) -> str:
    """The field or group; a group may be written with a plus."""
    return str(item.get_key_element()).lstrip("+")


def _seeds(item: Override) -> tuple[int, ...]:
    texts = _values(item, "seed") if item.is_sweep_override() else [item.get_value_element_as_str()]
    values = [parse_override(f"seed={text}").value for text in texts]
    if not all(type(value) is int and value >= 0 for value in values):
        raise errors.invalid(
            "seed", item.get_value_string(), "be whole numbers, 0 or more", "write seed=1,2,3"
        )
    return tuple(values)
