"""``sweepkit simulate``: how often promotion policies are wrong, what they find and what they spend."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from sweepkit.cli import command_line
from sweepkit.errors import invalid
from sweepkit.promotion.simulation import design, policies, tpe, worlds
from sweepkit.promotion.simulation.policies import Policy
from sweepkit.promotion.simulation.worlds import World
from sweepkit.report import drawing, terminal
from sweepkit.report.sheet import Mark, Sheet
from sweepkit.sweep.decision import DecisionRule
from sweepkit.sweep.file import REPLICATES

if TYPE_CHECKING:
    from sweepkit.promotion.simulation.play import Score

_PICTURES = (".png", ".svg", ".pdf")
EPILOG = """\
examples:
  sweepkit simulate                            1,000 worlds of each kind, 320 variants, 3 rungs
  sweepkit simulate --worlds 200 --only cliff,heavy_tails --alpha 0.1
  sweepkit simulate --tpe 30 --plot policies.png
  sweepkit simulate --stopping results/published/tune_mini    what stopping early would have saved and lost
  sweepkit promote demo --simulate             the sweep that you are about to run, not the default design

Variants have true effects at every depth; policies see noisy runs, spend compute and adopt. A false adoption
is a variant that does nothing or harm at the last rung. Gain is the true improvement of what was shipped;
compute is in runs of the lowest rung. The worlds are written down in promotion/simulation/worlds.yaml
(docs/statistics.md). --stopping plays no worlds, but recorded curves: rules that stop runs half way, each at
the setting that saves most of those that lose at most so many winners (variants that reached min_effect), and
the boundary for decision.futility that all of them teach (docs/sweeps.md).
"""
ALONE = {"--stopping": ("--worlds", "--seed", "--format", "--curve")}
NEEDS = {"--curve": "--stopping"}


def add_parser(subparsers: Any) -> None:
    parser = command_line.add_parser(
        subparsers, "simulate", "Play promotion policies in synthetic worlds whose truth is known.", EPILOG
    )
    parser.add_argument("--worlds", type=int, default=1000, help="of each kind (default: 1000)")
    parser.add_argument("--only", metavar="KINDS", help="kinds of worlds, separated by commas")
    parser.add_argument("--alpha", type=float, default=0.05, help="of sweepkit's rule (default: 0.05)")
    parser.add_argument("--seed", type=int, default=1, help="same seed, same numbers (default: 1)")
    parser.add_argument(
        "--tpe", type=int, default=0, metavar="N", help="TPE with pruning in N worlds too: slow"
    )
    parser.add_argument(
        "--reference-replicates",
        type=int,
        default=1,
        metavar="M",
        help="runs of the reference with each seed of the last rung in sweepkit's design (default: 1)",
    )
    parser.add_argument(
        "--stopping",
        nargs="+",
        metavar="SWEEP",
        help="replay stopping rules on the curves of these sweeps or published folders; --worlds of draws",
    )
    parser.add_argument(
        "--curve",
        choices=("loss", "evaluations"),
        default="loss",
        help="with --stopping: compare training losses (default) or interim evaluations",
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help=f"write a picture ({', '.join(_PICTURES)})")
    parser.add_argument("--format", choices=("table", "csv", "json"), default="table", help="default: table")


def run(args: argparse.Namespace) -> int:
    """Play and tell; 0 also where a policy errs too often, which is what this is for."""
    if args.worlds < 1:
        raise invalid("--worlds", args.worlds, "be at least 1", "the default is 1000")
    if args.seed < 0:
        raise invalid("--seed", args.seed, "be at least 0", "the default is 1")
    if args.tpe < 0:
        raise invalid("--tpe", args.tpe, "be at least 0", "leave it out to play without")
    REPLICATES.check("--reference-replicates", args.reference_replicates, "")
    if args.plot and args.plot.suffix.lower() not in _PICTURES:
        raise invalid("--plot", str(args.plot), f"end in one of {', '.join(_PICTURES)}", "rename it")
    if args.stopping:
        from sweepkit.cli import stopping_replay  # heavy: its tables

        return stopping_replay.run(args.stopping, args.worlds, args.seed, args.format, args.curve)
    kinds = worlds.load()
    if args.only is not None:
        only = command_line.chosen("--only", args.only, kinds, "a kind of world")
        kinds = {name: kinds[name] for name in only}
    largest = next(iter(kinds.values()))
    rule = DecisionRule(alpha=args.alpha)
    plan = design.default(largest.num_variants, largest.num_rungs, rule, args.reference_replicates)
    players = policies.usual() | {policies.SWEEPKIT: policies.sweepkit(plan)}
    scores = play_with_progress(kinds, players, args.worlds, args.seed)
    if args.tpe:
        scores += play_with_progress(kinds, {"tpe with pruning": tpe.tpe}, args.tpe, args.seed)
    show(scores, args.format, args.alpha)
    if args.format == "table":
        print(f"sweepkit's design: {plan.describe()}")
    if args.plot:
        from sweepkit.report import policy_plot

        policy_plot.write(scores, args.alpha, args.plot)
    return 0


def play_with_progress(
    kinds: Mapping[str, World], players: Mapping[str, Policy], num_worlds: int, seed: int
) -> list[Score]:
    """``play`` with a line on stderr that says what is being played."""
    with Console(stderr=True).status("simulating") as status:
        from sweepkit.promotion.simulation import play  # heavy: its table

        return play.play(
            kinds,
            players,
            num_worlds,
            seed,
            lambda kind, policy: status.update(f"{policy} in {num_worlds} worlds: {kind}"),
        )


def show(scores: Sequence[Score], form: str, alpha: float) -> None:
    """The scores as a table for people, or as CSV or JSON."""
    from sweepkit.promotion.simulation import play
    from sweepkit.results import export

    frame = play.table(list(scores))
    if form == "csv":
        print(export.csv(frame), end="")
    elif form == "json":
        print(frame.to_json(orient="records"))
    else:
        _draw(scores, alpha)


def _draw(scores: Sequence[Score], alpha: float) -> None:
    numbers = (">worlds", ">false adoption", ">found best", ">true gain", ">compute", ">gain / 1000")
    sheet = Sheet(("world", "policy", *numbers), optional=("worlds", "found best", "gain / 1000"))
    for place, score in enumerate(scores):
        starts = place == 0 or scores[place - 1].world != score.world
        sheet.add(
            score.world if starts else "",
            score.policy,
            f"{score.num_worlds:,}",
            Mark(f"{score.false_adoption:.1%}", "failed" if score.exceeds(alpha) else "met"),
            "–" if score.found_best is None else f"{score.found_best:.0%}",
            f"{score.gain:.5f}",
            f"{score.compute:,.0f}",
            f"{score.gain_per_compute:.5f}",
            new_group=starts,
        )
    console = terminal.console()
    console.print(drawing.draw(sheet))
    console.print(
        f"false adoption is to stay at or under {alpha:.0%}; true gain in bits per byte at the last rung; "
        "compute in runs of the lowest rung",
        style="dim",
    )
