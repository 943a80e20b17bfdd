"""A promotion killed again and again ends as if nobody had touched it."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sample import is_full
from sweepkit.results import store
from tiny_sweep import write_sweep

NUM_KILLS = 12 if is_full() else 4
AXES = "{matrix_lr: {tenth: [optimizer.matrix.lr=0.002], double: [optimizer.matrix.lr=0.04]}}"
COMMAND = ["promote", "tiny", "launcher=local", "launcher.num_workers=2"]
#: What must not depend on how often the promotion was interrupted. Clocks do.
COLUMNS = ["run_id", "variant", "rung", "seed", "state", "step", "val_bpb"]


def rows_written(results: Path) -> int:
    """Metrics rows of all runs so far: how far a promotion is, on a machine of any speed."""
    return sum(path.read_bytes().count(b"\n") for path in results.glob("runs/*/metrics.jsonl"))


def kill_amid(
    num_rows: int, delay_s: float, whole_group: bool, cwd: Path, environment: dict[str, str]
) -> None:
    """Start the promotion, SIGKILL it ``delay_s`` after its runs wrote ``num_rows`` more rows."""
    results = Path(environment["SWEEPKIT_RESULTS_DIR"])
    goal = rows_written(results) + num_rows
    process = subprocess.Popen(
        [sys.executable, "-m", "sweepkit", *COMMAND],
        cwd=cwd,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while rows_written(results) < goal and process.poll() is None:
        time.sleep(0.01)
    time.sleep(delay_s)
    assert process.poll() is None, "the promotion ended before it could be killed: make it longer"
    if whole_group:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()  # the workers are left behind and must notice
    process.wait()


def table(results: Path) -> list[dict[str, Any]]:
    rows = store.load("tiny", results)[COLUMNS].astype(object)
    return rows.where(rows.notna(), None).sort_values("run_id").to_dict("records")


def outcomes(results: Path) -> list[tuple[str, str, str]]:
    verdicts = json.loads((results / "tiny" / "verdicts.json").read_text())
    verdicts = verdicts["verdicts"] if isinstance(verdicts, dict) else verdicts
    return sorted((v["rung"], v["variant"], v["outcome"]) for v in verdicts)


@pytest.mark.slow
def test_the_final_table_of_a_promotion_killed_again_and_again_equals_the_undisturbed_one(
    sweepkit: Callable[..., subprocess.CompletedProcess[str]], environment: dict[str, str], tmp_path: Path
) -> None:
    write_sweep(tmp_path, "tiny", num_steps=10, evaluate_every=5, axes=AXES, reference="{}")
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    done = sweepkit(*COMMAND, SWEEPKIT_RESULTS_DIR=str(undisturbed))
    assert done.returncode == 0, done.stderr + done.stdout

    moments = random.Random(0)
    share = rows_written(undisturbed) // (2 * NUM_KILLS)  # even kills at their latest leave half undone
    shaken = environment | {"SWEEPKIT_RESULTS_DIR": str(disturbed)}
    for i in range(NUM_KILLS):
        # every third is killed while it starts, before any run has written a row
        num_rows, delay_s = (0, moments.uniform(0.1, 2.0)) if i % 3 == 0 else (moments.randint(1, share), 0.0)
        kill_amid(num_rows, delay_s, whole_group=i % 4 > 0, cwd=tmp_path, environment=shaken)
    time.sleep(0.1)

    done = sweepkit(*COMMAND, SWEEPKIT_RESULTS_DIR=str(disturbed))
    assert done.returncode == 0, done.stderr + done.stdout
    rows = table(disturbed)
    assert rows == table(undisturbed)
    assert any(row["state"] == "complete" and row["val_bpb"] for row in rows)
    assert outcomes(disturbed) == outcomes(undisturbed)
    attempts = [len(list(run.glob("attempts/*.json"))) for run in (disturbed / "runs").iterdir()]
    assert max(attempts) > 1, "no kill ever hit a run"
