"""How many workers this machine takes, and what environment each gets. Imports no torch.

Two processes of one thread each train as fast as one of two threads, and two of two lose half
(measured), so the cores are divided among the workers. On GPUs there is one worker a GPU.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sweepkit.config.choices import Device
from sweepkit.config.schema import LauncherConfig
from sweepkit.errors import invalid
from sweepkit.launch import cgroup
from sweepkit.plan.run_spec import RunSpec

#: Of a process besides its model: torch, the compiler.
PROCESS_GIB = 1.0
_MEMORY_SHARE = 0.8
_CGROUP = Path("/sys/fs/cgroup")

#: How many threads a process computes with.
THREADS = "OMP_NUM_THREADS"
#: Of libraries that compute; torch takes MKL's before OpenMP's.
_THREAD_VARIABLES = (
    THREADS,
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
_COMPILE_THREADS = "TORCHINDUCTOR_COMPILE_THREADS"
_SPIN_COUNT = 10_000  # some 0.1 ms


def spin_briefly() -> None:
    """Have torch's threads sleep soon when they wait for each other; to be called before torch is imported.

    GNU OpenMP lets them spin for milliseconds, after every small operation. On a machine with other work the
    one that is waited for is often not running: the runs of ``scripts/bench_launch.py`` then took 11 s each
    instead of 2 (two threads beside three busy processes on two cores). On a quiet one nothing changes.
    """
    if "OMP_WAIT_POLICY" not in os.environ:  # the user's own choice
        os.environ.setdefault("GOMP_SPINCOUNT", str(_SPIN_COUNT))


def num_workers(
    launcher: LauncherConfig, plans: Sequence[RunSpec], gpus: Sequence[str], num_to_come: int = 0
) -> int:
    """Workers for a list of runs, done ones and those that a search will propose included.

    "auto" is one a GPU; without GPUs one a core, as far as memory goes, and one in all where that is not
    known; fewer where a run takes several.
    It does not depend on how many runs are left, so that a resumed launch gives each worker the same
    number of threads, and with that the same rounding.

    Raises:
        ConfigError: ``launcher.num_workers`` is neither "auto" nor a positive number.
    """
    wanted, processes = launcher.num_workers, launcher.processes_per_run
    if gpus and processes > len(gpus):
        raise invalid(
            "launcher.processes_per_run", processes, f"be at most the {len(gpus)} GPUs that are here",
            f"use launcher.processes_per_run={len(gpus)}",
        )  # fmt: skip
    num_runs = max(1, len({plan.run_id for plan in plans}) + num_to_come)
    if wanted == "auto":
        if gpus:
            return min(len(gpus) // processes, num_runs)
        estimates = [plan.estimated_peak_memory_gib for plan in plans]
        known = [item for item in estimates if item is not None]
        if len(known) < len(estimates):
            return 1  # nobody knows what two of them would take
        largest = max(known, default=0.0) + PROCESS_GIB
        at_once = min(num_cores(), int(_MEMORY_SHARE * memory_gib() / largest)) // processes
        return max(1, min(at_once, num_runs))
    if not isinstance(wanted, int) or wanted < 1:
        raise invalid(
            "launcher.num_workers", wanted, "be auto or at least 1", "use launcher.num_workers=auto"
        )
    return min(wanted, num_runs)


def side_by_side(workers: int) -> int:
    """How many runs this machine may train at a time, for the record: clocks of others do not compare.

    As launched, not as it happens to be at a moment: the workers of the launch; inside of a Slurm task, those
    of the task times how many tasks of its size the node has cores for.
    """
    tasks = 1
    with contextlib.suppress(KeyError, ValueError, ZeroDivisionError):
        tasks = max(1, (os.cpu_count() or 1) // int(os.environ["SLURM_CPUS_ON_NODE"]))
    return workers * tasks


def memory_gib() -> float:
    """Main memory this process may use: the machine's, or the limit of its control group or one around it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in cgroup.memory_files("memory.limit_in_bytes", "memory.max"):
        # the root group has no such file, others may say "max"
        with contextlib.suppress(OSError, ValueError):
            memory = min(memory, int(path.read_text()))
    return memory / 2**30


def num_cores() -> int:
    """Cores this process may use: its affinity, its control group's quota, and what Slurm gave the task."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        quota, period = (_CGROUP / "cpu.max").read_text().split()
        if quota != "max":
            cores = min(cores, max(1, int(quota) // int(period)))
    with contextlib.suppress(KeyError, ValueError):
        cores = min(cores, max(1, int(os.environ["SLURM_CPUS_PER_TASK"])))
    return cores


@dataclass(frozen=True)
class Gpu:
    """A CUDA device, as the driver names it; ``memory_gib`` is None where it does not tell."""

    index: str
    name: str
    memory_gib: float | None


def gpus(device: Device) -> list[str]:
    """CUDA devices to place workers on; empty where runs go to the CPU or there are none."""
    return [gpu.index for gpu in gpu_kinds(device)]


def gpu_kinds(device: Device) -> list[Gpu]:
    """``gpus`` with what they are."""
    if device not in (Device.auto, Device.cuda) or not _torch_has_cuda():
        return []
    there = _listed_gpus()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return list({gpu.index: gpu for gpu in there.values()}.values())
    names = [item.strip() for item in visible.split(",")]
    found = [(name, there.get(name)) for name in names if name not in ("", "-1", "NoDevFiles")]
    return [Gpu(name, gpu.name, gpu.memory_gib) if gpu else Gpu(name, "a GPU", None) for name, gpu in found]


def _listed_gpus() -> dict[str, Gpu]:
    """Index, and UUID, of what nvidia-smi lists → the device; empty without it."""
    if shutil.which("nvidia-smi") is None:
        return {}
    command = ["nvidia-smi", "--query-gpu=index,uuid,name,memory.total", "--format=csv,noheader,nounits"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    found: dict[str, Gpu] = {}
    for line in done.stdout.splitlines() if done.returncode == 0 else ():
        index, uuid, name, memory = [*(item.strip() for item in line.split(",")), "", "", ""][:4]
        gpu = Gpu(index, name, float(memory) / 1024 if memory.isdecimal() else None)  # it says MiB
        found[index] = found[uuid] = gpu
    return found


def worker_environment(slot: int, workers: int, gpus: Sequence[str], processes: int = 1) -> dict[str, str]:
    """Environment of worker number ``slot`` and its ``processes``.

    What the user has set stays, and ``OMP_NUM_THREADS`` is for all libraries that compute: a run has the
    threads, and so the bits, that it has in the user's own process.
    """
    environment = dict(os.environ)
    threads = str(max(1, num_cores() // (workers * processes)))
    asked = environment.get(THREADS, "")
    for name in _THREAD_VARIABLES:
        environment.setdefault(name, asked if asked.isdecimal() else threads)
    environment.setdefault(_COMPILE_THREADS, threads)
    if gpus:
        own = range(slot * processes, (slot + 1) * processes)
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(gpus[index % len(gpus)] for index in own)
    environment["PYTHONUNBUFFERED"] = "1"
    return environment


def _torch_has_cuda() -> bool:
    """Whether the installed torch is a CUDA build, read from its version file."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return False
    with contextlib.suppress(OSError):
        for line in (Path(spec.origin).parent / "version.py").read_text().splitlines():
            if line.startswith("cuda"):
                return "None" not in line.split("=", 1)[1]
    return True
