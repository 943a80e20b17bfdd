"""How often the gate is wrong where the simulator does not go: unequal noise, other programs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sample import is_full
from sweepkit.promotion import gate
from sweepkit.promotion.verdict_record import Outcome
from sweepkit.sweep.decision import DecisionRule

RULE = DecisionRule(alpha=0.1, min_effect=0.001)
NOISE, LUCK, SEEDS = 0.002, 0.02, 4


def rung_frame(
    effects: Mapping[str, float], rng: np.random.Generator, noise: Mapping[str, float]
) -> pd.DataFrame:
    """Complete runs of one rung; variants called arch have a program of their own, timed to 0.3%."""
    names = ["reference", *effects]
    luck = np.tile(rng.normal(0.0, LUCK, SEEDS), len(names))
    sd = np.repeat([noise.get(name, NOISE) for name in names], SEEDS)
    effect = np.repeat([0.0, *effects.values()], SEEDS)
    variant = np.repeat(names, SEEDS)
    seed = np.tile(np.arange(SEEDS), len(names))
    return pd.DataFrame(
        {
            "run_id": [f"{name}-s{number}" for name, number in zip(variant, seed, strict=True)],
            "variant": variant,
            "rung": "d6",
            "seed": seed,
            "pair_key": [f"order-{number}" for number in seed],
            "compile_key": [name if name.startswith("arch") else "program" for name in variant],
            "state": "complete",
            "failure_class": None,
            "val_bpb": 2.0 + effect + luck + sd * rng.standard_normal(len(sd)),
            "median_step_time_s": 0.1 * np.exp(rng.normal(0.0, 0.003, len(sd))),
            "num_steps": 100,
            "total_flops": 1e12,
        }
    )


def adopted(
    effects: Mapping[str, float], rng: np.random.Generator, noise: Mapping[str, float] | None = None
) -> set[str]:
    verdicts = gate.decide(rung_frame(effects, rng, noise or {}), RULE, "d6", True)
    return {verdict.variant for verdict in verdicts if verdict.outcome is Outcome.adopt}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("effects", "noise"),
    [
        ({"wild": 0.0, "a": 0.0, "b": 0.0, "c": 0.0}, {"wild": NOISE * 10}),  # Holm over unequal noise
        ({"arch1": 0.0, "arch2": 0.001, "a": 0.0}, {}),  # the wall clock counts
    ],
    ids=["one variant has ten times the noise", "other programs, one harmful"],
)
def test_the_gate_rarely_adopts_what_does_not_help(
    effects: Mapping[str, float], noise: Mapping[str, float]
) -> None:
    worlds = 60 if is_full() else 24
    rng = np.random.default_rng(10)
    wrong = sum(bool(adopted(effects, rng, noise)) for _ in range(worlds))
    assert stats.binomtest(wrong, worlds, RULE.alpha, alternative="greater").pvalue > 0.001


def test_a_real_gain_is_found_beside_an_awful_variant() -> None:
    worlds = 30 if is_full() else 12
    rng = np.random.default_rng(12)
    effects = {"gain": -0.01, "none": 0.0, "loss": 0.01, "awful": 0.3}
    ends = [adopted(effects, rng, {"awful": 0.05}) for _ in range(worlds)]
    assert sum("gain" in names for names in ends) >= 0.9 * worlds
    assert not any({"loss", "awful"} & names for names in ends)
