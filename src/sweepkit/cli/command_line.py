"""What a command line says: arguments, overrides among them, and what is no option of a command."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from sweepkit import errors


class Parser(argparse.ArgumentParser):
    """A parser, and those of commands, whose errors are one line like all others."""

    def error(self, message: str) -> NoReturn:
        command = self.prog.removeprefix("sweepkit ")
        if message.startswith("argument --") and message.endswith("expected one argument"):
            option = message.split()[1].rstrip(":")
            message += f" (one that begins with - is written {option}=-...)"
        raise errors.SweepkitError(f"{command}: {message}; see {self.prog} --help")


def parse(parser: argparse.ArgumentParser, arguments: list[str]) -> argparse.Namespace:
    """Like ``parse_args``, but overrides may also follow options, which argparse does not allow."""
    args, rest = parser.parse_known_args(arguments)
    if rest and (not hasattr(args, "overrides") or any(item.startswith("-") for item in rest)):
        raise unknown_option(arguments[0], rest)
    if rest:
        args.overrides = [*args.overrides, *rest]
    return args


def unknown_option(command: str, rest: Sequence[str]) -> errors.SweepkitError:
    """The error for what a command does not know; fields are no options."""
    option, _, value = rest[0].lstrip("-").partition("=")
    value = value or next((item for item in rest[1:2] if not item.startswith("-")), "VALUE")
    hint = f"a field is set as {option}={value}, " if rest[0].startswith("--") else ""
    return errors.SweepkitError(
        f"{command} does not know {' '.join(rest)}; {hint}see sweepkit {command} --help"
    )
