"""Another node, once, before want of memory or a time limit counts against a variant.

The node may be at fault: somebody else's memory, a slow disk. So may the run beside it: where a task is
killed whole, nothing tells which of its runs took the memory. A run that ended so is therefore started again
on another node, in a task of its own. That it was, and where it is not to run, is in the file of the attempt
that failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sweepkit.config.schema import LauncherConfig
from sweepkit.launch import job
from sweepkit.plan.run_spec import RunSpec, Spec
from sweepkit.results import asked
from sweepkit.results.record import FINAL_STATES, FailureClass, Retry, RunDir

#: Failures that a node may be at fault for.
CLASSES = frozenset({FailureClass.oom, FailureClass.timeout})


def grant(plan: RunSpec, results_dir: Path, failure_class: FailureClass) -> bool:
    """Make a run startable again, elsewhere; False where it was before, or its node is not known."""
    run_dir = RunDir.of(results_dir, plan.run_id)
    attempts = run_dir.attempts()
    if failure_class not in CLASSES or avoided(run_dir) or not attempts or not attempts[-1].node:
        return False
    last, node = attempts[-1], attempts[-1].node
    record = asked.read(run_dir, plan.evaluation_key)
    if record is not None and record.state in FINAL_STATES and not job.reopen(plan, results_dir):
        return False
    run_dir.write_attempt(replace(last, retry=Retry(failure_class, [node])))
    return True


def avoided(run_dir: RunDir) -> tuple[str, ...]:
    """Nodes that the run is not to be started on."""
    retries = [attempt.retry for attempt in run_dir.attempts() if attempt.retry]
    return tuple(sorted({node for retry in retries for node in retry.not_on}))


def alone(launcher: LauncherConfig) -> LauncherConfig:
    """``launcher`` with a task for each run."""
    return replace(launcher, slurm=replace(launcher.slurm, runs_per_task=1))


def apart(plans: Sequence[Spec], results_dir: Path) -> dict[tuple[str, ...], list[Spec]]:
    """The nodes to avoid → the plans of which that holds, in the order given."""
    found: dict[tuple[str, ...], list[Spec]] = {}
    for plan in plans:
        found.setdefault(avoided(RunDir.of(results_dir, plan.run_id)), []).append(plan)
    return found
