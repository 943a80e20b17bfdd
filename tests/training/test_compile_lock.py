"""Of two processes that would compile the same shape, one waits for the other."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from sweepkit.config import sources
from sweepkit.training.compile_lock import compiling, use_folder
from sweepkit.training.engine import EngineKey
from sweepkit.training.failure import Stopped

KEY = EngineKey("abc", torch.device("cpu"), torch.float32, 1, True)


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))


def test_the_second_waits_until_the_first_is_done_and_the_third_not_at_all() -> None:
    order: list[str] = []
    inside = threading.Event()

    def second() -> None:
        inside.wait()
        with compiling(KEY, lambda: False):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with compiling(KEY, lambda: False):
        inside.set()
        thread.join(0.5)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    with compiling(KEY, lambda: False), compiling(KEY, lambda: pytest.fail("waited")):
        pass


def test_one_that_is_asked_to_stop_does_not_wait() -> None:
    with compiling(KEY, lambda: False), pytest.raises(Stopped), compiling(KEY, lambda: True):
        pass


def test_a_compile_that_failed_leaves_the_right_to_the_next() -> None:
    with pytest.raises(RuntimeError), compiling(KEY, lambda: False):
        raise RuntimeError
    with compiling(KEY, lambda: pytest.fail("waited")):
        pass


def test_eager_runs_and_other_shapes_do_not_wait() -> None:
    eager = EngineKey("abc", torch.device("cpu"), torch.float32, 1, False)
    other = EngineKey("def", torch.device("cpu"), torch.float32, 1, True)
    with compiling(KEY, lambda: False):
        for key in (eager, other):
            with compiling(key, lambda: pytest.fail("waited")):
                pass


@pytest.mark.slow
def test_all_that_is_compiled_is_kept_in_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a new process: torch chooses a folder as its compiler is imported, if none is set."""
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    monkeypatch.setenv("SWEEPKIT_CACHE_DIR", str(tmp_path))
    told = "from torch._inductor import codecache; print(codecache.cache_dir(), codecache._HEADER_DIR)"
    program = f"from sweepkit.training import compile_lock; compile_lock.keep_headers(); {told}"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    own = tmp_path / "inductor" / torch.backends.cpu.get_cpu_capability().lower() / sources.digest()
    assert done.stdout.split() == [str(own), str(own / "precompiled_headers")]


def test_every_instruction_set_has_compiled_code_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEPKIT_CACHE_DIR", str(tmp_path))
    folders = []
    for capability in ("AVX2", "AVX512"):
        monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda found=capability: found)
        folders.append(use_folder())
    assert folders == [tmp_path / "inductor" / name / sources.digest() for name in ("avx2", "avx512")]
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "elsewhere"))
    assert use_folder() == tmp_path / "elsewhere"
