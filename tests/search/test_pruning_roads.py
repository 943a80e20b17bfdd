"""A pruned run has ended for the search that pruned it alone: every other road to it gives its result."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from search_fakes import BASE, LR, FormulaSession, freeze, loss_of, ran

from sweepkit import fsio
from sweepkit.cli import main
from sweepkit.config.choices import LauncherKind
from sweepkit.config.schema import LauncherConfig
from sweepkit.launch import execute
from sweepkit.launch.cancelling import cancel
from sweepkit.launch.ledger import Ledger
from sweepkit.launch.slurm import retries, workers
from sweepkit.launch.slurm.submit import Submitted
from sweepkit.launch.sweep_status import status
from sweepkit.plan.run_plan import RunPlan
from sweepkit.results import pruned, store
from sweepkit.results.record import RunDir, RunState
from sweepkit.search import drive
from sweepkit.sweep import frozen, trials
from sweepkit.sweep.file import SweepFile
from sweepkit.sweep.frozen import Frozen


def search(sweep: Frozen, session: Any = None) -> None:
    drive.search(
        sweep, LauncherConfig(), results_dir=sweep.sweep_dir.parent, prepare=lambda config: None,
        session_factory=lambda: session or FormulaSession(),
    )  # fmt: skip


@pytest.fixture
def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[RunPlan]:
    """The runs that the search ``s`` has pruned, in a results folder that commands find."""
    results = tmp_path / "results"
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(results))
    monkeypatch.chdir(tmp_path)
    sweep = freeze(results, n_trials=10, sampler="random", pruning={"kind": "halving", "min_frac": 0.1})
    search(sweep)
    frame = store.load("s", results)
    ids = list(frame.loc[frame["state"] == "pruned", "run_id"])
    assert len(ids) >= 3
    inner = execute.execute

    def carried_out(*args: Any, **kwargs: Any) -> Any:
        return inner(*args, **kwargs, session_factory=FormulaSession, prepare=lambda config: None)

    monkeypatch.setattr(execute, "execute", carried_out)
    return [RunDir.of(results, run_id).read_plan() for run_id in ids]


def rate(plan: RunPlan) -> str:
    return repr(plan.config.optimizer.matrix.lr)


def sweep_of(results: Path, name: str, **given: Any) -> Frozen:
    """Frozen over the run that was pruned, which is otherwise left for a fresh seed."""
    return frozen.freeze(SweepFile.from_json({"name": name, "base": BASE} | given), results, reuse_runs=True)


def by_train(results: Path, plan: RunPlan) -> None:
    execute.execute([plan], LauncherConfig(), results_dir=results)


def by_a_search_that_prunes_nothing(results: Path, plan: RunPlan) -> None:
    search(freeze(results, "other", n_trials=2, enqueue=[[f"{LR}={rate(plan)}"]]))


def by_a_search_that_prunes_too(results: Path, plan: RunPlan) -> None:
    """Nothing it compares with is as far."""
    rule = {"kind": "sigma", "min_runs": 20}
    search(freeze(results, "other", n_trials=2, enqueue=[[f"{LR}={rate(plan)}"]], pruning=rule))


def by_a_fixed_variant(results: Path, plan: RunPlan) -> None:
    sweep = sweep_of(results, "other", axes={LR: [float(rate(plan))]})
    execute.execute([cell.plan for cell in sweep.cells], LauncherConfig(), results_dir=results)


def by_a_fixed_variant_of_a_search(results: Path, plan: RunPlan) -> None:
    """Its own pruning does not touch it."""
    block = {"space": {LR: [0.0201, 0.0202]}, "n_trials": 2, "pruning": "halving"}
    search(sweep_of(results, "other", axes={LR: [float(rate(plan))]}, search=block))


def by_a_reference(results: Path, plan: RunPlan) -> None:
    block = {"space": {LR: [0.0201, 0.0202]}, "n_trials": 2, "pruning": "halving"}
    search(sweep_of(results, "other", base=[*BASE, f"{LR}={rate(plan)}"], search=block))


def by_resume(results: Path, plan: RunPlan) -> None:
    sweep_of(results, "other", axes={LR: [float(rate(plan))]})
    assert main.main(["resume", "other"]) == 0


ROADS: dict[str, Callable[[Path, RunPlan], None]] = {
    "train": by_train,
    "a search without pruning": by_a_search_that_prunes_nothing,
    "a search with pruning": by_a_search_that_prunes_too,
    "a fixed variant": by_a_fixed_variant,
    "a fixed variant of a search": by_a_fixed_variant_of_a_search,
    "a reference": by_a_reference,
    "resume": by_resume,
}


@pytest.mark.parametrize("road", ROADS)
def test_every_other_road_to_a_pruned_run_gives_its_result(
    road: str, tmp_path: Path, stopped: list[RunPlan]
) -> None:
    results, plan, others = tmp_path / "results", stopped[0], stopped[1:]
    ROADS[road](results, plan)
    record = RunDir.of(results, plan.run_id).read_record()
    assert record is not None and record.state is RunState.complete
    assert record.results["val_bpb"] == pytest.approx(loss_of(plan))
    for name in set(store.sweep_names(results)) - {"s"}:
        mine = store.load(name, results).set_index("run_id")
        assert mine.loc[plan.run_id, "state"] == "complete"
    frame = store.load("s", results).set_index("run_id")
    assert frame.loc[plan.run_id, "state"] == "complete"
    assert set(frame.loc[[other.run_id for other in others], "state"]) == {"pruned"}
    search(frozen.load_frozen(results, "s"))
    again = store.load("s", results).set_index("run_id")
    pd.testing.assert_frame_equal(again, frame)


@pytest.mark.slow
def test_workers_on_slurm_prune_as_local_ones_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the array tasks are told to run, run here: the same rule, and the search takes what it pruned."""
    results = tmp_path / "results"
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(results))
    freeze(results, n_trials=10, sampler="random", pruning={"kind": "halving", "min_frac": 0.1})
    plain = drive.search
    fakes = {"session_factory": FormulaSession, "prepare": lambda config: None}

    def inline(sweep: Frozen, launcher: LauncherConfig, **given: Any) -> Any:
        assert launcher.kind is LauncherKind.local
        return plain(sweep, LauncherConfig(), **given, **fakes)

    def carry_out(title: str, command: list[str], num_workers: int, *_: Any, **__: Any) -> Submitted:
        assert num_workers >= 1
        with monkeypatch.context() as patch:
            patch.setenv(retries.IS_JOB, "1")
            assert main.main(command) == 0
        return Submitted(submitted=num_workers, jobs=["7"])

    monkeypatch.setattr(drive, "search", inline)
    monkeypatch.setattr(workers, "submit_workers", carry_out)
    assert main.main(["resume", "s", "launcher=slurm", "--wait"]) == 0
    frame = store.load("s", results)
    assert set(frame["state"]) == {"complete", "pruned"} and len(frame) == 10
    monkeypatch.setattr(drive, "search", plain)
    there = tmp_path / "there"
    search(freeze(there, n_trials=10, sampler="random", pruning={"kind": "halving", "min_frac": 0.1}))
    pd.testing.assert_series_equal(frame["state"], store.load("s", there)["state"])


