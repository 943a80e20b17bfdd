"""``sweepkit plan``: sizes, steps, FLOPs and GPU-hours of a run or a sweep; launches nothing.

Needs no data, no tokenizer and no torch: a plan of hundreds of runs takes a second or two.
"""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sweepkit import errors
from sweepkit.cli import (
    freezing,
    no_effect,
    plan_command,
    plan_further,
    plan_words,
    run_sheet,
    running,
)
from sweepkit.config import paths, typed
from sweepkit.config.compose import is_group, options
from sweepkit.config.override import refuse_adding
from sweepkit.launch import code_levels
from sweepkit.plan import disk, epochs
from sweepkit.plan.command_plan import Plan, own
from sweepkit.plan.run_plan import RunPlan
from sweepkit.printable import counted
from sweepkit.report import drawing, numbers, terminal
from sweepkit.report.sheet import Sheet
from sweepkit.sweep import (
    expand,
    file,
    fresh,
    frozen,
    last_rung,
    multirun,
    points,
    sealed_text,
    tuning,
    warm_notes,
)
from sweepkit.sweep.cell import Cell
from sweepkit.sweep.file import SweepFile
from sweepkit.sweep.seen import Past

_LADDER = "ladder="

_EPILOG = """\
examples:
  sweepkit plan model=d12                                        one run
  sweepkit plan model=d20 horizon.target_param_data_ratio=10.5 launcher.plan_device=a100
  sweepkit plan experiment=mini model=d4 optimizer.matrix.lr=0.03
  sweepkit plan -m model=d12,d20 optimizer.matrix.lr=0.02,0.03   the runs of a multirun, as train -m has them
  sweepkit plan ladder=gpt2                                      one run at every rung and horizon
  sweepkit plan sweep=demo                                       every run of a sweep, all rungs of its ladder
  sweepkit plan sweep=x0_beta1 ladder=mini experiment=mini       the same sweep on another ladder
  sweepkit plan model=d12 --format json                          a list of whole plans

code=REF, a patch, a folder or worktree plans by that code (docs/ideas_are_code.md).
Of a sweep it plans the runs that freezing it now would give: a listed seed with which a run was seen is
replaced (--reuse-runs keeps it), and that is said.

GPU-hours are training FLOPs / (peak of launcher.plan_device × launcher.plan_mfu); memory is an estimate for
one device. Tokens, batch, learning rates and weight decay follow from depth (docs/methodology.md, section 3).
"""


@dataclass(frozen=True)
class Row:
    """A plan and where it stands in a sweep; empty for a single run."""

    plan: Plan
    variant: str = ""
    rung: str = ""
    role: str = ""
    number: int = 0  # counts the reference's runs of one seed

    def to_json(self) -> dict[str, object]:
        place = {"variant": self.variant, "rung": self.rung, "role": self.role, "number": self.number}
        plan: dict[str, object] = typed.dump(self.plan)
        seen = epochs.of(self.plan) if isinstance(self.plan, RunPlan) else None
        plan["epochs"] = None if seen is None else seen.number
        return plan | (place if self.variant else {})


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "plan",
        help="sizes, steps, FLOPs and GPU-hours; launches nothing",
        description="What a run or a sweep would be: sizes, steps, rates, FLOPs, cost. Launches nothing.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="OVERRIDE", help="GROUP=OPTION, FIELD=VALUE or sweep=NAME"
    )
    parser.add_argument("-m", "--multirun", action="store_true", help="a run for every combination of values")
    running.add_reuse_argument(parser)
    parser.add_argument("--format", choices=("table", "json"), default="table", help="default: table")


def run(args: argparse.Namespace) -> int:
    """Print the plans; 0 on success. User errors raise ``SweepkitError``."""
    found = planned(args.overrides, args.reuse_runs, args.multirun)
    rows = found.rows
    own_plans = [row.plan for row in rows if isinstance(row.plan, RunPlan)]
    no_effect.say(args.overrides, own_plans)
    if args.format == "json":
        # one plan a line: json is several times slower with an indent
        lines = ",\n".join(json.dumps(row.to_json(), allow_nan=False) for row in rows)
        print(f"[{lines}]")
        for sentence in found.seen:
            print(sentence, file=sys.stderr)
    elif found.sweep is not None:
        _print_tested(found.sweep, found.overrides, rows)
        is_command = bool(found.sweep.command)
        has_power = not (found.sweep.is_typed or found.sweep.search or is_command or found.sweep.isoflop)
        if is_command:
            plan_command.show(found.sweep, found.cells, found.overrides)
        else:
            _print_sweep(rows, plan_further.num_to_come(found.sweep, found.overrides, found.cells))
            plan_words.explain((*plan_words.OF_A_SWEEP, *(plan_words.OF_POWER if has_power else ())))
            _print_replicates(rows)
        plan_further.budgets(found.sweep)
        plan_further.tuning(found.sweep, found.selection)
        for sentence in found.seen:
            print(sentence)
        plan_further.search(found.sweep, found.overrides, found.cells)
        if has_power:
            _print_power(found.sweep, found.overrides, found.cells)
    else:
        run_sheet.show(own(rows[0].plan))
        plan_words.explain(plan_words.OF_A_RUN)
    return 0


