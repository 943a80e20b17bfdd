"""What ``sweepkit train -m`` does: freeze the product of its values, or a search, as a sweep and run it."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from sweepkit.cli import freezing, hub_texts, no_effect, running, searching
from sweepkit.config import paths
from sweepkit.launch import code_levels
from sweepkit.sweep import multirun, set_fields


def run(arguments: Sequence[str], other_sources: str = "refuse", name: str | None = None) -> int:
    """Run a multirun's overrides; returns the exit status. Raises SweepkitError for a wrong request."""
    results_dir = paths.results_dir()
    check = freezing.check_start(results_dir)
    with_code = functools.partial(code_levels.resolved, results_dir=results_dir)
    frozen = hub_texts.knowing(
        lambda: multirun.freeze(arguments, results_dir, name=name, check=check, with_code=with_code)
    )
    no_effect.say(arguments, (cell.own for cell in frozen.cells))
    freezing.introduce(frozen)
    launcher = frozen.cells[0].plan.launcher
    how = running.How(results_dir, launcher, _launcher(arguments), other_sources=other_sources)
    if frozen.search:
        return searching.run(frozen, how, [item for item in arguments if set_fields.is_execution(item)])
    if submitted := running.run_cells(frozen, frozen.cells, how, frozen.name):
        return running.leave(frozen, how, submitted, [])
    status = running.conclude(frozen, results_dir, frozen.cells)
    if len({cell.variant for cell in frozen.cells}) > 1:
        print(f"next: sweepkit promote {frozen.name} says what it shows, and why")
    return status


def _launcher(arguments: Sequence[str]) -> tuple[str, ...]:
    """The overrides of the launcher, as they were written."""
    return tuple(item for item in arguments if set_fields.block(item) == "launcher")
