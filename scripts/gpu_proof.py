"""What has to be seen on a GPU, in nine minutes: one JSON and one markdown table, for docs/gpu.md.

    scripts/gpu_proof.sh                 # on the GPU; offline, scripts/gpu_wheels.sh goes before
    scripts/gpu_proof.sh --device cpu    # without: small sizes, and what needs a GPU is said not to be run

Every check runs in a process of its own, with a limit: what fails, hangs or spoils the device is written
down, and the next one begins. Files are written anew after each check: a proof cut off leaves what it has.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gpu_numbers
import gpu_runs
import torch
from gpu_rows import MEASURED, NO_GPU, NO_TIME, RIGHT, WRONG, Bench

from sweepkit import fsio
from sweepkit.training import environment

BUDGET_S = 540.0
_LEAST_S, _ENDING_S, _RESERVE_S = 8.0, 8.0, 5.0

#: In the order of what is wanted most, with the seconds that each may take.
CHECKS = {
    "doctor": (gpu_runs.doctor, 130.0),
    "steps": (gpu_runs.steps, 160.0),
    "fp8": (gpu_numbers.fp8, 70.0),
    "losses": (gpu_runs.losses, 90.0),
    "attention": (gpu_numbers.attention, 40.0),
    "fp16": (gpu_numbers.fp16, 30.0),
    "memory": (gpu_runs.memory, 50.0),
    "promotion": (gpu_runs.promotion, 200.0),
}


@dataclass(frozen=True)
class Outcome:
    """What became of a check.

    Attributes:
        status: right, wrong, measured; else "failed", "cut off" or "not run" and why.
        rows: as of ``gpu_rows.Row``.
    """

    name: str
    status: str
    seconds: float = 0.0
    limit_s: float = 0.0
    rows: Sequence[Mapping[str, Any]] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        return self.status in (RIGHT, MEASURED, NO_GPU)


def perform(name: str, device: str, limit_s: float, log: Path) -> Outcome:
    """Run one check in a process of its own, of which nothing is left afterwards; never raises for it."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gpu-proof-") as folder, log.open("a") as output:
        output.write(f"\n== {name} ==\n")
        output.flush()
        begin, rows = output.tell(), Path(folder) / "rows.jsonl"
        environment_ = dict(os.environ) | {
            "WANDB_MODE": "disabled",
            "SWEEPKIT_RESULTS_DIR": f"{folder}/results",
        }
        environment_.pop("SWEEPKIT_DTYPE", None)
        process = subprocess.Popen(
            command(name, device, limit_s, rows),
            stdout=output,
            stderr=output,
            cwd=folder,
            env=environment_,
            start_new_session=True,
        )
        try:
            code = process.wait(limit_s)
            status = f"failed, exit status {code}" if code else ""
        except subprocess.TimeoutExpired:
            status = f"cut off after {limit_s:.0f} s"
        finally:
            end(process)
        found = fsio.read_lines(rows) if rows.exists() else []
        if status.startswith("failed"):
            status += f": {_last_line(log, begin)}"
    return Outcome(name, status or _judge(found), time.monotonic() - started, limit_s, found)


def command(name: str, device: str, limit_s: float, rows: Path) -> list[str]:
    """The process of one check."""
    options = ["--device", device, "--budget-s", str(limit_s), "--rows", str(rows)]
    return [sys.executable, str(Path(__file__).resolve()), *options, "--checks", name]


def end(process: subprocess.Popen[bytes]) -> None:
    """End what is left of a process and of all that it started: asked first, so that it can end its own."""
    until = time.monotonic() + _ENDING_S
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        while time.monotonic() < until:
            process.poll()  # else it stays in its group, though it has ended
            os.killpg(process.pid, 0)
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_line(log: Path, begin: int) -> str:
    lines = log.read_bytes()[begin:].decode(errors="replace").split("\n")
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "it said nothing")


def _judge(rows: Sequence[Mapping[str, Any]]) -> str:
    statuses = [row["status"] for row in rows]
    for status in (WRONG, RIGHT, MEASURED):
        if status in statuses:
            return status
    return NO_GPU if statuses else "failed: it found nothing"


