"""What this process's control group may use of memory, and what the kernel killed for want of it.

SIGKILL alone does not say why. The kernel counts such kills for every control group (``memory.events``, in
version 1 ``memory.oom_control``) and for the whole machine (``/proc/vmstat``), which is asked only where the
group cannot be read: a kill elsewhere on the machine may then be taken for one of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

_PROC, _CGROUP = Path("/proc"), Path("/sys/fs/cgroup")
_COUNT = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


def memory_files(version_1: str, version_2: str) -> Iterator[Path]:
    """Files of the memory controller, by their names in both versions: the own group's, then those around it.

    A limit may be that of any of them: Slurm's is that of the job, a group around the process's own. In a
    container the group's own folder is mounted as the root. Files may be missing.
    """
    try:
        lines = (_PROC / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return
    groups = [line.split(":", 2) for line in lines]
    for _, controllers, group in groups:
        if "memory" in controllers.split(","):
            yield from _upwards(_CGROUP / "memory", group, version_1)
    for _, controllers, group in groups:
        if not controllers:
            yield from _upwards(_CGROUP, group, version_2)


def _upwards(root: Path, group: str, name: str) -> Iterator[Path]:
    inner = Path(group.lstrip("/"))
    for folder in (inner, *inner.parents):  # the last is the root itself
        yield root / folder / name


def num_kills() -> int | None:
    """How many the kernel has killed in this process's control group so far; None where it does not say."""
    files = memory_files("memory.oom_control", "memory.events")
    for path in (*files, _PROC / "vmstat"):
        try:
            found = _COUNT.search(path.read_text())
        except OSError:
            continue
        if found:
            return int(found.group(1))
    return None
