"""Shell completion: commands, their options and first arguments, and overrides.

``eval "$(sweepkit -sc install=bash)"`` (zsh, fish) makes the shell call ``sweepkit -sc query=SHELL`` with the
line typed so far in COMP_LINE. What can be typed is read from where it is defined: groups and own files from
the configuration folder, fields and their values from the schema, options from the parser of the command.
"""

from __future__ import annotations

import argparse
import importlib
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum

from sweepkit import errors
from sweepkit.cli import command_line, completion_scripts

#: Commands whose arguments are overrides.
_OF_OVERRIDES = ("train", "plan", "calibrate", "data", "doctor", "sweep", "promote", "resume", "evaluate")
#: Commands that take sweep=NAME among their overrides.
_OF_A_SWEEP = ("plan", "calibrate")
#: Commands whose first argument is the name of a sweep file.
_NAMES_A_FILE = ("sweep", "promote")
#: Commands whose first argument is the name of a sweep that was started.
_NAMES_STARTED = ("status", "results", "forecasts", "report", "diagnose", "cancel", "resume", "evaluate")
#: Of these, what also reads the runs that others made.
_READS_IMPORTS = ("results", "report")


def run(arguments: Sequence[str], commands: Mapping[str, str]) -> int:
    """Print the candidates for the line in COMP_LINE, or a script to install.

    Args:
        commands: name → the module that has its parser.
    """
    line = os.environ.get("COMP_LINE")
    if not line or not any(item.startswith("query=") for item in arguments):
        return completion_scripts.install(arguments)
    words = line.split()
    typed = "" if line.endswith(" ") else words.pop()  # what is to be completed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = sorted(set(_candidates(words, typed, commands)), key=_natural)
        except errors.SweepkitError:  # a broken file is said by the command
            found = []
    print("\n".join(item for item in found if item.startswith(typed)))
    return 0


def _candidates(words: Sequence[str], typed: str, commands: Mapping[str, str]) -> Iterable[str]:
    if len(words) < 2:
        return [*commands, "--help", "--version", "--debug", "--config-dir"]
    command, is_first = words[1], len(words) == 2
    if command not in commands:
        return []
    options = _options(command, commands[command])
    if typed.startswith("-"):
        option, equals, _ = typed.partition("=")
        return (
            [f"{option}={value}" for value in options.get(option, ())]
            if equals
            else [*options, "--config-dir"]
        )
    if options.get(words[-1]):  # the option before waits for one of its values
        return options[words[-1]]
    if words[-1] == "--runs":
        return _imports()
    first = _first_arguments(command) if is_first else []
    if command not in _OF_OVERRIDES or (is_first and command in (*_NAMES_A_FILE, *_NAMES_STARTED)):
        return first
    return [*first, *_sweeps(command), *_overrides(typed)]


def _options(command: str, module: str) -> dict[str, list[str]]:
    """Option of a command → the values that it takes, where they are a choice."""
    if command == "train":
        from sweepkit.cli import train_flags

        parser = train_flags.flags()
    else:
        parser = argparse.ArgumentParser()
        subparsers = parser.add_subparsers()
        importlib.import_module(module).add_parser(subparsers)
        parser = subparsers.choices[command]
    return command_line.options(parser)


def _first_arguments(command: str) -> list[str]:
    if command in _NAMES_A_FILE:
        from sweepkit.sweep import file

        return file.available()
    if command in _NAMES_STARTED:
        from sweepkit.config import paths
        from sweepkit.sweep import frozen

        others = _imports() if command in _READS_IMPORTS else []
        return [*frozen.frozen_names(paths.results_dir()), *others]
    if command == "fields":
        from sweepkit.cli import fields

        return [field.key for section in fields.sections() for field in section.fields]
    if command == "data":
        from sweepkit.cli import data

        return list(data.ACTIONS)
    return []


def _imports() -> list[str]:
    """Names of the runs that others made and that are here."""
    from sweepkit.config import paths
    from sweepkit.sweep import published_seal

    return [path.parent.name for path in paths.results_dir().glob(f"[!.]*/{published_seal.IMPORTED}")]


def _sweeps(command: str) -> list[str]:
    if command not in _OF_A_SWEEP:
        return []
    from sweepkit.sweep import file

    return [f"sweep={name}" for name in file.available()]


def _overrides(typed: str) -> Iterable[str]:
    """Groups and fields up to the next dot; behind ``=`` their values, each once in a list of several."""
    from sweepkit.config import groups, own_conf
    from sweepkit.config.facts import fields_of
    from sweepkit.config.schema import RunConfig, field_at

    options, fields = groups.available(own_conf.folder()), fields_of(RunConfig)
    plus = typed[: len(typed) - len(typed.lstrip("+"))]
    key, equals, value = typed.removeprefix(plus).partition("=")
    if not equals:
        depth = key.count(".") + 1
        names = [name.split(".") for name in fields]
        blocks = {".".join(parts[:depth]) + "." for parts in names if len(parts) > depth}
        whole = {f"{name}=" for name in fields if name.count(".") == depth - 1}
        chosen = {f"{group}=" for group in options} if depth == 1 else set()
        return [f"{plus}{item}" for item in blocks | whole | chosen]
    before = value[: max(value.rfind(mark) for mark in ",[(") + 1]  # what several values begin with
    taken = before.strip("[(").split(",")
    field = field_at(key)
    values = options.get(key, ()) if field is None else _values(field.alternatives)
    return [f"{plus}{key}={before}{item}" for item in values if item not in taken]


def _values(kinds: Iterable[object]) -> list[str]:
    """What can be written for types that have few values."""
    found: list[str] = []
    kinds = list(kinds)
    for kind in kinds:
        if kind is bool:
            found += ["true", "false"]
        elif kind is type(None):
            found.append("null")
        elif isinstance(kind, type) and issubclass(kind, Enum):
            found += [member.name for member in kind]
    return [*found, "auto"] if {int, str} <= set(kinds) else found


def _natural(text: str) -> tuple[str, int]:
    """d2 before d12."""
    stem = text.rstrip("0123456789")
    return stem, int(text[len(stem) :] or 0)
