"""The words of a command: its placeholders, what they stand for, and what is wrong with them."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from string import Formatter

from sweepkit import errors
from sweepkit.config.facts import spelled
from sweepkit.plan.command_plan import CommandPlan, Program, Value

#: Placeholders that every command has beside its parameters.
SEED, RUN_DIR, RUN_ID = "seed", "run_dir", "run_id"
GIVEN = (SEED, RUN_DIR, RUN_ID)


def placeholders(command: Sequence[str]) -> list[str]:
    """The names in braces, each once.

    Raises:
        ConfigError: braces are not closed, or hold more than a name.
    """
    found: dict[str, None] = {}
    for word in command:
        try:
            parts = list(Formatter().parse(word))
        except ValueError as error:
            raise errors.invalid("command", word, f"have its braces in pairs ({error})", _DOUBLE) from None
        for _, name, form, conversion in parts:
            if name is None:
                continue
            if not name.isidentifier() or form or conversion:
                raise errors.invalid("command", word, "hold names alone in its braces", _DOUBLE)
            found[name] = None
    return list(found)


_DOUBLE = "write {name} for a parameter, and {{ and }} for braces that are to stay"


def check(command: Sequence[str], params: Collection[str], num_seeds: int) -> None:
    """Every placeholder is given, every parameter is used, and runs with other seeds are other runs.

    Raises:
        ConfigError: names the placeholder, or the parameter.
    """
    found = placeholders(command)
    for name in params:
        if name in GIVEN:
            contract = f"leave {{{name}}} to sweepkit, which fills it in"
            raise errors.invalid(f"params.{name}", name, contract, "rename the parameter")
        if name not in found:
            contract = f"stand in the command as {{{name}}}, or it changes nothing"
            raise errors.invalid(f"params.{name}", name, contract, "add it to the command, or drop it")
    for name in found:
        if name not in params and name not in GIVEN:
            contract = f"be a parameter, or one of {', '.join(GIVEN)}"
            remedy = f"add it to params, or {errors.did_you_mean(name, [*params, *GIVEN])}"
            raise errors.invalid("command", f"{{{name}}}", contract, remedy)
    if num_seeds > 1 and SEED not in found:
        contract = "pass {seed} on: without it all seeds are one run"
        raise errors.invalid("command", list(command), contract, "add --seed {seed}, or write one seed")


def words(plan: CommandPlan, run_dir: Path) -> list[str]:
    """What is started: every placeholder filled in; ``run_dir`` is the run's own folder."""
    given = {SEED: str(plan.seed), RUN_DIR: str(run_dir), RUN_ID: plan.run_id}
    return filled(plan.program.command, plan.params, given)


def filled(
    command: Sequence[str], params: Mapping[str, Value], given: Mapping[str, str] | None = None
) -> list[str]:
    """Words with the values of parameters in them; what is not given stays a placeholder.

    Raises:
        ConfigError: one holds a zero byte.
    """
    values = {name: f"{{{name}}}" for name in GIVEN}
    values |= {name: spelled(value) for name, value in params.items()} | dict(given or {})
    found = [word.format_map(values) for word in command]
    for word in found:
        if "\0" in word:
            contract = "hold no zero byte, with which no program can be started"
            raise errors.invalid("command", word, contract, "leave it out of the command and its parameters")
    return found


def outside(program: Program) -> list[str]:
    """Words of the command, inputs and named files that are whole paths of something, which is not frozen."""
    words = dict.fromkeys([*program.command[1:], *program.inputs, *program.named])
    return [word for word in words if Path(word).is_absolute() and Path(word).exists()]


def shown(command: Sequence[str]) -> str:
    """As it is typed into a shell."""
    return shlex.join(command)
