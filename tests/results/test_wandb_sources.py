"""wandb's runs: offline files written by hand in its framing, its API stood in for, and a chart's export."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import wandb
from wandb.proto import wandb_internal_pb2

from sweepkit import results
from sweepkit.cli.main import main


def offline(
    path: Path, run_id: str, config: dict[str, Any], losses: list[float], exit_code: int | None
) -> None:
    """A file of wandb's: a run, a row a step, and how it ended; one that was killed ends in half a record."""
    records = [wandb_internal_pb2.Record()]
    records[0].run.run_id = run_id
    for key, value in config.items():
        records[0].run.config.update.add(key=key, value_json=json.dumps(value))
    for step, loss in enumerate(losses):
        row = wandb_internal_pb2.Record()
        for key, value in {"_step": step, "val_loss": loss}.items():
            row.history.item.add(key=key, value_json=json.dumps(value))
        records.append(row)
    if exit_code is not None:
        records.append(wandb_internal_pb2.Record())
        records[-1].exit.exit_code = exit_code
    data = b":W&B" + b"\0" * 3
    for record in records:
        raw = record.SerializeToString()
        data += struct.pack("<IHB", 0, len(raw), 1) + raw
    path.parent.mkdir(parents=True)
    path.write_bytes(data if exit_code is not None else data + struct.pack("<IHB", 0, 99, 1) + b"half")


WORDS = [
    "--variant=config.opt.name",
    "--map",
    "config.seed=seed",
    "summary.val_loss=val_bpb",
    "--seeds=shared",
]


def test_offline_folders_come_with_curves_and_crashed_runs(tmp_path: Path) -> None:
    for number, (name, ending) in enumerate([("adamw", 0), ("adamw", 1), ("muon", 0), ("muon", None)]):
        path = tmp_path / "wandb" / f"offline-run-{number}" / f"run-r{number}.wandb"
        offline(path, f"r{number}", {"opt": {"name": name}, "seed": number % 2}, [3.0, 2.0 + number], ending)
    (tmp_path / "wandb" / "offline-run-9").mkdir()
    (tmp_path / "wandb" / "offline-run-9" / "run-r9.wandb").write_bytes(b":W&B\0\0\0")
    assert main(["import", str(tmp_path / "wandb"), "--name=t", *WORDS]) == 0
    runs = results.load("t").set_index("run_id")
    assert dict(runs["state"]) == {"r0": "complete", "r1": "failed", "r2": "complete", "r3": "failed"}
    assert list(runs["variant"]) == ["adamw", "adamw", "muon", "muon"] and runs.loc["r2", "val_bpb"] == 4.0
    curves = results.curves("t")
    assert list(curves.loc[curves["run_id"] == "r2", "val_bpb"]) == [3.0, 4.0]


def run_of(number: int, state: str) -> Any:
    return SimpleNamespace(
        id=f"r{number}", name=f"run {number}", state=state, tags=["x"], group=None,
        created_at="2026-01-01T00:00:00Z",
        config={"opt": {"name": "adamw" if number % 2 else "muon"}, "seed": number // 2, "_wandb": {}},
        summary_metrics={"val_loss": 1.0 + number / 100} if state != "crashed" else {},
    )  # fmt: skip


def test_a_project_comes_with_its_crashed_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    class Api:
        def runs(self, path: str, **how: Any) -> list[Any]:
            asked.append((path, how))
            return [run_of(number, "crashed" if number == 5 else "finished") for number in range(6)]

    known = dir(wandb.apis.public.Run)
    assert {"id", "name", "state", "config", "summary_metrics"} <= set(known)  # what is asked of the real one
    monkeypatch.setattr(wandb, "Api", Api)
    assert (
        main(["import", "https://wandb.ai/lab/gpt/workspace?x=1", "--name=t", *WORDS, "--reference=muon"])
        == 0
    )
    assert asked == [("lab/gpt", {"per_page": 100, "lazy": False})]  # no filter: crashed ones too
    runs = results.load("t")
    assert list(runs["state"]) == ["complete"] * 5 + ["failed"]
    assert main(["verdict", "--runs", "t"]) == 3


def test_a_project_that_cannot_be_read_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: Any) -> None:
        raise wandb.errors.CommError("permission denied\nlong story")

    monkeypatch.setattr(wandb, "Api", refuse)
    assert main(["import", "wandb:lab/gpt"]) == 2
    said = capsys.readouterr().err
    assert "permission denied" in said and "WANDB_API_KEY" in said and said.count("\n") == 1
    assert main(["import", "wandb:lab"]) == 2


def test_a_charts_export_has_a_row_a_run(tmp_path: Path) -> None:
    path = tmp_path / "chart.csv"
    path.write_text(
        '"Step","a - val_bpb","a - val_bpb__MIN","a - val_bpb__MAX","b - 1 - val_bpb","b - 1 - val_bpb__MIN",'
        '"b - 1 - val_bpb__MAX"\n0,3,3,3,2,2,2\n1,1.5,1,2,"","",""\n'
    )
    assert main(["import", str(path), "--name=t", "--map", "run_id=variant"]) == 2  # a run needs its name
    assert main(["import", str(path), "--name=t", "--variant=run_id"]) == 0
    runs = results.load("t")
    assert list(zip(runs["variant"], runs["val_bpb"], runs["step"], strict=True)) == [
        ("a", 1.5, 1),
        ("b - 1", 2.0, 0),
    ]
    assert len(results.curves("t")) == 3


def test_a_grouped_chart_has_means_and_no_noise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "groups.csv"
    names = [f"{name} - val_bpb{end}" for name in ("lr: 0.1", "lr: 0.2") for end in ("", "__MIN", "__MAX")]
    path.write_text(",".join(["Step", *names]) + "\n0,3,2,4,3,3,3\n1,1.5,1,2,1.4,1.3,1.5\n")
    assert main(["import", str(path), "--reference", "lr: 0.1", "decision.min_effect=0"]) == 0
    assert "nothing tells how many they are" in " ".join(capsys.readouterr().out.split())
    assert dict(results.load("groups")[["variant", "val_bpb"]].to_numpy()) == {"lr: 0.1": 1.5, "lr: 0.2": 1.4}
    assert main(["verdict", "--runs", "groups"]) == 3
