"""How long the runs table takes to load: makes N run directories of one sweep and times loading them.

    python scripts/bench_results.py --runs 10000

Each load is a fresh process, as a user's is; times are of ``load`` alone and of the whole process.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sweepkit import fsio
from sweepkit.config import typed
from sweepkit.config.compose import compose
from sweepkit.config.schema import RungConfig
from sweepkit.plan.build import build
from sweepkit.results.record import RunDir, RunRecord, RunState
from sweepkit.sweep.cell import Cell
from sweepkit.sweep.file import SweepFile
from sweepkit.sweep.frozen_head import Head

LOAD = """
import sys, time
import sweepkit.results
import sweepkit.results.store
start = time.perf_counter()
table = sweepkit.results.load(sys.argv[2], sys.argv[1])
print(f"{time.perf_counter() - start:.2f} {len(table)} {table['val_bpb'].notna().sum()}")
"""


def make(results: Path, num_runs: int) -> None:
    """Write plans, records and a frozen plan; the content of every run differs in what identifies it."""
    template = build(compose(["model=d2"]))
    lines = []
    for seed in range(num_runs):
        run_id = f"{template.run_id.rsplit('-s', 1)[0]}-s{seed}"
        plan = dataclasses.replace(template, run_id=run_id, seed=seed, pair_key=f"pair{seed}")
        folder = RunDir.of(results, run_id)
        folder.path.mkdir(parents=True)
        folder.write_plan(plan)
        record = RunRecord(
            run_id=run_id,
            variant_id=plan.variant_id,
            seed=seed,
            state=RunState.complete,
            started_at="2026-01-19T10:00:00+00:00",
            ended_at="2026-01-19T10:05:00+00:00",
            step=plan.num_steps,
            num_steps=plan.num_steps,
            resolved={"dtype": "bf16", "device": "cpu"},
            environment={"hardware": "a processor", "versions": {f"package{i}": "1.2.3" for i in range(20)}},
            environment_fingerprint="e" * 12,
            evaluation_fingerprints={"validation": "f" * 64, "probe": "a" * 64},
            results={"val_bpb": 1 + seed / num_runs, "bpb_probe": 1.5, "tokens_per_s": 1e4, "mfu": 0.3},
            sample="text " * 40,
        )
        folder.write_record(record)
        lines.append(fsio.canonical_json(typed.dump(Cell("reference", "k", "reference", "d2", plan))))
    plan_lines = "\n".join(lines) + "\n"
    fsio.write_text(results / "bench" / "plan.jsonl", plan_lines)
    head = Head(SweepFile("bench"), [RungConfig(name="d2")], (), (), num_runs, "")
    head = dataclasses.replace(head, plan_sha256=hashlib.sha256(plan_lines.encode()).hexdigest())
    fsio.write_json(results / "bench" / "frozen.json", typed.dump(head))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10_000)
    num_runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder)
        make(results, num_runs)
        for sweep in ("bench", "all"):
            for which in ("first", "second", "third"):
                start = time.perf_counter()
                command = [sys.executable, "-c", LOAD, str(results), sweep]
                answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
                whole = time.perf_counter() - start
                print(
                    f"load({sweep!r}), {which} time: {answer[0]} s, process {whole:.2f} s, {answer[1]} rows"
                )


if __name__ == "__main__":
    main()
