"""From a sweep file with a command to its cells: variants × rungs × seeds, each a CommandPlan.

Levels and rungs set parameters; a level may also be code, a program of its own. Which folder each starts in
has been settled before (``launch/command_code.py``). Everything is checked before anything is started.
"""

from __future__ import annotations

import dataclasses
import math
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from sweepkit import errors, fsio
from sweepkit.code.levels import FOLDER
from sweepkit.config import compose, typed
from sweepkit.config.schema import LadderConfig, LauncherConfig, RungConfig
from sweepkit.plan import command_files, command_words
from sweepkit.plan.command_plan import CODE, CommandPlan, MetricRead, Program, Value
from sweepkit.sweep import command_keys, set_fields
from sweepkit.sweep.command_keys import SHARED
from sweepkit.sweep.file import SweepFile

#: Keys of a sweep file that only a command has, and those that only this package's trainer has.
_OF_COMMANDS = ("params", "metric", "inputs", "resume")
_OF_OURS = (
    "base", "search", "tune", "tuned", "after", "moved", "reference_horizons", "reference_replicates",
)  # fmt: skip
_DEPTH, _DIGITS = "depth", 12
_Set = tuple[str, str, object]  # where, a parameter, its value


def ladder(sweep: SweepFile) -> LadderConfig | None:
    """The rungs as a ladder; None where there is one alone."""
    if not isinstance(sweep.ladder, Mapping):
        return None
    rungs = [
        RungConfig(name=name, overrides=[f"{key}={_spelled(value)}" for key, value in values.items()])
        for name, values in sweep.ladder.items()
    ]
    return LadderConfig(name=sweep.name, rungs=rungs)


def check(sweep: SweepFile, extra: Sequence[str]) -> None:
    """Refuse what a command cannot have, and a command that cannot be started.

    Raises:
        ConfigError: names the key.
    """
    for name in _OF_OURS:
        if getattr(sweep, name) not in ((), {}, None):
            contract = "be left out beside command: it is of this package's trainer"
            raise errors.invalid(name, _shown(sweep, name), contract, "leave it out, or drop command")
    if not sweep.seeds:
        contract = "be listed for a command, whose noise nobody has calibrated"
        raise errors.invalid("seeds", "auto", contract, "write [1, 2, 3]")
    if isinstance(sweep.ladder, str):
        contract = "map rungs to parameters, for a command has no ladder of ours"
        remedy = "write ladder: {small: {depth: 4}, large: {depth: 8}}"
        raise errors.invalid("ladder", sweep.ladder, contract, remedy)
    _check_metric(sweep)
    given = {f"params.{name}": value for name, value in sweep.params.items()}
    for where, value in (
        given | {f"{where}.{name}": value for where, name, value in _of_rungs(sweep)}
    ).items():
        if isinstance(value, float) and not math.isfinite(value):
            raise errors.invalid(where, value, "be a finite number", "write one")
    for where, name, value in [*_of_rungs(sweep), *_of_levels(sweep), *_of_command_line(extra)]:
        _value(sweep.params, where, name, value)
    for name in sweep.decision.scale_sensitive:
        if name not in sweep.params:
            remedy = errors.did_you_mean(name, sweep.params)
            raise errors.invalid("decision.scale_sensitive", name, "be a parameter", remedy)
    num_rungs = max(1, len(sweep.ladder or {}))
    command_words.check(sweep.command, sweep.params, len(sweep.seeds) * num_rungs)
    _check_found(sweep)


def check_none(sweep: SweepFile) -> None:
    """Raises ConfigError for a key that only a command has, where there is none."""
    if isinstance(sweep.ladder, Mapping):
        contract = "name a ladder, where there is no command"
        raise errors.invalid("ladder", list(sweep.ladder), contract, "write ladder: mini")
    for name in _OF_COMMANDS:
        if getattr(sweep, name):
            shown = _shown(sweep, name)
            raise errors.invalid(name, shown, "come with command", "add the command, or leave it out")


