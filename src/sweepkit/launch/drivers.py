"""The folder of one launch, ``results/.workers/<driver>/``: its list of runs, its workers' logs, its claim.

While the driver lives it holds the folder's claim, so that ``cancel`` and ``status`` can tell what is
being worked on. A launch without trouble removes its folder when it ends; one with trouble leaves the
logs, which are removed after two weeks.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweepkit import fsio
from sweepkit.errors import DamagedError, SweepkitError
from sweepkit.launch import claim_files, claims, process, worker
from sweepkit.launch.claim_files import ClaimInfo
from sweepkit.launch.hopeless import Watch
from sweepkit.launch.process import Liveness
from sweepkit.launch.worker import Head
from sweepkit.plan.run_spec import RunSpec

_KEEP_S = 14 * 86_400
_CLAIM, _LIST = "claim.json", "list.json"


@dataclass
class DriverDir:
    """Set ``trouble`` to keep the folder."""

    path: Path
    driver: str
    trouble: bool = False

    @property
    def list_path(self) -> Path:
        return self.path / _LIST

    def log_path(self, slot: int) -> Path:
        """Where worker number ``slot`` writes what it prints."""
        return self.path / f"worker-{slot}.log"


@dataclass(frozen=True)
class LiveDriver:
    """A launch whose driver is alive."""

    info: ClaimInfo
    run_ids: frozenset[str]


@contextlib.contextmanager
def driver_dir(
    results_dir: Path,
    plans: Sequence[RunSpec],
    max_attempts: int,
    processes_per_run: int = 1,
    concurrency: int | None = None,
    watch: Watch | None = None,
) -> Iterator[DriverDir]:
    """This process's folder for a launch of ``plans``."""
    driver = claims.driver_id()
    root = results_dir / ".workers"
    folder = DriverDir(root / driver.replace(":", "-").replace("/", "-"), driver)
    fsio.make_folder(folder.path)
    claim = claims.acquire(folder.path / _CLAIM, driver=driver)
    try:
        _prune(root, folder.path)
        head = Head(
            driver, process.current(), results_dir, max_attempts, processes_per_run, concurrency, watch
        )
        worker.write_list(folder.list_path, head, plans)
        yield folder
    except KeyboardInterrupt:
        raise
    except BaseException:
        folder.trouble = True
        raise
    finally:
        if claim is not None:
            claim.release()
        if not folder.trouble:
            shutil.rmtree(folder.path, ignore_errors=True)


def live_drivers(results_dir: Path) -> list[LiveDriver]:
    """Launches whose drivers are alive, and the runs they were asked for."""
    drivers = []
    for folder in _folders(results_dir / ".workers"):
        holder = claims.holder(folder / _CLAIM)
        if holder is not None and holder.alive:
            with contextlib.suppress(FileNotFoundError, DamagedError):
                _, plans = worker.read_list(folder / _LIST)
                drivers.append(LiveDriver(holder.info, frozenset(plan.run_id for plan in plans)))
    return drivers


def _prune(root: Path, own: Path) -> None:
    """Remove old folders of launches that are known to be over; age goes by the file system's clock alone.

    A clock that jumps makes everything old: silence is no proof of an end, a process that is gone is.
    """
    now = claim_files.now_there(own)
    for folder in _folders(root):
        with contextlib.suppress(OSError, SweepkitError):
            if folder != own and now - folder.stat().st_mtime > _KEEP_S and _is_over(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _is_over(folder: Path) -> bool:
    holder = claims.holder(folder / _CLAIM)
    gone = (Liveness.gone, Liveness.rebooted)
    return holder is None or (not holder.alive and process.liveness(holder.info.process) in gone)


def _folders(root: Path) -> list[Path]:
    return [path for path in root.iterdir() if path.is_dir()] if root.is_dir() else []
