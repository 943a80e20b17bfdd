"""What is looked at before a sweep or a run starts, and how often."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from sweepkit.cli import freezing, running
from sweepkit.results.record import RunDir, RunRecord, RunState
from sweepkit.sweep import expand, frozen
from sweepkit.sweep.file import SweepFile

SWEEP = SweepFile.from_json(
    {"name": "x", "base": ["experiment=mini", "model=d2"], "axes": {"optimizer.matrix.lr": [0.01]}}
)


@pytest.mark.parametrize("climbs", [True, False])
def test_a_new_sweep_is_expanded_once(climbs: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    expand_all = expand.expand_all

    def counted(*given: Any) -> Any:
        asked.append(given)
        return expand_all(*given)

    monkeypatch.setattr(expand, "expand_all", counted)
    made = freezing.freeze(SWEEP, [], tmp_path, False, climbs)
    assert len(asked) == 1 and made == frozen.load_frozen(tmp_path, "x")


def test_a_run_that_is_complete_as_asked_reads_no_frozen_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, begun = (cell.plan for cell in frozen.freeze(SWEEP, tmp_path).cells[:2])
    for plan, state in ((done, RunState.complete), (begun, RunState.preempted)):
        run_dir = RunDir.of(tmp_path, plan.run_id)
        run_dir.write_plan(plan)
        key = plan.evaluation_key
        run_dir.write_record(RunRecord(plan.run_id, plan.variant_id, plan.seed, state, evaluation_key=key))
    read: list[str] = []
    load_frozen = frozen.load_frozen

    def noted(results_dir: Path, name: str) -> frozen.Frozen:
        read.append(name)
        return load_frozen(results_dir, name)

    monkeypatch.setattr(frozen, "load_frozen", noted)
    running.check_sealed([done], tmp_path)
    assert not read
    for plan in (begun, dataclasses.replace(done, evaluation_key="another")):
        running.check_sealed([plan], tmp_path)
        assert read.pop() == "x" and not read
