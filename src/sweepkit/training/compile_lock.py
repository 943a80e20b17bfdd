"""Cold compiling, one process at a time for each compiled shape.

Two workers that start on one shape with nothing cached would compile the same code side by side, each at
half the speed (measured: 65 s each on two cores, against 27 s alone). So the first compiles, the others wait
and then load what it left in the compiler's cache. A marker beside the lock says that the code is there, and
nobody waits any more. The kernel drops the lock of a process that dies.

The compiler keeps its precompiled C++ headers in the system's folder for temporary files, whatever its cache
folder is; they are moved to the others, or every node and every emptied /tmp would pay for them again
(measured: 7.7 s of processor time instead of 1.1 s for a program that is in the cache).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from sweepkit import fsio
from sweepkit.config import paths, sources
from sweepkit.data import cache
from sweepkit.training.engine import EngineKey
from sweepkit.training.failure import Stopped

_POLL_S = 0.2


@contextlib.contextmanager
def compiling(key: EngineKey, should_stop: Callable[[], bool]) -> Iterator[None]:
    """Hold the right to compile ``key``; at once where it has been compiled before.

    Raises:
        Stopped: ``should_stop`` said so while another process was compiling.
        StorageError: the cache folder cannot be written to.
    """
    if not key.compile:
        yield
        return
    keep_headers()
    folder = use_folder() / "sweepkit"
    names = [key.compile_key, str(key.device), str(key.compute_dtype), str(key.fp8), key.num_threads]
    names += [torch.__version__, sources.digest()]
    name = fsio.digest(names)
    marker, lock = folder / f"{name[:20]}.done", folder / f"{name[:20]}.lock"
    if marker.exists():
        yield
        return
    with _explain(folder):
        fsio.make_folder(folder)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        _wait_for(descriptor, should_stop)
        yield
        with contextlib.suppress(OSError):
            marker.touch()
    finally:
        os.close(descriptor)


def use_folder() -> Path:
    """Have the compiler keep its code beside sweepkit's other caches, unless it was told another place.

    A folder of its own for the sources, so that an edit never runs code that was compiled before it, and for
    every instruction set: the compiler's cache holds code by what it was made from, and machines that share
    the cache (or ``ATEN_CPU_CAPABILITY``) differ. AVX-512's code gave NaN under AVX2.
    """
    own = paths.cache_dir() / "inductor" / torch.backends.cpu.get_cpu_capability().lower() / sources.digest()
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(own))
    return Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])


def keep_headers() -> None:
    """There is no setting for it; in a torch without these names nothing changes.

    Raises:
        StorageError: the cache folder cannot be written to, which torch would answer with a traceback.
    """
    folder = use_folder() / "precompiled_headers"
    from torch._inductor import codecache  # not above: as it is imported, torch chooses a folder itself

    with _explain(folder):
        folder.mkdir(parents=True, exist_ok=True)
    codecache._HEADER_DIR = str(folder)
    codecache._HEADER_LOCK_DIR = str(folder / "locks")


def _explain(folder: Path) -> contextlib.AbstractContextManager[None]:
    is_ours = folder.is_relative_to(paths.cache_dir())  # else it is the user's TORCHINDUCTOR_CACHE_DIR
    return cache.explain_unusable(folder) if is_ours else fsio.explain_full_disk(folder)


def _wait_for(descriptor: int, should_stop: Callable[[], bool]) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if should_stop():
                raise Stopped("asked to stop before the first step") from None
            time.sleep(_POLL_S)
        except OSError:
            return  # a file system without locks: compile without
