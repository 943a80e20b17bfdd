"""The runs that a name of the command line stands for, and whether anybody was asked for them."""

from __future__ import annotations

from pathlib import Path

from sweepkit.errors import ConfigError, DamagedError, invalid
from sweepkit.launch.drivers import live_drivers
from sweepkit.launch.slurm import submissions
from sweepkit.plan.command_plan import Plan
from sweepkit.results.record import RunDir
from sweepkit.sweep import file, frozen


def is_asked(results_dir: Path, sweep: str) -> bool:
    """Whether a launch that is alive, or Slurm, was asked for runs of a sweep."""
    wanted = {plan.run_id for plan in plans(results_dir, sweep)}
    if any(driver.run_ids & wanted for driver in live_drivers(results_dir)):
        return True
    return any(item.title.split()[:1] == [sweep] for item in submissions.read_all(results_dir))


def is_fixed(results_dir: Path, sweep: str) -> bool:
    """Whether a frozen sweep stands as it is: something of it has begun, or somebody was asked for it."""
    return not frozen.is_untouched(results_dir, sweep) or is_asked(results_dir, sweep)


def plans(results_dir: Path, name: str) -> list[Plan]:
    """Each run once, as it was planned.

    Args:
        results_dir: holds ``runs/`` and the sweeps.
        name: a sweep or a run_id.

    Raises:
        SweepkitError: there is neither a sweep nor a run of that name.
    """
    run_dir = RunDir.of(results_dir, name)
    if Path(name).name == name and run_dir.plan_path.exists():
        try:
            return [run_dir.read_plan()]
        except (ValueError, TypeError, KeyError) as error:
            why = error.why if isinstance(error, DamagedError) else str(error)
            remedy = "name the sweep that asked for the run instead"
            raise DamagedError(run_dir.plan_path, why, remedy) from None
    try:
        cells = frozen.load_frozen(results_dir, name).cells
    except ConfigError:
        is_known = name in file.available()
        remedy = file.how_to_start(name, []) if is_known else "sweepkit status shows what there is"
        raise invalid("SWEEP|RUN", name, f"be a sweep or a run in {results_dir}", remedy) from None
    return list({cell.plan.run_id: cell.plan for cell in cells}.values())