def test_what_another_sweep_sees_of_it_is_a_run_that_was_stopped_half_way(
    tmp_path: Path, stopped: list[RunPlan]
) -> None:
    results, plan = tmp_path / "results", stopped[0]
    sweep_of(results, "other", axes={LR: [float(rate(plan))]})
    assert store.load("other", results).set_index("run_id").loc[plan.run_id, "state"] == "preempted"
    (found,) = status(results, "other")
    assert found.counts == {"preempted": 1, "complete": 1}
    assert [run.run_id for run in Ledger([plan], results).startable()] == [plan.run_id]
    (mine,) = status(results, "s")
    assert mine.counts["pruned"] == len(stopped)
    cancel(results, "s", wait_s=0)
    assert status(results, "s")[0].counts == mine.counts, "nothing is left to cancel"


def test_one_that_goes_on_with_it_and_is_killed_leaves_it_pruned_for_the_search(
    tmp_path: Path, stopped: list[RunPlan]
) -> None:
    results, plan = tmp_path / "results", stopped[0]
    before = store.load("s", results)
    started = len(ran(results))

    class Killed(FormulaSession):
        def run(self, plan: RunPlan, *args: Any, **kwargs: Any) -> Any:
            steps = itertools.count()
            super().run(plan, *args[:2], should_stop=lambda: next(steps) > 7)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(freeze(results, "other", n_trials=2, enqueue=[[f"{LR}={rate(plan)}"]]), Killed())
    assert len(ran(results)) == started + 1
    search(frozen.load_frozen(results, "s"))
    assert len(ran(results)) == started + 1, "the search that pruned it runs it no further"
    after = store.load("s", results)
    assert list(after["state"]) == list(before["state"])
    assert set(after["pruned_by"].dropna()) == {"s"}
    search(frozen.load_frozen(results, "other"))
    assert store.load("s", results).set_index("run_id").loc[plan.run_id, "state"] == "complete"


