"""What lies around the training steps of short runs: the first start, from run to run, and a whole sweep.

    make bench      # or: python scripts/bench_runs.py

The reference workload of bench_training.py in 24 runs of 40 steps, one local worker. One run fills the
compile cache; later commands are timed up to their first steps, in turn with a Python that only imports
torch's compiler and Hydra; then a sweep. All times come from what the runs recorded: when they started and
ended, and how long each step took. Evaluation is one batch at the end.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from bench_figures import Figure, of_rounds, run
from bench_launch import sweep_of
from bench_training import REFERENCE
from bench_training import SMOKE as SMALL

NUM_RUNS, NUM_STEPS, NUM_STARTS = 24, 40, 10
BASE = [
    *REFERENCE,
    "tokenizer.vocab_size=8192",
    f"horizon.num_steps={NUM_STEPS}",
    "evaluation.streams=[validation]",
    "evaluation.max_bytes=16384",
    "evaluation.sample_tokens=0",
    "logging.diagnostics_every_steps=0",
    "trainer.checkpoint_every_steps=0",
    "trainer.checkpoint_every_min=0",
]
SHORT = "horizon.num_steps=2"  # where only the first step matters
SMOKE = [*SMALL, "tokenizer.vocab_size=512", "trainer.compile=false", SHORT]
IMPORTS = "import torch._inductor.compile_fx, hydra"


def sweepkit(folder: Path, *args: str) -> float:
    """Run one command; the time it was started, seconds since the epoch."""
    started = time.time()
    environment = os.environ | {"SWEEPKIT_RESULTS_DIR": str(folder / "results")}
    command = [sys.executable, "-m", "sweepkit", *args]
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    return started


class Run:
    """When a finished run began, took its first step, and ended; seconds since the epoch."""

    def __init__(self, folder: Path) -> None:
        record = json.loads((folder / "record.json").read_text())
        assert record["state"] == "complete", record
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        rows: list[dict[str, Any]] = [row for row in map(json.loads, lines) if "loss" in row]
        started, self.ended = (
            datetime.fromisoformat(record[k]).timestamp() for k in ("started_at", "ended_at")
        )
        self.first_step = started + rows[0]["elapsed_s"] - rows[0]["step_time_s"]
        self.steps_s = sum(row["step_time_s"] for row in rows)


def runs(folder: Path) -> list[Run]:
    """All runs under a results folder, in the order they ended."""
    found = [Run(path.parent) for path in folder.glob("results/runs/*/record.json")]
    return sorted(found, key=lambda one: one.ended)


def imports_s() -> float:
    """What a Python takes that imports and ends; no code of sweepkit's is in it."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", IMPORTS], check=True)
    return time.perf_counter() - started


def measure(smoke: bool) -> list[Figure]:
    base = [*BASE, *SMOKE] if smoke else BASE
    num_runs, num_starts = (2, 2) if smoke else (NUM_RUNS, NUM_STARTS)
    with tempfile.TemporaryDirectory() as name:
        first, second, many = (Path(name) / part for part in ("first", "second", "many"))
        for folder in (first, second):
            folder.mkdir()
        sweepkit(first, "train", *base, SHORT)
        started, alone_s = [], []
        for seed in range(num_starts):
            alone_s.append(imports_s())
            started.append(sweepkit(second, "train", *base, SHORT, f"seed={seed}"))
        starts_s = [one.first_step - when for one, when in zip(runs(second), started, strict=True)]
        sweepkit(many, "sweep", sweep_of(many, base, num_runs), "launcher=local", "launcher.num_workers=1")
        done = runs(many)
    gaps_s = [after.first_step - before.ended for before, after in itertools.pairwise(done)]
    later_s = sum(one.steps_s for one in done[1:])
    over_imports = [whole_s / imports for whole_s, imports in zip(starts_s, alone_s, strict=True)]
    whole = (done[-1].ended - done[0].ended) / later_s
    return [
        of_rounds("command to first step, compile cache warm, s", starts_s, 10.0),
        of_rounds("command to first step, over importing torch's compiler", over_imports, watched=True),
        Figure("end of a run to the next one's first step, s (longest)", max(gaps_s), target=0.5),
        Figure(
            "sweep: time after its first run over the time of the steps in it", whole, 0.0, 1.1, watched=True
        ),
    ]


if __name__ == "__main__":
    run(measure, "The reference workload in runs of 40 steps: what is not a step.")
