"""RunPlan: whole, frozen, and the same after JSON."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepkit.config import typed
from sweepkit.config.compose import apply, compose
from sweepkit.config.schema import RunConfig
from sweepkit.plan.build import build
from sweepkit.plan.run_plan import RunPlan

PROMISED = [
    "run_id",
    "variant_id",
    "depth",
    "width",
    "num_heads",
    "scaling_params",
    "total_params",
    "active_params",
    "param_groups",
    "flops_per_token",
    "target_tokens",
    "total_batch_size",
    "num_steps",
    "total_tokens",
    "total_flops",
    "learning_rates",
    "weight_decay",
    "estimated_peak_memory_gib",
    "estimated_gpu_hours",
    "plan_device",
    "plan_mfu",
]


@st.composite
def overrides(draw: st.DrawFn) -> list[str]:
    """Values that any of them may have together."""
    return [
        f"model.depth={draw(st.integers(1, 30))}",
        f"model.value_gate_channels={draw(st.integers(1, 32))}",
        f"optimizer.matrix.lr={draw(st.floats(0, 1))!r}",
        f"optimizer.embedding.lr={draw(st.floats(1e-9, 10))!r}",
        f"horizon.num_steps={draw(st.integers(1, 10**6))}",
        f"horizon.target_param_data_ratio={draw(st.floats(0.01, 100))!r}",
        f"tokenizer.vocab_size={draw(st.integers(257, 10**6))}",
        f"seed={draw(st.integers(0, 1000))}",
    ]


def test_more_flops_than_64_bits_hold_survive() -> None:
    plan = build(compose(["model=d24"]))
    assert plan.total_flops > 2**63
    assert typed.load(RunPlan, json.loads(json.dumps(typed.dump(plan)))) == plan


@pytest.mark.slow
@settings(deadline=None, max_examples=50)
@given(overrides())
def test_json_round_trip(values: list[str]) -> None:
    config = apply(compose(["experiment=mini"]), values)
    plan = build(config)
    text = json.dumps(typed.dump(plan), allow_nan=False)
    again = typed.load(RunPlan, json.loads(text))
    assert again == plan
    # the plan holds all of the configuration: planning it anew gives the same plan
    assert build(again.config) == plan


def test_keys_and_groups_that_are_promised() -> None:
    value = typed.dump(build(compose(["model=d12"])))
    assert set(PROMISED) <= set(value)
    assert list(value["param_groups"]) == [
        "wte",
        "value_embeds",
        "lm_head",
        "transformer_matrices",
        "scalars",
    ]


def test_frozen() -> None:
    plan = build(RunConfig())
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.seed = 2  # type: ignore[misc]


def test_planning_changes_nothing() -> None:
    config = compose(["experiment=mini"])
    before = typed.dump(config)
    first = build(config)
    assert typed.dump(config) == before
    assert build(config) == first
