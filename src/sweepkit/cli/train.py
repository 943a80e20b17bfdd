"""``sweepkit train``: a Hydra app for one run, or with ``-m`` for a multirun.

Everything Hydra's command line can do works (``--cfg``, ``--help``, ``--info``, ``-m``, completion). The
run is composed as by every other command, so that the same words are the same run, and starts after Hydra
has returned: it neither swallows an error nor stands in a traceback. Hydra's own errors have their cause.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import logging
import os
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from sweepkit import errors
from sweepkit.cli import main, running
from sweepkit.config import paths
from sweepkit.config.schema import RunConfig
from sweepkit.printable import printable

PROG = "sweepkit train"
_SEARCH = ("search.", "search=")
FULL_ERROR = "HYDRA_FULL_ERROR"


def add_parser(subparsers: Any) -> None:
    # a prefix character that cannot occur leaves every argument, -m too, to Hydra
    parser = subparsers.add_parser("train", prefix_chars="\0", add_help=False)
    parser.add_argument("arguments", nargs="*")


def run(args: argparse.Namespace) -> int:
    """Carry out one Hydra command line; the exit status is 1 where the run did not complete."""
    _refuse_options_for_fields(args.arguments)
    arguments, other_sources = _other_sources(args.arguments)
    if other_sources != "refuse" and {"-m", "--multirun"}.intersection(arguments):
        place = next((index for index, item in enumerate(arguments) if "=" in item), len(arguments))
        arguments.insert(place, f"++hydra.sweeper.other_sources={other_sources}")  # beside the overrides
    config = compose_with_hydra(arguments)
    return 0 if config is None else train(config, other_sources)


def _refuse_options_for_fields(arguments: Sequence[str]) -> None:
    """Raises SweepkitError for ``--model d12``, in place of Hydra's usage."""
    known = {item.name for item in dataclasses.fields(RunConfig)}
    for place, item in enumerate(arguments):
        if item.startswith("--") and re.split(r"[.=/]", item[2:], maxsplit=1)[0] in known:
            raise main.unknown_option("train", arguments[place:])


def _other_sources(arguments: Sequence[str]) -> tuple[list[str], str]:
    """What Hydra is to see of a command line, and what is done with finished runs that other code made.

    Raises:
        ConfigError: two answers.
    """
    options = list(dict.fromkeys(item for item in arguments if item in running.OTHER_SOURCES))
    if len(options) > 1:
        raise errors.invalid(options[0], "on", f"not come with {options[1]}", "leave one of them out")
    others = [item for item in arguments if item not in options]
    return others, running.OTHER_SOURCES[options[0]][0] if options else "refuse"


