"""What the cluster says: its queue, its accounting, its limits; and cancelling jobs.

Submitting is submitit's work (``submit.py``). These are the questions around it, each one command of Slurm's
with a deadline: a controller that does not answer is an error, never an empty queue. Variables by which a
user has squeue or sacct leave something out (SQUEUE_STATES) are not heeded. Accounting (sacct) may be
switched off; then the controller is asked instead, which remembers a job for some minutes only, and an older
one's end is not known (None).
"""

from __future__ import annotations

import functools
import getpass
import math
import os
import re
import shutil
import subprocess
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sweepkit.errors import SweepkitError

_DEADLINE_S = 30.0
_IDS_A_CALL = 200
_ENDING = "JobID,State,ExitCode,MaxRSS,ReqMem"
_KILLED = frozenset({"0:9", "9:0", "137:0"})  # status:signal of a process that was killed
_FULL = 0.9  # of what was asked for; the memory is only looked at now and then
_KIB = {"": 1 / 1024, "K": 1.0, "M": 1024.0, "G": 1024.0**2, "T": 1024.0**3}
_FILTERS = ("SQUEUE_", "SACCT_")
_QUEUE_FORMAT = "%F|%K|%j|%T|%r|%N"


class ClusterError(SweepkitError):
    """Slurm is not there, does not answer, or refuses."""


@dataclass(frozen=True)
class QueuedTask:
    """One job, or one task of an array, that has not ended."""

    job_id: str  # of the array
    task: int | None  # index in the array; None for a job that is none
    name: str
    state: str  # PENDING, RUNNING, COMPLETING, ...
    reason: str | None  # why it is pending
    nodes: str | None

    @property
    def full_id(self) -> str:
        """As squeue and scancel write it."""
        return self.job_id if self.task is None else f"{self.job_id}_{self.task}"


@dataclass(frozen=True)
class Limits:
    """What may be submitted. None: no limit is known."""

    max_array_size: int
    max_submit: int | None  # jobs and array tasks of this user in the queue at once


def check_available() -> None:
    """Raises ClusterError where this machine has no Slurm."""
    missing = [name for name in ("sbatch", "squeue", "scontrol", "srun") if shutil.which(name) is None]
    if missing:
        raise ClusterError(
            f"launcher is slurm, but must run where Slurm's commands are, and {', '.join(missing)} is not on "
            "PATH here; log in to the cluster's login node, or use launcher=local"
        )


def queue(names: Collection[str] | None = None) -> list[QueuedTask]:
    """This user's jobs that have not ended, array tasks one by one.

    Args:
        names: only jobs of these names; None for all.
    """
    if names is not None and not names:
        return []
    # squeue has no limit on the length of a list of names, the command line has: filter here
    found = []
    for line in _run("squeue", "--me", "-h", "-r", "-o", _QUEUE_FORMAT).splitlines():
        job_id, task, name, state, reason, nodes = line.split("|", 5)
        if names is None or name in names:
            found.append(
                QueuedTask(
                    job_id=job_id,
                    task=int(task) if task.isdecimal() else None,
                    name=name,
                    state=state,
                    reason=reason if state == "PENDING" else None,
                    nodes=nodes or None,
                )
            )
    return found


def job_of_name(name: str) -> str | None:
    """Id of the job that was submitted under ``name``, whether it waits, runs or has ended."""
    for task in queue([name]):
        return task.job_id
    if has_accounting():
        rows = _run("sacct", "-n", "-P", "-X", "-S", "now-30days", "--name", name, "-o", "JobID").splitlines()
        if rows:
            return rows[0].split("_")[0]
    for job in _shown_jobs():
        if job.get("JobName") == name:
            return job.get("ArrayJobId", job["JobId"])
    return None


def final_states(full_ids: Iterable[str]) -> dict[str, str]:
    """How ended jobs or array tasks ended: full id → Slurm's state word. Left out: not known.

    A step that ran out of memory makes its job OUT_OF_MEMORY, also where the job's own row says FAILED. So
    does one that was killed (signal 9, status 137) when it held nearly all the memory the job had asked for:
    without control groups Slurm kills a job over its limit itself and calls it FAILED.
    """
    wanted = sorted(set(full_ids))
    found: dict[str, str] = {}
    if has_accounting():
        for start in range(0, len(wanted), _IDS_A_CALL):
            some = ",".join(wanted[start : start + _IDS_A_CALL])
            asked_kib: dict[str, float] = {}
            for line in _run("sacct", "-n", "-P", "-j", some, "-o", _ENDING).splitlines():
                row, state, code, most, asked = line.split("|")
                full_id, word = row.split(".")[0], state.split(" ")[0]
                is_step = "." in row
                if not is_step:
                    asked_kib[full_id] = _kib(asked)
                elif code in _KILLED and _kib(most) > _FULL * asked_kib.get(full_id, math.inf):
                    word = "OUT_OF_MEMORY"
                if full_id in wanted and (not is_step or word == "OUT_OF_MEMORY"):
                    found[full_id] = word if found.get(full_id) != "OUT_OF_MEMORY" else "OUT_OF_MEMORY"
    elif wanted:
        for job in _shown_jobs():
            array, task = job.get("ArrayJobId"), job.get("ArrayTaskId", "")
            full_id = f"{array}_{task}" if array and task.isdecimal() else job["JobId"]
            if full_id in wanted:
                found[full_id] = job["JobState"]
    return found