def prove(names: Sequence[str], device: str, out: Path, budget_s: float, started: float) -> list[Outcome]:
    """Perform the checks as far as the time goes; ``started``: seconds since the epoch."""
    facts = _facts(device)
    outcomes: list[Outcome] = []
    for name in names:
        left_s = budget_s - (time.time() - started) - _RESERVE_S
        if left_s < _LEAST_S:
            outcomes.append(Outcome(name, NO_TIME))
        else:
            print(f"{name} …", end=" ", flush=True)
            limit_s = left_s - _ENDING_S
            if device == "cuda":  # a processor may be busy, and its sizes are small
                limit_s = min(limit_s, CHECKS[name][1])
            outcomes.append(perform(name, device, max(limit_s, 1.0), out / "gpu_proof.log"))
            print(f"{outcomes[-1].status}, {outcomes[-1].seconds:.0f} s", flush=True)
        write(outcomes, facts | {"seconds": round(time.time() - started, 1), "budget_s": budget_s}, out)
    return outcomes


def _facts(device: str) -> dict[str, Any]:
    described = asdict(environment.describe(torch.device(device)))
    for personal in ("host", "variables"):
        described.pop(personal)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"device": device, "started_at": now, "environment": described}


def write(outcomes: Sequence[Outcome], facts: Mapping[str, Any], out: Path) -> None:
    """``gpu_proof.json`` and ``gpu_proof.md``, each whole."""
    checks = [asdict(outcome) for outcome in outcomes]
    fsio.write_json(out / "gpu_proof.json", {**facts, "checks": checks})
    fsio.write_text(out / "gpu_proof.md", markdown(outcomes, facts))


def markdown(outcomes: Sequence[Outcome], facts: Mapping[str, Any]) -> str:
    """The table, with a sentence above it that says where it is from."""
    about = facts["environment"]
    where = about["hardware"]
    if about["gpu_capability"]:
        where += f" (SM {about['gpu_capability']}, {about['gpu_memory_gib']:.0f} GiB, CUDA {about['cuda']})"
    commit = (about["git_commit"] or f"sources {about['sources']}")[:20]
    changed = ", with changes" if about["git_dirty"] else ""
    lines = [
        f"{where}, torch {about['versions']['torch']}, commit {commit}{changed}, {facts['started_at'][:10]}, "
        f"{facts['seconds']:.0f} s: `scripts/gpu_proof.sh`.",
        "",
    ]
    if facts["device"] == "cpu":
        lines += ["**The CPU stood in, with small sizes: nothing here says anything about a GPU.**", ""]
    lines += ["| what | found | must be | |", "|---|---|---|---|"]
    for outcome in outcomes:
        lines.append(f"| **{outcome.name}** | {outcome.seconds:.0f} s | | **{_cell(outcome.status)}** |")
        for row in outcome.rows:
            lines.append(
                "| " + " | ".join(_cell(row[k]) for k in ("name", "words", "bound", "status")) + " |"
            )
    return "\n".join(lines) + "\n"


def _cell(words: str) -> str:
    return " ".join(words.replace("|", "\\|").split())


def main(arguments: Sequence[str] | None = None) -> int:
    """1 where something was wrong, failed or had no time; 2 where a GPU is asked for and there is none."""
    parser = argparse.ArgumentParser("gpu_proof.sh", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), default="cuda", help="cpu: stands in, small sizes"
    )
    parser.add_argument(
        "--budget-s", type=float, default=BUDGET_S, help="seconds for all of it (default: 540)"
    )
    parser.add_argument("--out", type=Path, default=Path("build/gpu_proof"), metavar="DIR")
    parser.add_argument("--checks", nargs="+", choices=CHECKS, default=list(CHECKS), metavar="CHECK")
    parser.add_argument("--started", type=float, default=time.time(), help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)  # this is the process of one check
    given = parser.parse_args(arguments)
    if given.device == "cuda" and not torch.cuda.is_available():
        print(
            f"--device is cuda, but torch {torch.__version__} must see a GPU for it; install a CUDA build "
            "(docs/gpu.md), or try --device cpu, which stands in with small sizes",
            file=sys.stderr,
        )
        return 2
    if given.rows is not None:
        device = (
            torch.device("cuda", torch.cuda.current_device())
            if given.device == "cuda"
            else torch.device("cpu")
        )
        CHECKS[given.checks[0]][0](Bench(device, time.monotonic() + given.budget_s, given.rows))
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the check at hand is ended first
    out = given.out.absolute()
    fsio.make_folder(out)
    outcomes = prove(given.checks, given.device, out, given.budget_s, given.started)
    left_out = sum(row["status"].startswith("not run") for outcome in outcomes for row in outcome.rows)
    bad = [f"{outcome.name} ({outcome.status})" for outcome in outcomes if not outcome.is_good]
    print(f"{out}/gpu_proof.md and .json; {left_out} rows not run; not good: {', '.join(bad) or 'nothing'}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
