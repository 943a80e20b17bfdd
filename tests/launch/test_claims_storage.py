"""Storage that fails for a moment, at every file operation of claiming, taking over and releasing a run."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from sweepkit import patience
from sweepkit.launch import claim_files, claims
from sweepkit.launch.claim_files import ClaimInfo
from sweepkit.launch.process import ProcessId
from sweepkit.results.record import RunDir

OPERATIONS = ("mkdir", "open", "write", "link", "replace", "unlink")
_ENOUGH = 30  # operations of a claim from its beginning to its end


class FailsOnce:
    """The ``at``-th call of ``OPERATIONS`` from now on fails, and no other."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int, code: int) -> None:
        self.left, self.code = at, code
        for name in OPERATIONS:
            monkeypatch.setattr(os, name, self.failing(getattr(os, name)))
        monkeypatch.setattr(patience, "DELAYS_S", (0.0,))

    def failing(self, real: Any) -> Any:
        def call(*args: Any, **more: Any) -> Any:
            self.left -= 1
            if not self.left:
                raise OSError(self.code, os.strerror(self.code))
            return real(*args, **more)

        return call


def leave_dead_claim(path: Path) -> None:
    nobody = ProcessId("another host", "b", "n", 1, "0")
    path.write_text(claim_files.in_file(path, ClaimInfo("old", nobody, "d", 1, 0, "now")))
    os.utime(path, (1, 1))


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE])
@pytest.mark.parametrize("is_taken_over", [False, True])
def test_a_run_is_claimed_and_released_past_a_fault_of_a_moment(
    tmp_path: Path, is_taken_over: bool, code: int
) -> None:
    """One that was linked and not told of stayed claimed by a living process: nobody could have its run."""
    for at in range(1, _ENOUGH):
        run_dir = RunDir.of(tmp_path / str(at), "a")
        run_dir.path.mkdir(parents=True)
        if is_taken_over:
            leave_dead_claim(run_dir.claim_path)
        with pytest.MonkeyPatch.context() as monkeypatch:
            fault = FailsOnce(monkeypatch, at, code)
            claim = claims.claim(run_dir)
            assert claim is not None, at
            claim.release()
        assert claims.holder(run_dir.claim_path) is None, at
        assert list(run_dir.path.iterdir()) == [], at
    assert fault.left > 0, "every operation has failed once"