def plans(
    sweep: SweepFile, rung: RungConfig, overrides: Sequence[str], extra: Sequence[str], seeds: Sequence[int]
) -> list[CommandPlan]:
    """The runs of one variant on a rung, a seed each.

    Args:
        overrides: what the variant's levels set.
    """
    here = [*rung.overrides, *overrides, *_beside_launcher(extra)]
    params, of = dict(sweep.params), ""
    for name, value in set_fields.settings(here, rung.name).items():
        if name == CODE and CODE not in sweep.params:
            of = str(value)
        else:
            params[name] = _value(sweep.params, rung.name, name, value)
    program = _program(sweep, of)
    named = command_files.named(Path(program.folder), command_words.filled(program.command, params))
    program = dataclasses.replace(program, named=named)
    launcher = launcher_of(extra)
    return [_plan(program, params, seed, launcher, sweep.seeds_mean == SHARED) for seed in seeds]


def launcher_of(extra: Sequence[str]) -> LauncherConfig:
    """The launcher that a command line asks for."""
    return compose.compose([item for item in extra if set_fields.block(item) == "launcher"]).launcher


def with_seed(plan: CommandPlan, seed: int) -> CommandPlan:
    """The plan of another replicate."""
    is_shared = plan.pair_key == _pair_key(plan.program, plan.variant_id, plan.seed, True)
    return _plan(plan.program, plan.params, seed, plan.launcher, is_shared)


def _plan(
    program: Program, params: Mapping[str, Value], seed: int, launcher: LauncherConfig, is_shared: bool
) -> CommandPlan:
    depth = params.get(_DEPTH)
    depth = depth if isinstance(depth, int) and depth > 0 else None
    content = {"params": params, "program": _content(program)}
    variant_id = fsio.digest(content)[:_DIGITS]
    return CommandPlan(
        run_id=f"{'c' if depth is None else f'd{depth}'}-{variant_id}-s{seed}",
        variant_id=variant_id,
        seed=seed,
        pair_key=_pair_key(program, variant_id, seed, is_shared),
        compile_key=fsio.digest(list(program.command))[:_DIGITS],
        training_id=fsio.digest([params, program.inputs])[:_DIGITS],  # a comment makes another program
        depth=depth,
        params=dict(params),
        program=program,
        launcher=launcher,
    )


def _content(program: Program) -> dict[str, Any]:
    """All of a program that is in the identity of its runs: not where it lies, nor whether it can resume."""
    found = {
        "command": list(program.command),
        "code": program.code,
        "inputs": program.inputs,
        "named": program.named,
        "metric": dataclasses.asdict(program.metric),
    }
    return found | ({"changed": program.changed} if program.changed else {})


def _pair_key(program: Program, variant_id: str, seed: int, is_shared: bool) -> str:
    """Of the data order: one for a seed and all variants, where a seed means the same for all of them."""
    of = [list(program.command), program.inputs] if is_shared else variant_id
    return fsio.digest(["data", of, seed])[:_DIGITS]


def _program(sweep: SweepFile, of: str) -> Program:
    assert sweep.metric is not None
    folder, path, changed = Path(sweep.folder).expanduser().resolve(), None, None
    if sweep.trees is not None:
        code = sweep.trees.code
        level = code.level(of) or code.reference
        folder, path = sweep.trees.folder / level.tree, level.path or None
        found = command_files.changed(folder, level.files or ())
        changed = {name: digest for name, digest in found.items() if digest or level.kind != FOLDER} or None
    return Program(
        command=sweep.command,
        folder=str(folder),
        code=command_files.code(folder),
        metric=sweep.metric,
        inputs=command_files.inputs(folder, sweep.inputs),
        resume=sweep.resume,
        of=of,
        path=path,
        changed=changed,
    )


def _of_rungs(sweep: SweepFile) -> Iterator[_Set]:
    rungs = sweep.ladder if isinstance(sweep.ladder, Mapping) else {}
    for rung, values in rungs.items():
        yield from ((f"ladder.{rung}", name, value) for name, value in values.items())


def _of_levels(sweep: SweepFile) -> Iterator[_Set]:
    owned = {name for _, name, _ in _of_rungs(sweep)}
    for axis, levels in sweep.axes.items():
        for level, overrides in levels.items():
            where = f"axes.{axis}.{level}"
            for name, value in set_fields.settings(overrides, where).items():
                if name == CODE and CODE not in sweep.params:
                    continue
                if name in owned:
                    contract = f"leave {name} to the ladder, whose rungs set it"
                    raise errors.invalid(where, f"{name}={value}", contract, "drop that level")
                yield where, name, value