@dataclass(frozen=True)
class Planned:
    """What was asked for.

    Attributes:
        sweep: whose runs they are; None for a single run.
        overrides: on top of the sweep.
        cells: the sweep's, one a row.
        seen: what was seen of its runs when it was frozen, or would be now, in sentences.
        selection: the runs by which variants are tuned before it is frozen; none where it has been.
    """

    rows: list[Row]
    sweep: SweepFile | None = None
    overrides: Sequence[str] = ()
    cells: Sequence[Cell] = ()
    seen: Sequence[str] = ()
    selection: Sequence[Cell] = ()


def planned(overrides: Sequence[str], reuse_runs: bool = False, is_multirun: bool = False) -> Planned:
    """The plans asked for: one, those of ``sweep=NAME``, or of a multirun; the other overrides on top.

    Args:
        reuse_runs: keep the listed seeds although runs with them were seen.
        is_multirun: with -m; ``ladder=NAME`` is one without saying so, a run at every rung.

    Raises:
        ConfigError: an override is wrong, or two sweeps are named.
        FrozenPlanError: the sweep was frozen with fresh seeds, and now is to reuse runs.
    """
    name, others = running.split_sweep(overrides)
    _refuse_bare_names(others)
    if name is not None and is_multirun:
        raise errors.invalid("sweep", name, "come without -m, which plans a sweep that is typed", "drop -m")
    if name is not None:
        return _of_a_sweep(name, others, reuse_runs)
    if reuse_runs:
        raise errors.invalid("--reuse-runs", True, "go with sweep=NAME", "name a sweep, or leave it out")
    if is_multirun or any(item.startswith(_LADDER) and item != f"{_LADDER}none" for item in others):
        sweep, extra = multirun.parse(others)
        sweep = code_levels.resolved(sweep, paths.results_dir())
        cells = expand.expand_all(sweep, extra)
        return _checked(sweep, extra, cells)
    plan = code_levels.single(others, paths.results_dir()).plan()
    running.check_sealed([plan], paths.results_dir(), is_started=False)
    return Planned([Row(plan)])


def _of_a_sweep(name: str, others: Sequence[str], reuse_runs: bool) -> Planned:
    results_dir = paths.results_dir()
    listed = running.load_sweep(name, others, results_dir)
    sweep = frozen.as_frozen(listed, results_dir, others, reuse_runs)
    cells = expand.expand_all(sweep, others)
    if sweep.search:
        points.check(sweep.search, expand.stacks(sweep, others), cells, others)
        warm_notes.check(sweep.search.warm_start, sweep.name, results_dir)
    is_frozen = sweep.name in frozen.frozen_names(results_dir)
    seen = (
        frozen.load_frozen(results_dir, sweep.name).seen
        if is_frozen
        else fresh.look(cells, sweep.replaced_seeds, Past(results_dir, sweep.name))
    )
    selection = [] if is_frozen or not listed.tune else tuning.cells(listed, others)
    return replace(_checked(sweep, others, cells, seen.sentences), selection=selection)


def _checked(
    sweep: SweepFile, others: Sequence[str], cells: Sequence[Cell], seen: Sequence[str] = ()
) -> Planned:
    """The plans of a sweep's cells, which are refused as they would be when it is frozen."""
    rungs = expand.rungs_of(expand.ladder_of(sweep, others))
    sealed_text.check_cells(cells, rungs, sweep, note_in=None)
    return Planned([_row(cell) for cell in cells], sweep, others, cells, seen)


def _refuse_bare_names(overrides: Sequence[str]) -> None:
    """Raise ConfigError where a sweep is named as other commands have it, or nearly."""
    bare = next((item for item in overrides if "=" not in item), None)
    if bare is None:
        return
    if bare.startswith("~"):
        raise refuse_adding(bare)
    known = [] if is_group(bare) else file.available()
    is_file = bare.endswith((".yaml", ".yml"))
    close = [bare] if is_file else difflib.get_close_matches(bare.lower(), known, n=1)
    hint = f"did you mean 'sweep={close[0]}'?" if close else f"write {_written(bare)}, or sweep=demo"
    raise errors.invalid("override", bare, "be key=value, or name a sweep", hint)


def _written(name: str) -> str:
    """How an override of a group is written that has this name, or else of a field."""
    return f"{name}={options(name)[0]}" if is_group(name) else "optimizer.matrix.lr=0.02"


def _row(cell: Cell) -> Row:
    return Row(cell.plan, cell.variant, cell.rung, cell.role, cell.number)


