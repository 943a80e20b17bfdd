"""wandb shows runs and never harms them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import wandb
from training_runs import folder, run, tiny

from sweepkit.results.record import RunState
from sweepkit.training import wandb_log
from sweepkit.training.session import Session


@pytest.mark.slow
def test_offline_works_and_stays_in_the_runs_folder(session: Session, tmp_path: Path) -> None:
    plan = tiny("logging.wandb=offline")
    record = run(session, plan, tmp_path)
    assert record.state is RunState.complete
    assert record.wandb["mode"] == "offline" and "error" not in record.wandb
    assert list((folder(plan, tmp_path).path / "wandb").glob("offline-run-*/*.wandb"))


def test_online_without_a_key_is_offline_and_says_so(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[str] = []
    monkeypatch.setattr(wandb, "init", lambda **settings: modes.append(settings["mode"]) or FakeRun())
    plan = tiny("logging.wandb=online")
    record = run(session, plan, tmp_path)
    assert modes == ["offline"]
    assert record.wandb["mode"] == "offline" and "no API key" in record.wandb["reason"]
    assert "wandb is offline" in folder(plan, tmp_path).log_path.read_text()


def test_online_without_a_network_is_offline_and_records_no_key(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def init(**settings: Any) -> FakeRun:
        if settings["mode"] == "online":
            raise wandb.errors.CommError("Run initialization has timed out after 20.0 sec")
        return FakeRun()

    monkeypatch.setenv("WANDB_API_KEY", "s3cret" * 8)
    monkeypatch.setattr(wandb, "init", init)
    plan = tiny("logging.wandb=online")
    record = run(session, plan, tmp_path)
    assert record.state is RunState.complete
    assert record.wandb["mode"] == "offline" and "timed out" in record.wandb["reason"]
    written = [path for path in folder(plan, tmp_path).path.rglob("*") if path.is_file()]
    assert written and not any(b"s3cret" in path.read_bytes() for path in written)


@pytest.mark.slow
def test_a_real_start_without_a_network_ends_offline(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef" * 2 + "01234567")
    monkeypatch.setattr(wandb_log, "_INIT_TIMEOUT_S", 2)
    plan = tiny("logging.wandb=online")
    record = run(session, plan, tmp_path)
    assert record.state is RunState.complete
    assert record.wandb["mode"] == "offline" and record.wandb["reason"].startswith("online failed")
    assert list((folder(plan, tmp_path).path / "wandb").glob("offline-run-*/*.wandb"))


def test_a_wandb_that_breaks_half_way_does_not_stop_the_run(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wandb, "init", lambda **_: FakeRun(breaks_at=3))
    record = run(session, tiny("logging.wandb=offline"), tmp_path)
    assert record.state is RunState.complete
    assert "pipe" in record.wandb["error"]


class FakeRun:
    """As much of a wandb run as is used."""

    id, url = "fake", None

    def __init__(self, breaks_at: int | None = None) -> None:
        self.breaks_at = breaks_at
        self.summary: dict[str, Any] = {}

    def log(self, row: dict[str, Any], step: int) -> None:
        if step == self.breaks_at:
            raise BrokenPipeError("broken pipe")

    def finish(self, exit_code: int) -> None:
        pass
