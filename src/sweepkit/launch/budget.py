"""What a launch is estimated to take of this machine, and whether that is more than it may.

Said before anything starts, and refused beyond ``launcher.max_hours`` or ``launcher.max_memory_frac``. Inside
a Slurm job the allocation is the budget, and nothing is refused. Hours are the formula of ``sweepkit plan``
with this machine's own peak (a GPU's by its maker, a CPU's as ``training/gemm_rate.py`` measures it in a
moment) at ``launcher.plan_mfu``, or the pace of runs of the list that are done. Evaluations are in them.
Starting, compiling, fetching and tokenizing text are not, and are named where they are yet to be done.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweepkit.config.choices import LauncherKind
from sweepkit.config.schema import LauncherConfig
from sweepkit.errors import DataError, invalid
from sweepkit.launch import cpu_peak, machine
from sweepkit.launch.ledger import Run
from sweepkit.launch.pace import Pace
from sweepkit.plan import cost, disk, epochs, text, world
from sweepkit.plan.command_plan import Plan
from sweepkit.plan.run_plan import RunPlan
from sweepkit.printable import counted
from sweepkit.results.record import RunState

_IS_ALLOCATED = "SLURM_JOB_ID"
#: Seconds from the command to the first step where all is compiled, and of compiling one shape, on two cores
#: (docs/benchmarks.md).
_START_S, _COMPILE_S = 7, 30
#: Of a run of next to nothing beside its FLOPs: journal, text, evaluation (docs/benchmarks.md: 0.45 + 0.66).
RUN_S = 1.1
#: What takes less was compiled before and only loaded.
_CACHED_S = 10
_ELSE = "something smaller (experiment=mini model=d2; of a sweep ladder=mini experiment=mini), or a cluster"


@dataclass(frozen=True)
class Estimate:
    """Of all runs that a launch has to do.

    Attributes:
        num_runs: with those ``to_come``: trials of a search that are not proposed yet.
        hours: by the clock; None where no peak of the device is known.
        memory_gib: of all processes at a time: main memory, or that of the GPU with most of them; None for
            commands, of which nobody knows it.
        there_gib: how much there is of it; None where that is not known.
        is_main: it is main memory, whose end stalls a machine; a GPU's ends the run alone.
        workers, ranks: runs at a time, and processes of each.
        rows: of a micro-batch.
        shapes: compiled shapes that no run of the list that is done has, and ``compile_s``: seconds for each.
        to_prepare: texts that are fetched or tokenized first, in words.
    """

    num_runs: int
    hours: float | None
    memory_gib: float | None
    there_gib: float | None
    is_main: bool
    device: str
    workers: int
    ranks: int
    rows: int
    disk: str
    shapes: int = 0
    compile_s: float = _COMPILE_S
    to_prepare: tuple[str, ...] = ()
    to_come: int = 0

    def __str__(self) -> str:
        before = f"; before that, and not in it: {', '.join(self.to_prepare)}" if self.to_prepare else ""
        return f"{self.without_disk}{f'; disk: {self.disk}' if self.disk else ''}{before}"

    @property
    def without_disk(self) -> str:
        """Runs, device, time and memory."""
        if self.memory_gib is None:
            time = (
                ""
                if self.hours is None
                else (f": about {in_words(self.hours)} and some seconds to start, by those that are done")
            )
            return f"{counted(self.num_runs, 'run')} of a command on {self.device} ({self.processes}){time}"
        time = "unknown hours (no peak known)" if self.hours is None else f"about {in_words(self.hours)}"
        time += f" after {_START_S} s to start"
        if self.shapes:
            time += f" and about {self.compile_s:.0f} s to compile, the first time"
            time += f", each of {self.shapes} shapes" if self.shapes > 1 else ""
        there = "" if self.there_gib is None else f" of {self.there_gib:.1f}"
        memory = f"{self.memory_gib:.1f}{there} GiB of memory ({self.processes})"
        trials = f" ({self.to_come} of them trials to be proposed)" if self.to_come else ""
        return f"{counted(self.num_runs, 'run')}{trials} on {self.device}: {time}, {memory}"

    @property
    def processes(self) -> str:
        """Those at a time, in words."""
        each = f"{self.ranks} processes a run" if self.ranks > 1 else "1 process"
        return each if self.workers == 1 else f"{self.workers} workers, {each}"


def of(
    runs: Sequence[Run],
    known: Sequence[Run],
    launcher: LauncherConfig,
    results_dir: Path,
    to_come: int = 0,
    is_measured: bool = True,
) -> Estimate:
    """What runs take here.

    Args:
        runs: those to do.
        known: of the same list, done ones among them, by which the others are judged.
        to_come: how many more will be proposed, like the known ones.
        is_measured: measure this machine, else go by what is known of it without torch.
    """
    plans = [run.plan for run in known]
    gpus = machine.gpu_kinds(plans[0].device)
    ranks, workers = world.num_ranks(launcher), 1
    if launcher.kind is LauncherKind.local:
        workers = machine.num_workers(launcher, plans, [gpu.index for gpu in gpus], to_come)
    processes = workers * ranks
    pace, devices = Pace(known), min(processes, len(gpus)) if gpus else 1  # all processes share the cores

    def seconds(run: Run) -> float | None:
        left = None if run.state == RunState.trained else pace.seconds_left(run.plan, _step(run))
        if left is not None:
            return left / workers
        hours = _device_hours(run, launcher, gpus[0].name if gpus else None, is_measured)
        return None if hours is None else hours * 3600 / devices + RUN_S / workers

    each = [seconds(run) for run in runs]
    like = [seconds(run) for run in known] if to_come else []
    is_known = None not in each and None not in like
    mean = sum(item or 0 for item in like) / max(1, len(like))
    peaks = [run.plan.estimated_peak_memory_gib for run in runs or known]
    peak_gib = None if None in peaks else max(item or 0.0 for item in peaks)
    main = not gpus
    own = [run.plan for run in runs or known if isinstance(run.plan, RunPlan)]
    trained = {run.run_id for run in runs if run.state == RunState.trained}
    to_compile = [plan for plan in own if runs and plan.config.trainer.compile and plan.run_id not in trained]
    there_gib = machine.memory_gib() if main else gpus[0].memory_gib
    return Estimate(
        len(runs) + to_come,
        (sum(item or 0 for item in each) + to_come * mean) / 3600 if is_known else None,
        None if peak_gib is None else _memory_gib(peak_gib, processes, len(gpus)),
        there_gib,
        main,
        counted(machine.num_cores(), "core") if main else f"{devices} × {gpus[0].name}",
        workers,
        ranks,
        max((plan.device_batch_size for plan in own), default=0),
        f"{disk.in_words(own if runs else own[:1])} ({disk.size(_free(results_dir))} free)" if own else "",
        len(pace.shapes_to_compile(to_compile)),
        pace.longest_compile_s if pace.longest_compile_s > _CACHED_S else _COMPILE_S,
        _to_prepare(own if runs else ()),
        to_come,
    )


def _memory_gib(peak_gib: float, processes: int, num_gpus: int) -> float:
    """Of main memory, or of the GPU with most of the processes."""
    if num_gpus == 0:
        return (peak_gib + machine.PROCESS_GIB) * processes
    return peak_gib * math.ceil(processes / num_gpus)


def _to_prepare(plans: Iterable[RunPlan]) -> tuple[str, ...]:
    """Of every text once; one that cannot be read is refused when it is prepared."""
    found: list[str | None] = []
    for plan in {text.recipe(plan): plan for plan in plans}.values():
        with contextlib.suppress(DataError):
            found.append(epochs.to_prepare(plan))
    return tuple(dict.fromkeys(filter(None, found)))


def refuse(found: Estimate, launcher: LauncherConfig) -> None:
    """Raises ConfigError where an estimate is beyond the launcher's limits, but not inside a Slurm job."""
    if _IS_ALLOCATED in os.environ:
        return
    frac, hours = launcher.max_memory_frac, launcher.max_hours
    there_gib = found.there_gib if found.is_main else None
    if (
        frac is not None
        and there_gib is not None
        and found.memory_gib is not None
        and found.memory_gib > frac * there_gib
    ):
        raise invalid(
            "launcher.max_memory_frac",
            frac,
            f"allow the {found.memory_gib:.1f} GiB of memory that {found.processes} on {found.device} "
            f"{'are' if found.workers * found.ranks > 1 else 'is'} estimated to take "
            f"({frac * there_gib:.1f} of {there_gib:.1f} GiB are allowed)",
            f"try {_less_memory(found)}{_ELSE}, or allow it with "
            f"launcher.max_memory_frac={math.ceil(10 * found.memory_gib / there_gib) / 10:g}",
        )
    if hours is not None and found.hours is not None and found.hours > hours:
        raise invalid(
            "launcher.max_hours",
            hours,
            f"allow the {in_words(found.hours)} that {counted(found.num_runs, 'run')} on {found.device} "
            f"{'are' if found.num_runs > 1 else 'is'} estimated to take",
            f"try {_ELSE}, or allow it with launcher.max_hours={math.ceil(found.hours)}",
        )


