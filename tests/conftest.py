"""Every test gets its own results folder; those that train share one cache of text and compiled code."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
from hypothesis import settings

import sample
from sweepkit.launch import machine

machine.spin_briefly()  # several tests share a core
sample.seed()  # before pytest-xdist starts its workers, which inherit it
# A busy machine takes as long as it takes; a slow example is no wrong one.
settings.register_profile("sweepkit", deadline=None)
settings.load_profile("sweepkit")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--slow-one-in",
        metavar="N",
        type=int,
        default=1,
        help="of the tests marked slow run one in N, drawn by the seed of generated cases; default: all",
    )


def pytest_report_header(config: pytest.Config) -> str:
    """How to draw the same generated cases and slow tests again (``sample.py``)."""
    if sample.is_full():
        return "generated cases and slow tests: all of them"
    n = config.getoption("--slow-one-in")
    slow = f"one in {n}" if n > 1 else "all"
    return f"generated cases: a sample; slow tests: {slow}; {sample.SEED_VARIABLE}={sample.seed()}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Slow tests first, those that are drawn: what is left for the end is short, and all workers share it."""
    slow = [item for item in items if item.get_closest_marker("slow")]
    drawn = sample.one_in(slow, config.getoption("--slow-one-in"))
    left_out, others = set(slow) - set(drawn), set(items) - set(slow)
    config.hook.pytest_deselected(items=[item for item in slow if item in left_out])
    items[:] = [*drawn, *(item for item in items if item in others)]


def pytest_collection_finish() -> None:
    """All tests and what they import stay: no collection of garbage, two a training run, walks them again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all workers of a test run: the corpus is tokenized once."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "training-cache"


@pytest.fixture(autouse=True)
def own_results_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point sweepkit at a fresh results folder."""
    folder = tmp_path / "results"
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(folder))
    return folder


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are as wide as in a pipe, whatever the developer's terminal is."""
    monkeypatch.delenv("COLUMNS", raising=False)
