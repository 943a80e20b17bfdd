"""``sweepkit calibrate``: how much seeds alone change the loss, for each depth, dataset and machine."""

from __future__ import annotations

import argparse
import dataclasses
import functools
from collections.abc import Callable

import pandas as pd

from sweepkit.analysis import calibration, calibration_file, rounding
from sweepkit.analysis.calibration import Calibration
from sweepkit.cli import hub_texts, running
from sweepkit.config import compose, paths
from sweepkit.config.schema import RunConfig
from sweepkit.errors import invalid
from sweepkit.plan import build, epochs
from sweepkit.plan.run_plan import RunPlan
from sweepkit.printable import counted
from sweepkit.report import drawing, terminal
from sweepkit.report.sheet import Sheet
from sweepkit.results import store
from sweepkit.sweep import expand, last_rung, sealed_text
from sweepkit.sweep.file import SweepFile

#: Seeds of calibrations; no sweep's decision uses them.
FIRST_SEED = 1_000_001


def run(args: argparse.Namespace) -> int:
    """Run what is missing, measure and keep; the exit status is 1 where too few runs completed."""
    if args.seeds < calibration.MIN_SEEDS:
        raise invalid(
            "--seeds", args.seeds, f"be at least {calibration.MIN_SEEDS}", "fewer do not measure an SD"
        )
    results_dir = paths.results_dir()
    plans, metrics, min_effect = hub_texts.knowing(lambda: plans_of(args.overrides, args.seeds))
    for plan in plans:
        epochs.check(plan)
    pairs = _pairs(plans)
    partner, besides = partners(args.overrides, args.seeds)
    how = running.how(args, results_dir, plans[0])
    labels = {plan.run_id: f"d{plan.depth} seed {plan.seed}" for plan in plans}
    moved = {plan.run_id: f"d{plan.depth} seed {plan.seed}, weights moved by 1e-7" for plan, _ in pairs}
    others = {plan.run_id: f"d{plan.depth} {partner} seed {plan.seed}" for plan in besides}
    if besides:
        print(f"pairs: the reference beside {partner}, with seeds that no decision uses")
    asked = [*plans, *(plan for plan, _ in pairs), *besides]
    if running.run_plans(asked, how, "calibrate", labels | moved | others):
        print("when the jobs have ended, run the same command again: it measures what they left")
        return running.DONE
    rows = store.of_plans(asked, results_dir)
    seeds = rows[rows["run_id"].isin(labels)]
    measured = [metric for metric in metrics if metric in rows]
    found = [item for metric in measured for item in calibration.measure(seeds, metric)]
    paired = rows[rows["run_id"].isin([*labels, *others])]
    found += [item for metric in measured for item in calibration.measure_pairs(paired, metric)]
    beside = {plan.run_id: plain.run_id for plan, plain in pairs}
    apart = [(metric, item) for metric in measured for item in rounding.measure(rows, metric, beside)]
    calibration_file.add(results_dir, [*found, *(item for _, item in apart)])
    _show(rows, found)
    for metric, item in apart:
        if min_effect is not None and rounding.is_chaotic(item, min_effect):
            print(f"d{item.depth}: {rounding.chaotic(item, metric, min_effect)}")
        else:
            print(f"d{item.depth}: {rounding.measured(item, metric)}")
    print(f"kept in {running.shown(results_dir / calibration_file.NAME)}")
    known = {item.depth for item in found if item.metric == metrics[0] and item.df >= calibration.MIN_DF}
    return running.DONE if known >= {plan.depth for plan in plans} else running.RUNS_FAILED


