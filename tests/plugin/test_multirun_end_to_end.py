"""``sweepkit train -m`` with real training runs, small and eager."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sweepkit.cli.main import main

RUN = [
    "experiment=mini",
    "model=d2",
    "tokenizer.vocab_size=512",
    "horizon.sequence_len=64",
    "horizon.device_batch_size=4",
    "horizon.total_batch_size=256",
    "horizon.num_steps=4",
    "evaluation.max_bytes=4000",
    "evaluation.sample_tokens=0",
    "trainer.compile=false",
]


@pytest.mark.slow
def test_multirun_trains_every_combination_once(
    tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("SWEEPKIT_CACHE_DIR", str(shared_cache))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def sweepkit(*arguments: str) -> str:
        capsys.readouterr()
        status, said = main(list(arguments)), capsys.readouterr()
        assert status == 0, said.err + said.out
        return said.out

    multirun = ["train", "-m", *RUN, "optimizer.matrix.lr=0.02,0.03", "seed=choice(1,2)"]
    name = next(word for word in sweepkit(*multirun).split() if word.startswith("multirun-")).rstrip(":")
    rows = json.loads(sweepkit("results", name, "--format", "json"))
    assert [row["state"] for row in rows] == ["complete"] * 4
    assert [row["seed"] for row in rows] == [1, 1, 2, 2]  # seed by seed: variants meet the same machine
    assert len({row["val_bpb"] for row in rows}) == 4
    records = {
        path: path.stat().st_mtime_ns for path in (tmp_path / "results" / "runs").glob("*/record.json")
    }
    assert len(records) == 4

    assert "already complete" in sweepkit("train", *RUN, "optimizer.matrix.lr=0.03", "seed=2")
    sweepkit(*multirun)
    assert {path: path.stat().st_mtime_ns for path in records} == records, "nothing was run again"
    assert list(here.iterdir()) == [], "no folders of Hydra's"
