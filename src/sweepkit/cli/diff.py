"""``sweepkit diff``: what a sweep's levels that are code change, as they were frozen."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from rich.syntax import Syntax

from sweepkit.cli import command_line, running
from sweepkit.code import levels
from sweepkit.code.levels import Level
from sweepkit.errors import SweepkitError, invalid
from sweepkit.printable import printable
from sweepkit.report import drawing, terminal
from sweepkit.report.sheet import Mark, Sheet
from sweepkit.results import variant_said
from sweepkit.sweep import frozen

EPILOG = """\
examples:
  sweepkit diff ideas                          the levels that are code, and how much each changes
  sweepkit diff ideas idea=dyt                 the patch of one, as it was frozen
  sweepkit diff ideas idea=dyt | git apply     it, on the checkout

A patch is against the reference's code: of src/sweepkit and conf, or of a command's folder.
"""


def add_parser(subparsers: Any) -> None:
    parser = command_line.add_parser(
        subparsers, "diff", "What a sweep's levels that are code change, as they were frozen.", EPILOG
    )
    parser.add_argument("name", metavar="SWEEP", help="name of a sweep in the results folder, or its folder")
    parser.add_argument("variant", metavar="VARIANT", nargs="?", help="whose patch to print; none: a table")


def run(args: argparse.Namespace) -> int:
    """Print a table of levels, or one patch. User errors raise ``SweepkitError``."""
    name, results_dir = running.place(args.name)
    sweep = frozen.load_frozen(results_dir, name)
    found = {
        cell.variant: level
        for cell in sweep.cells
        if sweep.code and (level := sweep.code.level(cell.code)) is not None
    }
    if not found:
        raise invalid("sweep", name, "have a level that is code", "see docs/ideas_are_code.md")
    if args.variant is None:
        terminal.console().print(drawing.draw(_sheet(found)))
        return running.DONE
    contract = "be a variant of the sweep whose code is its own"
    variant = variant_said.find("variant", args.variant, list(found), contract)
    text = levels.read_patch(sweep.sweep_dir, found[variant].tree)
    if text is None:
        where = levels.patch_path(sweep.sweep_dir, found[variant].tree)
        raise SweepkitError(f"{where} is missing, but must be what {variant} changes; restore it")
    if sys.stdout.isatty():
        terminal.console().print(Syntax(printable(text), "diff", background_color="default"))
    else:
        sys.stdout.write(text)
    return running.DONE


def _sheet(found: dict[str, Level]) -> Sheet:
    sheet = Sheet(("variant", "code", "file", ">+", ">−"))
    for variant, level in found.items():
        for place, (path, (added, removed)) in enumerate((level.files or {}).items()):
            first = (Mark(variant, "strong"), level.text) if place == 0 else ("", "")
            sheet.add(*first, path, str(added), str(removed))
    return sheet
