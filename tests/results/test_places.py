"""Where a run stands, and how wandb files it: made-up sweeps, and wandb's own offline files read back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import made_up_runs as made_up
import pytest

import wandb_files
from sweepkit.cli.main import main
from sweepkit.config import typed
from sweepkit.optim import schedule
from sweepkit.results import places
from sweepkit.results.places import Place
from sweepkit.results.record import RunDir
from sweepkit.training import wandb_log


def test_a_run_is_found_in_every_sweep_the_last_first(tmp_path: Path) -> None:
    run, other = made_up.plan(), made_up.plan(seed=2)
    made_up.freeze(tmp_path, "old", [made_up.cell(run), made_up.cell(other)])
    made_up.freeze(tmp_path, "new", [made_up.cell(run, "a=b", "d4"), made_up.cell(other, "a=c", "d4")])
    os.utime(tmp_path / "old" / "plan.jsonl", (1, 1))
    (tmp_path / "new" / "trials.jsonl").write_text(f'{{"cells": [], "params": "{run.run_id}"}}\nhalf a li')
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "plan.jsonl").write_text(f"{run.run_id} {{")
    assert places.of(tmp_path, run.run_id) == [
        Place("new", "a=b", "d4", "variant"), Place("old", "reference", "d2", "reference")
    ]  # fmt: skip
    assert places.of(tmp_path, "d2-nobody-s1") == []


def test_names_and_tags_are_within_what_wandb_takes() -> None:
    long = Place("s" * 90, "axis=" + "x" * 200, "r" * 60, "variant")
    found = wandb_log.described(made_up.plan(), long)
    assert len(found["name"]) <= 128 and len(found["group"]) <= 128
    assert all(1 <= len(tag) <= 64 for tag in found["tags"])
    alone = wandb_log.described(made_up.plan(), None)
    assert alone["group"] is None and alone["name"].startswith("d2 ") and alone["tags"][0] == "d2"


@pytest.mark.slow
def test_what_has_ended_is_written_as_a_live_run_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    frozen = made_up.freeze_demo(tmp_path, depths=(2,), seeds=1)
    done, blown, *_ = [cell for cell in frozen.cells if cell.variant != "reference"]
    made_up.finish(tmp_path, done.plan)
    made_up.diverge(tmp_path, blown.plan)
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(tmp_path))
    assert main(["wandb", "push", "demo", "--offline", "--project", "mine"]) == 0
    said = capsys.readouterr().out
    assert "2 runs written; 2 not ended yet" in said and "wandb sync" in said
    folder = RunDir.of(tmp_path, done.plan.run_id)
    shown = wandb_files.read(folder.path)
    filed = {key: shown[key] for key in ("id", "name", "group", "project", "job_type")}
    assert filed == {
        "id": done.plan.run_id, "name": f"{done.variant} d2 s1", "group": "demo d2", "project": "mine",
        "job_type": "train",
    }  # fmt: skip
    assert shown["tags"] == [done.variant, "d2", done.plan.config.dataset.name] and shown["exit_code"] == 0
    assert (shown["config"]["sweep"], shown["config"]["role"]) == ("demo", "variant")
    for block, value in typed.dump(done.plan.config).items():
        assert shown["config"][block] == value
    rows = folder.metrics()
    assert [row["step"] for row in shown["rows"]] == [row["step"] for row in rows]
    for row, wrote in zip(shown["rows"], rows, strict=True):
        assert row["loss"] == wrote["loss"]
        for group, peak in done.plan.learning_rates.items():
            assert row[f"lr/{group}"] == pytest.approx(peak * schedule.at(wrote["step"] - 1, done.plan).lr)
    record = folder.read_record()
    assert record is not None and shown["summary"]["state"] == "complete"
    assert {key: shown["summary"][key] for key in record.results} == record.results
    failed = wandb_files.read(RunDir.of(tmp_path, blown.plan.run_id).path)
    assert failed["exit_code"] == 1 and "3.1 x" in failed["summary"]["failure_message"]


def test_push_sends_once_and_says_what_it_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    frozen = made_up.freeze_demo(tmp_path, depths=(2,), seeds=1)
    for cell in frozen.cells:
        made_up.finish(tmp_path, cell.plan)
    sent: list[str] = []

    def send(_: Any, plan: Any, *rest: Any) -> str:
        if len(sent) == 2:
            raise ConnectionError("gone")
        sent.append(plan.run_id)
        return "https://wandb.invalid/run"

    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(tmp_path))
    monkeypatch.setattr(wandb_log, "why_offline", lambda: "no API key")
    assert main(["wandb", "push", "demo"]) == 2
    assert "no API key" in capsys.readouterr().err
    monkeypatch.setattr(wandb_log, "why_offline", lambda: None)
    monkeypatch.setattr(wandb_log, "send", send)
    assert main(["wandb", "push", "demo"]) == 2
    assert "goes on from there" in capsys.readouterr().err
    sent.append("")
    assert main(["wandb", "push", "demo"]) == 0
    assert "2 runs sent; 2 shown before" in capsys.readouterr().out
    assert sorted(filter(None, sent)) == sorted(cell.plan.run_id for cell in frozen.cells)
    assert main(["wandb", "push", "demo"]) == 0
    assert "0 runs sent; 4 shown before" in capsys.readouterr().out
