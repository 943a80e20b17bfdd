"""Finished runs that other code made: refused by both digests, run again, or accepted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from launch_fakes import FakeSession, make_plan, ran

from sweepkit import fsio
from sweepkit.config import sources
from sweepkit.config.choices import LauncherKind
from sweepkit.config.schema import LauncherConfig
from sweepkit.errors import SweepkitError
from sweepkit.launch import claims
from sweepkit.launch.execute import execute
from sweepkit.launch.ledger import Run
from sweepkit.launch.other_sources import EARLIER, OtherSources, set_aside
from sweepkit.plan.run_plan import RunPlan
from sweepkit.results import flatten
from sweepkit.results.record import FINAL_STATES, Attempt, RunDir, RunRecord, RunState

OTHER = "0123456789abcdef"
#: Of the states in which a run has ended, those that a launch does not start again unasked anyway.
ENDED = sorted(FINAL_STATES - {RunState.cancelled, RunState.pruned})


def finished(results: Path, state: RunState = RunState.complete, made_by: str | None = OTHER) -> RunPlan:
    plan = make_plan("a")
    run_dir = RunDir.of(results, "a")
    run_dir.write_plan(plan)
    made = {} if made_by is None else {"sources": made_by}
    run_dir.write_record(
        RunRecord("a", "v-a", 1, state, environment=made, started_at="2026-01-01", results={"val_bpb": 9.0})
    )
    fsio.append_line(run_dir.metrics_path, {"step": 1, "loss": 9.0})
    run_dir.write_attempt(Attempt(1))
    return plan


def launch(plan: RunPlan, results: Path, answer: OtherSources = OtherSources.refuse) -> None:
    execute(
        [plan],
        LauncherConfig(kind=LauncherKind.inline),
        results_dir=results,
        session_factory=FakeSession,
        prepare=lambda config: None,
        other_sources=answer,
    )


@pytest.mark.parametrize("state", ENDED)
def test_what_other_code_finished_is_not_handed_out(state: RunState, tmp_path: Path) -> None:
    plan = finished(tmp_path, state)
    with pytest.raises(SweepkitError) as error:
        launch(plan, tmp_path)
    for word in (OTHER, sources.digest(), "--rerun", "--accept-code", "a was made by other code"):
        assert word in str(error.value)
    assert not ran(tmp_path)


@pytest.mark.parametrize("state", ENDED)
def test_a_rerun_keeps_the_old_record_aside(state: RunState, tmp_path: Path) -> None:
    plan = finished(tmp_path, state)
    launch(plan, tmp_path, OtherSources.rerun)
    run_dir = RunDir.of(tmp_path, "a")
    assert [row["run_id"] for row in ran(tmp_path)] == ["a"]
    found = run_dir.read_record()
    assert found and found.results["val_bpb"] != 9.0
    assert 9.0 not in [row["loss"] for row in run_dir.metrics()]
    (kept,) = (run_dir.path / EARLIER).iterdir()
    assert kept.name == f"{OTHER}-1"
    before = fsio.read_json(kept / "record.json")
    assert (before["state"], before["results"]["val_bpb"]) == (state, 9.0)
    assert (kept / "metrics.jsonl").read_bytes() and (kept / "attempts" / "1.json").is_file()
    launch(plan, tmp_path)  # it is this code's now


@pytest.mark.parametrize("state", ENDED)
def test_acceptance_is_recorded_and_holds_for_this_code_alone(
    state: RunState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = finished(tmp_path, state)
    launch(plan, tmp_path, OtherSources.accept)
    launch(plan, tmp_path)
    assert not ran(tmp_path)
    found = RunDir.of(tmp_path, "a").read_record()
    assert (
        found and found.sources == OTHER and [item.sources for item in found.accepted] == [sources.digest()]
    )
    row = flatten.record_row(found)
    assert (row["sources"], row["accepted_by"]) == (OTHER, sources.digest())
    monkeypatch.setattr(sources, "digest", lambda: "f" * 16)
    with pytest.raises(SweepkitError, match="f" * 16):
        launch(plan, tmp_path)


def test_this_code_and_a_record_that_says_nothing_are_handed_out(tmp_path: Path) -> None:
    for made_by in (sources.digest(), None):
        launch(finished(tmp_path, made_by=made_by), tmp_path)
    assert not ran(tmp_path)


def test_setting_aside_goes_on_after_a_kill_at_any_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record goes last: until then the run counts as other code's, and is asked about again."""
    real = Path.replace
    for kill_at in range(1, 4):
        results = tmp_path / str(kill_at)
        plan = finished(results)
        run_dir = RunDir.of(results, "a")
        left = [kill_at]

        def killed(path: Path, target: Path, left: list[int] = left) -> Path:
            left[0] -= EARLIER in str(target) and path.exists()
            if not left[0]:
                raise KeyboardInterrupt
            return real(path, target)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Path, "replace", killed)
            set_aside(run_dir)
        with pytest.raises(SweepkitError, match="--rerun"):
            launch(plan, results)
        launch(plan, results, OtherSources.rerun)
        (kept,) = (run_dir.path / EARLIER).iterdir()
        assert {path.name for path in kept.iterdir()} == {"record.json", "metrics.jsonl", "attempts"}


def test_a_run_that_somebody_holds_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = finished(tmp_path)
    monkeypatch.setattr(claims, "claim", lambda *_, **__: None)
    for answer in (OtherSources.rerun, OtherSources.accept):
        with pytest.raises(SweepkitError, match="held by a running process"):
            launch(plan, tmp_path, answer)
    assert Run.of(replace(plan), tmp_path).record is not None
