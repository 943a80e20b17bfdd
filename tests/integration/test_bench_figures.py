"""The benchmark's verdict: a change of 10% shows in rounds as noisy as those of a busy machine."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "bench_figures.py"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_figures", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_ten_percent_shows_and_chance_does_not(bench: ModuleType, higher_is_better: bool) -> None:
    """25 rounds with a standard deviation of 5%, as often as 200 times."""
    rng = np.random.default_rng(0)
    slower = 1 / 1.1 if higher_is_better else 1.1

    def figure(factor: float) -> object:
        rounds = 0.5 * factor * (1 + 0.05 * rng.standard_normal(25))
        return bench.of_rounds("share", rounds.tolist(), higher_is_better=higher_is_better)

    found = [bench.worse_by(figure(slower), figure(1.0)) for _ in range(200)]
    false = [bench.worse_by(figure(1.0), figure(1.0)) for _ in range(200)]
    better = [bench.worse_by(figure(1 / slower), figure(1.0)) for _ in range(200)]
    assert sum(loss is not None for loss in found) > 180
    assert sum(loss is not None for loss in false) <= 2
    assert all(loss is None for loss in better)


def test_targets(bench: ModuleType) -> None:
    assert bench.Figure("a", 0.5, target=0.45, higher_is_better=True).meets_target
    assert not bench.Figure("a", 0.4, target=0.45, higher_is_better=True).meets_target
    assert not bench.Figure("a", 1.2, target=1.1).meets_target
    assert bench.Figure("a", 1.2).meets_target
