"""What status says in every situation, and cancel in each of them."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from launch_fakes import FakeSession, make_plan, ran
from test_execute import INLINE, launch, local, wait_for

from sweepkit import fsio
from sweepkit.cli import main as command_line
from sweepkit.config.schema import RungConfig
from sweepkit.errors import SweepkitError
from sweepkit.launch import cancelling, claim_files, claims, execute, job, ledger, process
from sweepkit.launch.cancelling import cancel
from sweepkit.launch.claim_files import ClaimInfo
from sweepkit.launch.drivers import driver_dir
from sweepkit.launch.execute import LaunchCancelledError
from sweepkit.launch.sweep_status import SweepStatus, status
from sweepkit.plan.run_plan import RunPlan
from sweepkit.results import store
from sweepkit.results.record import RunDir, RunRecord, RunState
from sweepkit.sweep import frozen
from sweepkit.sweep.cell import Cell
from sweepkit.sweep.file import SweepFile

FORK = multiprocessing.get_context("fork")


def freeze(results: Path, plans: list[RunPlan], name: str = "sweep") -> None:
    cells = [Cell(f"x={plan.run_id}", "key", "variant", "d2", plan) for plan in plans]
    frozen.freeze_cells(SweepFile(name), [RungConfig(name="d2")], cells, results)


def one(results: Path, name: str = "sweep") -> SweepStatus:
    (found,) = status(results, name)
    return found


def states(results: Path) -> dict[str, str]:
    return {run.run_id: run.state for run in one(results).runs}


def record(results: Path, plan: RunPlan, state: RunState, ago_s: float = 60.0) -> RunDir:
    run_dir = RunDir.of(results, plan.run_id)
    moments = [time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(time.time() - ago)) for ago in (ago_s, 0)]
    run_dir.write_record(
        RunRecord(plan.run_id, plan.variant_id, plan.seed, state, started_at=moments[0], ended_at=moments[1])
    )
    return run_dir


def test_every_state_with_its_age_and_the_eta(own_results_dir: Path) -> None:
    final = ("complete", "diverged", "failed", "cancelled", "preempted")
    names = [*final, "planned", "running", "lost", "starting"]
    plans = {name: make_plan(name, num_steps=100) for name in names}
    freeze(own_results_dir, list(plans.values()))
    for name in final:
        record(own_results_dir, plans[name], RunState(name))
    running = record(own_results_dir, plans["running"], RunState.running)
    said = {"step": 40, "phase": "training", "eta_s": 30.0, "loss": 2.0}
    fsio.write_text(running.progress_path, json.dumps(said))
    lost = record(own_results_dir, plans["lost"], RunState.running)
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        dead.wait()
    info = ClaimInfo("t", replace(process.current(), pid=dead.pid, started="0"), "d", 1, 0, "now")
    lost.claim_path.write_text(claim_files.in_file(lost.claim_path, info))
    held = [claims.claim(RunDir.of(own_results_dir, name)) for name in ("running", "starting")]

    found = one(own_results_dir)
    runs = {run.run_id: run for run in found.runs}
    expected = {name: name for name in names} | {"starting": "running"}
    assert {name: run.state for name, run in runs.items()} == expected
    assert found.counts["running"] == 2
    assert (runs["running"].phase, runs["running"].step, runs["running"].eta_s) == ("training", 40, 30.0)
    assert (runs["starting"].phase, runs["starting"].step) == ("starting", 0)
    assert runs["starting"].eta_s == pytest.approx(60, abs=2)  # as long as the complete one took
    assert runs["complete"].age_s == pytest.approx(0, abs=5)
    assert runs["planned"].age_s is None
    assert runs["lost"].age_s is not None
    assert f"pid {os.getpid()}" in (runs["running"].holder or "")
    table = ledger.with_lost(store.load("sweep", own_results_dir), own_results_dir).set_index("run_id")
    recorded = {
        name: run.state for name, run in runs.items() if name != "starting"
    }  # which has no record yet
    assert dict(table["state"].drop("starting")) == recorded
    for claim in held:
        assert claim is not None
        claim.release()


def test_what_was_judged_and_deleted_is_neither_planned_nor_never_needed(
    own_results_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By status and by results alike; what was never run stays planned."""
    names = ("kept", "gone", "reference-run", "never")
    plans = {name: make_plan(name) for name in names}
    freeze(own_results_dir, list(plans.values()))
    record(own_results_dir, plans["kept"], RunState.complete)
    evidence = {
        "run_ids": ["kept", "gone"],
        "reference_run_ids": ["reference-run"],
        "against": {},
        "missing": {},
    }
    verdict = {"variant": "v", "rung": "d2", "evidence": evidence | {"metric": "val_bpb"}}
    rung = {"rung": "d2", "amendment": 0, "verdicts": [verdict]}
    decided = {"rungs": [rung], "decision": {"alpha": 0.05}, "finished": True}
    for file in ("verdicts.json", "promotion.json"):
        fsio.write_json(own_results_dir / "sweep" / file, decided)
    expected = {"kept": "complete", "gone": "deleted", "reference-run": "deleted", "never": "planned"}
    assert states(own_results_dir) == expected
    table = store.load("sweep", own_results_dir).set_index("run_id")
    assert dict(table["state"]) == expected
    assert command_line.main(["status", "sweep"]) == 0
    assert "1 never needed, 2 deleted, 1 complete" in capsys.readouterr().out
    assert command_line.main(["results", "sweep", "--filter", "state == deleted", "--select", "run_id"]) == 0
    assert "gone" in capsys.readouterr().out