@pytest.mark.slow
def test_a_second_search_that_prunes_it_leaves_it_pruned_for_both_and_for_nobody_else(
    tmp_path: Path, stopped: list[RunPlan]
) -> None:
    results = tmp_path / "results"
    points = [[f"{LR}={rate(plan)}"] for plan in stopped]
    rule = {"kind": "halving", "min_frac": 0.2, "reduction": 9}
    second = freeze(results, "second", n_trials=len(points) + 1, enqueue=points, pruning=rule)
    search(second)
    shared = {plan.run_id for plan in stopped}
    frame = store.load("second", results).set_index("run_id")
    both = [run_id for run_id in shared if frame.loc[run_id, "state"] == "pruned"]
    assert both and set(frame.loc[both, "pruned_by"]) == {"s, second"}
    entries = pruned.read(RunDir.of(results, both[0]).path / pruned.FILE)
    assert rule.items() <= entries["second"]["rule"].items() and entries["s"]["rule"]["reduction"] == 3
    for name in ("s", "second", "s"):
        started = len(ran(results))
        search(frozen.load_frozen(results, name))
        assert len(ran(results)) == started, "neither undoes the other's"
    third = freeze(results, "third", n_trials=len(points) + 1, enqueue=points)
    search(third)
    assert set(store.load("third", results)["state"]) == {"complete"}


@pytest.mark.parametrize("content", ["", "{", "[]", "7", '{"s": 3}', "\xff"])
def test_a_damaged_note_means_that_nobody_has_pruned_it(
    content: str, tmp_path: Path, stopped: list[RunPlan]
) -> None:
    results, plan = tmp_path / "results", stopped[0]
    (RunDir.of(results, plan.run_id).path / pruned.FILE).write_bytes(content.encode("latin1"))
    assert store.load("s", results).set_index("run_id").loc[plan.run_id, "state"] == "preempted"
    session = FormulaSession()
    search(frozen.load_frozen(results, "s"), session)
    assert store.load("s", results).set_index("run_id").loc[plan.run_id, "state"] in {"pruned", "complete"}
    assert len(trials.load(results / "s")) == 10


def test_a_search_of_the_same_name_begun_anew_does_not_take_over_what_was_pruned(
    tmp_path: Path, stopped: list[RunPlan]
) -> None:
    results, plan = tmp_path / "results", stopped[0]
    (results / "s").rename(results / ".old")
    points = [[f"{LR}={rate(plan)}"]]
    search(freeze(results, "s", n_trials=2, enqueue=points))
    record = RunDir.of(results, plan.run_id).read_record()
    assert record is not None and record.state is RunState.complete
    assert fsio.read_json(RunDir.of(results, plan.run_id).path / pruned.FILE).keys() == {"s"}
