"""Two users of one group share a results folder and a cache, where the umask lets the group write."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from launch_fakes import make_plan

from sweepkit import fsio
from sweepkit.data import cache
from sweepkit.launch import claims, process
from sweepkit.launch.drivers import driver_dir
from sweepkit.results.record import RunDir, RunRecord, RunState

GROUP = 54_321
PLAN = make_plan("a")


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder of a group, below one that everybody may enter."""
    base = Path(tempfile.mkdtemp())
    if os.geteuid() == 0:
        os.chown(base, 0, GROUP)
    base.chmod(0o2775)
    yield base
    shutil.rmtree(base)


def act(base: Path, what: Callable[[Path], None], user: int, umask: int) -> str:
    """The traceback of ``what``, done by a user of the group; by ourselves where we may be nobody else."""
    reads, writes = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.umask(umask)
            if os.geteuid() == 0:
                os.setgroups([GROUP])
                os.setgid(user)
                os.setuid(user)
            process._identify.cache_clear()
            what(base)
        except BaseException:
            os.write(writes, traceback.format_exc().encode()[-4_000:])
        finally:
            os._exit(0)  # as if it had been killed: nothing is released
    os.close(writes)
    with os.fdopen(reads) as told:
        said = told.read()
    os.waitpid(child, 0)
    return said


def begin(base: Path) -> None:
    def build(folder: Path) -> dict[str, int]:
        fsio.write_text(folder / "tokens", "1 2 3")
        return {"n": 3}

    run_dir = RunDir.of(base / "results", "a")
    cache.ensure(base / "cache" / "entry", build)
    assert claims.claim(run_dir) is not None
    run_dir.write_plan(PLAN)
    run_dir.write_record(RunRecord("a", "v", 1, RunState.running))
    fsio.append_line(run_dir.metrics_path, {"step": 1})
    run_dir.say("begun")
    with driver_dir(base / "results", [PLAN], 3):
        os._exit(0)


def go_on(base: Path) -> None:
    run_dir = RunDir.of(base / "results", "a")
    read(base)
    with cache.lock(base / "cache" / "entry"):
        pass
    with driver_dir(base / "results", [PLAN], 3):
        claim = claims.claim(run_dir)
        assert claim is not None
        with claim:
            fsio.append_line(run_dir.metrics_path, {"step": 2})
            run_dir.say("done")
            run_dir.write_record(RunRecord("a", "v", 1, RunState.complete))
    assert [row["step"] for row in run_dir.metrics()] == [1, 2]


def read(base: Path) -> None:
    def never(folder: Path) -> dict[str, int]:
        raise AssertionError("the cache holds it")

    assert cache.ensure(base / "cache" / "entry", never)["n"] == 3


def test_a_second_user_goes_on_with_what_the_first_has_left(shared: Path) -> None:
    assert not act(shared, begin, 50_001, 0o002)
    for path in shared.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode & 0o070 == (0o070 if path.is_dir() else 0o060), path
        assert path.stat().st_gid == shared.stat().st_gid, path
    assert not act(shared, go_on, 50_002, 0o002)


def test_what_is_not_the_groups_can_be_read_and_is_refused_as_such(shared: Path) -> None:
    assert not act(shared, begin, 50_001, 0o022)
    assert not act(shared, read, 50_002, 0o022)
    said = act(shared, go_on, 50_002, 0o022)
    if os.geteuid() == 0:
        assert "Permission denied" in said or "cannot be used" in said or "be written to" in said
        assert "disk is full" not in said
    else:
        assert not said, "it is our own"
