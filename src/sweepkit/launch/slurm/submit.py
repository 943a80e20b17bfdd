"""``submit``: hand runs to Slurm as arrays, each exactly once, and return.

The order is what makes it safe to be killed anywhere: shards are written, the intent is written, sbatch is
called, the job id is written. A later call looks up every intent without a job id by its name before anything
else, so a job that sbatch denied and the controller ran all the same is found and not submitted again. What
is queued is left alone; what ended in order is done; what was lost goes through ``losses.py``. Two processes
that submit into one results folder take turns.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sweepkit import fsio
from sweepkit.config.schema import LauncherConfig, SlurmConfig
from sweepkit.launch.hopeless import Stopper, Watch
from sweepkit.launch.ledger import Ledger, Run
from sweepkit.launch.other_sources import OtherSources, settle
from sweepkit.launch.reopen import reopen
from sweepkit.launch.slurm import cluster, elsewhere, losses, shards, submissions
from sweepkit.launch.slurm.command import task_settings
from sweepkit.launch.slurm.place import job_name, parameters, place, settle_intents, submitting, turn
from sweepkit.launch.slurm.retries import ClusterError
from sweepkit.launch.slurm.shards import Resources, Shard
from sweepkit.launch.slurm.submissions import Submission
from sweepkit.plan import cost
from sweepkit.plan.command_plan import Plan
from sweepkit.plan.run_plan import RunPlan
from sweepkit.results.record import RunState

_GATE = Resources(gpus=0, cpus=1, mem_gib=4, time_min=60)
_AGAIN_S = 120  # a gate without arrays: runs are missing, and a silent claim has to age first


@dataclass
class Submitted:
    """What a call of ``submit`` found and did, in runs."""

    done: int = 0
    queued: int = 0  # waiting or running already
    submitted: int = 0
    held_back: int = 0  # over the cluster's submit limit; the next call, or the gate, submits them
    given_up: list[str] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)  # ids of the arrays that are still to end
    notes: list[str] = field(default_factory=list)  # what whoever asked should know
    seconds: float = 0.0

    @property
    def is_pending(self) -> bool:
        """Whether any run has yet to end."""
        return bool(self.queued or self.submitted or self.held_back)

    def __str__(self) -> str:
        parts = [
            (self.submitted, f"submitted in {self.seconds:.1f} s"),
            (self.queued, "queued before"),
            (self.done, "done"),
            (self.held_back, "held back by the cluster's submit limit"),
            (len(self.given_up), "given up"),
        ]
        words = [f"{number} {what}" for number, what in parts if number] or ["nothing to submit"]
        said = "; ".join(words) + (f" (jobs {', '.join(self.jobs)})" if self.jobs else "")
        return "\n".join([said, *self.notes])


def submit(
    plans: Sequence[Plan],
    launcher: LauncherConfig,
    *,
    results_dir: Path,
    title: str,
    together: Mapping[str, str] = MappingProxyType({}),
    retry_failed: bool = False,
    automatic: bool = False,
    other_sources: OtherSources = OtherSources.refuse,
    watch: Watch | None = None,
) -> Submitted:
    """Submit every run that is not done and not queued.

    Args:
        plans: the runs wanted; equal run_ids count once.
        title: the sweep's name, or the run's; names of jobs begin with it.
        together: run id → group; runs of one are timed beside each other, so they share a task.
        retry_failed: start failed runs again too.
        automatic: nobody asked just now: runs that have ended stay so, and lost ones have a limit.
        other_sources: what is done with finished runs that other code made.
        watch: which of them a sweep may stop for futility.

    Raises:
        ClusterError: no Slurm here, no answer, or a refusal; nothing is submitted twice when tried again.
        ConfigError: the results folder's name, or a time limit, that a job cannot have.
    """
    started = time.monotonic()
    results_dir = results_dir.absolute()
    with submitting(launcher.slurm, results_dir) as longest_min:
        ledger = Ledger(plans, results_dir, Stopper(watch, results_dir).pruner)
        if not automatic:
            reopen(ledger, retry_failed)
            settle(ledger.runs.values(), other_sources)
        placed = submissions.look(results_dir)
        result = Submitted(done=len(ledger.runs) - len(ledger.open()))
        queued = {run_id for run_id, places in placed.items() if any(item.queued for item in places)}
        result.queued = sum(run.run_id in queued for run in ledger.open())
        free = [run for run in ledger.open() if run.run_id not in queued]
        for loss in losses.find(free, placed, results_dir) if automatic else ():
            if losses.give_up(loss, launcher.max_attempts, results_dir):
                result.given_up.append(loss.run.run_id)
        wanted = [_left(run) for run in free if not run.is_final]
        for not_on, anything in elsewhere.apart(wanted, results_dir).items():
            packing = elsewhere.alone(launcher) if not_on else launcher
            for name, alike in _by_package(anything, launcher).items():
                for resources, some in _arrays(alike, packing, result, together, longest_min):
                    watched = [replace(shard, watch=watch) for shard in some]
                    array = _new_array(title, watched, resources, launcher, results_dir)
                    told = parameters(launcher.slurm, resources, results_dir, name)
                    _place(array, told, not_on, results_dir)
                    result.submitted += sum(len(shard.plans) for shard in some)
        result.jobs = _live_arrays(results_dir, set(ledger.runs))
    result.seconds = time.monotonic() - started
    return result


def submit_gate(
    title: str, command: Sequence[str], after: Sequence[str], slurm: SlurmConfig, results_dir: Path
) -> str | None:
    """Submit a gate behind the arrays ``after``; None where one is waiting already.

    Args:
        title: the sweep.
        command: what sweepkit is to be called with.
        after: ids of arrays.

    Raises:
        ClusterError: this node may not submit, or Slurm refuses.
    """
    results_dir = results_dir.absolute()
    with turn(results_dir):
        settle_intents(results_dir)
        gates = [item for item in submissions.read_all(results_dir) if item.is_gate and item.title == title]
        waiting = [task for task in cluster.queue([item.name for item in gates]) if task.state == "PENDING"]
        if waiting:
            return None
        number = sum(item.job_id is not None for item in gates) + 1
        name = f"{job_name(title, results_dir)}-gate-{number}"
        values = parameters(slurm, _GATE, results_dir) | {"use_srun": False}
        values.pop("gpus_per_node", None)
        if after:
            values["dependency"] = "afterany:" + ":".join(after)
        else:
            values["additional_parameters"] |= {"begin": f"now+{_AGAIN_S}"}
        settings = {"max_requeues": slurm.max_requeues}
        gate = Submission(name, title, _GATE.time_min, settings=settings, command=list(command))
        return place(gate, values, results_dir).job_id


def _by_package(plans: Sequence[Plan], launcher: LauncherConfig) -> dict[str | None, list[Plan]]:
    """Frozen code → the runs whose tasks have it as their package, where ranks start with their task.

    Other tasks start workers of any tree by themselves, so that runs of a seed stay together.
    """
    found: dict[str | None, list[Plan]] = {}
    for plan in plans:
        found.setdefault(plan.tree if launcher.processes_per_run > 1 else None, []).append(plan)
    return found


def _left(run: Run) -> Plan:
    """The plan of what is still to be done, by which its task is sized."""
    is_trained = run.record is not None and run.record.state is RunState.trained
    return cost.evaluated_alone(run.plan) if is_trained and isinstance(run.plan, RunPlan) else run.plan


def _arrays(
    plans: Sequence[Plan],
    launcher: LauncherConfig,
    result: Submitted,
    together: Mapping[str, str],
    longest_min: int | None,
) -> Iterator[tuple[Resources, list[Shard]]]:
    """Shards that ask for the same, in arrays no larger than the cluster takes."""
    packed = shards.pack(plans, launcher, together, longest_min)
    if together and (split := shards.split_groups(packed, together)):
        limit = "launcher.slurm.runs_per_task" if longest_min is None else f"a limit of {longest_min} minutes"
        result.notes.append(
            f"the runs of {len(split)} seeds do not fit into one task each ({limit}): a variant's time may "
            "get no verdict where it ran on other hosts than the reference; raise the limit, leave "
            "runs_per_task at auto, or have fewer variants"
        )
    limits = cluster.limits()
    if limits.max_submit is not None:
        room = max(0, limits.max_submit - len(cluster.queue()) - 1)  # one is the gate's
        result.held_back += sum(len(shard.plans) for shard in packed[room:])
        packed = packed[:room]
    alike: dict[Resources, list[Shard]] = {}
    for shard in packed:
        alike.setdefault(shards.resources(shard, launcher, longest_min), []).append(shard)
    for resources, some in alike.items():
        for start in range(0, len(some), limits.max_array_size):
            yield resources, some[start : start + limits.max_array_size]


def _place(array: Submission, values: dict[str, Any], not_on: Sequence[str], results_dir: Path) -> Submission:
    """``place``, on none of the nodes ``not_on`` unless the cluster has no other for it."""
    if not_on:
        try:
            return place(array, values | {"exclude": ",".join(not_on)}, results_dir)
        except ClusterError as error:
            if "node configuration" not in str(error):
                raise
    return place(array, values, results_dir)


def _new_array(
    title: str, some: Sequence[Shard], resources: Resources, launcher: LauncherConfig, results_dir: Path
) -> Submission:
    """Its shards, written, under a name of their content and of how often they were submitted before."""
    names = [shards.write(shard, submissions.folder(results_dir) / "shards") for shard in some]
    settings = task_settings(launcher)
    for times in range(10_000):
        name = f"{job_name(title, results_dir)}-{fsio.digest([names, times])[:10]}"
        before = submissions.read(results_dir, name)
        if before is None or before.job_id is None:
            tasks = [shard.run_ids for shard in some]
            return Submission(name, title, resources.time_min, tasks, names, settings)
    raise AssertionError("every name is taken")


def _live_arrays(results_dir: Path, run_ids: set[str]) -> list[str]:
    """Ids of the arrays that still have to do with these runs."""
    mine = [
        item
        for item in submissions.read_all(results_dir)
        if any(run_id in run_ids for task in item.tasks for run_id in task)
    ]
    live = {task.job_id for task in cluster.queue([item.name for item in mine])}
    return [item.job_id for item in mine if item.job_id in live and item.job_id is not None]
