"""The files behind ``claims.py``: their content, the chain of tickets, and exclusive creation."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from sweepkit import fsio, patience, sealed
from sweepkit.config import typed
from sweepkit.errors import ConfigError, DamagedError
from sweepkit.launch.process import ProcessId

_NOWHERE = ProcessId("", "", "", 0, "")


@dataclass(frozen=True)
class ClaimInfo:
    """The content of a claim file."""

    token: str  # unique; names the ticket that ends this claim
    process: ProcessId
    driver: str  # the launch that the process works for
    attempt: int
    deaths: int  # processes in a row that died holding this run and had got no further; their driver lived
    claimed_at: str  # ISO 8601, UTC
    reached: int = 0  # step that the run had got to when it was claimed
    released: bool = False  # a last link that only says that its process is about to remove the file


def chain_of(path: Path) -> list[tuple[ClaimInfo, Path]]:
    """The claim at ``path``, then whoever holds the ticket that ends it, and so on."""
    links: list[tuple[ClaimInfo, Path]] = []
    file = path
    while (info := _read(file)) is not None:
        links.append((info, file))
        file = ticket(path, info.token)
    return links


def _read(file: Path) -> ClaimInfo | None:
    try:
        content = fsio.read_json(file)
        sealed.check_is_of(file, content, of=file.parent.name)
        del content["of"]
        return typed.load(ClaimInfo, content)
    except FileNotFoundError:
        return None
    except (DamagedError, ConfigError):  # torn by a power cut, or of another folder: no holder can be told
        return ClaimInfo(f"torn-{fsio.digest(file.name)[:12]}", _NOWHERE, "", 0, 0, "")


def in_file(path: Path, info: ClaimInfo) -> str:
    """What stands in the claim file ``path``, or behind it; it says which folder it is of."""
    return sealed.dumps(typed.dump(info) | {"of": path.parent.name})


def ticket(path: Path, token: str) -> Path:
    """The file whose owner may end the claim ``token``."""
    return path.with_name(f"{path.name}.next-{token}")


def enter(path: Path, written: Path, ending: str, token: str) -> bool:
    """Take the ticket that ends claim ``ending``; False when it is taken or no longer leads anywhere."""
    entrance = ticket(path, ending)
    if not link(written, entrance):
        return False
    if any(info.token == token for info, _ in chain_of(path)):
        return True
    remove(entrance)
    return False


def write(path: Path, info: ClaimInfo) -> tuple[int, Path]:
    """A claim file of its own name beside ``path``; returned open, for its heartbeat."""
    written = path.with_name(f".{path.name}.{info.token}.tmp")
    with fsio.explain_full_disk(path):
        return patience.patiently(lambda: _create(written, in_file(path, info).encode())), written


def _create(written: Path, data: bytes) -> int:
    descriptor = os.open(written, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        os.write(descriptor, data)
    except BaseException:
        os.close(descriptor)
        remove(written)
        raise
    return descriptor


def link(written: Path, name: Path) -> bool:
    """Give a file a second name, unless that name is taken."""
    try:
        with fsio.explain_full_disk(name):
            patience.patiently(lambda: os.link(written, name))
    except FileExistsError:
        return written.stat().st_nlink == 2  # NFS: done, but the answer got lost
    return True


def remove(path: Path) -> None:
    """Remove a file, where there is one; again where storage fails for a moment."""
    patience.patiently(lambda: path.unlink(missing_ok=True))


def now_there(folder: Path) -> float:
    """Now, on the clock of the file system that holds ``folder``."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".clock.") as file:
            return os.fstat(file.fileno()).st_mtime
    except OSError:  # read-only for us
        return time.time()


def tidy(path: Path, older_than_s: float) -> None:
    """Remove what processes that were killed while claiming have left beside ``path``."""
    now = now_there(path.parent)
    on_chain = {file for _, file in chain_of(path)}
    for pattern in (f".{path.name}.*.tmp", f"{path.name}.next-*"):
        with contextlib.suppress(OSError):  # whoever comes next does
            for file in path.parent.glob(pattern):
                if file not in on_chain and now - file.stat().st_mtime > older_than_s:
                    file.unlink()
