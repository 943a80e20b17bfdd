"""What a command line says: arguments, overrides among them, and what is no option of a command."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Collection, Mapping, Sequence
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
    parser: argparse.ArgumentParser,
    of_command: argparse.ArgumentParser,
    arguments: list[str],
    alone: Mapping[str, Collection[str]],
    needs: Mapping[str, str],
) -> argparse.Namespace:
    """Like ``parse_args``, but overrides may also follow options, which argparse does not allow.

    Args:
        alone, needs: those of ``check_read``.
    """
    args, rest = parser.parse_known_args(arguments)
    if rest and (not hasattr(args, "overrides") or any(item.startswith("-") for item in rest)):
        raise unknown_option(arguments[0], of_command, rest)
    if rest:
        args.overrides = [*args.overrides, *rest]
    check_read(of_command, args, alone, needs)
    return args


def check_read(
    parser: argparse.ArgumentParser,
    args: argparse.Namespace,
    alone: Mapping[str, Collection[str]],
    needs: Mapping[str, str],
) -> None:
    """Every option that is given is read: what has no effect is refused, not passed over.

    Args:
        alone: option that asks for something of its own → the others that it reads.
        needs: option → the one without which nobody reads it.

    Raises:
        ConfigError: one is given that is not read.
    """
    given = _given(parser, args)
    asked = next((option for option in alone if option in given), None)
    for option, value in given.items():
        if asked is not None and option != asked and option not in alone[asked]:
            raise unread(option, value, asked)
        if (other := needs.get(option, option)) not in given:
            raise errors.invalid(option, shown(value), f"go with {other}", f"add {other}, or leave it out")


def unread(option: str, value: object, asked: str) -> errors.ConfigError:
    """The error for an option beside something that does not read it."""
    contract = f"be left out with {asked}, which does not read it"
    return errors.invalid(option, shown(value), contract, "leave it out")


def shown(value: object) -> object:
    """A value as an error shows it: a path as text."""
    return value if isinstance(value, (str, int, float, list)) else str(value)


def _given(parser: argparse.ArgumentParser, args: argparse.Namespace) -> dict[str, Any]:
    """Option → its value, of those that say something else than their default."""
    found = {}
    for action in parser._actions:
        value = getattr(args, action.dest, action.default)
        is_other = isinstance(action, argparse._StoreConstAction) and value != action.const
        if action.option_strings and value != action.default and not is_other:
            found[action.option_strings[-1]] = value
    return found


def words(text: str | None) -> list[str]:
    """The words of a list with commas between them."""
    return [item.strip() for item in (text or "").split(",") if item.strip()]


def chosen(option: str, text: str, known: Collection[str], what: str) -> list[str]:
    """The words of a list, each of which has to be known; an empty one is a mistake: an unset variable, say.

    Args:
        what: a word is, with its article.
    """
    for word in words(text) or [text]:
        if word not in known:
            raise errors.invalid(option, word, f"be {what}", errors.did_you_mean(word, known))
    return words(text)


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
