"""The part of the schema that says how and where runs are carried out: none of it changes a number."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Optional, Union  # OmegaConf reads these at run time

from sweepkit.config import slurm_time
from sweepkit.config.choices import AttentionBackend, Device, LauncherKind, WandbMode
from sweepkit.config.facts import Identity, block, fact
from sweepkit.config.ranges import Range, at_least, auto_or_at_least_one, more_than_zero, not_empty

_INSTEAD_IN_SHELL = "write $NAME in the line, which the task's shell fills in"


@dataclass
class TrainerConfig:
    """How a run is carried out."""

    device: Device = fact(Device.auto, "what a run computes on; auto: a GPU where there is one", traced=True)
    compile: bool = fact(True, "torch.compile the model's blocks and the loss", traced=True)
    attention: AttentionBackend = fact(
        AttentionBackend.auto, "kernel of the attention; all compute the same", traced=True
    )
    checkpoint_every_steps: int = fact(
        1_000, "between checkpoints; 0: never", at_least(0), unit="steps", example="1000 (0: never)"
    )
    checkpoint_every_min: float = fact(
        15.0,
        "a checkpoint whenever so much time has passed as well; 0: never",
        at_least(0),
        unit="min",
        example="15 (0: never)",
    )
    keep_checkpoints: bool = fact(False, "keep a checkpoint of the run when it has ended")
    keep_weights: bool = fact(True, "keep the weights of a complete run, to be evaluated in other ways")
    gc_every_steps: int = fact(
        5_000, "between collections of Python's garbage, which are off otherwise", at_least(1), unit="steps"
    )
    max_loss_ratio: float = fact(
        1.5,
        "a run has diverged when its loss is more than this × that of step 0",
        Range(
            lambda value: 1 < value < math.inf,
            "be a finite number of more than 1 (the loss at step 0 must pass)",
            "try 1.5, or 1e9 for a run that never counts as diverged",
        ),
        identity=Identity.configured,  # diverging counts against a variant
        same_training=True,
    )


@dataclass
class SlurmConfig:
    """What array tasks ask for, and how runs are put into them (docs/slurm.md)."""

    partition: Optional[str] = fact(None, "handed to sbatch as it is", not_empty(), names_variables=True)
    account: Optional[str] = fact(None, "handed to sbatch as it is", not_empty(), names_variables=True)
    qos: Optional[str] = fact(None, "handed to sbatch as it is", not_empty(), names_variables=True)
    constraint: Optional[str] = fact(None, "handed to sbatch as it is", not_empty(), names_variables=True)
    setup: list[str] = fact(
        [], "shell lines before the task, as module load cuda", instead_of_variables=_INSTEAD_IN_SHELL
    )
    sbatch: list[str] = fact(
        [], "further options by their long names, as [reservation=x]", names_variables=True
    )
    gpus: int = fact(
        1, "GPUs of one array task on one node; 0: CPU nodes", at_least(0), example="1 (0: CPU nodes)"
    )
    cpus: int = fact(8, "cores of one array task; of each process, where several train one run", at_least(1))
    mem_gib: Union[int, str] = fact(
        "auto",
        "host memory of one array task on one node; auto: per process its estimated peak and 4 GiB",
        auto_or_at_least_one(),
        unit="GiB",
        example="64",
        limit=True,
    )
    time_min: Union[int, str] = fact(
        "auto",
        "time limit, also as Slurm writes it (4:00:00, 1-12); auto: the estimate × time_margin + 10, or 240 "
        "where there is no estimate (CPU nodes)",
        auto_or_at_least_one(),
        unit="min",
        example="120",
        limit=True,
        read=slurm_time.minutes,
    )
    time_margin: float = fact(
        2.0,
        "factor on the estimate of sweepkit plan (launcher.plan_device, launcher.plan_mfu)",
        at_least(1),
        limit=True,
    )
    runs_per_task: Union[int, str] = fact(
        "auto",
        "runs of one array task; auto: short runs of one compiled shape, up to task_min; where time is "
        "judged, all runs of a seed",
        auto_or_at_least_one(),
        example="4",
    )
    task_min: int = fact(60, "estimated minutes that auto fills a task with", at_least(1), unit="min")
    nodes: int = fact(1, "nodes over which launcher.processes_per_run are spread", at_least(1))
    workers_per_task: int = fact(
        1,
        "runs side by side in a task, each on its own GPU: for clusters that give out whole nodes",
        at_least(1),
    )
    max_parallel: int = fact(64, "array tasks that run at once", at_least(1))
    signal_delay_s: int = fact(
        120, "between the signal to write a checkpoint and the end of the time limit", at_least(1), unit="s"
    )
    max_requeues: int = fact(50, "times that one task may go back into the queue", at_least(0), limit=True)
    snapshot: bool = fact(True, "queued runs use a copy of the package as it is when they are submitted")


@dataclass
class LauncherConfig:
    kind: LauncherKind = fact(
        LauncherKind.inline, "runs in this process, in workers on this machine, or as Slurm arrays"
    )
    num_workers: Union[int, str] = fact(
        "auto",
        "runs at a time with launcher=local; auto: one per core or GPU",
        auto_or_at_least_one(),
        example="2",
    )
    processes_per_run: int = fact(
        1, "processes that train one run together, each on its own GPU", at_least(1), example="8"
    )
    max_attempts: int = fact(
        3, "times that a run is tried whose process dies, or whose job is lost", at_least(1), limit=True
    )
    max_hours: Optional[float] = fact(
        12.0,
        "most that runs may be estimated to take on this machine, inside no Slurm job; null: any",
        more_than_zero(),
        unit="h",
        example="48",
    )
    max_memory_frac: Optional[float] = fact(
        0.8,
        "share of main memory that runs at a time may be estimated to take, where no GPU is; null: any",
        more_than_zero(),
        example="0.9",
    )
    max_epochs: Optional[float] = fact(
        4.0,
        "most that a run may see its text, where it is known; null: any (docs/data.md)",
        more_than_zero(),
        example="20",
    )
    plan_device: str = fact("h100", "device that GPU-hours are estimated for", not_empty())
    plan_mfu: float = fact(0.4, "share of that device's peak FLOP/s in the estimate", more_than_zero(1))
    slurm: SlurmConfig = block(SlurmConfig, "array tasks of a Slurm cluster; read by launcher=slurm")


@dataclass
class LoggingConfig:
    wandb: WandbMode = fact(WandbMode.disabled, "whether runs are shown by wandb, and how")
    project: str = fact("sweepkit", "project that wandb shows runs in", not_empty(), names_variables=True)
    entity: Optional[str] = fact(None, "account or team of wandb; null: the user's own", names_variables=True)
    every_steps: int = fact(1, "between rows of metrics", at_least(1), unit="steps")
    diagnostics_every_steps: int = fact(
        50,
        "between diagnostics of the run; 0: never",
        at_least(0),
        unit="steps",
        example="50 (0: never)",
    )


@dataclass
class RungConfig:
    name: str = fact("", "name of the rung")
    overrides: list[str] = fact([], "what makes a run one of this rung, as [model=d12]")
    num_seeds: Optional[int] = fact(None, "how many of the sweep's seeds, the first ones; null: all")
    max_promoted: Optional[int] = fact(
        None, "most variants that climb; null: every one that the rule lets through"
    )


@dataclass
class LadderConfig:
    name: str = fact("none", "name of the ladder")
    base: list[str] = fact([], "overrides of every rung", holds_overrides=True)
    rungs: list[RungConfig] = fact([], "rungs, lowest first", holds_overrides=True)
    reference_horizons: list[float] = fact(
        [], "multiples of a rung's horizon at which the reference runs as well"
    )
    reference_replicates: Union[int, str] = fact(
        1,
        "the reference's runs per seed; auto: about the root of the number of variants",
        auto_or_at_least_one(),
        example="2",
    )
