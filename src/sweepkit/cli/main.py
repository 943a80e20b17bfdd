"""``sweepkit COMMAND``: finds the command's module and runs it.

Only the module of the command that was asked for is imported, so that ``sweepkit --help`` and shell
completion are quick and planning never waits for torch. A module of a command has ``add_parser(subparsers)``
and ``run(args) -> int``; where it needs pandas, these two are in NAME_options, and what they open in NAME.
"""

from __future__ import annotations

import importlib
import io
import os
import select
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from sweepkit import errors, exit_status, fsio
from sweepkit.cli import command_line
from sweepkit.plan import world
from sweepkit.printable import printable

USER_ERROR = 2
_CONFIG_DIR = ("--config-dir", "-cd")
READER_GONE = 141  # 128 + SIGPIPE: what a shell says of any program whose reader (head, less) has left


@dataclass(frozen=True)
class Command:
    """One line of ``sweepkit --help``.

    Attributes:
        is_heavy: its module imports pandas; its arguments are in a module of their own.
    """

    name: str
    help: str
    is_heavy: bool = False

    @property
    def module(self) -> str:
        """What is imported first: ``add_parser`` and ``run``."""
        return f"sweepkit.cli.{self.name}{'_options' if self.is_heavy else ''}"


GROUPS: dict[str, tuple[Command, ...]] = {
    "Run": (
        Command("train", "one run, or a multirun with -m; every field can be overridden"),
        Command("sweep", "the runs of a sweep file (its first rung); run again to resume"),
        Command("evaluate", "the kept weights of a sweep or a run on other text; trains nothing"),
        Command("promote", "a sweep up its ladder: run, compare, promote, adopt or reject", is_heavy=True),
        Command("campaign", "rounds of sweeps, each from what the ones before it adopted", is_heavy=True),
        Command("calibrate", "how much seeds alone change the loss: the noise verdicts need", is_heavy=True),
    ),
    "Look": (
        Command("plan", "sizes, steps, FLOPs and GPU-hours; launches nothing"),
        Command("fields", "every field: type, default, range, meaning"),
        Command("simulate", "how often promotion policies are wrong, in synthetic worlds"),
        Command("status", "what is planned, running, complete, failed or diverged, with ETA"),
        Command("results", "a sweep's runs as table, CSV, parquet, markdown or JSON", is_heavy=True),
        Command("forecasts", "what rungs were expected to show, and the score", is_heavy=True),
        Command("diagnose", "what looks wrong inside runs, and what usually causes it"),
        Command("report", "a sweep's verdicts and plots as one HTML page"),
        Command("diff", "what a sweep's levels that are code change"),
        Command("publish", "a decided sweep as tables and a page to commit"),
        Command("import", "runs that others made, as a folder that the others here read", is_heavy=True),
        Command("fit", "laws: optima, how they move, sizes, batches, forecasts", is_heavy=True),
        Command("verdict", "judge runs that sweepkit did not make: a table, an import", is_heavy=True),
    ),
    "Manage": (
        Command("resume", "go on with a sweep as it was frozen; rerun what failed"),
        Command("cancel", "stop a sweep's runs after a checkpoint"),
        Command("data", "prepare and inspect datasets, tokenizers and packing"),
        Command("wandb", "send runs that have ended to Weights & Biases"),
        Command("weights", "the weights that runs have kept, and how to free their disk"),
        Command("doctor", "what this machine is, what runs would use, self-checks"),
    ),
}
COMMANDS = {command.name: command for group in GROUPS.values() for command in group}

