"""How jobs and array tasks ended, as accounting has it, or else the controller.

Accounting writes tasks that were cancelled before they started as one row, ``157_[2-11%2]``, or as the array
itself, and gives no row to one that was cancelled alone. It also lags: a task that has just ended may still
be running there.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Collection, Iterator

from sweepkit.launch.slurm import cluster

_IDS_A_CALL = 200
_COLUMNS = "JobID,State,ExitCode,MaxRSS,ReqMem"
_KILLED = frozenset({"0:9", "9:0", "137:0"})  # status:signal of a process that was killed
_FULL = 0.9  # of what was asked for; the memory is only looked at now and then
_KIB = {"": 1 / 1024, "K": 1.0, "M": 1024.0, "G": 1024.0**2, "T": 1024.0**3}
_GOES_ON = frozenset({"PENDING", "RUNNING", "SUSPENDED", "REQUEUED", "RESIZING", "CONFIGURING", "COMPLETING"})
_OUT_OF_MEMORY = "OUT_OF_MEMORY"
_LAG_S = 10.0


def final_states(full_ids: Collection[str], started: Collection[str] = ()) -> dict[str, str]:
    """How ended jobs or array tasks ended: full id → Slurm's state word. Left out: not known.

    A step that ran out of memory makes its job OUT_OF_MEMORY, also where the job's own row says FAILED. So
    does one that was killed (signal 9, status 137) when it held nearly all the memory the job had asked for:
    without control groups Slurm kills a job over its limit itself and calls it FAILED.

    Args:
        started: those of ``full_ids`` that are known to have run, for whose rows it is worth waiting.

    Raises:
        ClusterError: no answer.
    """
    wanted = sorted(set(full_ids))
    if not wanted:
        return {}
    if not cluster.has_accounting():
        return _by_controller(wanted)
    until = time.monotonic() + _LAG_S
    while True:
        found = _by_accounting(wanted)
        if set(started) <= found.keys() or time.monotonic() > until:
            return found
        time.sleep(1.0)


def tasks_of(row: str) -> Iterator[str]:
    """The full ids that a row's id stands for: ``7``, ``7_3``, or ``7_[0,2-4%2]``."""
    array, bracket, inner = row.partition("_[")
    if not bracket:
        yield row
        return
    for part in inner.rstrip("]").partition("%")[0].split(","):
        if match := re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part):
            first, last, step = match.group(1), match.group(2), match.group(3)
            for task in range(int(first), int(last or first) + 1, int(step or 1)):
                yield f"{array}_{task}"


def _by_accounting(wanted: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for start in range(0, len(wanted), _IDS_A_CALL):
        some = wanted[start : start + _IDS_A_CALL]
        # tasks that never started are in rows of their array, which only the array's own id brings up
        asked = ",".join(dict.fromkeys(item.split("_")[0] for item in some))
        asked_kib: dict[str, float] = {}
        whole: dict[str, str] = {}
        for line in cluster.ask("sacct", "-n", "-P", "-j", asked, "-o", _COLUMNS).splitlines():
            row, state, code, most, memory = line.split("|")
            row_id, word = row.split(".")[0], state.split(" ")[0]
            is_step = "." in row
            if not is_step:
                asked_kib[row_id] = _kib(memory)
            elif code in _KILLED and _kib(most) > _FULL * asked_kib.get(row_id, math.inf):
                word = _OUT_OF_MEMORY
            if word in _GOES_ON or (is_step and word != _OUT_OF_MEMORY):
                continue
            whole |= {} if is_step else {row_id: word}
            for full_id in tasks_of(row_id):
                found[full_id] = word if found.get(full_id) != _OUT_OF_MEMORY else _OUT_OF_MEMORY
        for full_id in some:  # an array of which no task had started is one row
            if full_id not in found and (word_of_all := whole.get(full_id.split("_")[0])):
                found[full_id] = word_of_all
    return {full_id: found[full_id] for full_id in wanted if full_id in found}


def _by_controller(wanted: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for job in cluster.shown_jobs():
        array, task = job.get("ArrayJobId"), job.get("ArrayTaskId", "")
        row = f"{array}_[{task}]" if array and task else job["JobId"]
        if job["JobState"] not in _GOES_ON:
            found |= dict.fromkeys(tasks_of(row), job["JobState"])
    return {full_id: found[full_id] for full_id in wanted if full_id in found}


def _kib(text: str) -> float:
    """KiB of ``4G`` or ``812K`` (older versions add n or c: for each node or core); NaN where nothing is."""
    found = re.fullmatch(r"([\d.]+)([KMGT]?)[nc]?", text)
    return float(found.group(1)) * _KIB[found.group(2)] if found else math.nan
