"""What a plan cannot list as cells: a search's trials, runs that tune before, sizes that are missing."""

from __future__ import annotations

from collections.abc import Sequence

from sweepkit.cli import run_sheet
from sweepkit.plan.run_plan import RunPlan
from sweepkit.printable import counted
from sweepkit.report import terminal
from sweepkit.sweep import cell, expand, points, sizes_of_budgets
from sweepkit.sweep.cell import Cell
from sweepkit.sweep.file import SweepFile


def budgets(sweep: SweepFile) -> None:
    """Which budgets of an ``isoflop`` have fewer sizes than it asks for."""
    if sweep.isoflop:
        for sentence in sizes_of_budgets.fewer(sweep.isoflop, sweep.axes[sizes_of_budgets.AXIS]):
            terminal.console().print(sentence)


def tuning(sweep: SweepFile, cells: Sequence[Cell]) -> None:
    """What is run before the sweep is frozen, so that every variant has its best values."""
    if not cells:
        return
    plans = [cell.own for cell in cells]
    seeds = ", ".join(map(str, dict.fromkeys(plan.seed for plan in plans)))
    hours = [plan.estimated_gpu_hours for plan in plans if plan.estimated_gpu_hours is not None]
    cost = run_sheet.cost(sum(hours) if len(hours) == len(plans) else None, plans[0])
    flops = sum(plan.total_flops for plan in plans)
    tried = counted(len({cell.variant for cell in cells}), "point")
    terminal.console().print(
        f"tune: first {counted(len(plans), 'run')} on {cells[0].rung}, with seeds {seeds}, of {tried}: every "
        f"variant takes its best {', '.join(sweep.tune)}; {flops:.3e} FLOPs, {cost}"
    )


def num_to_come(sweep: SweepFile, others: Sequence[str], found: Sequence[Cell]) -> int:
    """Runs on the lowest rung that a search will propose; the reference may be one of its trials."""
    if not sweep.search:
        return 0
    here = _lowest_reference(sweep, others, found)
    return (sweep.search.n_trials - _has_reference(sweep, others, here)) * len(here)


def _lowest_reference(sweep: SweepFile, others: Sequence[str], found: Sequence[Cell]) -> list[RunPlan]:
    lowest = expand.rungs_of(expand.ladder_of(sweep, others))[0].name
    return [row.own for row in found if row.role == cell.REFERENCE and not row.number and row.rung == lowest]


def _has_reference(sweep: SweepFile, others: Sequence[str], here: Sequence[RunPlan]) -> bool:
    """Whether the reference is a point of the search's space, and so its first trial."""
    assert sweep.search is not None
    base = [*expand.stacks(sweep, others)[0].below, *expand.above(others)]
    return points.holds(sweep.search, points.reference(sweep.search, base, here[0].config))


def search(sweep: SweepFile, others: Sequence[str], found: Sequence[Cell]) -> None:
    """What a sweep that searches may add; its trials cannot be listed before they are proposed."""
    if not sweep.search:
        return
    wanted, rungs = sweep.search, sweep.search.limited(expand.rungs_of(expand.ladder_of(sweep, others)))
    references = [row for row in found if row.role == cell.REFERENCE and not row.number]
    here = _lowest_reference(sweep, others, found)
    above = [row.own for row in references if row.rung != rungs[0].name]
    console = terminal.console()
    is_one = _has_reference(sweep, others, here)
    among = ", the reference among them" if is_one else ""
    further = wanted.n_trials - is_one
    console.print(f"and a search of {counted(wanted.n_trials, 'trial')}{among}: {_like(here, further)}")
    runs = counted((further + 1) * len(here), "run")
    console.print(
        f"a trial is a run with each of {counted(len(here), 'seed')}: with the reference's {runs} in all "
        f"on {rungs[0].name}"
    )
    if above:
        best = rungs[0].max_promoted or 0
        lost = sweep.decision.num_unselected_of(wanted.n_trials)
        where = ", ".join(rung.name for rung in rungs[1:])
        console.print(f"then the best {best} and {lost} that lost, on {where}: {_like(above, best + lost)}")


def _like(reference: Sequence[RunPlan], num_points: int) -> str:
    """What so many points cost at most, if all are like the reference."""
    hours = [plan.estimated_gpu_hours for plan in reference if plan.estimated_gpu_hours is not None]
    total = sum(hours) * num_points if len(hours) == len(reference) else None
    flops = num_points * sum(plan.total_flops for plan in reference)
    runs = num_points * len(reference)
    cost = f"{flops:.3e} FLOPs, {run_sheet.cost(total, reference[0])}"
    return f"up to {counted(runs, 'further run')}, if all are like the reference {cost}"
