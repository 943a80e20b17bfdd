"""The simulator: its rule is the gate's, and the default rule keeps its promises in the frozen worlds."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sample import is_full
from sweepkit.analysis import effects, suspicion
from sweepkit.promotion import gate
from sweepkit.promotion.simulation import design, of_sweep, play, policies, rung, worlds
from sweepkit.promotion.verdict_record import Outcome
from sweepkit.results.columns import is_horizon
from sweepkit.sweep import expand, file
from sweepkit.sweep.decision import DecisionRule

RULE = DecisionRule()
KINDS = worlds.load()
DEFAULT = policies.sweepkit(design.default(320, 3, RULE))


def frame_of(runs: rung.Runs, world: int, place: str) -> pd.DataFrame:
    """One world's runs as a runs table."""
    losses = np.concatenate([runs.reference_WMN[world], runs.loss_WSN[world]])
    own = runs.reference_WMN.shape[1]
    names = [*["reference"] * own, *(f"v{i}" for i in range(len(losses) - own))]
    rows = [
        {
            "run_id": f"{place}-{number}-s{seed}",
            "variant": name,
            "rung": place,
            "seed": seed,
            "pair_key": f"order-{seed}",
            "compile_key": "program",
            "state": "complete",
            "failure_class": None,
            "val_bpb": 2.0 + loss,
            "median_step_time_s": 0.1,
            "num_steps": 100,
            "total_flops": 1e12,
        }
        for number, (name, row) in enumerate(zip(names, losses, strict=True))
        for seed, loss in enumerate(row)
    ]
    return pd.DataFrame(rows)


def is_plain(frame: pd.DataFrame) -> bool:
    """Whether the gate sees what the fast simulation plays: one noise for all, the reference in line."""
    found = effects.effects(frame, "val_bpb", RULE.alpha)
    own = any(item.method != effects.POOLED or item.reference_sd is not None for item in found)
    return not own and suspicion.suspect(frame, "val_bpb") is None


@pytest.mark.slow
@pytest.mark.parametrize(("replicates", "num_worlds"), [(1, 25), (2, 15)] if is_full() else [(1, 12), (2, 8)])
def test_the_simulated_rule_is_the_gate_where_noise_is_found_equal(replicates: int, num_worlds: int) -> None:
    kind = dataclasses.replace(KINDS["shrinking"], grid=(6,), null_frac=0.3, divergence=0.0)
    truth = worlds.draw(kind, num_worlds, np.random.default_rng(3))
    everybody = np.tile(np.arange(6), (num_worlds, 1))
    active = np.ones((num_worlds, 6), dtype=bool)
    runs = rung.run(truth, 2, everybody, 4, np.random.default_rng(4), replicates)
    adopted, shrunk, used = rung.adopt(runs, active, (4,), RULE)
    climbing = rung.climb(runs, active, 4, RULE, keep=2)
    single = rung.climb(runs, active, 1, RULE, keep=2)
    plain = [world for world in range(num_worlds) if is_plain(frame_of(runs, world, "top"))]
    assert len(plain) > 0.6 * num_worlds, "noise is equal in all of them, and looks it in most"
    for world in plain:
        frame = frame_of(runs, world, "top")
        last = gate.decide(frame, RULE, "top", True)
        assert [v.outcome is Outcome.adopt for v in last] == list(adopted[world])
        assert last[0].evidence.effect.shrunk == pytest.approx(shrunk[world, 0], abs=1e-6)
        screen = gate.decide(frame, RULE, gate.RungConfig(name="top", max_promoted=2), False)
        assert {int(v.variant[1:]) for v in screen if v.climbs} == set(climbing[world]) - {-1}
        first = frame[frame["seed"] == 0]
        screen = gate.decide(first, RULE, gate.RungConfig(name="top", max_promoted=2), False)
        assert {int(v.variant[1:]) for v in screen if v.climbs} == set(single[world])
    assert adopted[plain].any() and not adopted[plain].all()
    assert (used == (6 + replicates) * 4).all()


def test_single_runs_of_a_search_climb_only_where_they_beat_the_reference() -> None:
    kind = dataclasses.replace(KINDS["shrinking"], grid=(6,), null_frac=0.3, divergence=0.0)
    truth = worlds.draw(kind, 40, np.random.default_rng(3))
    everybody, active = np.tile(np.arange(6), (40, 1)), np.ones((40, 6), dtype=bool)
    runs = rung.run(truth, 0, everybody, 1, np.random.default_rng(4))
    places = rung.climb(runs, active, 1, RULE, keep=3, is_searched=True)
    effect = runs.loss_WSN[:, :, 0] - runs.reference_WMN[:, :, 0]
    for world in range(40):
        wanted = [
            place for place in np.argsort(effect[world])[:3] if effect[world, place] <= -RULE.min_effect
        ]
        assert [place for place in places[world] if place >= 0] == wanted
    assert (places < 0).any() and (places >= 0).any()