def plans_of(overrides: list[str], num_seeds: int) -> tuple[list[RunPlan], list[str], float | None]:
    """The reference on every rung with seeds of its own.

    Returns:
        The plans; the metric of the sweep, and its last rung's; the sweep's min_effect, None without one.
    """
    name, others = running.split_sweep(overrides)
    metrics, min_effect = ["val_bpb"], None
    rungs: list[Callable[..., RunConfig]] = []
    builds: list[Callable[[RunConfig], RunPlan]] = [build.build]
    if name is not None:
        sweep = dataclasses.replace(_loaded(name), seeds=(1,))
        cells = expand.expand_all(sweep, others)  # the whole sweep is checked before its reference runs
        own = [*expand.variants(sweep)[0].overrides, *expand.above(others)]
        rungs += [functools.partial(stack.config, own) for stack in expand.stacks(sweep, others)]
        builds = [stack.planner(own).build for stack in expand.stacks(sweep, others)]
        ladder = expand.rungs_of(expand.ladder_of(sweep, others))
        sealed_text.check_cells(cells, ladder, sweep, paths.results_dir())
        last = last_rung.metric(sweep.decision, ladder, rungs[-1]())
        metrics, min_effect = list(dict.fromkeys([sweep.decision.metric, last])), sweep.decision.min_effect
    else:
        rungs.append(lambda seed: compose.compose([*others, f"seed={seed}"]))
    seeds = range(FIRST_SEED, FIRST_SEED + num_seeds)
    made = zip(rungs, builds, strict=True)
    asked = [plan(composed(seed=seed)) for composed, plan in made for seed in seeds]
    plans = hub_texts.known(asked, paths.results_dir())
    if name is None:
        running.check_sealed(plans, paths.results_dir())
    return plans, metrics, min_effect


def _loaded(name: str) -> SweepFile:
    return running.named_sweep(name, paths.results_dir())


def _pairs(plans: list[RunPlan]) -> list[tuple[RunPlan, RunPlan]]:
    """The first seeds of every rung with moved weights, each with the plan that it is like but for that."""
    found = []
    for plan in plans:
        if plan.seed < FIRST_SEED + rounding.NUM_PAIRS:
            model = dataclasses.replace(plan.config.model, init_moved_by=rounding.MOVED_BY)
            moved = build.build(dataclasses.replace(plan.config, model=model))
            found.append((dataclasses.replace(moved, tree=plan.tree), plan))
    return found


def partners(overrides: list[str], num_seeds: int) -> tuple[str, list[RunPlan]]:
    """A sweep's first variant that sees the reference's tokens on every rung, and its runs; none without.

    A sweep's verdicts are measured against what is left of pairs of runs, which single runs do not tell.
    """
    name, others = running.split_sweep(overrides)
    if name is None:
        return "", []
    sweep = dataclasses.replace(_loaded(name), seeds=(1,))
    reference, *variants = expand.variants(sweep)
    stacks = expand.stacks(sweep, others)
    above = expand.above(others)
    for variant in variants:
        plans = []
        for stack in stacks:
            for seed in range(FIRST_SEED, FIRST_SEED + num_seeds):
                mine, base = (
                    stack.planner(item.overrides).build(stack.config([*item.overrides, *above], seed=seed))
                    for item in (variant, reference)
                )
                if mine.pair_key == base.pair_key:
                    plans.append(mine)
        if len(plans) == num_seeds * len(stacks):
            return variant.label, plans
    return "", []


def _show(rows: pd.DataFrame, found: list[Calibration]) -> None:
    headers = ("depth", "dataset", "dtype", ">tokens", "metric", "of", ">df", ">SD", "95% interval")
    sheet = Sheet(headers, optional=("dtype", "tokens", "metric"))
    for item in found:
        low, high = item.sd_interval()
        sheet.add(
            f"d{item.depth}",
            item.dataset,
            item.dtype,
            f"{item.total_tokens:,}",
            item.metric,
            item.of,
            str(item.df),
            f"{item.sd:.5f}",
            f"{low:.5f} to {high:.5f}",
        )
    console = terminal.console()
    console.print(drawing.draw(sheet))
    lost = rows[rows["state"] != "complete"]
    if len(lost):
        console.print(
            f"{counted(len(lost), 'run')} did not complete and are left out: {', '.join(lost['run_id'])}"
        )
