"""Scores that a user's own evaluation leaves in a run's folder become columns, and only numbers do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_up_runs import freeze_demo, record

from sweepkit.results import store
from sweepkit.results.record import RunDir


def test_scores_are_columns_and_follow_their_file(tmp_path: Path) -> None:
    frozen = freeze_demo(tmp_path)
    one, other = (cell.plan for cell in frozen.cells[:2])
    for run in (one, other):
        RunDir.of(tmp_path, run.run_id).write_record(record(run))
    path = RunDir.of(tmp_path, one.run_id).scores_path
    path.write_text(json.dumps({"core": 0.21, "note": "by hand", "flag": True}))
    frame = store.load(frozen.name, tmp_path).set_index("run_id")
    assert frame.loc[one.run_id, "score_core"] == 0.21
    assert frame["score_core"].notna().sum() == 1 and str(frame["score_core"].dtype) == "Float64"
    assert not {"score_note", "score_flag"} & set(frame.columns)
    path.write_text(json.dumps({"core": 0.25}))
    assert store.load("all", tmp_path).set_index("run_id").loc[one.run_id, "score_core"] == 0.25


def test_a_file_that_cannot_be_read_is_said_and_left_out(tmp_path: Path) -> None:
    frozen = freeze_demo(tmp_path)
    run = frozen.cells[0].plan
    RunDir.of(tmp_path, run.run_id).write_record(record(run))
    RunDir.of(tmp_path, run.run_id).scores_path.write_text("[1")
    for _ in range(2):  # also where it comes from the index
        with pytest.warns(UserWarning, match=r"scores\.json is no mapping of names to numbers"):
            frame = store.load(frozen.name, tmp_path)
    assert frame.loc[frame["run_id"] == run.run_id, "state"].item() == "complete"
