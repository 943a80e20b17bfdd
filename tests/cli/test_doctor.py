"""``sweepkit doctor``: facts, choices, checks, exit status."""

from __future__ import annotations

import json
import sys
import time

import pytest
import torch

from sweepkit.cli import doctor
from sweepkit.cli.main import main
from sweepkit.training import selfcheck

TINY = [
    "model=d2",
    "model.aspect_ratio=16",
    "model.head_dim=16",
    "tokenizer.vocab_size=300",
    "horizon.sequence_len=16",
    "horizon.num_steps=2",
    "horizon.device_batch_size=2",
    "horizon.total_batch_size=64",
    "trainer.device=cpu",
    "trainer=eager",
]


@pytest.fixture(autouse=True)
def cpu_without_override(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SWEEPKIT_DTYPE", raising=False)


@pytest.mark.slow
def test_says_what_would_be_used_and_checks_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")  # workers keep what the user has set
    overrides = ["precision=fp8", "trainer=eager", "trainer.device=cpu"]
    assert main(["doctor", "--format", "json", *overrides]) == 0
    found = json.loads(capsys.readouterr().out)
    choices = found["choices"]
    assert choices["dtype"] == "fp8 (precision.dtype=fp8)"
    assert choices["FP8"].startswith("emulated") and choices["attention"].startswith("sdpa")
    assert choices["threads"].startswith("7 for each of")
    assert choices["compile"] == "no (trainer.compile=false)"
    assert torch.__version__ in found["machine"]["versions"] and "free" in found["machine"]["disk, results"]
    assert {check["name"] for check in found["checks"]} >= {
        "attention banded",
        "FP8 linear, rowwise, emulated",
    }
    assert all(check["passed"] for check in found["checks"])
    assert found["steps"] == {}  # a CPU


def test_a_failed_check_is_shown_and_is_the_exit_status(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selfcheck, "_polar", lambda *_: 3.0)
    assert main(["doctor", "trainer=eager", "trainer.device=cpu"]) == 1
    text = capsys.readouterr().out
    assert "WRONG" in text and "not right here: Muon's orthogonalisation" in text
    assert text.count("right") >= 4


def test_prefetch_without_the_package_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "kernels", None)
    monkeypatch.setattr(selfcheck, "checks", lambda *_: iter(()))
    assert main(["doctor", "trainer.device=cpu"]) == 0
    assert main(["doctor", "--prefetch", "trainer.device=cpu"]) == 1
    assert "pip install 'sweepkit[cuda]'" in capsys.readouterr().out


#: As small, with every product in FP8.
SMALL = [*TINY, "precision.fp8.min_size=16"]


@pytest.mark.slow
def test_the_step_is_timed_as_it_will_be_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same code on the CPU and a tiny model; FP8 comes second where the device has it."""
    from rich.console import Console

    from sweepkit.precision import policy

    monkeypatch.setattr(policy, "native_fp8", lambda device: (True, "as if"))
    console = Console(quiet=True)
    monkeypatch.setattr(doctor, "_LIMIT_S", 1e9)  # however busy this machine is
    found, failed = doctor._time_steps(console, SMALL, torch.device("cpu"), time.perf_counter())
    assert failed == [] and len(found) == 2 and list(found)[1] == "d2 in fp8"
    assert all("tokens/s, 2 rows at once" in words for words in found.values())
    late = time.perf_counter() - 2 * doctor._LIMIT_S
    timed, left_out = doctor._time_steps(console, SMALL, torch.device("cpu"), late)[0].items()
    assert "tokens/s" in timed[1]
    assert left_out[0] == "d2 in fp8" and "not timed" in left_out[1]


@pytest.mark.parametrize(("flags", "dtype"), [("avx2 avx512_bf16", "bf16"), ("avx2", "fp32")])
def test_a_step_that_cannot_be_timed_is_a_failure(
    flags: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rich.console import Console

    from sweepkit.training import step_speed

    def broken(*_: object) -> None:
        raise RuntimeError("no kernel")

    monkeypatch.setattr(step_speed, "measure", broken)
    monkeypatch.setenv("SWEEPKIT_CPU_FLAGS", flags)
    started = time.perf_counter()
    speeds, failed = doctor._time_steps(Console(quiet=True), TINY, torch.device("cpu"), started)
    assert failed == [f"step of d2 in {dtype}"] and "RuntimeError: no kernel" in speeds[f"d2 in {dtype}"]


@pytest.mark.parametrize("flag", [[], ["--no-steps"]])
def test_steps_are_left_out_where_that_is_asked_for(
    flag: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a device that is said to be a GPU; what would look at it is replaced."""
    from sweepkit.cli import machine_facts
    from sweepkit.model import attend
    from sweepkit.training import device as devices

    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    choose = attend.choose
    monkeypatch.setattr(devices, "choose", lambda request: gpu)
    monkeypatch.setattr(attend, "choose", lambda request, device, *more: choose(request, cpu, *more))
    monkeypatch.setattr(machine_facts, "machine", lambda device: iter(()))
    monkeypatch.setattr(machine_facts, "choices", lambda *_: iter(()))
    monkeypatch.setattr(doctor, "_check", lambda *_: [])
    monkeypatch.setattr(doctor, "_time_steps", lambda *_: ({"d12": "timed"}, []))
    assert main(["doctor", "--format", "json", "precision=fp32", *flag]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == ({} if flag else {"d12": "timed"})
