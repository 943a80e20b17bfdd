"""A real Slurm cluster on this machine (``slurmtest``), and somebody who runs sweepkit on its login node."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import children
from sweepkit.results import store

SCRIPT = Path(__file__).with_name("slurmtest")
#: What a CPU task of the tests asks for: two of the machine's cores at a time in all.
LAUNCHER = (
    "launcher=slurm",
    "launcher.slurm.gpus=0",
    "launcher.slurm.cpus=1",
    "launcher.slurm.mem_gib=4",
    "launcher.slurm.time_min=30",
    "launcher.slurm.max_parallel=2",
    "launcher.slurm.signal_delay_s=30",
)


class Cluster:
    """The cluster's controls, and sweepkit as one of its users."""

    def __init__(self, root: Path, port: int, accounting: bool, extra: str) -> None:
        self.settings = {
            "SLURMTEST_ROOT": str(root),
            "SLURMTEST_PORT": str(port),
            "SLURMTEST_ACCT": "dbd" if accounting else "none",
            "SLURMTEST_AUTH": "munge" if accounting else "none",
            "SLURMTEST_EXTRA": extra,
        }
        self.environment = {
            "PATH": f"{os.environ['PATH']}:/usr/sbin",
            "SLURM_CONF": str(root / "etc" / "slurm.conf"),
        }

    def control(self, *args: str) -> None:
        environment = os.environ | self.settings
        subprocess.run(["bash", str(SCRIPT), *args], check=True, env=environment, stdin=subprocess.DEVNULL)

    def run(self, *args: str, check: bool = True) -> str:
        """What a command of Slurm's printed."""
        environment = os.environ | self.environment
        done = subprocess.run(args, env=environment, capture_output=True, text=True, check=False, timeout=600)
        assert not check or done.returncode == 0, f"{' '.join(args)}: {done.stderr}{done.stdout}"
        return done.stdout.strip()

    def queue(self) -> list[str]:
        return self.run("squeue", "-h", "-r", "-o", "%i|%j|%T").splitlines()

    def release(self) -> bool:
        """Have requeued jobs start now: Slurm holds them back for a while. False where the queue is empty."""
        lines = self.run("squeue", "-h", "-r", "-o", "%A|%T|%r").splitlines()
        for line in lines:
            job_id, state, reason = line.split("|")
            if state == "PENDING" and reason in ("BeginTime", "None"):
                self.run("scontrol", "update", f"JobId={job_id}", "StartTime=now", check=False)
        return bool(lines)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Jobs are taken and none is started: however long it takes, what was submitted is still queued."""
        self.run("scontrol", "update", "PartitionName=main", "State=DOWN")
        try:
            yield
        finally:
            self.run("scontrol", "update", "PartitionName=main", "State=UP")

    def wait_for(self, what: str, holds: Callable[[], bool] | None = None, timeout_s: float = 900.0) -> None:
        """Until ``holds``; left out: until the queue is empty."""
        until = time.monotonic() + timeout_s
        while True:
            has_jobs = self.release()
            if not has_jobs if holds is None else holds():
                return
            assert time.monotonic() < until, f"waited {timeout_s} s for {what}; queue: {self.queue()}"
            time.sleep(0.3)

    def wait_until_idle(self) -> None:
        self.wait_for("the queue to be empty")


class User:
    """Somebody who runs sweepkit on the login node, in a folder of their own."""

    def __init__(self, cluster: Cluster, folder: Path, cache: Path) -> None:
        self.cluster, self.folder = cluster, folder
        self.results = folder / "results"
        kept = {key: os.environ[key] for key in ("LANG",) if key in os.environ}
        self.environment = (
            kept
            | cluster.environment
            | {
                "HOME": str(folder / "home"),
                "SWEEPKIT_CACHE_DIR": str(cache),
                "SWEEPKIT_RESULTS_DIR": str(self.results),
                "OMP_NUM_THREADS": "1",
            }
        )

    def sweepkit(
        self,
        *args: str,
        check: bool = True,
        results: Path | None = None,
        extra: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        environment = self.environment | dict(extra or {})
        if results is not None:
            environment["SWEEPKIT_RESULTS_DIR"] = str(results)
        done = subprocess.run(
            [sys.executable, "-m", "sweepkit", *args],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=6000,
            check=False,
        )
        assert not check or done.returncode == 0, done.stderr + done.stdout
        return done

    def meanwhile(self, *args: str, results: Path) -> Future[subprocess.CompletedProcess[str]]:
        """``sweepkit`` beside whatever the cluster is doing; its ``result()`` waits."""
        pool = ThreadPoolExecutor(1)
        try:
            return pool.submit(self.sweepkit, *args, results=results)
        finally:
            pool.shutdown(wait=False)

    def python(self, code: str) -> str:
        """What a line of Python prints where sweepkit can be imported."""
        command = [sys.executable, "-c", code]
        return subprocess.check_output(command, env=self.environment, text=True, timeout=600).strip()

    def table(self, sweep: str, results: Path | None = None) -> list[dict[str, Any]]:
        """The runs table without clocks, by run id."""
        names = ["run_id", "variant", "rung", "seed", "state", "failure_class", "step", "val_bpb"]
        rows = store.load(sweep, results or self.results)[names].astype(object)
        return rows.where(rows.notna(), None).sort_values("run_id").to_dict("records")

    def status(self, sweep: str) -> dict[str, Any]:
        (found,) = json.loads(self.sweepkit("status", sweep, "--format", "json").stdout)
        return dict(found)

    def states(self, sweep: str) -> dict[str, str]:
        return {run["run_id"]: run["state"] for run in self.status(sweep)["runs"]}

    def steps(self) -> dict[str, int]:
        """The last step that each run has logged, read from its metrics."""
        found = {}
        for path in self.results.glob("runs/*/metrics.jsonl"):
            lines = path.read_text().splitlines()
            with contextlib.suppress(IndexError, ValueError, KeyError):
                found[path.parent.name] = int(json.loads(lines[-1])["step"])
        return found

    def wait_for_step(self, step: int) -> None:
        self.cluster.wait_for(f"step {step}", lambda: max(self.steps().values(), default=0) >= step)

    def attempts(self) -> dict[str, int]:
        return {path.name: len(list(path.glob("attempts/*.json"))) for path in self.results.glob("runs/*")}

    def submissions(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in self.results.glob(".slurm/jobs/*.json")]


def fake_sbatch(folder: Path, script: str) -> dict[str, str]:
    """An sbatch before the real one on PATH, that does something the first time it is called."""
    path = folder / "bin" / "sbatch"
    path.parent.mkdir()
    path.write_text(
        f"#!/bin/bash\nPATH=${{PATH#*:}}\nif mkdir {folder}/called 2>/dev/null; then\n{script}\n"
        'else exec sbatch "$@"; fi\n'
    )
    path.chmod(0o755)
    return {"PATH": f"{path.parent}:{os.environ['PATH']}:/usr/sbin"}


def require_slurm() -> None:
    """Without Slurm on the machine these tests cannot run: loud here, and a failure in CI."""
    if shutil.which("slurmctld", path=f"{os.environ['PATH']}:/usr/sbin"):
        return
    if os.environ.get("CI"):
        pytest.fail("Slurm is not installed: make slurm-packages")
    pytest.skip("Slurm is not installed: make slurm-packages (as root) installs it")


def free_port() -> int:
    """The first of a cluster's ports; for each process another one where to begin to look."""
    for place in range(100):
        first = 16800 + 20 * ((os.getpid() + place) % 100)
        if not any(_is_taken(first + offset) for offset in range(20)):
            return first
    raise AssertionError("no 20 free ports in a row from 16800 to 18800")


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def running_cluster(accounting: bool = True, extra: str = "") -> Iterator[Cluster]:
    """A cluster with ports of its own: other kinds of it, test workers and checkouts may have theirs.

    Args:
        extra: lines for slurm.conf.
    """
    require_slurm()
    with SCRIPT.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two that start at once would take the same ports
        port = free_port()
        root = Path(f"/tmp/slurmtest.{os.getuid()}.{os.getpid()}.{port}")
        cluster = Cluster(root, port, accounting, extra)
        ending = ["bash", str(SCRIPT), "stop", "--purge"]
        with contextlib.ExitStack() as ends:
            ends.enter_context(children.when_killed(ending, os.environ | cluster.settings))
            ends.callback(cluster.control, "stop", "--purge")
            cluster.control("start")
            lasting = ends.pop_all()
    with lasting:
        yield cluster
    assert not root.exists()
