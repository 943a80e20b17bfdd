"""What a command line says: arguments, overrides among them, and what is no option of a command."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence
from typing import Any, NoReturn

from sweepkit import errors

#: So many fields of one name are proposed.
_FEW = 3


class Parser(argparse.ArgumentParser):
    """A parser, and those of commands, whose errors are one line like all others."""

    def error(self, message: str) -> NoReturn:
        command = self.prog.removeprefix("sweepkit ")
        if message.startswith("argument --") and message.endswith("expected one argument"):
            option = message.split()[1].rstrip(":")
            message += f" (one that begins with - is written {option}=-...)"
        raise errors.SweepkitError(f"{command}: {message}; see {self.prog} --help")


def add_parser(subparsers: Any, name: str, description: str, epilog: str) -> argparse.ArgumentParser:
    """The parser of a command: what its ``--help`` says first, and below the arguments, as it is written."""
    raw = argparse.RawDescriptionHelpFormatter
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name, description=description, epilog=epilog, formatter_class=raw
    )
    return parser


def add_mixed_argument(parser: argparse.ArgumentParser) -> None:
    """The option of the commands that judge."""
    option, words = "--allow-mixed-environments", "compare runs across hardware, threads and versions"
    parser.add_argument(option, action="store_true", help=words)


def parse(
    parser: argparse.ArgumentParser, of_command: argparse.ArgumentParser, arguments: list[str]
) -> argparse.Namespace:
    """Like ``parse_args``, but overrides may also follow options, which argparse does not allow."""
    args, rest = parser.parse_known_args(arguments)
    if rest and (not hasattr(args, "overrides") or any(item.startswith("-") for item in rest)):
        raise unknown_option(arguments[0], of_command, rest)
    if rest:
        args.overrides = [*args.overrides, *rest]
    return args


def options(parser: argparse.ArgumentParser) -> dict[str, list[str]]:
    """Option of a command → the values that it takes, where they are a choice."""
    found: dict[str, list[str]] = {}
    for action in parser._actions:
        choices = [] if action.choices is None else list(map(str, action.choices))
        if action.help != argparse.SUPPRESS:
            found |= dict.fromkeys(action.option_strings, choices)
    return found


def unknown_option(
    command: str, parser: argparse.ArgumentParser, rest: Sequence[str]
) -> errors.SweepkitError:
    """The error for what a command does not know; fields are no options."""
    option, _, value = rest[0].partition("=")
    value = value or next((item for item in rest[1:2] if not item.startswith("-")), "VALUE")
    hint = ""
    if close := difflib.get_close_matches(option, options(parser), n=1, cutoff=0.8):
        hint = f"did you mean {close[0]}? "
    elif option.startswith("--"):
        hint = _as_override(option[2:].replace("-", "_"), value)
    return errors.SweepkitError(
        f"{command} does not know {' '.join(rest)}; {hint}see sweepkit {command} --help"
    )


def _as_override(name: str, value: str) -> str:
    """How the field or group is set that an option may have meant; nothing where none is like it."""
    from sweepkit.config import groups, own_conf  # to err needs them, to parse does not
    from sweepkit.config.facts import fields_of
    from sweepkit.config.schema import RunConfig

    known = [*groups.available(own_conf.folder()), *fields_of(RunConfig)]
    if name in known:
        return f"a field is set as {name}={value}, "
    parts = [key for key in known if key.endswith(f".{name}")]
    meant = parts if 0 < len(parts) <= _FEW else difflib.get_close_matches(name, known, n=1, cutoff=0.7)
    return f"did you mean {' or '.join(f'{key}={value}' for key in meant)}? " if meant else ""
