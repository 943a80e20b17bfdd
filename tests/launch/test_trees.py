"""Runs of frozen code: each by workers of its own tree, and one that starts none ends its own runs alone."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from launch_fakes import make_plan

from sweepkit.code import tree
from sweepkit.config.choices import LauncherKind
from sweepkit.config.schema import LauncherConfig
from sweepkit.errors import SweepkitError
from sweepkit.launch.execute import execute
from sweepkit.plan.run_plan import RunPlan

HERE = Path(__file__).parent
FAKE_WORKER = (sys.executable, str(HERE / "fake_worker.py"))


def kept(results: Path, scratch: Path, broken: str = "") -> str:
    """This package as a tree of a results folder, with a line more in what workers import."""
    tree.copy_here(scratch)
    job = scratch / "src/sweepkit/launch/job.py"
    job.write_text(job.read_text() + broken)
    return tree.keep(scratch, tree.root(results), {"text": "an idea"}, {"commit": None, "dirty": None})


def of(plan: RunPlan, name: str, is_level: bool = False) -> RunPlan:
    return replace(plan, tree=name, config=replace(plan.config, code=name if is_level else None))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [LauncherKind.local, LauncherKind.inline])
def test_a_tree_whose_workers_do_not_start_ends_its_own_runs(
    kind: LauncherKind, own_results_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    good = kept(own_results_dir, tmp_path / "good")
    bad = kept(own_results_dir, tmp_path / "bad", broken="raise ImportError('half of an idea')\n")
    plans = [of(make_plan("a"), good), of(make_plan("b"), bad, is_level=True), of(make_plan("c"), good)]
    summary = execute(
        plans,
        LauncherConfig(kind=kind, num_workers=2),
        results_dir=own_results_dir,
        worker_command=FAKE_WORKER,
        prepare=lambda config: None,
    )
    assert summary.counts == {"complete": 2, "failed": 1}
    (failure,) = summary.failures
    assert failure.run_id == "b" and "half of an idea" in failure.message


@pytest.mark.slow
def test_the_references_code_that_does_not_start_ends_the_launch(
    own_results_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    bad = kept(own_results_dir, tmp_path / "bad", broken="raise ImportError('half of an idea')\n")
    with pytest.raises(SweepkitError, match="half of an idea"):
        execute(
            [of(make_plan("a"), bad)],
            LauncherConfig(kind=LauncherKind.local, num_workers=1),
            results_dir=own_results_dir,
            worker_command=FAKE_WORKER,
            prepare=lambda config: None,
        )


def test_a_tree_that_is_gone_is_named(own_results_dir: Path) -> None:
    plan = of(make_plan("a"), "tree_0123456789abcdef")
    with pytest.raises(SweepkitError, match=r"tree_0123456789abcdef is missing"):
        execute(
            [plan],
            LauncherConfig(kind=LauncherKind.local, num_workers=1),
            results_dir=own_results_dir,
            worker_command=FAKE_WORKER,
            prepare=lambda config: None,
        )
