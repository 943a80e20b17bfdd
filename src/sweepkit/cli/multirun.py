"""What ``sweepkit train -m`` does: freeze the product of its values as a sweep and run it."""

from __future__ import annotations

from collections.abc import Sequence

from sweepkit.cli import running
from sweepkit.config import paths
from sweepkit.sweep import multirun, override


def run(arguments: Sequence[str]) -> int:
    """Run a multirun's overrides; returns the exit status. Raises SweepkitError for a wrong request."""
    results_dir = paths.results_dir()
    frozen = multirun.freeze(arguments, results_dir)
    running.introduce(frozen)
    launcher = tuple(item for item in arguments if override.block(item) == "launcher")
    how = running.How(results_dir, running.launcher_of(frozen.cells[0].plan), launcher)
    if submitted := running.run_cells(frozen.cells, how, frozen.name):
        return running.leave(frozen, how, submitted, [])
    return running.conclude(frozen, results_dir, frozen.cells)
