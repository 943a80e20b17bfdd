"""Stopping for futility in worlds whose truth is known: what is promoted wrongly, which winners are lost."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import stats

from sample import is_full
from sweepkit.analysis import futility
from sweepkit.analysis.futility import LOOKS, Boundary
from sweepkit.promotion import gate
from sweepkit.promotion.verdict_record import Outcome
from sweepkit.sweep.decision import STEPS_ALONE, DecisionRule
from sweepkit.sweep.futility_rule import FutilityRule

MIN_EFFECT, NOISE, SEEDS, VARIANTS = 0.002, 0.001, 3, 6
Array = NDArray[np.float64]


def curves(rng: np.random.Generator, num: int, *, is_null: bool) -> tuple[Array, Array, Array]:
    """True interim differences by look [V, L] and final effects [V], and differences of seeds [V, S, L].

    Interim differences foretell half of the final effect, with a heavy-tailed error that grows with them;
    where all variants are useless they foretell nothing.
    """
    start = rng.normal(0.0, 0.01, num) * rng.choice([0.3, 1.0], num)
    final = 0.5 * start + rng.standard_t(4, num) * np.hypot(0.001, 0.2 * start)
    share = np.asarray([0.0, 0.3, 0.6])  # of the way from the start to the end
    true_VL = 0.5 * start[:, None] * (1 - share) + final[:, None] * share
    seen_VSL = true_VL[:, None, :] + rng.normal(0.0, NOISE / 2, (num, SEEDS, len(LOOKS)))
    return true_VL, np.zeros(num) if is_null else final, seen_VSL


def learned(rng: np.random.Generator) -> FutilityRule:
    _, final, seen = curves(rng, 300, is_null=False)
    fixed = Boundary.learned(seen.mean(axis=1), final + rng.normal(0.0, NOISE / SEEDS**0.5, 300))
    assert fixed is not None
    return FutilityRule(LOOKS, fixed.slopes, fixed.floors, fixed.shares)


def num_complete(rule: FutilityRule, seen_SL: Array) -> int:
    """Runs of a variant that end, where one worker runs seed after seed; all where it is not stopped."""
    for count in range(2, SEEDS + 1):  # the latest of them comes to one look after the other
        for place in range(len(LOOKS)):
            by_seed = {seed: float(seen_SL[seed, place]) for seed in range(count)}
            found = futility.look_at(rule, place, by_seed, MIN_EFFECT)
            if found is not None and found.is_hopeless:
                return count - 1
    return SEEDS


def adopted(finals_VS: Array, num_ended: list[int]) -> set[str]:
    names = ["reference", *(f"v{index}" for index in range(len(num_ended)))]
    ended = [SEEDS, *num_ended]
    rows = [
        {
            "run_id": f"{name}-s{seed}", "variant": name, "rung": "d6", "seed": seed, "pair_key": f"p{seed}",
            "compile_key": "k", "state": "complete" if seed < ended[index] else "futile",
            "failure_class": None, "failure_message": "stopped for futility at 25%", "num_steps": 100,
            "val_bpb": finals_VS[index, seed] if seed < ended[index] else None, "total_flops": 1e12,
        }
        for index, name in enumerate(names)
        for seed in range(SEEDS)
    ]  # fmt: skip
    rule = DecisionRule(alpha=0.1, min_effect=MIN_EFFECT, axes=STEPS_ALONE)
    verdicts = gate.decide(pd.DataFrame(rows), rule, "d6", True)
    assert {verdict.evidence.num_variants for verdict in verdicts} == {len(num_ended)}
    for verdict, number in zip(verdicts, num_ended, strict=True):
        if number < SEEDS:
            waits = verdict.evidence.doubts.suspect is not None  # the reference is out of line
            assert verdict.outcome is (Outcome.inconclusive if waits else Outcome.reject)
            assert not verdict.climbs
            assert (verdict.evidence.missing, verdict.evidence.doubts.lost) == ({}, 0)
    return {verdict.variant for verdict in verdicts if verdict.outcome is Outcome.adopt}


@pytest.mark.slow
def test_useless_variants_are_adopted_no_more_often_than_alpha_allows() -> None:
    rng = np.random.default_rng(3)
    rule, worlds = learned(rng), 200 if is_full() else 24
    wrong = {"stopping": 0, "all run": 0}
    stopped = 0
    for _ in range(worlds):
        _, final, seen = curves(rng, VARIANTS, is_null=True)
        luck = rng.normal(0.0, 0.02, SEEDS)
        truth = np.concatenate([[0.0], final])
        finals = 2.0 + truth[:, None] + luck + rng.normal(0.0, NOISE, (VARIANTS + 1, SEEDS))
        ended = [num_complete(rule, item) for item in seen]
        stopped += sum(number < SEEDS for number in ended)
        wrong["stopping"] += bool(adopted(finals, ended))
        wrong["all run"] += bool(adopted(finals, [SEEDS] * VARIANTS))
    print(f"{worlds} worlds, {stopped} of {worlds * VARIANTS} variants stopped, something adopted: {wrong}")
    assert stopped > worlds / 2
    for number in wrong.values():
        assert stats.binomtest(number, worlds, 0.1, alternative="greater").pvalue > 0.001


def test_few_winners_are_lost_and_the_hopeless_cost_less() -> None:
    rng = np.random.default_rng(4)
    rule, num = learned(rng), 20_000 if is_full() else 2_000
    _, final, seen = curves(rng, num, is_null=False)
    ended = np.asarray([num_complete(rule, item) for item in seen])
    is_winner = final <= -MIN_EFFECT
    lost, saved = float((ended[is_winner] < SEEDS).mean()), float((ended[final > 0.005] < SEEDS).mean())
    print(f"{is_winner.sum()} winners, {lost:.1%} lost; of variants worse by 0.005 {saved:.0%} stopped")
    assert lost <= 0.02, "twice the chance at which it stops, looked at several times"
    assert saved > 0.5


@pytest.mark.parametrize("share", [0.0, 0.1, 0.2, 0.6])
def test_what_a_rule_can_stop_is_said_before_it_runs(share: float) -> None:
    """Whatever is said of a look holds for a variant that is a million min_effects behind there."""
    rule = FutilityRule(looks=(0.25, 0.75), slopes=(0.1, 0.8), floors=(0.01, 0.001), shares=(0.6, share))
    said = futility.reach(rule)
    for place, look in enumerate(("25%", "75%")):
        found = futility.look_at(rule, place, {1: 1e3, 2: 1e3 + 1e-3}, min_effect=1e-3)
        assert found is not None
        never = f"{look} ({100 * found.chance:.2g}% left)"
        assert (never in said) is not found.is_hopeless, said
        assert (f"stopped at {look}" in said) is found.is_hopeless, said
