"""Every option that is given is read, or refused in one line: none has no effect without a word."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator
from typing import Any

import pytest

from sweepkit.cli import command_line
from sweepkit.cli.main import COMMANDS, main

NAMED = {"results", "diagnose", "promote", "campaign", "publish", "resume"}


def _parsers() -> Iterator[tuple[str, Any, argparse.ArgumentParser]]:
    for name, command in COMMANDS.items():
        module: Any = importlib.import_module(command.module)
        if hasattr(module, "ALONE") or hasattr(module, "NEEDS"):
            commands = command_line.Parser(prog="sweepkit").add_subparsers()
            module.add_parser(commands)
            yield name, module, commands.choices[name]


def _words(parser: argparse.ArgumentParser, option: str) -> list[str]:
    """The option, with a value where it takes one."""
    action = next(item for item in parser._actions if option in item.option_strings)
    if action.nargs in (0, "?"):
        return [option]
    if action.choices:
        return [option, str(next(item for item in action.choices if item != action.default))]
    return [option, "7"]


def _cases() -> Iterator[tuple[str, list[str], str, str]]:
    for name, module, parser in _parsers():
        first = [name, *(["some"] if name in NAMED else [])]
        options = {item.option_strings[-1] for item in parser._actions if item.option_strings} - {"--help"}
        alone, needs = getattr(module, "ALONE", {}), getattr(module, "NEEDS", {})
        for option, other in needs.items():
            yield name, [*first, *_words(parser, option)], option, other
        earlier: set[str] = set()
        for asked, reads in alone.items():
            earlier.add(asked)
            for option in sorted(options - {asked, *reads} - earlier):
                yield name, [*first, *_words(parser, asked), *_words(parser, option)], option, asked


CASES = list(_cases())


def test_there_are_as_many_as_there_are_options() -> None:
    assert len(CASES) > 60 and {name for name, *_ in CASES} >= {"results", "verdict", "promote", "campaign"}


@pytest.mark.parametrize("option", ["--resolve", "--package=optimizer"])
def test_train_knows_parts_of_a_configuration_that_is_shown(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "model=d2", option]) == 2
    assert "must go with --cfg" in capsys.readouterr().err


def test_what_is_not_read_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for _, words, option, asked in CASES:
        assert main(words) == 2, words
        (line,) = capsys.readouterr().err.splitlines()
        assert option in line and asked in line, (words, line)


def test_what_is_read_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        ["results", "--columns", "--curves", "--format", "csv", "--filter", "name == lr"],
        ["results", "--columns", "--select", "name"],
    ):
        assert main(words) == 0
        assert capsys.readouterr().out


def test_a_bar_and_a_ledger_read_the_metric_and_alpha_of_a_rule(capsys: pytest.CaptureFixture[str]) -> None:
    table = "tests/tables/modded_track3_part.csv"
    assert main(["verdict", table, "--target", "3.28", "decision.min_effect=0.1"]) == 2
    said = capsys.readouterr().err
    assert "decision.min_effect is '0.1', but must be left out with --target" in said


def test_plan_keeps_seeds_of_a_sweep_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "model=d2", "--reuse-runs"]) == 2
    assert "go with sweep=NAME" in capsys.readouterr().err


def test_an_empty_list_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    """Of a variable that is not set, say."""
    for option, words in (("--only", ["simulate"]), ("--select", ["results", "--columns"]),
                          ("--sort", ["results", "--columns"])):  # fmt: skip
        assert main([*words, option, ""]) == 2
        assert option in capsys.readouterr().err


def test_words_of_a_list_may_have_blanks_between_them() -> None:
    assert command_line.chosen("--only", "timeout, oom", ["oom", "timeout"], "a class") == ["timeout", "oom"]
