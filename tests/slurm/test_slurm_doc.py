"""docs/slurm.md: the cluster on one machine, as the page has it, from its start to its end."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from slurm_cluster import free_port, require_slurm

import children

ROOT = Path(__file__).parents[2]
SECTION = "## Without a cluster: one on this machine"
#: What the page needs done before: Debian's packages, the checkout, the installation.
BEFORE = ("apt-get ", "git clone ", "make ")

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("slurm 1")]


def lines() -> list[str]:
    text = (ROOT / "docs" / "slurm.md").read_text().partition(SECTION)[2].partition("\n## ")[0]
    return [line.partition("  #")[0].strip() for line in re.findall(r"^    (\S.*)$", text, re.MULTILINE)]


def test_what_comes_before_are_targets_of_make() -> None:
    targets = [word for line in lines() for word in re.findall(r"^make (\S+)", line)]
    assert targets == ["setup", "slurm-packages"]
    subprocess.run(["make", "-n", *targets], cwd=ROOT, check=True, capture_output=True)


def test_the_page_runs_as_written(tmp_path: Path, shared_cache: Path) -> None:
    require_slurm()
    written = [line for line in lines() if not line.startswith(BEFORE)]
    assert len(written) >= 9 and written[-1].endswith("stop --purge")
    (tmp_path / "sweepkit").write_text(f'#!/bin/sh\nexec {sys.executable} -m sweepkit "$@"\n')
    (tmp_path / "sweepkit").chmod(0o755)
    port = free_port()
    root = Path(f"/tmp/slurmdoc.{os.getuid()}.{port}")
    environment = os.environ | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "SLURMTEST_ROOT": str(root),
        "SLURMTEST_PORT": str(port),
        "SLURMTEST_ACCT": "none",  # MariaDB is started by the other tests
        "SLURMTEST_AUTH": "none",
        "SWEEPKIT_RESULTS_DIR": str(tmp_path / "results"),
        "SWEEPKIT_CACHE_DIR": str(shared_cache),
        "OMP_NUM_THREADS": "1",
    }
    ending = ["bash", str(ROOT / "tests" / "slurm" / "slurmtest"), "stop", "--purge"]
    with children.when_killed(ending, environment):
        script = "set -e\n" + "\n".join(f"echo '+++'\n{line}" for line in written)
        done = subprocess.run(
            ["bash", "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        subprocess.run(ending, env=environment, check=True, capture_output=True)
    assert done.returncode == 0, done.stderr + done.stdout
    said = dict(
        zip((line.partition(" --")[0] for line in written), done.stdout.split("+++")[1:], strict=True)
    )
    assert "up: 1 nodes" in done.stderr and " 1   idle n1" in said["sinfo"]
    assert "2 submitted" in done.stdout and "one_node" in said["squeue"]
    assert not root.exists()