@pytest.mark.parametrize("kind", KINDS)
def test_the_default_rule_keeps_its_error_rate_and_pays(kind: str) -> None:
    rivals = {"sweepkit": DEFAULT, "tested halving": policies.tested_halving}
    mine, rival = play.play({kind: KINDS[kind]}, rivals, 250, seed=5)
    assert not mine.exceeds(RULE.alpha)
    assert not rival.exceeds(RULE.alpha)
    assert mine.gain_per_compute >= rival.gain_per_compute
    assert (mine.gain > 0.0) == (kind != "null")


def test_the_best_of_single_runs_is_mostly_luck() -> None:
    """320 single runs, noise 0.0004, no true effect above 0.0001: the best is ten times too good."""
    quiet = dataclasses.replace(
        KINDS["null"], null_frac=0.0, effect_mean=0.0, effect_sd=0.00004, luck_sd=(0.0, 0.0, 0.0)
    )
    truth = worlds.draw(quiet, 300, np.random.default_rng(1))
    everybody = np.tile(np.arange(320), (300, 1))
    runs = rung.run(truth, 0, everybody, 1, np.random.default_rng(2))
    winner = runs.loss_WSN[:, :, 0].argmin(axis=1)
    rows = np.arange(300)
    assert -runs.loss_WSN[rows, winner, 0].mean() == pytest.approx(0.0012, abs=0.0001)
    assert -truth.effect_WVR[rows, winner, 0].mean() < 0.00004
    wrong = play.play({"null": KINDS["null"]}, {"best": policies.best_of_one}, 100, seed=1)[0]
    assert wrong.false_adoption > 0.9


def test_looking_three_times_costs_nothing_in_error() -> None:
    """The last rung alone, four useless variants: adopted in alpha of the worlds, whatever the looks."""
    nothing = dataclasses.replace(KINDS["null"], grid=(4,), divergence=0.0)
    rule = dataclasses.replace(RULE, min_effect=0.0, alpha=0.1)
    truth = worlds.draw(nothing, 2000, np.random.default_rng(1))
    runs = rung.run(truth, 2, np.tile(np.arange(4), (2000, 1)), 8, np.random.default_rng(2))
    active = np.ones((2000, 4), dtype=bool)
    for looks in ((8,), (4, 8), (3, 5, 8)):
        adopted, _, _ = rung.adopt(runs, active, looks, rule)
        wrong = int(adopted.any(axis=1).sum())
        assert stats.binomtest(wrong, 2000, rule.alpha, alternative="greater").pvalue > 0.001
        assert wrong > 0.07 * 2000, "so few that power is being given away"


def test_the_same_seed_gives_the_same_scores() -> None:
    once, again = (
        play.play({"cliff": KINDS["cliff"]}, {"asha": policies.asynchronous_halving}, 20, seed=9)
        for _ in range(2)
    )
    assert once == again


def test_asynchronous_halving_promotes_a_quarter() -> None:
    truth = worlds.draw(KINDS["null"], 5, np.random.default_rng(1))
    done = policies.asynchronous_halving(truth, np.random.default_rng(2))
    cost = KINDS["null"].cost
    promoted = (done.compute_W - 321 * cost[0] - cost[1] - cost[2]) / cost[1]
    assert ((promoted >= 160) & (promoted <= 240)).all(), "80 or more on the second rung, 20 × 4 on the third"


def test_a_sweeps_world_has_its_variants_and_no_horizons_of_the_reference() -> None:
    sweep = file.load("x0_beta1")
    cells, rungs = expand.expand_all(sweep), expand.rungs_of(expand.ladder_of(sweep, []))
    assert any(is_horizon(cell.variant) for cell in cells)
    kinds = of_sweep.worlds_of(worlds.load(), cells, rungs, sweep.decision, [])
    assert {kind.num_variants for kind in kinds.values()} == {5}


def test_designs_are_scored_again_in_worlds_that_did_not_choose_them() -> None:
    kinds = {name: dataclasses.replace(KINDS[name], grid=(4,)) for name in ("null", "sign_flipping")}
    tried = of_sweep.within(kinds, RULE, hours_of_one=1.0, budget_hours=200.0, num_worlds=20, seed=1)
    best = of_sweep.again(kinds, tried[:3], num_worlds=200, seed=2)
    assert sorted(map(str, (item.design for item in best))) == sorted(
        map(str, (item.design for item in tried[:3]))
    )
    assert {item.worst.num_worlds for item in best} == {200}
    wrong = [item.worst.exceeds(RULE.alpha) for item in best]
    assert wrong == sorted(wrong), "what breaks alpha comes last"
    worst = best[0].worst
    low, high = worst.false_adoption_interval()
    k, n = worst.num_false, worst.num_worlds
    assert high == pytest.approx(stats.beta.ppf(0.975, k + 1, n - k))
    assert low == pytest.approx(stats.beta.ppf(0.025, k, n - k + 1) if k else 0.0)
