"""wandb shows runs and never harms them."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Any

import pytest
import wandb
from training_runs import folder, run, stop_after, tiny

import wandb_files
from sweepkit.config import typed
from sweepkit.config.schema import RungConfig
from sweepkit.optim import schedule
from sweepkit.results.record import RunState
from sweepkit.sweep import frozen
from sweepkit.sweep.cell import Cell
from sweepkit.sweep.file import SweepFile
from sweepkit.training import wandb_log
from sweepkit.training.session import Session


@pytest.mark.slow
def test_offline_works_and_stays_in_the_runs_folder(session: Session, tmp_path: Path) -> None:
    """Filed as part of the sweep that asked for it, with every group's rate as the optimizer had it."""
    plan = tiny("logging.wandb=offline", "logging.every_steps=1")
    cells = [Cell("reference", "", "reference", "d2", plan)]
    frozen.freeze_cells(SweepFile("asks"), [RungConfig(name="d2")], cells, tmp_path)
    record = run(session, plan, tmp_path)
    assert record.state is RunState.complete
    assert record.wandb is not None
    assert record.wandb.mode == "offline" and record.wandb.error is None
    shown = wandb_files.read(folder(plan, tmp_path).path)
    assert (shown["name"], shown["group"], shown["job_type"]) == ("reference d2 s1", "asks d2", "train")
    assert shown["tags"] == ["reference", "d2", plan.config.dataset.name] and shown["exit_code"] == 0
    assert shown["config"]["optimizer"] == typed.dump(plan.config.optimizer)
    trained = [row for row in shown["rows"] if "lr" in row]
    assert [row["step"] for row in trained] == list(range(1, 13))
    for row in trained:
        factor = schedule.at(row["step"] - 1, plan).lr
        rates = {name: peak * factor for name, peak in plan.learning_rates.items()}
        assert {name: row[f"lr/{name}"] for name in rates} == pytest.approx(rates)
    assert shown["summary"]["val_bpb"] == record.results["val_bpb"]


def test_online_without_a_key_is_offline_and_says_so(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[str] = []
    monkeypatch.setattr(wandb, "init", lambda **settings: modes.append(settings["mode"]) or FakeRun())
    plan = tiny("logging.wandb=online")
    record = run(session, plan, tmp_path)
    assert modes == ["offline"]
    assert record.wandb.mode == "offline" and "no API key" in record.wandb.reason
    assert "wandb is offline" in folder(plan, tmp_path).log_path.read_text()


def test_online_without_a_network_is_offline_and_records_no_key(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def init(**settings: Any) -> FakeRun:
        if settings["mode"] == "online":
            raise wandb.errors.CommError("Run initialization has timed out after 20.0 sec")
        return FakeRun()

    monkeypatch.setenv("WANDB_API_KEY", "s3cret" * 8)
    monkeypatch.setattr(wandb_log, "_unreachable", lambda: None)
    monkeypatch.setattr(wandb, "init", init)
    plan = tiny("logging.wandb=online")
    record = run(session, plan, tmp_path)
    assert record.state is RunState.complete
    assert record.wandb.mode == "offline" and "timed out" in record.wandb.reason
    written = [path for path in folder(plan, tmp_path).path.rglob("*") if path.is_file()]
    assert written and not any(b"s3cret" in path.read_bytes() for path in written)


@pytest.mark.slow
def test_a_real_start_with_a_server_that_never_answers_ends_offline(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef" * 2 + "01234567")
        monkeypatch.setattr(wandb_log, "_INIT_TIMEOUT_S", 1)
        wandb.teardown()  # its settings were read before, if a test of this process asked for them
        plan = tiny("logging.wandb=online")
        record = run(session, plan, tmp_path)
    assert record.state is RunState.complete
    assert record.wandb.mode == "offline" and record.wandb.reason.startswith("online failed")
    assert list((folder(plan, tmp_path).path / "wandb").glob("offline-run-*/*.wandb"))


@pytest.mark.parametrize("proxy", [False, True])
def test_a_server_that_cannot_be_reached_is_not_tried(
    proxy: bool, session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[str] = []
    monkeypatch.setattr(wandb, "init", lambda **settings: modes.append(settings["mode"]) or FakeRun())
    monkeypatch.setattr(wandb, "setup", lambda: FakeSetup("http://127.0.0.1:9" if proxy else None))
    monkeypatch.setenv("WANDB_API_KEY", "s3cret" * 8)
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    plan = tiny("logging.wandb=online")
    record = run(session, plan, tmp_path)
    assert modes == ["offline"]
    asked = "127.0.0.1" if proxy else "wandb.invalid"
    assert record.wandb.reason.startswith(f"{asked} cannot be reached")
    assert folder(plan, tmp_path).log_path.read_text().count("wandb is offline") == 1


def test_a_name_that_is_looked_up_for_ever_is_waited_for_no_longer_than_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer = threading.Event()
    monkeypatch.setattr(wandb, "setup", lambda: FakeSetup(None))
    monkeypatch.setattr(socket, "create_connection", lambda *_: answer.wait(60) and FakeSocket())
    monkeypatch.setattr(wandb_log, "_CONNECT_S", 0.01)
    assert wandb_log._unreachable() == "no answer from wandb.invalid within 0.01 s"
    answer.set()


def test_a_wandb_that_breaks_half_way_does_not_stop_the_run(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wandb, "init", lambda **_: FakeRun(breaks_at=3))
    record = run(session, tiny("logging.wandb=offline"), tmp_path)
    assert record.state is RunState.complete
    assert "pipe" in record.wandb.error


def test_what_goes_on_is_appended_to_the_same_run(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[FakeRun] = []

    def init(**settings: Any) -> FakeRun:
        assert (settings["id"], settings["resume"]) == (plan.run_id, "allow")
        shown.append(FakeRun())
        return shown[-1]

    monkeypatch.setattr(wandb, "init", init)
    plan = tiny("logging.wandb=offline", "logging.every_steps=1")
    run(session, plan, tmp_path, should_stop=stop_after(6))
    run(session, plan, tmp_path, attempt=2)
    assert [step for item in shown for step in item.steps] == [*range(1, 13), 12]  # 12 is evaluated too
    assert len(shown) == 2 and all(item.axis == "step" for item in shown)


class FakeSocket:
    def close(self) -> None:
        pass


class FakeSetup:
    """As much of wandb's settings as is read; .invalid is a domain that is never there."""

    def __init__(self, proxy: str | None) -> None:
        self.settings = self
        self.base_url, self.http_proxy, self.https_proxy = "http://wandb.invalid", proxy, None


class FakeRun:
    """As much of a wandb run as is used."""

    id, url = "fake", None

    def __init__(self, breaks_at: int | None = None) -> None:
        self.breaks_at = breaks_at
        self.steps: list[int] = []
        self.axis = "_step"
        self.summary: dict[str, Any] = {}

    def define_metric(self, name: str, step_metric: str) -> None:
        self.axis = step_metric

    def log(self, row: dict[str, Any]) -> None:
        if row["step"] == self.breaks_at:
            raise BrokenPipeError("broken pipe")
        self.steps.append(row["step"])

    def finish(self, exit_code: int) -> None:
        pass
