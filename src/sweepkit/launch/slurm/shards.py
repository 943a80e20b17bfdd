"""Shards: which runs one array task carries out, and what it asks the cluster for.

Short runs of one compiled shape share a task, because starting and compiling cost more than they do; a shard
is named by its content, so that the same runs are the same shard whoever submits them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from sweepkit import fsio
from sweepkit.config import typed
from sweepkit.config.schema import LauncherConfig
from sweepkit.errors import DamagedError, invalid
from sweepkit.launch.choose import grouped, outlast_compiling
from sweepkit.launch.hopeless import Watch
from sweepkit.plan.command_plan import CommandPlan, Plan
from sweepkit.plan.run_spec import RunSpec

_START_MIN = 10.0  # importing, preparing data, compiling
_UNKNOWN_MIN = 240  # of a run whose time cannot be estimated
_WORKER_GIB = 4.0  # of host memory besides what the plan estimates


@dataclass(frozen=True)
class Shard:
    """The runs of one array task, in order, and which of them a sweep may stop for futility."""

    plans: tuple[Plan, ...]
    watch: Watch | None = None

    @property
    def name(self) -> str:
        """12 hex digits of its plans: of the runs and of how they are carried out."""
        content = self.plans if self.watch is None else [self.plans, self.watch]
        return fsio.digest(typed.dump(content))[:12]

    @property
    def run_ids(self) -> list[str]:
        return [plan.run_id for plan in self.plans]


@dataclass(frozen=True)
class Resources:
    """What one array task asks for; tasks that ask for the same share an array."""

    gpus: int
    cpus: int
    mem_gib: int
    time_min: int
    nodes: int = 1
    processes_per_node: int = 1  # each with ``cpus``


def pack(
    plans: Sequence[Plan],
    launcher: LauncherConfig,
    together: Mapping[str, str] = MappingProxyType({}),
    max_min: int | None = None,
) -> list[Shard]:
    """Shards for runs that are to be submitted, runs of one compiled shape next to each other; long ones seed
    by seed, so that a task has the reference beside its variants.

    With ``runs_per_task: auto`` a task is filled up to ``task_min`` estimated minutes; runs whose time is
    not known stand alone. Where time is judged, runs of one group share a task whatever they last, as long as
    its time limit holds them; that a number of runs is asked for comes first.

    Args:
        together: run id → its group; runs that are in none stand for themselves.
        max_min: the longest time limit that a task may have, in minutes; None: there is none.
    """
    slurm = launcher.slurm
    is_counted = isinstance(slurm.runs_per_task, int)
    are_mixed = outlast_compiling(plans) or bool(together and not is_counted)
    shards: list[list[Plan]] = []
    minutes = 0.0
    ordered = list(plans) if are_mixed else grouped(plans)
    for unit in _units(ordered, {} if is_counted else together, launcher, _room_min(launcher, max_min)):
        estimate = _minutes(unit, launcher)
        fits = (
            shards
            and (are_mixed or shards[-1][-1].compile_key == unit[0].compile_key)
            and (
                len(shards[-1]) < slurm.runs_per_task
                if isinstance(slurm.runs_per_task, int)
                else minutes + estimate <= slurm.task_min * slurm.workers_per_task
            )
        )
        if fits:
            shards[-1].extend(unit)
        else:
            shards.append(unit)
            minutes = 0.0
        minutes += estimate
    return [Shard(tuple(shard)) for shard in shards]


def split_groups(shards: Sequence[Shard], together: Mapping[str, str]) -> set[str]:
    """The groups that no single task took."""
    tasks: dict[str, set[str]] = {}
    for shard in shards:
        for run_id in shard.run_ids:
            tasks.setdefault(together.get(run_id, run_id), set()).add(shard.name)
    return {group for group, names in tasks.items() if len(names) > 1}


def _units(
    plans: Sequence[Plan], together: Mapping[str, str], launcher: LauncherConfig, room_min: float
) -> list[list[Plan]]:
    """What is not to be taken apart: groups, or as much of one as fits into a time limit, and single runs."""
    groups: dict[str, list[Plan]] = {}
    for plan in plans:
        groups.setdefault(together.get(plan.run_id, plan.run_id), []).append(plan)
    units: list[list[Plan]] = []
    for group in groups.values():
        unit: list[Plan] = []
        for plan in group:
            minutes = _minutes([*unit, plan], launcher)
            if unit and math.isfinite(minutes) and minutes > room_min:
                units.append(unit)
                unit = []
            unit.append(plan)
        units.append(unit)
    return units


def _room_min(launcher: LauncherConfig, max_min: int | None) -> float:
    """Estimated minutes of runs that fit into one task; no limit is taken to be one where none is known."""
    if max_min is None:
        return math.inf
    return (max_min - _START_MIN) / launcher.slurm.time_margin * launcher.slurm.workers_per_task


def _minutes(plans: Sequence[RunSpec], launcher: LauncherConfig) -> float:
    """Of all of them together; infinite where one is not known."""
    return sum(math.inf if (found := minutes_of(plan, launcher)) is None else found for plan in plans)


def minutes_of(plan: RunSpec, launcher: LauncherConfig) -> float | None:
    """Estimated minutes of one run on its GPUs; None on CPUs, for which there is no peak to go by."""
    hours = plan.estimated_gpu_hours
    return None if hours is None or launcher.slurm.gpus == 0 else hours * 60 / launcher.processes_per_run


def resources(shard: Shard, launcher: LauncherConfig, max_min: int | None = None) -> Resources:
    """What the configuration says, with ``auto`` worked out from the plans; no longer than ``max_min``, for
    what takes longer goes on after a requeue."""
    slurm = launcher.slurm
    processes_per_node = launcher.processes_per_run // slurm.nodes
    time_min = slurm.time_min
    if not isinstance(time_min, int):
        estimates = [minutes_of(plan, launcher) for plan in shard.plans]
        known = [item for item in estimates if item is not None]
        # side by side the runs take a share of the sum, but no less than the longest of them
        needed = max(sum(known) / slurm.workers_per_task, *known, 0.0)
        is_known = len(known) == len(estimates)
        time_min = math.ceil(needed * slurm.time_margin + _START_MIN) if is_known else _UNKNOWN_MIN
        time_min = time_min if max_min is None else min(time_min, max_min)
    mem_gib = slurm.mem_gib
    if not isinstance(mem_gib, int):
        largest = max(plan.estimated_peak_memory_gib or 0.0 for plan in shard.plans)
        mem_gib = math.ceil(slurm.workers_per_task * processes_per_node * (largest + _WORKER_GIB))
    if isinstance(shard.plans[0], CommandPlan):  # one task, which starts its processes itself
        if slurm.nodes > 1:
            contract = "be 1 for a command, which stays on one node"
            raise invalid("launcher.slurm.nodes", slurm.nodes, contract, "leave it out")
        return Resources(slurm.gpus, slurm.cpus * processes_per_node, mem_gib, time_min)
    return Resources(slurm.gpus, slurm.cpus, mem_gib, time_min, slurm.nodes, processes_per_node)


def write(shard: Shard, folder: Path) -> str:
    """Write a shard's plans to a file of its name; an intact one that is there is the same shard."""
    path = folder / f"{shard.name}.json"
    try:
        fsio.read_json(path)
    except (FileNotFoundError, DamagedError):
        fsio.write_json(path, {"plans": typed.dump(shard.plans), "watch": typed.dump(shard.watch)})
    return path.name


def read(path: Path) -> Shard:
    """The shard of a file. Raises DamagedError where it is not what was written."""
    content = fsio.read_json(path)
    watch = typed.load(tuple[Watch | None], [content.get("watch")])[0]
    return Shard(typed.load(tuple[Plan, ...], content["plans"]), watch)