def _of_command_line(extra: Sequence[str]) -> Iterator[_Set]:
    """What the command line sets besides the launcher."""
    for item in extra:
        if set_fields.block(item) in ("ladder", "seed", "trainer", "logging"):
            contract = "set a parameter of the command, or the launcher"
            raise errors.invalid("command line", item, contract, "write NAME=VALUE, or launcher=slurm")
    found = set_fields.settings(_beside_launcher(extra), "command line")
    yield from (("command line", name, value) for name, value in found.items())


def _beside_launcher(extra: Sequence[str]) -> list[str]:
    return [item for item in extra if set_fields.block(item) != "launcher"]


def _value(params: Mapping[str, Value], where: str, name: str, value: object) -> Value:
    """A parameter's new value, of the kind that the reference's has."""
    if name not in params:
        remedy = errors.did_you_mean(name, params) if params else "add it there"
        raise errors.invalid(where, f"{name}={value}", f"set a parameter, and params has no {name}", remedy)
    reference = params[name]
    if isinstance(reference, bool) == isinstance(value, bool):
        if isinstance(reference, float) and isinstance(value, int | float):
            return float(value)
        if isinstance(reference, int) and isinstance(value, int | float):
            return value
        if isinstance(reference, str) and isinstance(value, str):
            return value
    kind = {bool: "true or false", str: "text"}.get(type(reference), "a number")
    contract = f"be {kind}, as params.{name} is ({_spelled(reference)})"
    raise errors.invalid(where, f"{name}={value}", contract, "write params and levels alike, text in quotes")


def _check_metric(sweep: SweepFile) -> None:
    how = sweep.metric
    if how is None:
        contract = "say what runs are compared by, and where the command tells it"
        raise errors.invalid("metric", None, contract, "write metric: {name: val_bpb, read: result.json}")
    if (how.read is None) == (how.regex is None):
        contract = "have one of read and regex: where the command tells it"
        remedy = "write {name: val_bpb, read: result.json}, or read: stdout"
        raise errors.invalid("metric", how.name, contract, remedy)
    if how.regex is not None:
        _check_regex(how)
    elif PurePath(str(how.read)).is_absolute() or ".." in PurePath(str(how.read)).parts:
        raise errors.invalid(
            "metric.read", how.read, "be a file in {run_dir}, or stdout", "write result.json"
        )
    if sweep.decision.metric != how.name:
        contract = f"be what the command tells (metric.name: {how.name})"
        raise errors.invalid("decision.metric", sweep.decision.metric, contract, "leave it out")


def _check_regex(how: MetricRead) -> None:
    remedy = "write for example regex: 'val bpb: ([0-9.]+)'"
    try:
        num_groups = re.compile(str(how.regex)).groups
    except re.error as error:
        contract = f"be a regular expression ({error})"
        raise errors.invalid("metric.regex", how.regex, contract, remedy) from None
    if num_groups != 1:
        raise errors.invalid("metric.regex", how.regex, f"have one group, and has {num_groups}", remedy)
    if how.key is not None:
        contract = "be left out beside regex, which finds the number"
        raise errors.invalid("metric.key", how.key, contract, "drop it")


def _check_found(sweep: SweepFile) -> None:
    """The first word can be started, seen from the folder."""
    word, folder = sweep.command[0], Path(sweep.folder).expanduser()
    if command_words.placeholders([word]):
        return
    found = shutil.which(str(folder / word)) if "/" in word else shutil.which(word)
    if found is None and folder.is_dir():
        remedy = "correct it, or write its whole path"
        raise errors.invalid("command", word, "be a program that is found here", remedy)


def _spelled(value: object) -> str:
    """A value as an override has it: text that reads like something else stays text."""
    if isinstance(value, str):
        return command_keys.in_quotes(value)
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _shown(sweep: SweepFile, name: str) -> object:
    """A key's value for an error; of a block its names."""
    value = typed.dump(getattr(sweep, name))
    return list(value) if isinstance(value, Mapping) else value
