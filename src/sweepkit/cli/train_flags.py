"""The options of ``sweepkit train``, Hydra's and ours, and what ``--help`` says of them."""

from __future__ import annotations

import argparse
import textwrap

from sweepkit.cli import running
from sweepkit.config import groups, own_conf

PROG = "sweepkit train"
NEEDS = {"--package": "--cfg", "--resolve": "--cfg"}
_PARTS = ("job", "hydra", "all")
_INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
_USAGE = f"{PROG} [-m] [OPTIONS] [GROUP=OPTION ...] [FIELD=VALUE ...]"
_DESCRIPTION = f"""\
One training run; with -m a run for every combination of values (the first of each is the reference), or a
search. The same command again goes on where it was stopped, and runs nothing that is complete.

examples:
  {PROG} experiment=mini model=d2                      a small run on built-in text
  {PROG} model=d12 dataset=climbmix optimizer.matrix.lr=0.03
  {PROG} -m experiment=mini model=d2,d4 seed=1,2,3 --name=sizes
  {PROG} -m experiment=mini model=d2 'optimizer.matrix.lr=tag(log,interval(0.01,0.1))' search.n_trials=8
  {PROG} model=d12 code=ideas/dyt.patch                a patch, a git ref, a folder or worktree as its code
  {PROG} model=d12 --cfg job                           the configuration, no run
"""
_MORE = """\
more:
  sweepkit fields                    every field: type, default, range, meaning
  sweepkit fields optimizer          those of a block
  sweepkit plan OVERRIDES            sizes, steps and cost of the same words; plan -m of a multirun
  sweepkit train --hydra-help        Hydra's own options; docs/hydra.md says what differs
  --config-dir DIR, --debug          as for every command (sweepkit --help)
"""


def flags() -> argparse.ArgumentParser:
    """The options of Hydra's command line, and ours."""
    parser = argparse.ArgumentParser(
        PROG,
        usage=_USAGE,
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
        allow_abbrev=False,
        exit_on_error=False,
    )
    parser.add_argument("overrides", nargs="*", help=argparse.SUPPRESS)
    options = parser.add_argument_group("options")
    options.add_argument("-h", "--help", action="store_true", help="this text")
    options.add_argument(
        "-m", "--multirun", action="store_true", help="a run for every combination of values"
    )
    options.add_argument(
        "--name", help="of a multirun: what its results are called (default: by its content)"
    )
    running.add_other_sources(options)
    theirs = parser.add_argument_group("options that show something, and run nothing")
    theirs.add_argument(
        "-c", "--cfg", choices=_PARTS, metavar="PART", help="the configuration: job, hydra, all"
    )
    theirs.add_argument("-p", "--package", help="with --cfg: a part of it, as optimizer")
    theirs.add_argument("--resolve", action="store_true", help="with --cfg: interpolations resolved")
    about = f"how Hydra came to it: {', '.join(_INFO)}"
    theirs.add_argument("-i", "--info", nargs="?", const="all", choices=_INFO, metavar="WHAT", help=about)
    theirs.add_argument("--hydra-help", action="store_true", help="Hydra's own help")
    theirs.add_argument("--version", action="store_true", help="Hydra's version")
    theirs.add_argument("-sc", "--shell-completion", action="store_true", help="install=bash, zsh or fish")
    theirs.add_argument("-r", "--run", action="store_true", help="one run, as without it")
    for option in (("-cp", "--config-path"), ("-cn", "--config-name"), ("--experimental-rerun",)):
        parser.add_argument(*option, help=argparse.SUPPRESS)  # they are refused
    return parser


def in_words() -> str:
    """The help: usage, examples, options, groups with their options, and where to look further."""
    known = groups.available(own_conf.folder())
    width = max(map(len, known))
    lines = ["groups (GROUP=OPTION; of your own, ./conf is one of the folders):"]
    for name, options in known.items():
        lines += _wrapped(f"  {name:<{width}}  ", options)
    return "\n".join([flags().format_help(), *lines, "", _MORE.rstrip()])


def _wrapped(start: str, options: tuple[str, ...]) -> list[str]:
    return textwrap.wrap(", ".join(options), 100, initial_indent=start, subsequent_indent=" " * len(start))
