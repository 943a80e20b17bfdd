"""How far runs of experiment=mini are apart: from seed to seed, and by rounding alone.

    .venv/bin/python scripts/mini_noise.py --seeds 10 --pairs 4 --out results/published/mini_noise/noise.csv

Trains d2 with every seed, and for the first few again with all weights moved by 1e-7, with micro-batches
of half the rows, with two threads and with two processes. What differs is rounding: these runs should end
alike. Prints the SD over seeds with its upper 90% bound, and the SD of the paired differences of every kind.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import torch
from scipy import stats

from sweepkit.config import compose
from sweepkit.plan import build
from sweepkit.results.record import RunDir
from sweepkit.sweep import published_seal
from sweepkit.training.session import Session

MOVED = "model.init_moved_by=1e-7"
SMALLER = "horizon.device_batch_size=8"
PROCESSES = ("launcher.processes_per_run=2", SMALLER)


def trained(overrides: list[str], results: Path, num_threads: int = 1) -> list[float]:
    """The final loss of every run, in this process."""
    torch.set_num_threads(num_threads)
    runner, found = Session(), []
    for override in overrides:
        plan = build.build(compose.compose(override.split()))
        run_dir = RunDir.of(results / f"{num_threads}", plan.run_id)
        record = runner.run(plan, run_dir, attempt=1)
        if record.results.get("val_bpb") is None:
            raise SystemExit(f"{plan.run_id}: {record.state.name}, {record.failure_message}")
        found.append(float(record.results["val_bpb"]))
    return found


def trained_by_two(overrides: list[str], results: Path) -> list[float]:
    """The same, each by two processes."""
    found = []
    for override in overrides:
        words = [*override.split(), *PROCESSES]
        command = [sys.executable, "-m", "sweepkit", "train", *words]
        environment = {**os.environ, "SWEEPKIT_RESULTS_DIR": str(results), "OMP_NUM_THREADS": "1"}
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
        plan = build.build(compose.compose(words))
        record = RunDir.of(results, plan.run_id).read_record()
        assert record is not None
        found.append(float(record.results["val_bpb"]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--pairs", type=int, default=5, help="seeds that are run in every other way as well")
    parser.add_argument("--out", type=Path)
    parser.add_argument("overrides", nargs="*", default=["experiment=mini", "model=d2"])
    args = parser.parse_args()
    runs = [" ".join([*args.overrides, f"seed={seed}"]) for seed in range(1, args.seeds + 1)]
    pairs = runs[: args.pairs]
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder)
        plain = trained(runs, results)
        others = {
            "weights moved by 1e-7": trained([f"{run} {MOVED}" for run in pairs], results),
            "micro-batches of half": trained([f"{run} {SMALLER}" for run in pairs], results),
            "two threads": trained(pairs, results, num_threads=2),
            "two processes": trained_by_two(pairs, results),
        }
    rows = [{"run": "plain", "seed": seed, "val_bpb": value} for seed, value in enumerate(plain, 1)]
    for name, values in others.items():
        for seed, (value, beside) in enumerate(zip(values, plain, strict=False), 1):
            rows.append({"run": name, "seed": seed, "val_bpb": value, "difference": value - beside})
    table = pd.DataFrame(rows)
    sd, df = float(table[table["run"] == "plain"]["val_bpb"].std()), len(plain) - 1
    bound = sd * (df / stats.chi2.ppf(0.10, df)) ** 0.5
    print(f"{len(plain)} seeds: mean {sum(plain) / len(plain):.4f}, SD {sd:.5f}, upper 90% bound {bound:.5f}")
    for name in others:
        differences = table[table["run"] == name]["difference"]
        largest = differences.abs().max()
        print(f"{name}: SD {differences.std():.6f}, at most {largest:.6f} (n={len(differences)})")
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(args.out, index=False)
        published_seal.renew(args.out.parent)


if __name__ == "__main__":
    main()
