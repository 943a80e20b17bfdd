"""``sweepkit weights``: the final weights that runs have kept, and giving their disk back."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import Any

from sweepkit import fsio
from sweepkit.cli import command_line
from sweepkit.config import paths
from sweepkit.errors import SweepkitError
from sweepkit.launch import claims, named
from sweepkit.plan import disk
from sweepkit.printable import counted
from sweepkit.report import drawing, terminal
from sweepkit.report.sheet import Sheet
from sweepkit.results.record import RunDir
from sweepkit.sweep import frozen

EPILOG = """\
examples:
  sweepkit weights                             every run that has kept its weights, and how much they take
  sweepkit weights list x0_beta1               those of a sweep
  sweepkit weights drop x0_beta1               delete them; results stay
  sweepkit weights drop d12-0123456789ab-s1    of one run

A complete run keeps the weights it ended with (trainer.keep_weights=false: it does not), so that it can be
evaluated in other ways without training. Where they were dropped that takes another training.
"""


def add_parser(subparsers: Any) -> None:
    parser = command_line.add_parser(
        subparsers, "weights", "List the final weights that runs have kept, or delete them.", EPILOG
    )
    actions = parser.add_subparsers(dest="action", metavar="list | drop")
    listing = actions.add_parser(
        "list", help="runs with weights, and their size", epilog="example: sweepkit weights list x0_beta1"
    )
    listing.add_argument("name", nargs="?", metavar="SWEEP|RUN", help="default: every run")
    drop = actions.add_parser(
        "drop",
        help="delete the weights of a sweep or a run",
        epilog="example: sweepkit weights drop x0_beta1",
    )
    drop.add_argument("name", metavar="SWEEP|RUN", help="name of a sweep, or a run_id")


def run(args: argparse.Namespace) -> int:
    """0 when done; user errors raise ``SweepkitError``."""
    results_dir = paths.results_dir()
    if args.action == "drop":
        return _drop(results_dir, args.name)
    _list(results_dir, getattr(args, "name", None))
    return 0


def _list(results_dir: Path, name: str | None) -> None:
    every = sorted(fsio.folders(results_dir / "runs"))
    run_ids = [plan.run_id for plan in named.plans(results_dir, name)] if name else every
    found = [(run_id, RunDir.of(results_dir, run_id).weights_path) for run_id in run_ids]
    sizes = {run_id: path.stat().st_size for run_id, path in found if path.exists()}
    if sizes:
        sheet = Sheet(("run", "variant", ">seed", ">weights"))
        known = _cells(results_dir, name)
        for run_id, num_bytes in sizes.items():
            variant, seed = known.get(run_id, ("", ""))
            sheet.add(run_id, variant, seed, disk.size(num_bytes))
        terminal.console().print(drawing.draw(sheet))
    kept = f"{len(sizes)} of {counted(len(run_ids), 'run')}"
    print(f"{kept} with weights: {disk.size(sum(sizes.values()))}")


def _cells(results_dir: Path, name: str | None) -> dict[str, tuple[str, str]]:
    """Run → its variants in the sweeps that ask for it, and its seed; runs of no sweep are not in it."""
    sweeps = frozen.frozen_names(results_dir)
    labels: dict[str, dict[str, int]] = {}
    for sweep in [name] if name in sweeps else sweeps:
        with contextlib.suppress(SweepkitError, KeyError, TypeError):  # as the table of runs says
            for cell in frozen.load_frozen(results_dir, sweep).cells:
                labels.setdefault(cell.plan.run_id, {})[cell.variant] = cell.plan.seed
    return {run_id: (", ".join(found), str(next(iter(found.values())))) for run_id, found in labels.items()}


def _drop(results_dir: Path, name: str) -> int:
    freed, held = [], []
    for plan in named.plans(results_dir, name):
        run_dir = RunDir.of(results_dir, plan.run_id)
        if not run_dir.weights_path.exists():
            continue
        if (claim := claims.claim(run_dir)) is None:
            held.append(plan.run_id)
            continue
        with claim:
            freed.append(run_dir.weights_path.stat().st_size)
            run_dir.weights_path.unlink()
    print(f"weights of {counted(len(freed), 'run')} dropped: {disk.size(sum(freed))}")
    if held:
        raise SweepkitError(
            f"{', '.join(held)} held by a running process, but must be free; wait, or cancel it (sweepkit "
            f"cancel {name}), and drop again"
        )
    return 0
