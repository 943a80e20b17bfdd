"""How often the whole ladder is wrong: made-up worlds in which nothing, or something known, is true."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sweepkit.config.schema import RungConfig
from sweepkit.promotion import gate
from sweepkit.promotion.verdict import Outcome
from sweepkit.sweep.decision import DecisionRule

RULE = DecisionRule(alpha=0.1, min_effect=0.001)
NOISE, LUCK, SEEDS, RUNGS = 0.002, 0.02, 3, ("d2", "d4", "d6")


def rung_frame(
    rung: str, effects: Mapping[str, float], rng: np.random.Generator, noise: Mapping[str, float]
) -> pd.DataFrame:
    """Complete runs of one rung; every variant has a program of its own, timed to 1%."""
    luck = rng.normal(0.0, LUCK, SEEDS)
    return pd.DataFrame(
        [
            {
                "run_id": f"{rung}-{variant}-s{seed}",
                "variant": variant,
                "rung": rung,
                "seed": seed,
                "pair_key": f"order-{seed}",
                "compile_key": variant if variant.startswith("arch") else "program",
                "state": "complete",
                "failure_class": None,
                "val_bpb": 2.0 + effect + luck[seed] + rng.normal(0.0, noise.get(variant, NOISE)),
                "median_step_time_s": 0.1 * np.exp(rng.normal(0.0, 0.003)),
                "num_steps": 100,
                "total_flops": 1e12,
            }
            for variant, effect in {"reference": 0.0, **effects}.items()
            for seed in range(SEEDS)
        ]
    )


def climb(
    effects: Mapping[str, float],
    rng: np.random.Generator,
    noise: Mapping[str, float] | None = None,
    max_promoted: int | None = None,
) -> tuple[set[str], set[str]]:
    """The variants a ladder adopts, and those it rejected on the way."""
    surviving, rejected = dict(effects), set()
    for rung in RUNGS:
        frame = rung_frame(rung, surviving, rng, noise or {})
        verdicts = gate.decide(frame, RULE, RungConfig(rung, max_promoted=max_promoted), rung == RUNGS[-1])
        rejected |= {verdict.variant for verdict in verdicts if verdict.outcome is Outcome.reject}
        adopted = {verdict.variant for verdict in verdicts if verdict.outcome is Outcome.adopt}
        surviving = {verdict.variant: effects[verdict.variant] for verdict in verdicts if verdict.climbs}
        if not surviving:
            break
    return adopted, rejected


@pytest.mark.parametrize(
    ("effects", "max_promoted"),
    [
        ({f"v{i}": 0.0 for i in range(5)}, None),
        ({f"v{i}": 0.0 for i in range(12)}, 2),
        ({"arch1": 0.0, "arch2": 0.001, "v1": 0.0}, None),
    ],
    ids=["nothing is true", "the luckiest two of twelve climb", "other programs, one harmful"],
)
def test_a_ladder_rarely_adopts_what_does_not_help(
    effects: Mapping[str, float], max_promoted: int | None
) -> None:
    worlds = 120
    rng = np.random.default_rng(10)
    wrong = sum(bool(climb(effects, rng, max_promoted=max_promoted)[0]) for _ in range(worlds))
    assert stats.binomtest(wrong, worlds, RULE.alpha, alternative="greater").pvalue > 0.001


def test_an_unstable_variant_does_not_hide_behind_the_calm_of_others() -> None:
    """Ten times the noise of the rest, pooled with it, would be adopted by luck again and again."""
    worlds = 120
    rng = np.random.default_rng(11)
    wild = {"wild": NOISE * 10}
    wrong = sum(bool(climb({"wild": 0.0, "a": 0.0, "b": 0.0, "c": 0.0}, rng, wild)[0]) for _ in range(worlds))
    assert stats.binomtest(wrong, worlds, RULE.alpha, alternative="greater").pvalue > 0.001


def test_a_real_gain_is_found_and_a_real_loss_is_not_adopted() -> None:
    worlds = 60
    rng = np.random.default_rng(12)
    effects = {"gain": -0.01, "none": 0.0, "loss": 0.01, "awful": 0.3}
    ends = [climb(effects, rng, {"awful": 0.05}) for _ in range(worlds)]
    assert sum("gain" in adopted for adopted, _ in ends) >= 0.9 * worlds
    assert sum("gain" in rejected for _, rejected in ends) <= 0.02 * worlds
    assert not any({"loss", "awful"} & adopted for adopted, _ in ends)
    assert sum("awful" in rejected for _, rejected in ends) >= 0.9 * worlds
