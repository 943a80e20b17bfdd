"""The GPU proof with the CPU standing in: nothing passes silently, a bad check costs the others nothing."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import children
from sweepkit import sealed
from sweepkit.config.choices import AttentionBackend, Dtype, Fp8Scaling
from sweepkit.config.schema import RunConfig
from sweepkit.plan.build import build
from sweepkit.plan.run_plan import RunPlan
from sweepkit.precision.policy import Precision
from sweepkit.training.engine import EngineKey
from sweepkit.training.step_speed import StepSpeed
from sweepkit.training.throughput import Peak, Utilisation

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "scripts"
FACTS: dict[str, Any] = {
    "device": "cuda",
    "started_at": "2026-01-02T03:04:05+00:00",
    "seconds": 7.0,
    "environment": {
        "hardware": "NVIDIA H100",
        "gpu_capability": "9.0",
        "gpu_memory_gib": 79.6,
        "cuda": "13.0",
        "git_commit": "a" * 40,
        "git_dirty": False,
        "versions": {"torch": "2.11.0"},
    },
}


@pytest.fixture
def proof(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("gpu_proof")


def standing_in(proof: ModuleType, monkeypatch: pytest.MonkeyPatch, programs: dict[str, str]) -> list[str]:
    """Each check is the Python program of its name, which is given the file for its rows."""

    def command(name: str, device: str, limit_s: float, rows: Path) -> list[str]:
        return [sys.executable, "-c", programs[name], str(rows)]

    monkeypatch.setattr(proof, "command", command)
    monkeypatch.setattr(proof, "CHECKS", dict.fromkeys(programs, (None, 600.0)))
    return list(programs)


def row(status: str) -> str:
    """A program that leaves one row."""
    found = {"name": "a|b", "words": "1", "bound": "", "status": status, "numbers": {"error": 1.0}}
    return f"import sys; open(sys.argv[1], 'wb').write({sealed.line(found)!r}); "


def test_what_fails_hangs_or_finds_nothing_is_written_down_and_the_next_goes_on(
    proof: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = standing_in(
        proof,
        monkeypatch,
        {
            "raises": row("right") + "raise RuntimeError('no kernel')",
            "dies": "import os; os.abort()",
            "silent": "pass",
            "wrong": row("wrong"),
            "good": row("right"),
            "elsewhere": row("not run: no GPU"),
        },
    )
    outcomes = proof.prove(names, "cpu", tmp_path, 3600.0, time.time())
    assert [outcome.status for outcome in outcomes] == [
        "failed, exit status 1: RuntimeError: no kernel",
        "failed, exit status -6: it said nothing",
        "failed: it found nothing",
        "wrong",
        "right",
        "not run: no GPU",
    ]
    assert [outcome.is_good for outcome in outcomes] == [False] * 4 + [True] * 2
    assert len(outcomes[0].rows) == 1, "what a check had found when it failed is kept"
    written = json.loads((tmp_path / "gpu_proof.json").read_text())
    assert [check["name"] for check in written["checks"]] == names
    assert not {"host", "variables"} & written["environment"].keys()
    assert "no kernel" in (tmp_path / "gpu_proof.log").read_text()


def test_what_hangs_is_ended_with_all_that_it_started(
    proof: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    hangs = (
        row("measured") + "import subprocess, time; child = subprocess.Popen(['sleep', '600']); "
        f"open({str(pid)!r}, 'w').write(str(child.pid)); time.sleep(600)"
    )
    standing_in(proof, monkeypatch, {"hangs": hangs})

    def wait(process: subprocess.Popen[bytes], limit_s: float | None = None) -> int:
        """As if the limit had passed once the check had begun to hang, however busy this machine is."""
        if limit_s is None:
            return waiting(process)
        while not (pid.exists() and pid.read_text()):
            time.sleep(0.02)
        raise subprocess.TimeoutExpired("a check", limit_s)

    waiting = subprocess.Popen.wait
    monkeypatch.setattr(subprocess.Popen, "wait", wait)
    outcome = proof.perform("hangs", "cpu", 30.0, tmp_path / "log")
    assert (outcome.status, len(outcome.rows), outcome.is_good) == ("cut off after 30 s", 1, False)
    stat = Path(f"/proc/{pid.read_text()}/stat")
    assert not stat.exists() or stat.read_text().split()[2] == "Z"


def test_what_has_no_time_left_is_said_so_after_each_check(
    proof: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = standing_in(proof, monkeypatch, {"first": "", "second": ""})
    outcomes = proof.prove(names, "cpu", tmp_path, 540.0, time.time() - 535.0)
    assert [outcome.status for outcome in outcomes] == ["not run: time was up"] * 2
    assert not any(outcome.is_good for outcome in outcomes)
    assert "| **second** | 0 s | | **not run: time was up** |" in (tmp_path / "gpu_proof.md").read_text()


def test_the_table_says_where_it_is_from_and_whether_the_cpu_stood_in(proof: ModuleType) -> None:
    rows = [{"name": "a|b", "words": "two\nlines", "bound": "at most 1", "status": "right"}]
    text = proof.markdown([proof.Outcome("fp8", "right", 3.4, 70.0, rows)], FACTS)
    head = (
        "NVIDIA H100 (SM 9.0, 80 GiB, CUDA 13.0), torch 2.11.0, commit aaaaaaaaaaaaaaaaaaaa, 2026-01-02, 7 s"
    )
    assert text.startswith(head) and "stood in" not in text
    assert text.endswith("| **fp8** | 3 s | | **right** |\n| a\\|b | two lines | at most 1 | right |\n")
    assert "The CPU stood in" in proof.markdown([], FACTS | {"device": "cpu"})


def test_without_a_gpu_it_says_what_to_do(
    proof: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert proof.main([]) == 2
    assert "--device cpu" in capsys.readouterr().err


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.2])
def test_what_is_no_number_is_above_every_limit_and_missing_as_a_number(
    proof: ModuleType, value: float, tmp_path: Path
) -> None:
    bench = proof.Bench(torch.device("cpu"), time.monotonic(), tmp_path / "rows")
    bench.error("an error", value, 0.1)
    bench.error("none", 0.1, 0.1)
    bad, good = map(json.loads, (tmp_path / "rows").read_text().splitlines())
    assert (bad["status"], good["status"]) == ("wrong", "right")
    assert bad["numbers"]["error"] == (value if value == 0.2 else None)


@pytest.mark.slow
def test_kernels_and_precisions_are_compared_here_and_what_takes_a_gpu_is_not_run(
    proof: ModuleType, tmp_path: Path
) -> None:
    for name in ("attention", "fp16", "fp8"):
        proof.CHECKS[name][0](proof.Bench(torch.device("cpu"), time.monotonic(), tmp_path / name))
    found = {
        name: [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
        for name in ("attention", "fp16", "fp8")
    }
    status = {row["name"]: row["status"] for rows in found.values() for row in rows}
    left_out = {name for name, what in status.items() if what == "not run: no GPU"}
    assert left_out == {"flash3", "FP8 native, eager and compiled"}
    assert {what for name, what in status.items() if name not in left_out} == {"right"}, status
    assert {"banded, window 64", "sdpa, no window", "fp16: an overflowing step"} <= status.keys()
    assert "d2 in FP8, rowwise: gradients against bf16" in status


def test_a_mask_that_is_one_too_wide_and_a_skip_that_is_none_are_found(
    proof: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from sweepkit.model import attend
    from sweepkit.precision.loss_scaler import LossScaler

    right, unscale = attend._causal, LossScaler.unscale
    monkeypatch.setattr(
        attend,
        "_causal",
        lambda q, k, v: right(q, k, v.roll(1, 2)) if q.dtype is torch.bfloat16 else right(q, k, v),
    )
    monkeypatch.setattr(LossScaler, "unscale", lambda self, gradients: unscale(self, gradients) or True)
    for name in ("attention", "fp16"):
        proof.CHECKS[name][0](proof.Bench(torch.device("cpu"), time.monotonic(), tmp_path / name))
    wrong = {
        row["name"]
        for name in ("attention", "fp16")
        for row in map(json.loads, (tmp_path / name).read_text().splitlines())
        if row["status"] == "wrong"
    }
    assert {"sdpa, no window", "banded, window 64", "fp16: an overflowing step"} <= wrong


def test_steps_on_a_gpu_are_timed_one_by_one_and_not_twice(
    proof: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What times a step is replaced: FP8 is twice as fast, rowwise fails, and auto is the banded kernel."""
    runs = proof.gpu_runs

    def prepare(config: RunConfig, device: torch.device) -> tuple[RunPlan, EngineKey, Precision]:
        plan, dtype = build(config), config.precision.dtype
        auto = config.trainer.attention is AttentionBackend.auto
        kernel = AttentionBackend.banded if auto else config.trainer.attention
        key = EngineKey(plan.compile_key, device, torch.bfloat16, 1, True, None, kernel)
        return plan, key, Precision(dtype, torch.bfloat16, "as asked")

    def measure(plan: RunPlan, key: EngineKey, used: Utilisation) -> StepSpeed:
        rule = plan.config.precision
        if rule.fp8.scaling is Fp8Scaling.rowwise:
            raise RuntimeError("no kernel\nfor it")
        rate = 200.0 if rule.dtype is Dtype.fp8 else 100.0
        return StepSpeed(8, 1.0, 2.0, rate, 30.0, used.mfu(rate), used.shown(rate))

    def utilisation(plan: RunPlan, *_: object) -> Utilisation:
        return Utilisation(1, Peak(250.0, "a peak"))

    monkeypatch.setattr(runs.step_speed, "prepare", prepare)
    monkeypatch.setattr(runs.step_speed, "measure", measure)
    monkeypatch.setattr(runs.throughput, "utilisation", utilisation)
    runs.steps(proof.Bench(torch.device("cuda"), time.monotonic() + 1e6, tmp_path / "rows"))
    rows = {row["name"]: row for row in map(json.loads, (tmp_path / "rows").read_text().splitlines())}
    assert rows["d12 in bf16: MFU"]["status"] == "right" and rows["d12 in bf16"]["numbers"]["mfu"] == 0.4
    assert "(2.00× the first)" in rows["d12 in FP8, tensorwise"]["words"]
    assert rows["d12 in FP8, tensorwise: MFU"]["status"] == "measured"
    failed = rows["d12 in FP8, rowwise"]
    assert (failed["status"], failed["words"]) == ("wrong", "RuntimeError: no kernel")
    assert rows["d12 in bf16, attention=banded"]["words"] == "is what runs anyway (banded)"
    assert "sdpa, 30.00 GiB (23.22 estimated)" in rows["d12 in bf16, attention=sdpa"]["words"]


