"""Which process is this, and is that one still there?

A process is named by host, boot, pid namespace, pid and start time, so that neither a reused pid nor a
reboot nor a container with the same host name is mistaken for it. From elsewhere (another host, another
container) a process cannot be seen, nor, where /proc hides those of other users (hidepid), one of theirs;
whether it lives is then for its heartbeat to say (``claims.py``).
"""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import signal
import subprocess
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import NoReturn

from sweepkit.config.facts import REQUIRED, fact
from sweepkit.config.ranges import at_least

_PROC = Path("/proc")
_HIDDEN = "hidden"  # a start time that we may not see
_DEAD_CODES = frozenset("ZXx")  # a zombie has ended, whether or not its parent has noticed


class Liveness(Enum):
    alive = "alive"
    gone = "gone"
    rebooted = "rebooted"  # same host name, another boot: gone, unless two machines share the name
    unknown = "unknown"  # cannot be seen from here


@dataclass(frozen=True)
class ProcessId:
    host: str
    boot_id: str
    namespace: str  # of pids; containers on one host have different ones
    pid: int = fact(
        REQUIRED, "of the process; 0 and less would be whole groups of them", at_least(1), example="1"
    )
    started: str = fact(REQUIRED, "as the system tells it; only ever compared")


def current() -> ProcessId:
    """This process."""
    return _identify(os.getpid())


@functools.lru_cache(maxsize=4)
def _identify(pid: int) -> ProcessId:
    return ProcessId(platform.node(), _boot_id(), _namespace(), pid, _started(pid) or "")


def liveness(process: ProcessId) -> Liveness:
    """What this process can see of another."""
    here = current()
    if process.host != here.host:
        return Liveness.unknown
    if process.boot_id != here.boot_id:
        return Liveness.rebooted
    if process.namespace != here.namespace:
        return Liveness.unknown
    started = _started(process.pid)
    if started == _HIDDEN:
        return Liveness.unknown
    return Liveness.alive if started == process.started else Liveness.gone


def end_with_children(status: int) -> NoReturn:
    """End this process and all that it has started, wherever its threads are; nothing is cleaned up."""
    parents: dict[int, int] = {}
    for stat in _PROC.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            text = stat.read_text()
            parents[int(stat.parent.name)] = int(text[text.rindex(")") + 2 :].split()[1])
    ending = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in ending} - ending:
        ending |= more
    for pid in ending - {os.getpid()}:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    os._exit(status)


def _started(pid: int) -> str | None:
    """Start time of a living process; None when there is none of that pid, or only a zombie."""
    if not (_PROC / "self" / "stat").exists():
        return _started_by_ps(pid)
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return _HIDDEN if _exists(pid) else None
    fields = stat[stat.rindex(")") + 2 :].split()  # the name in brackets may hold spaces
    ended = fields[0] in _DEAD_CODES and int(fields[17]) <= 1  # other threads may still be in a system call
    return None if ended else fields[19]


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:  # somebody else's
        return True
    except OSError:
        return False
    return True


def _started_by_ps(pid: int) -> str | None:
    """Where there is no /proc (macOS)."""
    command = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
    line = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    if not line or line[0] in _DEAD_CODES:
        return None
    return " ".join(line.split()[1:])


@functools.cache
def _boot_id() -> str:
    with contextlib.suppress(OSError):
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    with contextlib.suppress(OSError):
        command = ["sysctl", "-n", "kern.boottime"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return ""


@functools.cache
def _namespace() -> str:
    try:
        return str((_PROC / "self/ns/pid").readlink())
    except OSError:
        return ""