def in_words(hours: float) -> str:
    """``40 s``, ``12 min``, ``3.4 hours``, ``1,230 hours (51 days)``."""
    if hours * 60 < 1.5:
        return f"{hours * 3600:.0f} s"
    if hours < 1:
        return f"{hours * 60:.0f} min"
    days = f" ({hours / 24:,.0f} days)" if hours >= 72 else ""
    return f"{hours:,.1f} hours{days}" if hours < 100 else f"{hours:,.0f} hours{days}"


def _step(run: Run) -> int:
    return run.record.step if run.record is not None else 0


def _device_hours(run: Run, launcher: LauncherConfig, gpu: str | None, is_measured: bool) -> float | None:
    """Of one device, from FLOPs alone."""
    plan = run.plan
    if not isinstance(plan, RunPlan):
        return None
    config = plan.config
    every, is_trained = config.evaluation.every_steps, run.state == RunState.trained
    evaluations = 1 + ((plan.num_steps - 1) // every if every and not is_trained else 0)
    left = 0.0 if is_trained else 1 - min(1.0, _step(run) / plan.num_steps)
    flops = left * plan.total_flops + evaluations * cost.evaluation_flops(plan) + cost.core_flops(plan)
    dtype = config.precision.dtype
    if gpu is not None:
        return cost.gpu_hours(flops, gpu, dtype, launcher.plan_mfu)
    peak = cpu_peak.measured(dtype) if is_measured else cpu_peak.known(dtype)
    return None if peak is None else flops / peak / launcher.plan_mfu / 3600


def _less_memory(found: Estimate) -> str:
    """What to set for less memory, where a field of this launch would help."""
    if found.workers > 1 or found.ranks > 1:
        return f"fewer {'workers (launcher.num_workers)' if found.workers > 1 else 'processes a run'}, "
    return f"horizon.device_batch_size={found.rows // 4}, " if found.rows >= 4 else ""


def _free(folder: Path) -> int:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(there).free


def check(plans: Sequence[Plan], launcher: LauncherConfig, results_dir: Path) -> None:
    """Refuse runs before they are frozen or asked for. Raises what ``refuse`` does."""
    runs = [Run.of(plan, results_dir) for plan in {plan.run_id: plan for plan in plans}.values()]
    if to_do := [run for run in runs if not run.is_final]:
        refuse(of(to_do, runs, launcher, results_dir), launcher)
