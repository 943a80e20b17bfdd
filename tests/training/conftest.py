"""Real runs of a model so small that a step takes milliseconds; text and tokenizer are made once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from sweepkit.training.session import Session


@pytest.fixture(autouse=True)
def small_machine(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The shared cache, no wandb key, one thread: sums come out alike in every process."""
    monkeypatch.setenv("SWEEPKIT_CACHE_DIR", str(shared_cache))
    monkeypatch.setenv("NETRC", os.devnull)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("SWEEPKIT_DTYPE", raising=False)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """A session that does not leave its cache folder in the environment."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", os.environ["SWEEPKIT_CACHE_DIR"] + "/inductor")
    yield Session()
