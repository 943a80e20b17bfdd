"""The benchmarks: each starts and prints its table; a change of 10% shows, chance does not."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import children
from from_scripts import SCRIPTS, script
from sample import sample


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    return script("bench_figures")


@pytest.mark.parametrize(
    ("answer", "said"), [("echo nobody is there >&2; exit 1", "nobody is there"), ("exit 0", None)]
)
def test_an_sbatch_without_a_cluster_is_no_slurm(
    answer: str, said: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("sbatch", "sinfo"):
        (tmp_path / name).write_text(f"#!/bin/sh\n{answer}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    why = script("bench_launch").no_slurm()
    assert why is None if said is None else said in str(why)
    (tmp_path / "sbatch").unlink()
    assert "not on PATH" in script("bench_launch").no_slurm()


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_ten_percent_shows_and_chance_does_not(bench: ModuleType, higher_is_better: bool) -> None:
    """60 rounds of a machine with weather: 4% a round, and 2% that lasts for twelve rounds; 200 times."""
    rng = np.random.default_rng(0)
    slower = 1 / 1.1 if higher_is_better else 1.1

    def figure(factor: float) -> object:
        weather = np.repeat(rng.standard_normal(5), 12)
        rounds = 0.5 * factor * (1 + 0.02 * weather + 0.04 * rng.standard_normal(60))
        return bench.of_rounds("cost", rounds.tolist(), higher_is_better=higher_is_better, watched=True)

    def share_worse(factor: float) -> float:
        marks = [bench.marks(figure(factor), figure(1.0)) for _ in range(200)]
        return sum(any("worse" in mark for mark in found) for found in marks) / 200

    assert share_worse(slower) > 0.95
    assert share_worse(1.0) < 0.01
    assert share_worse(1 / slower) == 0


def test_noise_that_would_hide_a_change_is_marked(bench: ModuleType) -> None:
    calm = bench.of_rounds("cost", [1.0] * 60, watched=True)
    spells = [value for value in (0.8, 0.9, 1.0, 1.1, 1.2) for _ in range(12)]
    wild = bench.of_rounds("cost", spells, watched=True)
    assert wild.spread == pytest.approx(np.std([0.8, 0.9, 1.0, 1.1, 1.2], ddof=1) / 5**0.5)
    assert bench.marks(wild, calm) == ["too noisy to tell 6%: measure again"]
    assert bench.marks(calm, calm) == []


def test_what_is_not_watched_is_held_to_its_bound_alone(bench: ModuleType) -> None:
    before = bench.Figure("a", 0.001)
    assert bench.marks(bench.Figure("a", 0.009, target=0.01), before) == []
    assert bench.marks(bench.Figure("a", 0.011, target=0.01), before) == ["misses its bound"]
    assert bench.marks(bench.Figure("a", 0.44, target=0.45, higher_is_better=True), None)
    assert bench.marks(bench.Figure("a", 0.46, target=0.45, higher_is_better=True), None) == []


#: A benchmark's shortest run, and what stands in its table.
SMOKES = [
    ("bench_training.py --smoke", "| loss: peak memory over all logits in fp32, V 512 |"),
    ("bench_runs.py --smoke", "| sweep: time after its first run over the time of the steps in it |"),
    ("bench_diagnostics.py --smoke", "| diagnostics over the steps between, mini at d2 |"),
    ("bench_launch.py --runs 2", "local, one worker"),
    ("bench_core.py --items 2", "schema, 11 items: "),
    ("bench_search.py 4 random", "4 trials, random, 8 workers: "),
    ("bench_results.py --runs 20", "load('all'), third time: "),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "row"),
    sample(SMOKES, 2),
)
def test_starts(command: str, row: str, environment: dict[str, str], tmp_path: Path) -> None:
    """In a folder of its own, with no Slurm to be found; the baseline stays as it is."""
    name, *options = command.split()
    baseline = (SCRIPTS / "bench_baseline.json").read_bytes()
    process = children.run(
        [sys.executable, str(SCRIPTS / name), *options],
        cwd=tmp_path,
        env=environment | {"PATH": "/usr/bin-none", "WANDB_MODE": "disabled"},
        timeout=600,
    )
    assert process.returncode == 0, process.stderr
    assert row in process.stdout
    assert (SCRIPTS / "bench_baseline.json").read_bytes() == baseline