@pytest.mark.parametrize("number", [3, 2_000])
def test_many_cancelled_runs_are_counted_and_few_are_named(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = [f"run-{place}" for place in range(number)]
    monkeypatch.setattr(cancelling, "cancel", lambda *_, **__: cancelling.Cancelled(not_started=ids))
    assert command_line.main(["cancel", "sweep"]) == 0
    said = capsys.readouterr().out
    assert said == ("3 not started: run-0, run-1, run-2\n" if number == 3 else "2,000 not started\n")


def test_the_eta_of_a_launch_with_nothing_done_yet_comes_from_the_run_at_work(own_results_dir: Path) -> None:
    plans = [make_plan(name, num_steps=100) for name in ("a", "b", "c")]
    freeze(own_results_dir, plans)
    with driver_dir(own_results_dir, plans[:2], 3):
        claim = claims.claim(record(own_results_dir, plans[0], RunState.running))
        assert one(own_results_dir).eta_s is None
        progress = {"step": 50, "phase": "training", "eta_s": 30.0}
        fsio.write_text(RunDir.of(own_results_dir, "a").progress_path, json.dumps(progress))
        found = one(own_results_dir)
        assert found.eta_s == pytest.approx(30 + 60)  # the rest of a, and all of b; nobody asked for c
        assert len(found.drivers) == 1
        assert claim is not None
        claim.release()
    assert one(own_results_dir).drivers == []


def test_status_of_all_has_the_runs_of_no_sweep_too(own_results_dir: Path) -> None:
    freeze(own_results_dir, [make_plan("a")])
    launch([make_plan("b")], own_results_dir)
    found = {item.name: item.counts for item in status(own_results_dir)}
    assert found == {"sweep": {"planned": 1}, "(no sweep)": {"complete": 1}}
    with pytest.raises(SweepkitError, match="sweep"):
        status(own_results_dir, "swep")


def test_a_run_of_another_version_is_named_and_hides_no_other(own_results_dir: Path) -> None:
    launch([make_plan("a")], own_results_dir)
    fsio.write_json(RunDir.of(own_results_dir, "older").plan_path, {"run_id": "older"})
    (found,) = status(own_results_dir)
    assert [run.run_id for run in found.runs] == ["a"]
    assert any("older" in note for note in found.notes)


def test_the_command_line_shows_tables_and_json(
    own_results_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plans = [make_plan("a"), make_plan("bad", raises="[broken]")]
    freeze(own_results_dir, plans)
    launch(plans, own_results_dir)
    assert command_line.main(["status"]) == 0
    assert "1 complete, 1 failed" in capsys.readouterr().out
    assert command_line.main(["status", "sweep", "--runs"]) == 0
    assert "[broken]" in capsys.readouterr().out
    assert command_line.main(["status", "sweep", "--format", "json"]) == 0
    (sweep,) = json.loads(capsys.readouterr().out)
    assert sweep["counts"] == {"complete": 1, "failed": 1}
    assert {run["run_id"]: run["state"] for run in sweep["runs"]} == {"a": "complete", "bad": "failed"}
    assert command_line.main(["cancel", "sweep"]) == 0
    assert "nothing is running" in capsys.readouterr().out
    assert command_line.main(["status", "nothing"]) == 2


def test_status_imports_neither_torch_nor_pandas(own_results_dir: Path) -> None:
    freeze(own_results_dir, [make_plan("a")])
    code = (
        "import sys; from sweepkit.cli import main; main.main(['status', 'sweep']);"
        "assert not {'torch', 'pandas', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def slow_plans() -> list[RunPlan]:
    return [make_plan(name, num_steps=300, step_s=0.03) for name in ("a", "b", "c", "d")]


def _drive(results: Path, kind: str) -> None:
    try:
        launch(slow_plans(), results, local() if kind == "local" else INLINE)
    except LaunchCancelledError as error:
        os._exit(error.summary.counts["cancelled"])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["inline", "local"])
def test_cancel_stops_what_runs_and_what_waits_and_a_new_launch_goes_on(
    kind: str, own_results_dir: Path
) -> None:
    freeze(own_results_dir, slow_plans())
    driver = FORK.Process(target=_drive, args=(own_results_dir, kind))
    driver.start()
    wait_for((RunDir.of(own_results_dir, "a").path / "step").exists)
    done = cancel(own_results_dir, "sweep", wait_s=20)
    assert "a" in done.stopped
    assert len(done.stopped) + len(done.not_started) == 4
    assert done.stopping == []
    driver.join(20)
    assert driver.exitcode == 4  # cancelled runs, as _drive reports them
    assert set(states(own_results_dir).values()) == {"cancelled"}
    started = RunDir.of(own_results_dir, "a").read_record()
    assert started is not None
    assert 0 < started.step < 300

    plans = [make_plan(plan.run_id, num_steps=300) for plan in slow_plans()]
    assert launch(plans, own_results_dir, local()).counts == {"complete": 4}
    assert [row["step"] for row in RunDir.of(own_results_dir, "a").metrics()] == list(range(1, 301))


def test_cancel_leaves_done_and_never_asked_for_runs_alone(own_results_dir: Path) -> None:
    plans = [make_plan("done"), make_plan("never"), make_plan("preempted")]
    freeze(own_results_dir, plans)
    launch(plans[:1], own_results_dir)
    record(own_results_dir, plans[2], RunState.preempted)
    result = cancel(own_results_dir, "sweep")
    assert (result.not_started, result.untouched) == (["preempted"], 2)
    assert states(own_results_dir) == {"done": "complete", "never": "planned", "preempted": "cancelled"}
    assert launch(plans, own_results_dir).counts == {"complete": 3}


def test_cancel_of_one_run_by_its_id(own_results_dir: Path) -> None:
    plan = make_plan("single")
    launch([plan], own_results_dir)
    assert cancel(own_results_dir, "single").untouched == 1
    with pytest.raises(SweepkitError, match="is 'nothing', but must be a sweep or a run in"):
        cancel(own_results_dir, "nothing")


def test_a_marker_of_a_killed_holder_is_honoured_by_who_takes_over(own_results_dir: Path) -> None:
    plan = make_plan("a", num_steps=300, step_s=0.03)
    driver = FORK.Process(target=_drive, args=(own_results_dir, "inline"))
    driver.start()
    run_dir = RunDir.of(own_results_dir, "a")
    wait_for((run_dir.path / "step").exists)
    assert driver.pid is not None
    os.kill(driver.pid, signal.SIGKILL)
    driver.join()
    job.cancel_marker(run_dir).touch()
    session = object()  # not asked to run
    result = job.carry_out(
        plan,
        own_results_dir,
        session,
        driver="d",
        max_attempts=3,
        stop=lambda: False,  # type: ignore[arg-type]
    )
    assert result is not None
    assert result.state is RunState.cancelled
    assert not job.cancel_marker(run_dir).exists()
    assert len(ran(own_results_dir)) == 1


def test_a_broken_sweep_is_told_of_and_does_not_hide_the_others(own_results_dir: Path) -> None:
    plans = [make_plan("a"), make_plan("b")]
    freeze(own_results_dir, plans[:1], "good")
    freeze(own_results_dir, plans[1:], "broken")
    (own_results_dir / "broken" / "plan.jsonl").unlink()
    left = own_results_dir / ".broken.x1.tmp"  # of a process that was killed while it froze
    left.mkdir()
    (left / "frozen.json").write_text("{}")
    broken, good = status(own_results_dir)
    assert (broken.name, broken.runs, good.name, good.counts) == ("broken", [], "good", {"planned": 1})
    assert "plan.jsonl is missing" in broken.notes[0]
    assert command_line.main(["status"]) == 0
    with pytest.raises(SweepkitError, match=r"plan\.jsonl is missing"):
        status(own_results_dir, "broken")


def test_a_torn_plan_is_said_when_it_is_asked_for_and_written_anew(own_results_dir: Path) -> None:
    plan = make_plan("a")
    run_dir = RunDir.of(own_results_dir, "a")
    run_dir.write_plan(plan)
    run_dir.plan_path.write_text('{"run_id":')
    with pytest.raises(SweepkitError, match=r"plan\.json is damaged .* name the sweep"):
        cancel(own_results_dir, "a")
    execute.execute([plan], INLINE, results_dir=own_results_dir, session_factory=FakeSession, prepare=print)
    assert run_dir.read_plan() == plan
