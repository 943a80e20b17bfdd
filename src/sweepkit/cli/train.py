"""``sweepkit train``: one run, or with ``-m`` a run for every combination of values.

The command line is Hydra's (``-m``, ``--cfg``, ``--info``, ``--hydra-help``) with options of ours, and what
only shows something is left to it. A run is composed as by every other command, so that the same words are
the same run, and a multirun is sweepkit's own: it keeps a record, and goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import hydra
import yaml  # type: ignore[import-untyped]
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from sweepkit import errors
from sweepkit.cli import (
    command_line,
    completion_scripts,
    hub_texts,
    no_effect,
    running,
    train_flags,
    train_multirun,
)
from sweepkit.code import planner
from sweepkit.code.planner import Planner
from sweepkit.config import compose, hydras_own, own_conf, paths
from sweepkit.config.schema import RunConfig
from sweepkit.launch import code_levels
from sweepkit.launch.ledger import Run
from sweepkit.launch.other_sources import OtherSources, settle
from sweepkit.plan import epochs
from sweepkit.plan.run_plan import RunPlan
from sweepkit.printable import printable
from sweepkit.results import answer, asked, core_outcomes
from sweepkit.results.record import RunDir, RunRecord, RunState
from sweepkit.sweep import multirun, set_fields

FULL_ERROR = "HYDRA_FULL_ERROR"
_SHOWING = ("cfg", "info", "hydra_help", "version")
_NOT_OURS = ("config_path", "config_name", "experimental_rerun")


def add_parser(subparsers: Any) -> None:
    # a prefix character that cannot occur leaves every argument, -m too, to ``train_flags``
    parser = subparsers.add_parser("train", prefix_chars="\0", add_help=False)
    parser.add_argument("arguments", nargs="*")


def run(args: argparse.Namespace) -> int:
    """Carry out one command line; the exit status is 1 where a run did not complete."""
    given = _given(args.arguments)
    overrides = given.overrides
    if given.help:
        print(train_flags.in_words())
        return running.DONE
    if given.shell_completion:
        return completion_scripts.install(overrides)
    if any(getattr(given, name) for name in _SHOWING):
        return _show(args.arguments, given)
    if given.multirun or f"{hydras_own.MODE}=MULTIRUN" in overrides:
        return train_multirun.run(overrides, given.other_sources, given.name)
    alone = ["--name"] if given.name else [item for item in overrides if multirun.is_of_a_search(item)]
    if alone:
        contract = "go with -m, for one run searches nothing and is named by its content"
        raise errors.invalid("override", alone[0], contract, "add -m, and values or an interval(...)")
    single = code_levels.single(overrides, paths.results_dir())
    return train(single.config(), given.other_sources, overrides, planner.planner(single.trees))


def _given(arguments: Sequence[str]) -> argparse.Namespace:
    """A command line, read.

    Raises:
        ConfigError: an option is unknown, or one of Hydra's that would ask for another application.
    """
    parser = train_flags.flags()
    try:
        given, rest = parser.parse_known_intermixed_args(list(arguments))
    except (argparse.ArgumentError, SystemExit) as error:
        raise errors.SweepkitError(f"train: {error}; see {train_flags.PROG} --help") from error
    if unknown := [item for item in rest if item.startswith("-")]:
        raise command_line.unknown_option("train", parser, arguments[arguments.index(unknown[0]) :])
    given.overrides += rest
    command_line.check_read(parser, given, {}, train_flags.NEEDS)
    for name in _NOT_OURS:
        if (value := getattr(given, name)) is not None:
            raise errors.invalid(
                f"--{name.replace('_', '-')}",
                value,
                "be left out, for no other command would know it",
                "put files of your own into ./conf, or name their folder with --config-dir",
            )
    return given


def train(
    config: RunConfig,
    other_sources: str = "refuse",
    overrides: Sequence[str] = (),
    code: Planner | None = None,
) -> int:
    """Run one configuration unless it has been run; 0 when it is complete.

    Args:
        overrides: what was typed; fields among them that nothing reads are said.
        code: what plans it; None: what is here.

    Raises:
        ConfigError: it names a ladder, which one run cannot climb.
        SweepkitError: other code has run it.
    """
    if config.ladder.rungs:
        raise errors.invalid(
            "ladder",
            config.ladder.name,
            "be none for one run",
            "add -m to run every rung, or use sweepkit promote SWEEP",
        )
    results_dir = paths.results_dir()
    builder = code or planner.Here()
    (plan,) = hub_texts.knowing(lambda: hub_texts.known([builder.build(config)], results_dir))
    no_effect.say(overrides, [plan])
    running.check_sealed([plan], results_dir)
    run_dir = RunDir.of(results_dir, plan.run_id)
    where = running.shown(run_dir.path)
    how = running.How(results_dir, config.launcher, other_sources=other_sources)
    before = asked.read(run_dir, plan.evaluation_key)
    if before is not None and before.state in (RunState.complete, RunState.trained):
        settle([Run.of(plan, results_dir)], OtherSources(other_sources))
        before = asked.read(run_dir, plan.evaluation_key)
    was_complete = before is not None and before.state is RunState.complete
    own = run_dir.read_record()
    is_trained = own is not None and asked.needs_evaluation(own, plan.evaluation_key)
    if not was_complete:
        steps = f"{plan.num_steps} steps of {plan.total_batch_size} tokens"
        if not is_trained:
            epochs.check(plan)
        print(f"{plan.run_id}: {'its kept weights are evaluated' if is_trained else steps}, {where}")
        if running.run_plans([plan], how, plan.run_id, {}) is not None:
            print(f"follow: sweepkit status; the run's folder is {where}")
            return running.DONE
    record = asked.read(run_dir, plan.evaluation_key)
    if record is None:
        print(f"{plan.run_id} left no record; see {run_dir.log_path}", file=sys.stderr)
        return running.RUNS_FAILED
    bpb = record.results.get("val_bpb")
    result = "" if bpb is None else f", val_bpb {bpb:.4f}"
    for name, of_items in core_outcomes.SE.items():
        if (score := record.results.get(name)) is not None:
            result += f", {name} {score:.4f} ± {record.results[of_items]:.4f}"
    if why := record.resolved.dtype_reason:
        result += f", in {record.resolved.dtype} ({why})"
    for note in record.resolved.notes:
        print(note)
    if record.state == RunState.complete:
        taken = ", computed by other code and taken with --accept-code" if record.accepted else ""
        print(f"{'already complete' if was_complete else 'complete'}: {where}{result}{taken}")
        return running.DONE
    _say_why(plan, run_dir, record, result, is_trained)
    return running.RUNS_FAILED


def _say_why(plan: RunPlan, run_dir: RunDir, record: RunRecord, result: str, is_trained: bool) -> None:
    """What ended a run that is not complete, or the evaluation of one that is, and what to do."""
    where, reason = running.shown(run_dir.path), record.failure_message or record.failure_class or ""
    print(printable(f"{record.state}: {where}{result}; {reason}"), file=sys.stderr)
    if not answer.is_answer(record.state, record.failure_class):
        print("correct that and run the same command again", file=sys.stderr)
    elif is_trained:
        again = f"sweepkit evaluate {plan.run_id} --retry-failed, with the same evaluation.*, tries again"
        print(f"its kept weights could not be evaluated; {again}", file=sys.stderr)
    elif record.state in (RunState.failed, RunState.diverged):
        print(f"a run that has ended is not run again; to try it anew, delete {where}", file=sys.stderr)
    if record.state is RunState.failed and not is_trained and any(run_dir.checkpoints_path.glob("step_*")):
        print(f"to go on from its last checkpoint, delete {run_dir.record_path.name} there", file=sys.stderr)


def _show(arguments: Sequence[str], given: argparse.Namespace) -> int:
    """Let Hydra show the configuration, or what is known of it.

    Raises:
        ConfigError: an override is wrong.
        SystemExit: Hydra ended with a status.
    """
    ours = {
        "-m",
        "--multirun",
        "--name",
        given.name,
        f"--name={given.name}",
        *running.OTHER_SOURCES,
        *given.overrides,
    }
    asked = [item for item in given.overrides if not multirun.is_of_a_search(item)]
    asked = multirun.without_several(asked) if given.multirun else asked
    overrides = [item.lstrip("+") if compose.is_group(set_fields.key(item)) else item for item in asked]
    words = [item for item in arguments if item not in ours and item not in given.overrides]
    compose.register_schema()
    folder = own_conf.folder(compose.searchpath(overrides))
    app = hydra.main(config_path=str(folder), config_name=compose.PRIMARY, **compose.VERSION_BASE)(_nothing)
    with _command_line([*words, *overrides]), _raw_errors():
        try:
            app()
        except (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError, OverflowError) as error:
            # model=null is a ValueError, a float with a thousand digits overflows
            compose.compose(overrides)  # says it in the house's words, where it is an override's fault
            raise errors.ConfigError(_cause(error)) from error
    return 0


def _nothing(config: Any) -> None:
    """A Hydra application that only shows its configuration."""


def _cause(error: BaseException) -> str:
    """Hydra's message with what lies behind it, which Hydra's first line hides; in one line."""
    lines: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        text = " ".join(str(cause).split())
        if text and not any(text in line for line in lines):
            lines.append(text)
        cause = cause.__cause__
    return "; ".join(lines)


@contextlib.contextmanager
def _command_line(arguments: Sequence[str]) -> Iterator[None]:
    """Hydra reads ``sys.argv`` (the first word is its own name), and ``--info`` sets up the root logger."""
    before, root = sys.argv, logging.getLogger()
    handlers, level = list(root.handlers), root.level
    sys.argv = [train_flags.PROG, *arguments]
    try:
        yield
    finally:
        sys.argv = before
        root.handlers = handlers
        root.setLevel(level)


@contextlib.contextmanager
def _raw_errors() -> Iterator[None]:
    """Make Hydra raise instead of printing half of an error and exiting."""
    before = os.environ.get(FULL_ERROR)
    os.environ[FULL_ERROR] = "1"
    logging.raiseExceptions = False  # --info logs; a reader that is gone (head) is no error
    try:
        yield
    finally:
        logging.raiseExceptions = True
        if before is None:
            del os.environ[FULL_ERROR]
        else:
            os.environ[FULL_ERROR] = before