@pytest.mark.slow
def test_the_script_runs_with_the_cpu_standing_in(environment: dict[str, str], tmp_path: Path) -> None:
    """One check that needs no training and one that cannot be had here, from any folder, without wheels."""
    done = children.run(
        [
            str(SCRIPTS / "gpu_proof.sh"),
            "--device",
            "cpu",
            "--budget-s",
            "3000",
            "--out",
            "found",
            "--checks",
            "fp16",
        ],
        cwd=tmp_path,
        env=environment | {"PYTHON": sys.executable, "WHEELS": str(tmp_path / "none")},
        timeout=600,
    )
    assert done.returncode == 0, done.stderr + (tmp_path / "found" / "gpu_proof.log").read_text()
    written = json.loads((tmp_path / "found" / "gpu_proof.json").read_text())
    (check,) = written["checks"]
    assert check["status"] == "right" and len(check["rows"]) == 3
    assert "fp16: an overflowing step" in (tmp_path / "found" / "gpu_proof.md").read_text()


def wheels(tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """``gpu_wheels.sh`` with a pip that makes wheels of 3 MiB instead of downloading any."""
    pip = tmp_path / "python"
    pip.write_text(
        f"""#!/bin/bash
if [ "$1" = - ]; then exec {sys.executable} "$@"; fi
while [ $# -gt 0 ]; do
    case $1 in --dest|--wheel-dir) folder=$2 ;; esac
    shift
done
for name in numpy-2.4 markdown_it_py-4.3 pip-26; do
    head -c 3145728 /dev/zero > "$folder/$name-py3-none-any.whl"
done
"""
    )
    pip.chmod(0o755)
    environment = os.environ | {"PYTHON": str(pip), "WHEELS": str(tmp_path / "wheels")}
    return subprocess.run(
        [str(SCRIPTS / "gpu_wheels.sh"), *options],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )


def test_wheels_are_collected_without_torch_and_without_what_is_there(tmp_path: Path) -> None:
    done = wheels(tmp_path, "--there", "numpy,markdown-it-py", "--most-mib", "1000")
    assert done.returncode == 0, done.stderr
    assert "1 wheels for Python 3.12" in done.stdout
    assert {path.name for path in (tmp_path / "wheels").glob("*.whl")} == {"pip-26-py3-none-any.whl"}
    needed = (tmp_path / "wheels" / "requirements.txt").read_text().splitlines()
    assert "hydra-core>=1.3.2,<1.5" in needed and "numpy>=2.0" in needed
    assert not any(line.startswith(("torch", "wandb")) for line in needed)


def test_too_many_wheels_are_refused_with_the_largest_named(tmp_path: Path) -> None:
    done = wheels(tmp_path, "--most-mib", "9")
    assert done.returncode == 1
    assert (
        "must have less than 9" in done.stderr and "3145728 bytes  numpy-2.4-py3-none-any.whl" in done.stderr
    )
    assert "--most is no option" in wheels(tmp_path, "--most", "9").stderr
