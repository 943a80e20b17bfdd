"""Batch, steps, learning rates and weight decay against the published tables and by hand."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest

from sweepkit.config.compose import compose
from sweepkit.errors import ConfigError
from sweepkit.plan.build import build
from sweepkit.plan.roles import ROLES
from sweepkit.plan.run_plan import RunPlan

HERE = Path(__file__).parents[2] / "docs" / "reference"


def plan(*overrides: str) -> RunPlan:
    return build(compose(overrides))


def table(name: str) -> list[dict[str, str]]:
    with (HERE / name).open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("row", table("auto_batch.csv"))
def test_automatic_batch_of_every_published_depth(row: dict[str, str]) -> None:
    low, high = float(row["target_tokens_min"]), float(row["target_tokens_max"])
    step = 2  # the published range holds even depths
    for depth in range(int(row["depth_min"]), int(row["depth_max"]) + 1, step):
        found = plan(f"model.depth={depth}", "horizon.target_param_data_ratio=10.5")
        assert found.total_batch_size == int(row["total_batch_size"])
        assert (
            low <= float(f"{found.target_tokens:.2g}") <= high
            or low * 0.99 <= found.target_tokens <= high * 1.01
        )


@pytest.mark.parametrize(("depth", "decay"), [(8, 0.408), (12, 0.220), (16, 0.103), (20, 0.079)])
def test_weight_decay_rule(depth: int, decay: float) -> None:
    """λ_ref = 0.22 at ratio 10.5 gives the published row; the measured optimum is near."""
    found = plan(
        f"model=d{depth}", "optimizer.matrix.weight_decay=0.22", "horizon.target_param_data_ratio=10.5"
    )
    assert round(found.weight_decay, 3) == decay
    optimum = {
        int(row["depth"]): float(row["optimal_weight_decay"]) for row in table("weight_decay_optimum.csv")
    }
    assert found.weight_decay == pytest.approx(optimum[depth], rel=0.05)


def test_weight_decay_by_hand() -> None:
    d12, d20 = plan("model=d12"), plan("model=d20")
    assert d12.weight_decay == 0.28
    assert d20.weight_decay == pytest.approx(
        0.28 * math.sqrt(2**20 / 2**19) * d12.transfer_tokens / d20.transfer_tokens
    )
    others = {name: value for name, value in d20.weight_decays.items() if name != "matrix"}
    assert others == {
        "embedding": 0.001,
        "unembedding": 0.01,
        "value_embedding": 0.01,
        "resid": 0.05,
        "x0": 0.0,
        "smear": 0.0,
    }


def test_learning_rates_by_hand() -> None:
    assert plan("model=d12").learning_rates == pytest.approx(
        {
            "matrix": 0.02,
            "embedding": 0.3,
            "unembedding": 0.008,
            "value_embedding": 0.15,
            "resid": 0.005,
            "x0": 0.5,
            "smear": 0.2,
        }
    )
    width, batch = (1280 / 768) ** -0.5, math.sqrt(2)
    assert plan("model=d20").learning_rates == pytest.approx(
        {
            "matrix": 0.02 * batch,
            "embedding": 0.3 * width * batch,
            "unembedding": 0.008 * width * batch,
            "value_embedding": 0.15 * width * batch,
            "resid": 0.005 * batch,
            "x0": 0.5 * batch,
            "smear": 0.2,
        }
    )
    assert set(plan().learning_rates) == set(ROLES) - {"bigram"}
    everything = plan("model.bigram.table_ratio=5")
    assert set(everything.learning_rates) == set(everything.weight_decays) == set(ROLES)


def test_steps_from_the_ratio() -> None:
    found = plan("model=d12")
    assert found.target_tokens == found.transfer_tokens == 12 * (84_935_088 + 25_165_824)
    assert found.num_steps == found.target_tokens // 2**19
    assert found.total_tokens == found.num_steps * 2**19
    assert found.total_flops == found.total_tokens * found.flops_per_token


def test_other_lengths_leave_batch_rates_and_decay_alone() -> None:
    by_ratio = plan("model=d20")
    for override, steps in (
        ("horizon.num_steps=77", 77),
        ("horizon.target_tokens=1000000000", 10**9 // 2**20),
        ("horizon.target_flops=1e18", round(1e18 / (by_ratio.flops_per_token * 2**20))),
    ):
        found = plan("model=d20", override)
        assert found.num_steps == steps
        assert found.total_batch_size == by_ratio.total_batch_size
        assert found.learning_rates == by_ratio.learning_rates
        assert found.weight_decays == by_ratio.weight_decays
        assert found.transfer_tokens == by_ratio.transfer_tokens
    assert plan("model=d20", "horizon.target_tokens=1000000000").target_tokens == 10**9
    assert plan("model=d20", "horizon.num_steps=77").target_tokens == by_ratio.target_tokens


def test_given_batch_scales_rates_and_decay() -> None:
    found = plan("horizon.total_batch_size=131072")
    assert found.learning_rates["matrix"] == pytest.approx(0.02 / 2)
    assert found.learning_rates["smear"] == 0.2
    assert found.weight_decay == pytest.approx(0.28 / 2)


def test_reference_follows_the_counting() -> None:
    """D_ref is counted like D, so that the reference depth is its own reference under any counting."""
    for count in ("kaplan", "chinchilla", "transformer_only"):
        found = plan(f"horizon.count={count}")
        assert (found.total_batch_size, found.weight_decay) == (2**19, 0.28)


def test_small_batches_take_fewer_rows_at_a_time() -> None:
    found = plan("experiment=mini", "model=d2", "horizon.device_batch_size=64")
    assert found.device_batch_size * found.sequence_len == found.total_batch_size == 2048


def test_schedules_in_steps() -> None:
    found = plan()
    assert (found.warmup_steps, found.momentum_warmup_steps) == (40, 400)
    assert found.warmdown_steps == round(0.65 * found.num_steps)
    assert plan("horizon.num_steps=10").warmup_steps == 40  # a smoke test may end before
    mini = plan("experiment=mini", "horizon.num_steps=200")
    assert (mini.warmup_steps, mini.momentum_warmup_steps) == (20, 40)


@pytest.mark.parametrize("num_steps", [1, 2, 7, 24, 49, 50])
def test_a_fraction_of_a_short_run_is_a_step_at_least(num_steps: int) -> None:
    """2% of 24 steps used to come out as no warm-up."""
    found = plan(
        "schedule=short",
        "schedule.momentum_warmup_ratio=0.001",
        f"horizon.num_steps={num_steps}",
    )
    assert (found.warmup_steps, found.momentum_warmup_steps) == (1, 1)
    without = plan("schedule=short", "schedule.warmup_ratio=0", f"horizon.num_steps={num_steps}")
    assert without.warmup_steps == 0


@pytest.mark.parametrize("depth", [2, 4, 6])
def test_mini_ladder_is_sensible(depth: int) -> None:
    """The same rules around the mini reference point."""
    found = plan("experiment=mini", f"model=d{depth}")
    assert found.width == 32 * depth
    assert 100 <= found.num_steps <= 1000
    assert 0.5 <= found.learning_rates["matrix"] / 0.02 <= 2
    assert 0.05 < found.weight_decay < 1
    assert found.warmup_steps >= 1


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (
            ["horizon.target_param_data_ratio=0.001"],
            ["target_param_data_ratio is 0.001", "one batch of 524288"],
        ),
        (["horizon.target_tokens=1000"], ["horizon.target_tokens is 1000", "one batch of 524288"]),
        (["horizon.target_flops=1e10"], ["horizon.target_flops is 10000000000.0", "at least one step"]),
        (["horizon.target_flops=1e308"], ["horizon gives", "at most 4.61e+18 tokens in all"]),
        ([f"horizon.num_steps={2**62}"], ["4.61e+18 steps of 524288 tokens", "lower horizon.num_steps"]),
        (["horizon.sequence_len=2000"], ["auto", "64000", "device_batch_size 32 × sequence_len 2000"]),
        (["horizon.sequence_len=4096", "horizon.device_batch_size=24"], ["device_batch_size=16"]),
    ],
)
def test_impossible_horizons(overrides: list[str], parts: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        plan(*overrides)
    for part in parts:
        assert part in str(error.value)
