"""``sweepkit verdict``: judge runs that sweepkit did not make: a table, or what was imported."""

from __future__ import annotations

import argparse
import json
import math
import shlex
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from sweepkit import fsio
from sweepkit.analysis.unequal import Variance
from sweepkit.cli import command_line, running
from sweepkit.config import paths
from sweepkit.errors import did_you_mean, invalid
from sweepkit.promotion import after_import, compare, target, tries
from sweepkit.promotion.compare import Comparison
from sweepkit.report import drawing, sheets_others, tables, terminal
from sweepkit.report.sheets import AXIS_NAMES
from sweepkit.results import imported, store, variant_said
from sweepkit.results.imported import Imported
from sweepkit.results.others import source, values
from sweepkit.sweep.decision import SUPERIOR, DecisionRule

#: Exit statuses; 2 is a request that was wrong.
_STATUS = {"promote": 0, "reject": 1, "inconclusive": 3}
#: Settings of the rule that are read where no variant is held against a reference.
_READ = ("metric", "direction", "unit", "alpha")


def run(args: argparse.Namespace) -> int:
    """Print the verdicts; the exit status is the outcome's. User errors raise ``SweepkitError``."""
    name, results_dir = running.place(args.runs)
    said = None if Path(args.runs).is_file() else imported.find(results_dir / name)
    runs = store.load(name, results_dir) if said else _read(args.runs, args.reference)
    if args.target is not None:
        return _against_target(args, runs, said)
    if said is not None and said.ledger is not None and args.reference is None:
        return _ledger(args, runs, said, said.ledger)
    if args.noise is not None:
        remedy = "see sweepkit verdict --help"
        raise invalid("--noise", args.noise, "come with an import that is a ledger", remedy)
    mixed = args.allow_mixed_environments
    if said is not None:
        if args.seeds is not None:
            raise invalid(
                "--seeds", args.seeds, "be said when runs are imported", "import them again with it"
            )
        found = after_import.judged(runs, said, args.overrides, args.reference, mixed)
    elif args.reference is None:
        remedy = "say --reference VARIANT, or --target NUMBER for a bar"
        raise invalid("--reference", None, "be a variant of the table", remedy)
    else:
        rule = DecisionRule.amended(args.overrides)
        found = compare.compare(runs, args.reference, rule, mixed, args.seeds)
    if args.format == "json":
        print(json.dumps(fsio.finite(found.to_json()), indent=2, allow_nan=False))
    else:
        _print(found)
    return _STATUS[found.outcome.value]


def _read(where: str, reference: str | None = None) -> pd.DataFrame:
    """The table in a file; variants are called what is written: 0.10 is no 0.1, and one may be none."""
    if not Path(where).is_file():
        known = imported.names(paths.results_dir())
        remedy = "check the path; sweepkit import SOURCE makes a folder of it" + (
            f"; {did_you_mean(where, known)}" if known else ""
        )
        raise invalid("--runs", where, "be a file that exists, or an import", remedy)
    found = source.read(where)
    axes = variant_said.axes(reference or "")
    if axes and "variant" not in found.cells and all(axis in found.cells for axis in axes):
        option = f"--variant {','.join(axes)} --reference {shlex.quote(reference or '')}"
        contract = "name a variant of the table, whose column variant is missing"
        remedy = f"sweepkit import {shlex.quote(where)} {option} makes one of them; then --runs its name"
        raise invalid("--reference", reference, contract, remedy)
    return values.typed(found, ["variant"])


def _against_target(args: argparse.Namespace, runs: pd.DataFrame, said: Imported | None) -> int:
    """A bar asks for no smallest effect, and for no reference; α is a speedrun's where none is given."""
    if not math.isfinite(args.target):
        raise invalid("--target", args.target, "be a finite number", "write the bar in the metric's unit")
    _check_settings(args.overrides, "--target")
    given = said.settings(args.overrides) if said else args.overrides
    rule = DecisionRule.amended(["decision.min_effect=0", f"decision.alpha={target.ALPHA}", *given])
    if said is None:
        _check_grouped(args.runs, runs, rule)
        runs = _with_states(runs, rule)
    sigma = _noise("--sigma", args.sigma) if args.sigma else None
    found = target.judge(runs, args.target, sigma, rule, args.variant)
    if args.format == "json":
        print(json.dumps(fsio.finite(found.to_json()), indent=2, allow_nan=False))
        return _STATUS[found.outcome.value]
    console = terminal.console()
    console.print(drawing.draw(sheets_others.against(found)))
    for note in [*found.notes, *(said.notes if said else ())]:
        console.print(note, style="dim")
    better = [group.name for group in found.groups if group.outcome.value == "promote"]
    side = "above" if rule.is_higher_better else "below"
    console.print(f"shown to be {side} {args.target:g}: {', '.join(better) or 'none'}", style="bold")
    return _STATUS[found.outcome.value]


