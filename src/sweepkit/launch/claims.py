"""Claims: at most one living process works on a run.

``claim.json`` in a run's folder names its holder. It comes into being whole (written aside, then
hard-linked to its name: exclusive also on NFS), is touched every few seconds by its holder's heartbeat
thread, and goes away when the holder releases it. A claim is dead when its process is gone, or when it
cannot be seen from here and its heartbeat has been silent for ``SILENT_S``; silence is measured on the
clock of the file system that holds the claim, so clocks of two hosts are never compared.

Ending a claim X, by takeover or release, needs the one ticket named after X: the file
``claim.json.next-X``, created exclusively, which is already the claim of whoever comes next. Its owner
then renames its claim over ``claim.json`` and removes the ticket. A taker that dies in between leaves a
chain claim.json → next-X → ..., whose last link is the claim that counts and may be taken over in turn.
A taker that was slow finds its ticket off the chain and withdraws. So there is no moment at which two
processes hold a run, and none at which a kill leaves a run that nobody can have.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from sweepkit import fsio, patience
from sweepkit.launch import claim_files, process
from sweepkit.launch.claim_files import ClaimInfo
from sweepkit.launch.process import Liveness
from sweepkit.results.record import RunDir

HEARTBEAT_S = 5.0
SILENT_S = 60.0  # a holder that cannot be seen and is silent for longer is dead
WATCH_S = 0.5  # how often a holder looks whether it should stop


@dataclass(frozen=True)
class Holder:
    """Who holds a claim file, as seen from here."""

    info: ClaimInfo
    alive: bool
    heartbeat_at: float  # seconds since the epoch, on the file system's clock


class Claim:
    """A claim this process holds, with its heartbeat. Use as a context manager, or ``release()`` it.

    Attributes:
        lost: set when someone else has taken the claim over: stop, and write nothing more.
    """

    def __init__(self, path: Path, info: ClaimInfo, descriptor: int) -> None:
        self.path = path
        self.info = info
        self.lost = threading.Event()
        self._descriptor = descriptor
        self._inode = os.fstat(descriptor).st_ino
        self._ended = threading.Event()
        self._watchers: list[Callable[[], None]] = []
        self._thread = threading.Thread(target=self._beat, name=f"heartbeat {path}", daemon=True)
        self._thread.start()

    def watch(self, look: Callable[[], None]) -> None:
        """Have the heartbeat thread call ``look`` about twice a second while the claim is held."""
        self._watchers.append(look)

    def release(self) -> None:
        """Let others have the run. Does nothing to a claim that has been taken over."""
        if self._ended.is_set():
            return
        self._ended.set()
        self._thread.join()
        os.close(self._descriptor)
        successor = replace(self.info, token=uuid.uuid4().hex, released=True)
        descriptor, written = claim_files.write(self.path, successor)
        os.close(descriptor)
        try:
            if claim_files.enter(self.path, written, self.info.token, successor.token):
                claim_files.remove(self.path)
                claim_files.remove(claim_files.ticket(self.path, self.info.token))
        finally:
            claim_files.remove(written)

    def __enter__(self) -> Claim:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _beat(self) -> None:
        last = time.monotonic()
        while not self._ended.wait(WATCH_S):
            for look in list(self._watchers):
                with contextlib.suppress(OSError):
                    look()
            if time.monotonic() - last >= HEARTBEAT_S:
                last = time.monotonic()
                try:
                    os.utime(self._descriptor)
                    if self.path.stat().st_ino != self._inode:
                        self.lost.set()
                except FileNotFoundError:
                    self.lost.set()
                except OSError as error:
                    if error.errno == errno.ESTALE:
                        self.lost.set()


def claim(run_dir: RunDir, *, driver: str = "", attempt: int = 0) -> Claim | None:
    """Claim a run for this process; None when a living process holds it.

    Args:
        run_dir: the run; its folder is created.
        driver: id of the launch this process works for (``driver_id``).
        attempt: number of the attempt about to start, for whoever reads the claim.
    """
    fsio.make_folder(run_dir.path)
    return acquire(run_dir.claim_path, driver=driver, attempt=attempt, reached=run_dir.reached())


def acquire(path: Path, *, driver: str = "", attempt: int = 0, reached: int = 0) -> Claim | None:
    """Hold the claim file ``path``, whose folder exists; None when a living process holds it.

    Args:
        reached: how far what it stands for has come; deaths are counted anew where that has grown.
    """
    chain = claim_files.chain_of(path)
    if chain and _holder(path, chain).alive:
        return None
    last = chain[-1][0] if chain else None
    info = ClaimInfo(
        token=uuid.uuid4().hex,
        process=process.current(),
        driver=driver,
        attempt=attempt,
        deaths=_deaths(last, driver, reached),
        claimed_at=datetime.now(UTC).isoformat(timespec="seconds"),
        reached=reached,
    )
    descriptor, written = claim_files.write(path, info)
    held = False
    try:
        if last is None:
            held = claim_files.link(written, path)
        elif claim_files.enter(path, written, last.token, info.token):
            patience.patiently(lambda: written.replace(path))
            for old, _ in chain:
                claim_files.remove(claim_files.ticket(path, old.token))
            held = True
            claim_files.tidy(path, SILENT_S)
    finally:
        claim_files.remove(written)
        if not held:
            os.close(descriptor)
    return Claim(path, info, descriptor) if held else None


def holder(path: Path) -> Holder | None:
    """Who holds the claim file ``path`` (dead or alive); None when it is free."""
    chain = claim_files.chain_of(path)
    if not chain or chain[-1][0].released:
        return None
    return _holder(path, chain)


def driver_id() -> str:
    """The id under which workers of a launch driven by this process claim their runs."""
    here = process.current()
    return f"{here.host}:{here.pid}:{here.started}"


def _deaths(last: ClaimInfo | None, driver: str, reached: int) -> int:
    """Deaths in a row after taking over ``last``: a holder that died with its driver does not count.

    One that had got further than its predecessors is the first of a new row.
    """
    if last is None or last.released:
        return 0
    before = 0 if reached > last.reached else last.deaths
    return before + (1 if last.driver == driver or _driver_alive(last) else 0)


def _driver_alive(info: ClaimInfo) -> bool:
    with contextlib.suppress(ValueError):
        host, pid, started = info.driver.rsplit(":", 2)
        return (
            process.liveness(replace(info.process, host=host, pid=int(pid), started=started))
            is Liveness.alive
        )
    return False


def _holder(path: Path, chain: list[tuple[ClaimInfo, Path]]) -> Holder:
    info, file = chain[-1]
    try:
        heartbeat = patience.patiently(file.stat).st_mtime
    except FileNotFoundError:  # just renamed or released: look again next time
        heartbeat = time.time()
    seen = process.liveness(info.process)
    alive = seen is Liveness.alive
    if seen is Liveness.rebooted:
        alive = claim_files.now_there(path.parent) - heartbeat < 3 * HEARTBEAT_S
    elif seen is Liveness.unknown:
        alive = claim_files.now_there(path.parent) - heartbeat < SILENT_S
    return Holder(info, alive, heartbeat)
