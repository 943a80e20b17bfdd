"""The warning that a GPU is not busy: once, after a few steps, with what was measured."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from training_runs import folder, run, tiny

from sweepkit.training import low_mfu, throughput
from sweepkit.training.low_mfu import Causes, MfuWatch
from sweepkit.training.session import Session
from sweepkit.training.throughput import Peak, Utilisation

CUDA = torch.device("cuda")
NUM_STEPS = low_mfu.NUM_SKIPPED + low_mfu.NUM_MEASURED


def said(
    mfu: float, waiting: float = 0.0, device: torch.device = CUDA, others: float | None = None
) -> list[str]:
    """What is said in 100 steps of 1 s at ``mfu``; the first steps are far slower and must not count."""
    tokens = 1000
    watch = MfuWatch(Utilisation(5, Peak(5 * tokens / mfu, "X bf16")), tokens, device, True, rows=4)
    lines = []
    for step in range(100):
        slow = 50.0 if step < low_mfu.NUM_SKIPPED else 1.0
        lines.append(watch.after_step(slow, waiting, others))
        if lines[-1] is not None:
            assert step == NUM_STEPS - 1
    return [line for line in lines if line is not None]


@pytest.fixture(autouse=True)
def memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(low_mfu, "_memory_share", lambda device: 0.25)


def test_a_busy_gpu_and_a_cpu_are_left_alone() -> None:
    assert said(0.41) == []
    assert said(0.05, device=torch.device("cpu")) == []


def test_a_lazy_gpu_is_told_once_with_its_causes() -> None:
    (line,) = said(0.31, waiting=0.2)
    assert line.startswith("MFU 31.0% of X bf16, below 40%")
    assert "4 rows at once use 25% of the GPU's memory: raise horizon.device_batch_size" in line
    assert "20% of the time no batch was ready" in line and "ranks" not in line
    (line,) = said(0.31, others=0.3)
    assert "30% of the time goes into waiting for other ranks" in line and "no batch" not in line


def test_without_a_likely_cause_the_numbers_are_given() -> None:
    words = Causes(0.9, 0.001, 0.05, compiled=True, rows=32).in_words()
    assert words.startswith(
        "none of the usual causes (memory 90% used, 0.1% of the time waiting for data, 5%"
    )
    assert "not compiled" in Causes(0.9, 0.0, None, compiled=False, rows=32).in_words()


def test_a_run_says_it_once_and_records_it(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the CPU were a GPU with a thousand times its peak."""
    monkeypatch.setattr(low_mfu, "DEVICES", ("cpu",))
    monkeypatch.setattr(low_mfu, "NUM_SKIPPED", 2)
    monkeypatch.setattr(low_mfu, "NUM_MEASURED", 3)
    monkeypatch.setattr(throughput, "peak", lambda *_: Peak(1e15, "X fp32"))
    plan = tiny()
    record = run(session, plan, tmp_path)
    (note,) = record.resolved.notes
    assert "of X fp32, below 40%: the model is not compiled; 8 rows at once use 25%" in note
    assert folder(plan, tmp_path).log_path.read_text().count("below 40%") == 1
