"""``sweepkit train -m`` with real training runs, small and eager."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

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
def test_multirun_trains_every_combination_once(tmp_path: Path, shared_cache: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    environment = os.environ | {
        "SWEEPKIT_RESULTS_DIR": str(tmp_path / "results"),
        "SWEEPKIT_CACHE_DIR": str(shared_cache),
        "OMP_NUM_THREADS": "1",
    }

    def sweepkit(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "sweepkit", *arguments],
            cwd=here, env=environment, capture_output=True, text=True, check=False, timeout=600,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

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