def _check_grouped(where: str, runs: pd.DataFrame, rule: DecisionRule) -> None:
    """Which runs are one group, and what is measured, only an import can be told."""
    missing = [name for name in ("variant", rule.metric) if name not in runs]
    if missing:
        options = {"variant": "--variant COLUMN", rule.metric: f"--map COLUMN={rule.metric}"}
        told = " ".join(options[name] for name in missing)
        contract = f"be a column of {Path(where).name} (it has {', '.join(map(str, runs.columns))})"
        raise invalid(
            " and ".join(missing), None, contract, f"sweepkit import {where} {told}, and --runs its name"
        )


def _with_states(runs: pd.DataFrame, rule: DecisionRule) -> pd.DataFrame:
    """A table that says nothing of how runs ended: those that have the metric are complete."""
    if "state" in runs or rule.metric not in runs:
        return runs
    has_any = pd.to_numeric(runs[rule.metric], errors="coerce").notna()
    return runs.assign(state=has_any.map({True: "complete", False: "failed"}))


def _check_settings(overrides: Sequence[str], asked: str) -> None:
    """Of the rule, a bar and a ledger read the metric and α alone."""
    for item in overrides:
        name, _, value = item.partition("=")
        if name.removeprefix("decision.") not in _READ:
            raise command_line.unread(name, value, asked)


def _ledger(args: argparse.Namespace, runs: pd.DataFrame, said: Imported, column: str) -> int:
    _check_settings(args.overrides, "a ledger")
    for option, value in {
        "--seeds": args.seeds,
        "--allow-mixed-environments": args.allow_mixed_environments,
    }.items():
        if value:
            raise command_line.unread(option, value, "a ledger")
    rule = DecisionRule.amended(["decision.min_effect=0", *said.settings(args.overrides)])
    noise = _noise("--noise", args.noise) if args.noise else None
    if noise is not None and "," not in args.noise:
        remedy = f"write --noise {args.noise},DF: one less than the runs that measured it"
        raise invalid("--noise", args.noise, "say with how many degrees of freedom it is known", remedy)
    found = tries.judge(runs, column, noise, rule)
    if args.format == "json":
        print(json.dumps(fsio.finite(found.to_json()), indent=2, allow_nan=False))
        return _STATUS[found.outcome.value]
    console = terminal.console()
    console.print(drawing.draw(sheets_others.tries(found)))
    for note in [*found.notes, *said.notes]:
        console.print(note, style="dim")
    shown = ", ".join(item.name for item in found.shown) or "none"
    word = "no verdict" if noise is None else f"more than noise, of {len(found.kept)} kept: {shown}"
    console.print(word, style="bold")
    return _STATUS[found.outcome.value]


def _noise(option: str, text: str) -> Variance:
    """``SD`` or ``SD,DF`` as a variance."""
    sd, comma, df = text.partition(",")
    try:
        known = float(sd)
        found = Variance(known**2, float(df) if comma else math.inf)
    except ValueError:
        raise invalid(option, text, "be SD or SD,DF", f"write {option} 0.0013,9") from None
    if not (known > 0.0 and 0.0 < found.value < math.inf) or not found.df > 0.0:
        raise invalid(
            option, text, "be an SD above 0, with degrees of freedom above 0", f"write {option} 0.0013,9"
        )
    return found


def _print(found: Comparison) -> None:
    console = terminal.console()
    console.print(tables.verdicts(found.verdicts))
    console.print(tables.axes(found.verdicts, found.decision))
    if len({verdict.rung for verdict in found.verdicts}) > 1:
        console.print(tables.transfer(found.transfer, found.decision.metric))
    for note in found.notes:
        console.print(note, style="dim")
    console.print(f"{found.outcome.value}: {_shown(found, found.promoted)}", style="bold")
    if found.shown:
        console.print(f"after the fact, for fresh runs to settle: {_shown(found, found.shown)}", style="bold")


def _shown(found: Comparison, names: Sequence[str]) -> str:
    """What was shown of whom: better than the reference only where the rule asks the metric for that."""
    asked = [axis for axis, demand in found.decision.axes.judged.items() if demand == SUPERIOR]
    what = f"better than {found.reference}" if "steps" in asked else f"not worse than {found.reference}"
    cheaper = [AXIS_NAMES[axis] for axis in asked if axis != "steps"]
    if cheaper:
        what += f", and better on {' and '.join(cheaper)}"
    return f"{what}: {', '.join(names) or 'none'}"
