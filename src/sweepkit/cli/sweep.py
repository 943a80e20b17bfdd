"""``sweepkit sweep``: freeze a sweep and run its first rung, or all of it where it has no ladder."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from typing import Any

import yaml  # type: ignore[import-untyped]

from sweepkit.cli import command_line, freezing, hub_texts, running, searching
from sweepkit.config import paths, typed
from sweepkit.printable import printable
from sweepkit.sweep import expand
from sweepkit.sweep.file import SweepFile

EPILOG = """\
examples:
  sweepkit sweep x0_beta1                      runs what is missing; run again to resume
  sweepkit sweep x0_beta1 launcher=local launcher.num_workers=2
  sweepkit sweep x0_beta1 launcher=slurm       submits and returns
  sweepkit sweep ./my_sweep.yaml trainer.compile=false
  sweepkit sweep x0_beta1 --cfg job            the reference's configuration; runs nothing
  sweepkit sweep lr_search --amend-to 60       of a search: more trials on the same study, 60 in all

All cells of all rungs and the decision rule are frozen in results/NAME before the first run starts.
Launcher, logging and trainer overrides may differ from call to call; other overrides belong to the sweep and
win over its levels. sweepkit promote NAME climbs the ladder. A sweep file with a search: block runs its fixed
cells, then what the sampler proposes, n_trials in total however often it is resumed (docs/search.md).
"""


def add_parser(subparsers: Any) -> None:
    parser = command_line.add_parser(
        subparsers,
        "sweep",
        "Run the first rung of a sweep file, or all of it where it names no ladder.",
        EPILOG,
    )
    parser.add_argument("name", metavar="NAME", help="a sweep in ./sweeps or a shipped one, or a .yaml file")
    parser.add_argument(
        "overrides", nargs="*", default=[], metavar="OVERRIDE", help="key=value, as for train"
    )
    running.add_reuse_argument(parser)
    parser.add_argument("--underpowered", action="store_true", help="go on though the plan has little power")
    parser.add_argument(
        "-c",
        "--cfg",
        choices=("job",),
        help="print the configuration of the reference's first run, and run nothing",
    )
    searching.add_amend_argument(parser)
    running.add_launch_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the first rung; the exit status is 1 where runs failed."""
    results_dir = paths.results_dir()
    asked = running.load_sweep(args.name, args.overrides, results_dir)
    if args.cfg:
        return _show(asked, args.overrides)
    if args.amend_to is not None:
        searching.amend(args.amend_to, asked.name, results_dir)
    running.check_power(asked, args.overrides, results_dir, args.underpowered)
    from sweepkit.cli import tuning_first  # heavy, as all that reads tables

    found = tuning_first.tuned(asked, args, results_dir)
    if isinstance(found, int):
        return found
    sweep = hub_texts.knowing(lambda: freezing.freeze(found, args.overrides, results_dir, args.reuse_runs))
    if sweep.search:
        freezing.introduce(sweep)
        how = running.how(args, results_dir, sweep.cells[0].plan)
        return searching.run(sweep, how, args.overrides)
    rung = sweep.rungs[0].name
    cells = [cell for cell in sweep.cells if cell.rung == rung]
    freezing.introduce(sweep)
    if len(sweep.rungs) > 1:
        print(f"rung {rung}: {freezing.describe(cells)}")
    how = running.how(args, results_dir, cells[0].plan)
    if submitted := running.run_cells(sweep, cells, how, sweep.name):
        return running.leave(sweep, how, submitted, [])
    status = running.conclude(sweep, results_dir, cells)
    above = f"goes on to {sweep.rungs[1].name}" if len(sweep.rungs) > 1 else "says why"
    print(f"next: sweepkit {shlex.join(['promote', args.name, *args.overrides])} decides and {above}")
    return status


def _show(sweep: SweepFile, overrides: Sequence[str]) -> int:
    """Print the reference's configuration on the first rung, as YAML, and say what variants change."""
    rung = expand.rungs_of(expand.ladder_of(sweep, overrides))[0]
    reference = expand.expand(sweep, rung, overrides)[0].plan
    print(f"# {sweep.name}: the reference on rung {rung.name}, seed {reference.seed}")
    for variant in expand.variants(sweep)[1:]:
        print(printable(f"# {variant.label}: {' '.join(variant.overrides)}"))
    asked = reference.settings if reference.config is None else typed.dump(reference.config)
    print(yaml.safe_dump(asked, sort_keys=False, allow_unicode=True), end="")
    return running.DONE
