"""The schema's rule as an exponent, beside the plans that it makes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sweepkit.analysis import fit
from sweepkit.analysis.laws import run_columns, schema_rule
from sweepkit.config import compose
from sweepkit.plan.build import build

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


@pytest.mark.parametrize(
    ("value", "scale", "exponent"),
    [
        ("optimizer.matrix.lr", "width", 0.0),
        ("level_optimizer.matrix.weight_decay", "depth", 0.0),
        ("learning_rates_embedding", "total_batch_size", 0.5),
        ("learning_rates_smear", "total_batch_size", 0.0),
        ("weight_decay", "total_batch_size", 0.5),
        ("weight_decays_embedding", "total_batch_size", 0.0),
        ("total_batch_size", "tokens", 0.383),
        ("weight_decay", "total_tokens", 0.383 / 2 - 1),
    ],
)
def test_what_is_scaled_by_one_thing_has_its_exponent(value: str, scale: str, exponent: float) -> None:
    found = schema_rule.found(value, scale, np.array([8.0, 16.0]))
    assert found is not None and found.exponent == pytest.approx(exponent)


@pytest.mark.parametrize(
    ("value", "scale"),
    [
        *(("warmup", "width"), ("lr", "width"), ("weight_decay", "seed")),
        # a word of a scale in the name of something else
        *(("weight_decay", "horizon.target_param_data_ratio"), ("total_batch_size", "tokens_per_s")),
        *(("weight_decay", "flops_per_token"), ("device_batch_size", "tokens")),
    ],
)
def test_what_the_schema_does_not_scale_has_no_rule(value: str, scale: str) -> None:
    assert schema_rule.found(value, scale, np.array([8.0, 16.0])) is None


def test_numbers_that_are_alike_stay_groups_of_their_own() -> None:
    frame = pd.DataFrame({"seed": [1234567.0, 1234568.0, 3.0], "budget": [1e15, 2.15443469e15, 1e15]})
    assert run_columns.labels(frame, "seed", "--seed-column") == ["1234567", "1234568", "3"]
    assert run_columns.labels(frame, "budget", "--by") == ["1e+15", "2.15443e+15", "1e+15"]


def test_along_the_dial_it_is_what_plans_of_these_depths_do() -> None:
    """Plans round the batch to a power of two; between depths far apart little of it is left."""
    plans = [build(compose.compose([f"model.depth={depth}"])) for depth in (6, 12, 18, 24)]
    scale = {
        "depth": [6.0, 12.0, 18.0, 24.0],
        "width": [float(item.width) for item in plans],
        "tokens": [float(item.transfer_tokens) for item in plans],
    }
    values = {
        "weight_decay": [item.weight_decays["matrix"] for item in plans],
        "learning_rates_unembedding": [item.learning_rates["unembedding"] for item in plans],
        "total_batch_size": [item.total_batch_size for item in plans],
    }
    for name, seen in values.items():
        for along, column in scale.items():
            found = schema_rule.found(name, along, np.array(column))
            assert found is not None
            slope = float(np.polyfit(np.log(column), np.log(np.array(seen, dtype=float)), 1)[0])
            assert found.exponent == pytest.approx(slope, abs=0.2), (name, along)


def test_a_law_is_held_against_it_unasked() -> None:
    """Published optima of weight decay: the schema's own rule at these widths is nearly 1/width²."""
    frame = pd.read_csv(REFERENCE / "weight_decay_optimum.csv")
    found = fit(frame, optimum="optimal_weight_decay", scale="width")
    assert found.law is not None and found.law.rule == pytest.approx(-2.06, abs=0.01)
    assert found.law.rule_p is not None and found.law.rule_p > 0.05
    assert any("the schema's along its dial" in note for note in found.notes)
    assert fit(frame, optimum="optimal_weight_decay", scale="width", rule=-1.0).law != found.law
