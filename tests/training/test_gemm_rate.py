"""The peak of a CPU: the best that was ever measured, by whichever process, however busy the machine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import torch
from training_runs import run, tiny

from sweepkit.training import gemm_rate, throughput
from sweepkit.training.session import Session

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def new_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing measured yet, nothing kept."""
    monkeypatch.setattr(gemm_rate, "_folder", lambda: tmp_path / "gemm")
    monkeypatch.setattr(gemm_rate, "_measured", set())


def will_measure(monkeypatch: pytest.MonkeyPatch, rates: Sequence[float]) -> list[float]:
    """Have measurements come out as ``rates``; returns those that are still to come."""
    to_come = list(rates)
    monkeypatch.setattr(gemm_rate, "measure", lambda _: to_come.pop(0))
    return to_come


def test_it_is_a_rate_of_this_machine_with_its_time() -> None:
    """Not far below what a plain loop over another size reaches."""
    a = torch.randn(700, 700)
    started = time.perf_counter()
    for _ in range(20):
        a @ a
    plain = 20 * 2 * 700**3 / (time.perf_counter() - started)
    found = gemm_rate.best_known(torch.float32)
    assert plain / 100 < found.flops_per_s  # a busy machine may leave either a tenth of its time
    assert abs(datetime.fromisoformat(found.measured_at) - datetime.now(UTC)) < timedelta(minutes=10)
    assert gemm_rate.measure(torch.float16) > 0


def test_every_process_measures_once_and_the_highest_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []
    will_measure(monkeypatch, [2e10, 1e10, 3e10])
    for _ in range(3):
        kept += [gemm_rate.best_known(torch.float32).flops_per_s for _ in range(2)]
        monkeypatch.setattr(gemm_rate, "_measured", set())
    assert kept == [2e10, 2e10, 2e10, 2e10, 3e10, 3e10]


def test_a_long_process_learns_what_others_have_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    will_measure(monkeypatch, [1e10, 4e10])
    first = gemm_rate.best_known(torch.float32)
    with monkeypatch.context() as other:
        other.setattr(gemm_rate, "_measured", set())
        gemm_rate.best_known(torch.float32)
    assert (first.flops_per_s, gemm_rate.best_known(torch.float32).flops_per_s) == (1e10, 4e10)


def test_those_that_start_together_do_not_measure_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    at_work: list[int] = []

    def slow(_: torch.dtype) -> float:
        at_work.append(len(at_work))
        time.sleep(0.05)
        return 1e10 + at_work.pop()

    monkeypatch.setattr(gemm_rate, "measure", slow)
    with ThreadPoolExecutor(4) as pool:
        rates = list(pool.map(lambda _: gemm_rate.best_known(torch.float32), range(4)))
    assert {rate.flops_per_s for rate in rates} == {1e10}


def test_a_file_that_is_damaged_is_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    will_measure(monkeypatch, [1e10, 2e10])
    gemm_rate.best_known(torch.float32)
    (path,) = (tmp_path / "gemm").glob("*.json")
    path.write_text("{}")
    assert gemm_rate.best_known(torch.float32).flops_per_s == 2e10


def test_a_peak_that_a_run_exceeds_is_measured_again(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = will_measure(monkeypatch, [1e3, 1e14])
    record = run(session, tiny(), tmp_path)
    assert left == [] and record.resolved.peak_flops == 1e14
    assert 0 < record.results["mfu"] < 1
    assert datetime.fromisoformat(record.resolved.peak_flops_measured_at).tzinfo is not None


def test_a_peak_that_is_not_exceeded_or_not_measured_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    will_measure(monkeypatch, [])
    for peak in (throughput.Peak(1e12, "GEMM", "2026-01-01T00:00:00+00:00"), throughput.Peak(1e6, "maker")):
        use = throughput.Utilisation(1000, peak)
        assert throughput.plausible(use, 1e6, CPU, torch.float32) is use