EXAMPLES = """\
Examples:
  sweepkit promote demo                       a small promotion on built-in text
  sweepkit train model=d12 dataset=climbmix   one run
  sweepkit train -m model=d12,d20 seed=1,2,3  a run for every combination
  sweepkit plan sweep=x0_beta1                what a sweep would cost

sweepkit COMMAND --help explains a command. Results are written to ./results,
or to $SWEEPKIT_RESULTS_DIR."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line.

    Returns:
        0 done; 1 runs failed; 2 the request was wrong; 130 interrupted; 141 nobody reads the output any more.
    """
    try:
        try:
            return _main(argv)
        finally:
            sys.stdout.flush()  # now: Python's own flush at the end would complain
    except BrokenPipeError:
        if not _reader_is_gone():  # another pipe, and an error like any other
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE
    except OSError as error:
        if not _is_output_full(error):
            raise
        print(f"sweepkit: {fsio.in_words(error)}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return USER_ERROR
    except SystemExit as leave:
        if isinstance(leave.__context__, BrokenPipeError):  # how rich ends a program
            return READER_GONE
        raise


def _reader_is_gone() -> bool:
    """Whether stdout or stderr is a pipe that nobody reads."""
    ends = select.poll()
    for stream in (sys.stdout, sys.stderr):
        ends.register(stream.fileno(), 0)
    return any(event & select.POLLERR for _, event in ends.poll(0))


def _is_output_full(error: OSError) -> bool:
    """Whether it is of a write to no file that has a name: of stdout's, on a full disk."""
    return error.errno in fsio.DISK_FULL and error.filename is None


def _main(argv: Sequence[str] | None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that has no × shows a ?
    warnings.showwarning = _Warnings()
    warnings.simplefilter("always", errors.Notice)
    debug = "--debug" in arguments or os.environ.get("HYDRA_FULL_ERROR") == "1"
    arguments = [item for item in arguments if item != "--debug"]
    try:
        if world.is_started():  # by torchrun, as one rank of several
            from sweepkit.distributed import team
            from sweepkit.training import follow

            if world.is_follower():
                return follow.main()
            team.join()
        return _dispatch(arguments)
    except errors.SweepkitError as error:
        if debug:
            raise
        print(f"sweepkit: {printable(str(error))}", file=sys.stderr)
        return USER_ERROR
    except OSError as error:
        if debug or _is_output_full(error) or (reason := fsio.in_words(error)) is None:
            raise
        print(f"sweepkit: {printable(reason)}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print("\nsweepkit: interrupted; run the same command again, it goes on from there", file=sys.stderr)
        return exit_status.INTERRUPTED


def _config_dirs(arguments: list[str]) -> list[str]:
    """Take ``--config-dir FOLDER`` out of a command line: every command knows it, as Hydra's does.

    Raises:
        SweepkitError: no folder follows.
    """
    found: list[str] = []
    for option in _CONFIG_DIR:
        while option in arguments:
            place = arguments.index(option)
            if not arguments[place + 1 :]:
                raise errors.SweepkitError(f"{option} needs a folder behind it")
            found.append(arguments.pop(place + 1))
            arguments.pop(place)
    for item in [item for item in arguments if item.startswith(f"{_CONFIG_DIR[0]}=")]:
        arguments.remove(item)
        found.append(item.partition("=")[2])
    return found


class _Warnings:
    """Warnings are for the user: each once, without the line of ours that it came from."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def __call__(self, message: Warning | str, *_: object, **__: object) -> None:
        text = printable(str(message))
        if text not in self._said:
            self._said.add(text)
            print(f"sweepkit: {text}", file=sys.stderr)


def _dispatch(arguments: list[str]) -> int:
    if arguments[:1] in (["-sc"], ["--shell-completion"]):
        from sweepkit.cli import completion

        return completion.run(arguments[1:], {name: command.module for name, command in COMMANDS.items()})
    folders = _config_dirs(arguments)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    if arguments[0] == "--version":
        print(f"sweepkit {_version()}")
        return 0
    name = arguments[0]
    if name not in COMMANDS:
        raise errors.invalid("command", name, "be a sweepkit command", errors.did_you_mean(name, COMMANDS))
    module = importlib.import_module(COMMANDS[name].module)
    parser = command_line.Parser(prog="sweepkit")
    commands = parser.add_subparsers(dest="command", required=True)
    module.add_parser(commands)
    alone, needs = getattr(module, "ALONE", {}), getattr(module, "NEEDS", {})
    args = command_line.parse(parser, commands.choices[name], arguments, alone, needs)
    from sweepkit.config import own_conf

    with own_conf.beside(folders):
        return int(module.run(args))


def _help() -> str:
    lines = ["usage: sweepkit COMMAND [OPTIONS] [OVERRIDES]", ""]
    lines += ["Hydra-configured sweeps for LLM pretraining, with verdicts that hold up.", ""]
    for group, commands in GROUPS.items():
        lines.append(f"{group}:")
        lines += [f"  {command.name:<9} {command.help}" for command in commands]
        lines.append("")
    lines += [
        "Options:",
        "  -h, --help        this text",
        "  --version         the version",
        "  --config-dir DIR  your own configuration files, as in ./conf (docs/hydra.md)",
        "  --debug           with tracebacks",
    ]
    return "\n".join(lines) + "\n\n" + EXAMPLES


def _version() -> str:
    from importlib import metadata

    return metadata.version("sweepkit")