def _print_tested(sweep: SweepFile, others: Sequence[str], found: Sequence[Row]) -> None:
    """What all runs share, and what variants change."""
    ladder = expand.ladder_of(sweep, others)
    base = [*(ladder.base if ladder else ()), *sweep.base, *expand.above(others)]
    freezing.show_tested(found, sweep.search, base, sweep.trees.code if sweep.trees else None)


def _print_sweep(found: Sequence[Row], to_come: int) -> None:
    """One line a rung and size; variants that cost the same stand together."""
    sizes_shown = (
        ">depth",
        ">width",
        ">params",
        ">tokens",
        ">epochs",
        ">batch",
        ">steps",
        ">FLOPs",
        ">GPU-h",
    )
    optional = ("width", "batch", "epochs", "params", "depth")
    sheet = Sheet(("rung", "variants", ">runs", *sizes_shown), optional=optional)
    listed: list[list[str]] = []
    for rung in dict.fromkeys(row.rung for row in found):
        here = [row for row in found if row.rung == rung]
        sizes: dict[tuple[str, ...], list[Row]] = {}
        for row in here:
            sizes.setdefault(_size_columns(own(row.plan)), []).append(row)
        for columns, rows_alike in sizes.items():
            names = list(dict.fromkeys(row.variant for row in rows_alike))
            label = "\n".join(names)
            if len(names) > 1 and len(sizes) == 1:
                label = f"all {len(names)}"
            elif len(names) > 1 and names in listed:
                label = f"the same {len(names)}"
            listed.append(names)
            sheet.add(rung, label, str(len(rows_alike)), *columns)
    console = terminal.console()
    console.print(drawing.draw(sheet))
    plans = list({row.plan.run_id: own(row.plan) for row in found}.values())
    hours = [plan.estimated_gpu_hours for plan in plans if plan.estimated_gpu_hours is not None]
    total = sum(hours) if len(hours) == len(plans) else None
    flops = sum(plan.total_flops for plan in plans)
    if len({row.rung for row in found}) > 1:
        console.print("FLOPs and GPU-hours are of one run; in all, if every variant climbs to the top:")
    else:
        console.print("FLOPs and GPU-hours are of one run; in all:")
    console.print(f"{counted(len(plans), 'run')}, {flops:.3e} FLOPs, {run_sheet.cost(total, plans[0])}")
    console.print(f"here: {run_sheet.here(plans, to_come)}")
    console.print(f"disk: {disk.in_words(plans)}")
    console.print(f"epochs of the longest: {run_sheet.epochs_of(plans)}")


def _print_replicates(found: Sequence[Row]) -> None:
    """How often the reference runs with each seed, where that is more than once."""
    often: dict[int, list[str]] = {}
    for rung in dict.fromkeys(row.rung for row in found):
        often.setdefault(max(row.number for row in found if row.rung == rung) + 1, []).append(rung)
    for times, rungs in often.items():
        if times > 1:
            where = ", ".join(rungs)
            print(f"the reference runs {times} times with each seed on {where} (reference_replicates)")


def _print_power(sweep: SweepFile, others: Sequence[str], cells: Sequence[Cell]) -> None:
    """What the sweep's verdicts could show."""
    from sweepkit.analysis import calibration_file, futility
    from sweepkit.promotion import expected, foresight

    name = sweep.name
    rungs = expand.rungs_of(expand.ladder_of(sweep, others))
    known = calibration_file.read(paths.results_dir())
    console = terminal.console()
    at_top = next(cell.plan.config for cell in cells if cell.rung == rungs[-1].name)
    if said := last_rung.said(sweep.decision, rungs, at_top):
        console.print(f"\n{said}")
    found = expected.of(cells, rungs, sweep.decision, known)
    console.print(f"\n{expected.describe(found, sweep.decision)}".replace("NAME", name))
    if sentence := foresight.foreseen(found, sweep.decision, name, len(rungs) > 1):
        console.print(sentence)
    if sweep.decision.futility:
        console.print(futility.reach(sweep.decision.futility))
    if not found.is_enough:
        console.print("underpowered: sweep and promote ask for --underpowered")


def _size_columns(plan: RunPlan) -> tuple[str, ...]:
    hours = plan.estimated_gpu_hours
    return (
        str(plan.depth),
        str(plan.width),
        numbers.scaled(plan.total_params, fixed=False),
        numbers.scaled(plan.total_tokens, fixed=False),
        "–" if (seen := epochs.of(plan)) is None else f"{seen.number:.3g}",
        numbers.scaled(plan.total_batch_size, fixed=False),
        f"{plan.num_steps:,}",
        f"{plan.total_flops:.2e}",
        "–" if hours is None else _hours(hours),
    )


def _hours(hours: float) -> str:
    if hours < 0.01:
        return "< 0.01"
    return f"{hours:.2g}" if hours < 10 else f"{hours:,.1f}"
