"""Whether the kernel killed a process of ours for want of memory: SIGKILL alone does not say so.

The kernel counts such kills for every control group (``memory.events``, in version 1 ``memory.oom_control``)
and for the whole machine (``/proc/vmstat``), which is asked only where the group cannot be read: a kill
elsewhere on the machine may then be taken for one of ours.
"""

from __future__ import annotations

import re
from pathlib import Path

from sweepkit.launch import cgroup

_PROC = Path("/proc")
_COUNT = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


def num_kills() -> int | None:
    """How many the kernel has killed in this process's control group so far; None where it does not say."""
    files = cgroup.memory_files("memory.oom_control", "memory.events")
    for path in (*files, _PROC / "vmstat"):
        try:
            found = _COUNT.search(path.read_text())
        except OSError:
            continue
        if found:
            return int(found.group(1))
    return None
