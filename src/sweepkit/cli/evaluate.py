"""``sweepkit evaluate``: measure the kept weights of complete runs in another way, without training."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from sweepkit.cli import command_line, remaking, running
from sweepkit.config import compose, paths
from sweepkit.config.schema import EvaluationConfig
from sweepkit.errors import invalid
from sweepkit.launch import named
from sweepkit.plan import build
from sweepkit.plan.command_plan import Plan
from sweepkit.plan.run_plan import RunPlan
from sweepkit.printable import counted
from sweepkit.report import terminal
from sweepkit.results.record import RunDir, RunState
from sweepkit.sweep import set_fields

EPILOG = """\
examples:
  sweepkit evaluate x0_beta1 evaluation.streams=[validation]         every complete run of a sweep
  sweepkit evaluate d12-0123456789ab-s1 evaluation.max_bytes=402653184      one run, on more text
  sweepkit evaluate x0_beta1 evaluation=core                         the tasks of a bundle too (docs/core.md)
  sweepkit evaluate x0_beta1 launcher=slurm                          as Slurm jobs; as it was frozen
  sweepkit results x0_beta1 --evaluation KEY                         the table with what was measured so

Overrides are of evaluation.* and launcher.*; an option, as evaluation=core, is put over what a run has.
Results are kept beside each run, under a key of what they were measured on; the same command again measures
only what is missing, losses by document too. Text that is held back for a last rung is evaluated for runs of
that rung alone; asking for it elsewhere, by name or as more bytes of the text that a ladder's lower rungs are
evaluated on, is refused, and kept on record.
"""
_BLOCKS = ("evaluation", "launcher")


def add_parser(subparsers: Any) -> None:
    parser = command_line.add_parser(
        subparsers, "evaluate", "Evaluate the weights that complete runs have kept.", EPILOG
    )
    parser.add_argument(
        "name", metavar="SWEEP|RUN", help="name of a sweep in the results folder, or a run_id"
    )
    parser.add_argument(
        "overrides", nargs="*", default=[], metavar="OVERRIDE", help="evaluation.*=..., launcher.*=..."
    )
    running.add_launch_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluate; the exit status is 1 where a run could not be."""
    results_dir = paths.results_dir()
    plans = [
        _evaluated(_own(plan, args.name), args.overrides) for plan in named.plans(results_dir, args.name)
    ]
    running.check_sealed(plans, results_dir)
    complete = [plan for plan in plans if _is_trained(results_dir, plan)]
    if others := len(plans) - len(complete):
        print(f"{counted(others, 'run')} left out: not complete, so without final weights")
    if not complete:
        return running.RUNS_FAILED
    how = running.how(args, results_dir, complete[0])
    if running.run_plans(complete, how, f"evaluate {args.name}", {}) is not None:
        print("when the jobs have ended, the same command shows what they measured")
        return running.DONE
    remaking.by_document(complete, results_dir)
    from sweepkit.report import drawing, sheets_findings, tables  # heavy, as all that reads tables
    from sweepkit.results import store

    frame = store.of_plans(complete, results_dir)
    is_sweep = args.name in store.sweep_names(results_dir)
    if is_sweep:  # a sweep's runs are known by what they vary
        cells = store.load(args.name, results_dir).drop_duplicates("run_id").set_index("run_id")
        frame = frame.assign(**{name: frame["run_id"].map(cells[name]) for name in ("rung", "variant")})
    terminal.console().print(tables.runs(frame))
    streams = [name for name in map(str, frame) if name.startswith("bpb_") and frame[name].notna().any()]
    if len(streams) > 1:
        which = ["rung", "variant", "seed"] if is_sweep else ["run_id"]
        terminal.console().print(tables.plain(frame[[*which, *streams]]))
    if (scores := sheets_findings.scores(frame)) is not None:
        terminal.console().print(drawing.draw(scores))
    # what ``results`` calls the table that has these runs
    table = args.name if is_sweep else store.ALL
    for key in sorted(set(frame["evaluation_key"])):
        print(f"evaluation {key}: sweepkit results {table} --evaluation {key} shows it again")
    return running.DONE if (frame["state"] == RunState.complete).all() else running.RUNS_FAILED


def _own(plan: Plan, name: str) -> RunPlan:
    """A plan of this package's trainer, whose final weights can be measured."""
    if isinstance(plan, RunPlan):
        return plan
    contract = "be of this package's trainer: what a command keeps is its own"
    raise invalid(
        "SWEEP|RUN", name, contract, "have the command measure it too, and write it into its result"
    )


def _evaluated(plan: RunPlan, overrides: Sequence[str]) -> RunPlan:
    """``plan`` with its evaluation and its launcher as the overrides say.

    Raises:
        ConfigError: an override is of something else, or breaks a rule.
    """
    config = plan.config
    for item in overrides:
        if set_fields.block(item) not in _BLOCKS:
            raise invalid(
                "evaluate",
                item,
                "be of evaluation or launcher",
                "anything else is another training: sweepkit train",
            )
    for block in _BLOCKS:
        mine = [item for item in overrides if set_fields.block(item) == block]
        options = [item for item in mine if block == "evaluation" and compose.is_group_override(item)]
        if options:  # put over what the run has; a field that is named stands whatever an option says
            asked = compose.with_block(config, block, options).evaluation
            config = replace(config, evaluation=_put_over(config.evaluation, asked, EvaluationConfig()))
        if fields_of_it := [item for item in mine if item not in options]:
            config = compose.with_block(config, block, fields_of_it)
    return build.evaluated(plan, config)


def _put_over(now: Any, asked: Any, plain: Any) -> Any:
    """``now`` with what an option says: the fields in which it is not as where no option says anything."""
    values = {}
    for item in fields(now):
        mine, theirs, default = (getattr(each, item.name) for each in (now, asked, plain))
        values[item.name] = (
            _put_over(mine, theirs, default) if is_dataclass(mine) else mine if theirs == default else theirs
        )
    return replace(now, **values)


def _is_trained(results_dir: Path, plan: RunPlan) -> bool:
    record = RunDir.of(results_dir, plan.run_id).read_record()
    return record is not None and record.state is RunState.complete
