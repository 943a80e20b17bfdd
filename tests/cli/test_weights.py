"""``sweepkit weights``: what runs have kept, and freeing it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweepkit.cli.main import main
from sweepkit.config.compose import compose
from sweepkit.launch import claims
from sweepkit.plan.build import build
from sweepkit.results.record import RunDir
from sweepkit.sweep import frozen
from sweepkit.sweep.file import SweepFile

MIB = 2**20


@pytest.fixture
def runs(own_results_dir: Path) -> list[RunDir]:
    """Two runs with weights of 3 and 5 MiB, and one without."""
    plans = [build(compose(["experiment=mini", f"seed={seed}"])) for seed in (1, 2, 3)]
    found = [RunDir.of(own_results_dir, plan.run_id) for plan in plans]
    for run_dir, plan, size in zip(found, plans, (3, 5, 0), strict=True):
        run_dir.write_plan(plan)
        if size:
            run_dir.weights_path.write_bytes(bytes(size * MIB))
    return found


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["weights", *words]) == 0
    return capsys.readouterr().out


def test_what_is_kept_is_listed_and_summed(runs: list[RunDir], capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys)
    assert runs[0].run_id in text and runs[1].run_id in text and runs[2].run_id not in text
    assert text.splitlines()[-1] == "2 of 3 runs with weights: 8 MiB"
    assert said(capsys, "list", runs[1].run_id).endswith("1 of 1 run with weights: 5 MiB\n")


def test_a_sweeps_are_listed_with_variant_and_seed(
    own_results_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also among all runs; of one that no sweep asks for the id is all there is."""
    axes = {"lr": {"high": ["optimizer.matrix.lr=0.04"]}}
    sweep = SweepFile.from_json({"name": "s", "base": ["experiment=mini"], "seeds": [1, 2], "axes": axes})
    cells = frozen.freeze(sweep, own_results_dir).cells
    alone = build(compose(["experiment=mini", "seed=7"]))
    for plan in (*(cell.plan for cell in cells), alone):
        run_dir = RunDir.of(own_results_dir, plan.run_id)
        run_dir.write_plan(plan)
        run_dir.weights_path.write_bytes(bytes(MIB))
    wanted = {(cell.plan.run_id, cell.variant, str(cell.plan.seed)) for cell in cells}
    for words in (["list", "s"], ["list"]):
        rows = [line.split() for line in said(capsys, *words).splitlines()]
        assert wanted <= {tuple(row[:3]) for row in rows}
    assert [alone.run_id, "1", "MiB"] in rows


def test_dropping_frees_those_that_are_named_and_nothing_else(
    runs: list[RunDir], capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(capsys, "drop", runs[1].run_id) == "weights of 1 run dropped: 5 MiB\n"
    assert [run_dir.weights_path.exists() for run_dir in runs] == [True, False, False]
    assert runs[1].plan_path.exists()
    assert said(capsys, "drop", runs[1].run_id) == "weights of 0 runs dropped: 0 MiB\n"


def test_a_run_that_somebody_is_at_keeps_them(runs: list[RunDir], capsys: pytest.CaptureFixture[str]) -> None:
    claim = claims.claim(runs[0])
    assert claim is not None
    with claim:
        assert main(["weights", "drop", runs[0].run_id]) == 2
    assert f"{runs[0].run_id} held by a running process" in capsys.readouterr().err
    assert runs[0].weights_path.exists()


def test_a_name_that_is_neither_sweep_nor_run_is_refused(
    runs: list[RunDir], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["weights", "drop", "nothing"]) == 2
    assert "SWEEP|RUN is 'nothing', but must be a sweep or a run" in capsys.readouterr().err
