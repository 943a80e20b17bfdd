"""Whether the kernel killed a process of ours for want of memory: SIGKILL alone does not say so.

The kernel counts such kills for every control group (``memory.events``, in version 1 ``memory.oom_control``)
and for the whole machine (``/proc/vmstat``), which is asked only where the group cannot be read: a kill
elsewhere on the machine may then be taken for one of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

_PROC, _CGROUP = Path("/proc"), Path("/sys/fs/cgroup")
_COUNT = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


def num_kills() -> int | None:
    """How many the kernel has killed in this process's control group so far; None where it does not say."""
    for path in (*_group_files(), _PROC / "vmstat"):
        try:
            found = _COUNT.search(path.read_text())
        except OSError:
            continue
        if found:
            return int(found.group(1))
    return None


def _group_files() -> Iterator[Path]:
    """Where the counter may be; in a container the group's own folder is mounted as the root."""
    try:
        lines = (_PROC / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers == "memory" or "memory" in controllers.split(","):
            for folder in (_CGROUP / "memory" / group.lstrip("/"), _CGROUP / "memory"):
                yield folder / "memory.oom_control"
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if not controllers:
            for folder in (_CGROUP / group.lstrip("/"), _CGROUP):
                yield folder / "memory.events"
