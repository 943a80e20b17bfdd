"""A field that is given, and that nothing reads with the other values, is said to have no effect."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweepkit.cli.main import main

FIELD = "optimizer.matrix.momentum"
KIND, MINI = "optimizer.matrix.kind", "experiment=mini"
ADAMW = [MINI, "model=d2", "optimizer=adamw"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([*ADAMW, f"{FIELD}=0.9"], f"{FIELD}=0.9 has no effect here: it is read where {KIND}=muon"),
        (["model=d2", "precision.fp8.scaling=rowwise"], "where precision.dtype=fp8"),
        (["model=d12", "packing=stream", "packing.buffer_docs=9"], "where packing.algorithm=best_fit"),
        (["-m", "model=d2,d4", MINI, "model.experts.num_chosen=1"], "model.experts.num_routed is not 0"),
        (["sweep=demo", "model.bigram.lambda_init=9"], "where model.bigram.table_ratio is not 0"),
    ],
)
def test_it_is_said_in_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *words]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("sweepkit: ") and said in line


@pytest.mark.parametrize(
    "words",
    [
        ["model=d2", f"{FIELD}=0.9", "optimizer.x0.lr=0.2", "seed=3"],
        ["-m", "experiment=mini", "model=d2", "optimizer.matrix.kind=muon,adamw", f"{FIELD}=0.9"],
        ["model=d12", "model.backout_lambda_init=0.1"],
    ],
)
def test_what_any_run_reads_is_not_said(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *words]) == 0
    assert "no effect" not in capsys.readouterr().err