def train(config: RunConfig, other_sources: str = "refuse") -> int:
    """Run one configuration unless it has been run; 0 when it is complete.

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
    from sweepkit.launch.ledger import Run
    from sweepkit.launch.other_sources import OtherSources, settle
    from sweepkit.plan import build, text
    from sweepkit.results import answer, asked
    from sweepkit.results.record import RunDir, RunState

    plan = running.knowing_text(lambda: text.known(build.build(config)))
    results_dir = paths.results_dir()
    running.check_sealed([plan], results_dir)
    run_dir = RunDir.of(results_dir, plan.run_id)
    where = running.shown(run_dir.path)
    how = running.How(results_dir, config.launcher, other_sources=other_sources)
    before = asked.read(run_dir, plan.evaluation_key)
    if before is not None and before.state in (RunState.complete, RunState.trained):
        settle([Run.of(plan, results_dir)], OtherSources(other_sources))
        before = asked.read(run_dir, plan.evaluation_key)
    was_complete = before is not None and before.state is RunState.complete
    if not was_complete:
        is_trained = before is not None and before.state is RunState.trained
        steps = f"{plan.num_steps} steps of {plan.total_batch_size} tokens"
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
    if why := record.resolved.get("dtype_reason"):
        result += f", in {record.resolved['dtype']} ({why})"
    for note in record.resolved.get("notes", ()):
        print(note)
    if record.state == RunState.complete:
        taken = ", computed by other code and taken with --accept-code" if record.accepted else ""
        print(f"{'already complete' if was_complete else 'complete'}: {where}{result}{taken}")
        return running.DONE
    reason = record.failure_message or record.failure_class or ""
    print(printable(f"{record.state}: {where}{result}; {reason}"), file=sys.stderr)
    if not answer.is_answer(record.state, record.failure_class):
        print("correct that and run the same command again", file=sys.stderr)
    elif record.state in (RunState.failed, RunState.diverged):
        print(f"a run that has ended is not run again; to try it anew, delete {where}", file=sys.stderr)
    if record.state is RunState.failed and any(run_dir.checkpoints_path.glob("step_*")):
        print(f"to go on from its last checkpoint, delete {run_dir.record_path.name} there", file=sys.stderr)
    return running.RUNS_FAILED


def compose_with_hydra(arguments: Sequence[str]) -> RunConfig | None:
    """Let Hydra carry out a command line.

    Returns:
        The configuration to run; None where Hydra has done all there was to do (help, a multirun, ...).

    Raises:
        ConfigError: an override is wrong.
        SystemExit: Hydra or the multirun ended with a status.
    """
    from sweepkit.config import compose

    if not any(item.startswith("-") or _is_hydras(item) for item in arguments):  # nothing for Hydra to do
        _with_search_options(arguments)
        return compose.compose(arguments)
    import hydra
    import yaml  # type: ignore[import-untyped]
    from hydra._internal.utils import get_args
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    _refuse_hydras_own(arguments)
    compose.register_schema()
    composed: list[Any] = []

    def keep(config: Any) -> None:
        composed.append(config)

    app = hydra.main(version_base="1.3", config_path=str(paths.conf_dir()), config_name="config")(keep)
    with _command_line(_with_search_options(arguments)), _raw_errors():
        try:
            app()
        except errors.SweepkitError:
            raise
        except (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError, OverflowError) as error:
            # model=null is a ValueError, a float with a thousand digits overflows
            _explain(arguments)
            raise errors.ConfigError(_cause(error)) from error
    if not composed:
        return None
    if len(composed) > 1:
        raise errors.ConfigError(
            "hydra/sweeper is not sweepkit's, but must be (it keeps a multirun's record); leave it out"
        )
    return compose.compose([item for item in get_args(list(arguments)).overrides if not _is_hydras(item)])


def _is_hydras(override: str) -> bool:
    """Whether it sets something of Hydra's own, as ``hydra.verbose=true`` or ``hydra/sweeper=basic``."""
    return re.split(r"[./=@]", override.lstrip("+~"), maxsplit=1)[0] == "hydra"


def _refuse_hydras_own(arguments: Sequence[str]) -> None:
    """Refuse what Hydra's command line could do and no other command: a plan or a sweep could not follow.

    Raises:
        ConfigError: a configuration folder or file of its own, or an override that deletes or moves.
    """
    from hydra._internal.utils import get_args
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    from sweepkit.config.override import refuse_other_kinds

    given = get_args(list(arguments))
    for option in ("config_dir", "config_path", "config_name", "experimental_rerun"):
        if (value := getattr(given, option)) is not None:
            raise errors.invalid(
                f"--{option.replace('_', '-')}",
                value,
                "be left out, for no other command would know it",
                "add files to a copy of the configuration folder and set SWEEPKIT_CONF_DIR to it",
            )
    parser = OverridesParser.create()
    for item in given.overrides:
        if item.startswith("~") or "@" in item.partition("=")[0]:
            with contextlib.suppress(HydraException):  # Hydra says what is malformed
                refuse_other_kinds(parser.parse_override(item), item)


def _with_search_options(arguments: Sequence[str]) -> list[str]:
    """Hand ``search.n_trials=40`` to the sweeper: it is no field of a run's configuration.

    Raises:
        ConfigError: there is no multirun to search.
    """
    options = [item for item in arguments if item.startswith(_SEARCH)]
    if options and not {"-m", "--multirun"}.intersection(arguments):
        raise errors.invalid(
            "override", options[0], "go with -m, for one run searches nothing", "add -m and an interval(...)"
        )
    return [f"++hydra.sweeper.{item}" if item in options else item for item in arguments]


def _explain(arguments: Sequence[str]) -> None:
    """Say in the house's words what is wrong, where it is one override's fault. Raises ConfigError."""
    from hydra._internal.utils import get_args
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    from sweepkit.config import compose

    parser = OverridesParser.create()
    given = get_args(list(arguments)).overrides
    overrides = [item for item in given if not _is_hydras(item) and not item.startswith(_SEARCH)]
    single, malformed = [], []
    for item in overrides:
        try:
            if not parser.parse_override(item).is_sweep_override():
                single.append(item)
        except HydraException:
            malformed.append(item)
    compose.compose([*single, *malformed])


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
    """Hydra reads ``sys.argv``; the first word is what it calls itself."""
    before = sys.argv
    sys.argv = [PROG if not _is_completion(arguments) else "sweepkit", *arguments]
    try:
        yield
    finally:
        sys.argv = before


def _is_completion(arguments: Sequence[str]) -> bool:
    return any(item in ("-sc", "--shell-completion") for item in arguments)


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
