"""What launching costs beyond the training itself: the local launcher, and Slurm where there is one.

    python scripts/bench_launch.py      # with Slurm too, where sbatch is on PATH

Overhead per run is (wall clock − the time that runs measured of themselves) / runs, with one worker and
eager runs of a second, after one run that fills the caches. On Slurm, runs go one and eight to a task,
one task at a time; then 1,000 held array tasks are submitted, looked at, and cancelled.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

NUM_SUBMITTED = 1000
SPENT = ("train_time_s", "compile_time_s", "eval_time_s", "checkpoint_time_s")
BASE = [
    "experiment=mini",
    "model=d2",
    "tokenizer.vocab_size=512",
    "horizon.sequence_len=64",
    "horizon.device_batch_size=4",
    "horizon.total_batch_size=256",
    "horizon.num_steps=40",
    "evaluation.max_bytes=4000",
    "evaluation.sample_tokens=0",
    "trainer.compile=false",
    "logging.diagnostics_every_steps=0",
]
SLURM = [
    "launcher=slurm",
    "launcher.slurm.gpus=0",
    "launcher.slurm.cpus=1",
    "launcher.slurm.mem_gib=4",
    "launcher.slurm.time_min=60",
    "launcher.slurm.max_parallel=1",
]


def sweepkit(folder: Path, *args: str) -> float:
    """Seconds that one command takes."""
    environment = os.environ | {"SWEEPKIT_RESULTS_DIR": str(folder / "results"), "OMP_NUM_THREADS": "1"}
    environment.setdefault("SWEEPKIT_CACHE_DIR", str(folder.parent / "cache"))
    started = time.monotonic()
    command = [sys.executable, "-m", "sweepkit", *args]
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - started


def no_slurm() -> str | None:
    """Why nothing can be submitted from here; None where it can."""
    if shutil.which("sbatch") is None:
        return "sbatch is not on PATH"
    try:
        answer = subprocess.run(
            ["sinfo", "--noheader"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"sinfo does not answer ({error})"
    lines = answer.stderr.strip().splitlines()
    return (
        f"sinfo reaches no cluster ({lines[-1] if lines else 'it says nothing'})"
        if answer.returncode
        else None
    )


def sweep_of(folder: Path, base: Sequence[str], num_runs: int) -> str:
    """A new folder's sweep file: one variant, so many seeds."""
    folder.mkdir()
    content = {
        "base": list(base),
        "axes": {"run": {"base": []}},
        "reference": {"run": "base"},
        "seeds": list(range(1, num_runs + 1)),
    }
    path = folder / "bench.yaml"
    path.write_text(json.dumps(content))  # JSON is YAML
    return str(path)


def spent_s(folder: Path, num_runs: int) -> float:
    """What the runs of a folder measured of themselves."""
    records = [json.loads(path.read_text()) for path in folder.glob("results/runs/*/record.json")]
    assert len(records) == num_runs and all(record["state"] == "complete" for record in records)
    return float(sum(record["results"].get(name) or 0.0 for record in records for name in SPENT))


def overhead(folder: Path, name: str, num_runs: int, *launcher: str) -> None:
    """Print the seconds a run costs beyond its own work."""
    here = folder / name
    wall_s = sweepkit(here, "sweep", sweep_of(here, BASE, num_runs), *launcher)
    own_s = spent_s(here, num_runs) / num_runs
    print(
        f"{name:<28} {wall_s / num_runs - own_s:6.2f} s a run beyond its own {own_s:.2f} s ({num_runs} runs)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=24)
    num_runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        warm = folder / "warm"
        sweepkit(warm, "sweep", sweep_of(warm, BASE, 1), "launcher=local")
        overhead(folder, "local, one worker", num_runs, "launcher=local", "launcher.num_workers=1")
        if (why := no_slurm()) is not None:
            print(f"no Slurm here: {why}")
            return
        for per_task in (1, 8):
            # one task at a time; the queue's own delays are in it
            packed = f"launcher.slurm.runs_per_task={per_task}"
            overhead(folder, f"Slurm, {per_task} a task", num_runs, "--wait", *SLURM, packed)
        here = folder / "held"
        bench = sweep_of(here, BASE, NUM_SUBMITTED)
        held = [*SLURM, "launcher.slurm.sbatch=[hold]"]
        submit_s = sweepkit(here, "sweep", bench, *held)
        again_s = sweepkit(here, "sweep", bench, *held)
        status_s = sweepkit(here, "status", "bench")
        cancel_s = sweepkit(here, "cancel", "bench")
        print(
            f"{NUM_SUBMITTED} runs: submitted in {submit_s:.1f} s, again (nothing to do) {again_s:.1f} s, "
            f"status {status_s:.1f} s, cancelled in {cancel_s:.1f} s; planning and start-up included"
        )


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:  # which has said why
        sys.exit(f"{' '.join(map(str, error.cmd[2:]))} ended with status {error.returncode}")
