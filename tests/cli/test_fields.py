"""``sweepkit fields``: the committed reference is what it prints, and what it prints is the schema."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sweepkit.cli import fields
from sweepkit.cli.main import main
from sweepkit.config.compose import compose
from sweepkit.config.facts import fields_of
from sweepkit.config.schema import RunConfig
from sweepkit.sweep.decision import DecisionRule
from sweepkit.sweep.file import SweepFile
from sweepkit.sweep.search_spec import SearchSpec

ROOT = Path(__file__).resolve().parents[2]


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["fields", *arguments]) == 0
    return capsys.readouterr().out


def test_the_committed_reference_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "--format", "markdown")
    assert (ROOT / "docs/fields.md").read_text() == text, (
        "run: sweepkit fields --format markdown > docs/fields.md"
    )


def test_every_field_of_a_run_is_there_once(capsys: pytest.CaptureFixture[str]) -> None:
    listed = [item["field"] for item in json.loads(printed(capsys, "--format", "json"))]
    assert len(listed) == len(set(listed))
    assert set(fields_of(RunConfig)) <= set(listed)
    assert "ladder.rungs[].num_seeds" in listed
    assert all(item.fields and item.help for item in fields.sections())


def test_every_field_of_a_sweep_file_is_there_with_its_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    listed = {item["field"]: item for item in json.loads(printed(capsys, "--format", "json"))}
    for start, kind in (("", SweepFile), ("decision.", DecisionRule), ("search.", SearchSpec)):
        for key, field in fields_of(kind).items():
            assert (f"{start}{key}" in listed) is field.facts.is_written
            assert listed.get(f"{start}{key}", {"meaning": "unwritten"})["meaning"]
    assert "identity" not in listed["decision.alpha"]
    assert listed["search.space[].low"]["type"] == "number"
    assert "decision.axes.flops" in printed(capsys, "decision.axes")


def test_what_is_said_of_a_field_is_so(capsys: pytest.CaptureFixture[str]) -> None:
    found = {item["field"]: item for item in json.loads(printed(capsys, "--format", "json"))}
    assert found["optimizer.matrix.lr"] == {
        "field": "optimizer.matrix.lr",
        "meaning": "peak learning rate at the reference batch; the plan scales it",
        "type": "number",
        "default": "0.02",
        "range": "must be at least 0",
        "identity": "resolved",
    }
    assert found["horizon.total_batch_size"]["type"] == "whole number or auto (tokens)"
    assert found["tokenizer.name"]["why"] == "a name"
    assert found["optimizer.smear.lr"]["read where"] == "model.smear=true or model.backout=true"
    assert found["ladder.rungs[].name"]["identity"] == "none"
    for key in (
        "model.depth",
        "optimizer.x0.beta1",
        "launcher.slurm.gpus",
        "horizon.num_steps",
        "model.smear",
    ):
        compose([f"{key}={found[key]['default']}"])


def test_a_block_a_field_and_what_is_neither(capsys: pytest.CaptureFixture[str]) -> None:
    table = printed(capsys, "optimizer.x0")
    assert "optimizer.x0.beta1" in table and "optimizer.matrix" not in table
    one = printed(capsys, "launcher.slurm.time_min")
    assert one.startswith("launcher.slurm.time_min\n  meaning") and "can end a run" in one
    assert "ladder.rungs[].name" in printed(capsys, "ladder.rungs")
    for wrong, meant in (
        ("x0.beta1", "optimizer.x0.beta1"),
        ("modle", "model"),
        ("model.dept", "model.depth"),
        ("mlp", "model.mlp"),
        ("matrx", "optimizer.matrix"),
    ):
        assert main(["fields", wrong]) == 2
        assert f"did you mean '{meant}'?" in capsys.readouterr().err
    for name in ("lr", "qqq"):
        assert main(["fields", name]) == 2
        assert len(capsys.readouterr().err) < 250, "not all of them"