@functools.cache
def limits() -> Limits:
    """The cluster's array size, and this user's submit limit where accounting sets one."""
    setting = re.search(r"^MaxArraySize\s*=\s*(\d+)", _run("scontrol", "show", "config"), re.MULTILINE)
    max_array_size = max(1, int(setting.group(1))) if setting else 1001  # 0: it has no arrays
    return Limits(max_array_size, _max_submit() if has_accounting() else None)


@functools.cache
def has_accounting() -> bool:
    """Whether sacct can be asked."""
    if shutil.which("sacct") is None:
        return False
    command = ["sacct", "-n", "-X", "-S", "now", "-o", "JobID"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_DEADLINE_S)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def cancel(full_ids: Collection[str]) -> None:
    """Cancel jobs or array tasks; those that have ended are no error."""
    ids = sorted(full_ids)
    for start in range(0, len(ids), _IDS_A_CALL):
        _run("scancel", "--quiet", *ids[start : start + _IDS_A_CALL])


def address(node: str) -> str:
    """Where Slurm itself reaches a node; its name where Slurm does not say."""
    found = re.search(r"\bNodeAddr=(\S+)", _run("scontrol", "-o", "show", "node", node))
    return found.group(1) if found else node


def first_node(nodes: str) -> str:
    """The first of a list in Slurm's notation, such as ``gpu[03-05,7]``."""
    return _run("scontrol", "show", "hostnames", nodes).split()[0]


def requeue(job_id: str) -> bool:
    """Put a running job back into the queue; False where Slurm says no (it is doing so already)."""
    try:
        _run("scontrol", "requeue", job_id)
    except ClusterError:
        return False
    return True


def _kib(text: str) -> float:
    """KiB of ``4G`` or ``812K`` (older versions add n or c: for each node or core); NaN where nothing is."""
    found = re.fullmatch(r"([\d.]+)([KMGT]?)[nc]?", text)
    return float(found.group(1)) * _KIB[found.group(2)] if found else math.nan


def _max_submit() -> int | None:
    """The smallest limit of this user's associations."""
    if shutil.which("sacctmgr") is None:
        return None
    query = ("show", "assoc", "where", f"user={getpass.getuser()}", "format=MaxSubmitJobs,GrpSubmitJobs")
    try:
        rows = _run("sacctmgr", "-n", "-P", *query)
    except ClusterError:
        return None
    numbers = [int(word) for word in re.split(r"[|\s]+", rows) if word.isdecimal()]
    return min(numbers, default=None)


def _shown_jobs() -> list[dict[str, str]]:
    """All jobs that the controller remembers, as scontrol writes them."""
    rows = []
    for line in _run("scontrol", "-o", "show", "job").splitlines():
        pairs = dict(word.split("=", 1) for word in line.split() if "=" in word)
        if "JobId" in pairs and "JobState" in pairs:
            rows.append(pairs)
    return rows


def _run(*command: str) -> str:
    """What a command printed. Raises ClusterError where it fails or does not answer."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_FILTERS)}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=_DEADLINE_S
        )
    except FileNotFoundError:
        check_available()
        raise ClusterError(
            f"{command[0]} is not on PATH, but must be; ask the cluster's administrators"
        ) from None
    except subprocess.TimeoutExpired:
        raise ClusterError(
            f"{command[0]} did not answer within {_DEADLINE_S:.0f} s, but must; the controller may be busy "
            "or down: run the same command again later, nothing is submitted twice"
        ) from None
    if done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip() or f"status {done.returncode}").splitlines()
        said = "; ".join(line.strip() for line in lines if line.strip())
        raise ClusterError(
            f"{' '.join(command[:3])} failed ({said}), but must work here; see what {command[0]} and sinfo "
            "say, and run the same command again when they answer: nothing is lost or submitted twice"
        )
    return done.stdout
