"""What the cluster says: its queue, its accounting, its limits; and cancelling jobs.

Submitting is submitit's work (``submit.py``). These are the questions around it, each one command of Slurm's
with a deadline: a controller that does not answer is an error, never an empty queue. Variables by which a
user has squeue or sacct leave something out (SQUEUE_STATES) are not heeded. Accounting (sacct) may be
switched off; then the controller is asked instead, which remembers a job for some minutes only. A command
that fails is called again (``retries.py``).
"""

from __future__ import annotations

import functools
import getpass
import os
import re
import shutil
import subprocess
from collections.abc import Collection
from dataclasses import dataclass

from sweepkit.config import slurm_time
from sweepkit.launch.slurm.retries import ClusterError, patient

_DEADLINE_S = 30.0
_IDS_A_CALL = 200
_NO_ACCOUNTING = "accounting storage is disabled"
#: How a controller says that it cannot answer just now.
_BUSY = re.compile(
    r"timed out|unable to contact|connection|communicat|temporar|try again|zero bytes|unable to connect|"
    r"did not answer|no route|broken pipe|standby|unexpected message|transport",
    re.IGNORECASE,
)
_FILTERS = ("SQUEUE_", "SACCT_")
_QUEUE_FORMAT = "%F|%K|%j|%T|%r|%N"


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
    for line in ask("squeue", "--me", "-h", "-r", "-o", _QUEUE_FORMAT).splitlines():
        if line.count("|") < 5:  # the rest of a name with a line end in it, which no job of ours has
            continue
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
        rows = ask("sacct", "-n", "-P", "-X", "-S", "now-30days", "--name", name, "-o", "JobID").splitlines()
        if rows:
            return rows[0].split("_")[0]
    for job in shown_jobs():
        if job.get("JobName") == name:
            return job.get("ArrayJobId", job["JobId"])
    return None


@functools.cache
def limits() -> Limits:
    """The cluster's array size, and this user's submit limit where accounting sets one."""
    setting = re.search(r"^MaxArraySize\s*=\s*(\d+)", ask("scontrol", "show", "config"), re.MULTILINE)
    max_array_size = max(1, int(setting.group(1))) if setting else 1001  # 0: it has no arrays
    return Limits(max_array_size, _max_submit() if has_accounting() else None)


@functools.cache
def max_time_min(partition: str | None, qos: str | None = None) -> int | None:
    """The longest time limit that a job may have, in minutes; None: no limit is known.

    The smallest of the partition's MaxTime and of MaxWall in its QOS and the job's own, but where one of them
    is there to override another.

    Args:
        partition: None: the cluster's default one.
        qos: None: the user's default one.
    """
    here: dict[str, str] = {}
    for line in ask("scontrol", "-o", "show", "partition").splitlines():
        found = dict(word.split("=", 1) for word in line.split() if "=" in word)
        if found.get("PartitionName") == partition or (partition is None and found.get("Default") == "YES"):
            here = found
    limits = {"partition": here.get("MaxTime", ""), **_max_walls(here.get("QoS", "N/A"), qos)}
    known = [slurm_time.minutes(limit) for limit in limits.values() if limit not in ("", "UNLIMITED")]
    return min(known, default=None)


@functools.cache
def has_accounting() -> bool:
    """Whether sacct can be asked."""
    if shutil.which("sacct") is None:
        return False

    def is_off(error: ClusterError) -> bool:
        return _NO_ACCOUNTING in str(error).lower()

    try:
        patient(lambda: _run("sacct", "-n", "-X", "-S", "now", "-o", "JobID"), is_refusal=is_off)
    except ClusterError:
        return False
    return True


def cancel(full_ids: Collection[str]) -> None:
    """Cancel jobs or array tasks; those that have ended are no error."""
    ids = sorted(full_ids)
    for start in range(0, len(ids), _IDS_A_CALL):
        ask("scancel", "--quiet", *ids[start : start + _IDS_A_CALL])


def address(node: str) -> str:
    """Where Slurm itself reaches a node; its name where Slurm does not say."""
    found = re.search(r"\bNodeAddr=(\S+)", ask("scontrol", "-o", "show", "node", node))
    return found.group(1) if found else node


def first_node(nodes: str) -> str:
    """The first of a list in Slurm's notation, such as ``gpu[03-05,7]``."""
    return ask("scontrol", "show", "hostnames", nodes).split()[0]


def requeue(job_id: str) -> bool:
    """Put a running job back into the queue; False where Slurm says no (it is doing so already)."""
    try:
        patient(lambda: _run("scontrol", "requeue", job_id), is_refusal=lambda error: not _is_busy(error))
    except ClusterError:
        return False
    return True


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


def _max_walls(of_partition: str, own: str | None) -> dict[str, str]:
    """MaxWall of a partition's QOS and a job's; with ``partition`` "" where the job's overrides MaxTime."""
    if shutil.which("sacctmgr") is None or not has_accounting():
        return {}
    user = getpass.getuser()
    try:
        if own is None:
            rows = ask("sacctmgr", "-n", "-P", "show", "assoc", "where", f"user={user}", "format=DefaultQOS")
            defaults = set(rows.split())
            own = defaults.pop() if len(defaults) == 1 else None  # accounts differ, and nobody said which
        rows = ask("sacctmgr", "-n", "-P", "show", "qos", "format=Name,MaxWall,Flags")
    except ClusterError:
        return {}
    known = {row.split("|")[0]: row.split("|")[1:3] for row in rows.splitlines() if row.count("|") >= 2}
    wall, flags = known.get(own or "", ["", ""])
    found = {"own": wall, "of_partition": known.get(of_partition, [""])[0]}
    if "OverPartQOS" in flags and wall:
        found["of_partition"] = ""
    return found | ({"partition": ""} if "PartitionTimeLimit" in flags else {})


def shown_jobs() -> list[dict[str, str]]:
    """All jobs that the controller remembers, as scontrol writes them."""
    rows = []
    for line in ask("scontrol", "-o", "show", "job").splitlines():
        pairs = dict(word.split("=", 1) for word in line.split() if "=" in word)
        if "JobId" in pairs and "JobState" in pairs:
            rows.append(pairs)
    return rows


def ask(*command: str) -> str:
    """What a command printed; called again where it fails. Raises ClusterError when patience is at an end."""
    return patient(lambda: _run(*command), is_refusal=lambda error: shutil.which(command[0]) is None)


def _is_busy(error: ClusterError) -> bool:
    return _BUSY.search(str(error)) is not None


def _run(*command: str) -> str:
    """What a command printed. Raises ClusterError where it fails or does not answer."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_FILTERS)}
    environment["SLURM_BITSTR_LEN"] = "0"  # long lists of array tasks are written out
    try:
        done = subprocess.run(  # names of other jobs may be in any encoding
            command, env=environment, capture_output=True, text=True, errors="replace", check=False,
            timeout=_DEADLINE_S,
        )  # fmt: skip
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
