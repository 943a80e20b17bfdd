"""Every command's help, and every action's, shows a line that can be typed."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator

import pytest

from sweepkit.cli import command_line
from sweepkit.cli.main import COMMANDS, main


def _commands() -> Iterator[str]:
    for name, command in COMMANDS.items():
        yield name
        commands = command_line.Parser(prog="sweepkit").add_subparsers()
        importlib.import_module(command.module).add_parser(commands)
        for action in commands.choices[name]._actions if name in commands.choices else ():
            if isinstance(action, argparse._SubParsersAction):
                yield from (f"{name} {choice}" for choice in action.choices)


@pytest.mark.parametrize("words", list(_commands()))
def test_help_shows_an_example(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        raise SystemExit(main([*words.split(), "--help"]))
    lines = [line.strip().removeprefix("example: ") for line in capsys.readouterr().out.splitlines()]
    assert [line for line in lines if line.startswith(f"sweepkit {words}")], "no line to type"
