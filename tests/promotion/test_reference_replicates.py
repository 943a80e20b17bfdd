"""Several runs of the reference a seed: the simulated rule, the ladder, any table, and why weights differ."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from promotion_worlds import RULE as RULE_OF_LADDERS
from promotion_worlds import Killed, World, climb, freeze, settled
from scipy import special, stats

from sweepkit.analysis import calibration_file, dunnett
from sweepkit.analysis.calibration import Calibration
from sweepkit.cli.main import main
from sweepkit.config import paths
from sweepkit.promotion import expected
from sweepkit.promotion.simulation import of_sweep, rung, worlds
from sweepkit.promotion.verdict_record import Final
from sweepkit.sweep import expand, file
from sweepkit.sweep.decision import DecisionRule

RULE = DecisionRule(alpha=0.1, min_effect=0.0)
NOTHING = dataclasses.replace(worlds.load()["null"], grid=(9,), divergence=0.0)


def null_runs(num_worlds: int, num_seeds: int, replicates: int) -> rung.Runs:
    truth = worlds.draw(NOTHING, num_worlds, np.random.default_rng(1))
    everybody = np.tile(np.arange(9), (num_worlds, 1))
    return rung.run(truth, 2, everybody, num_seeds, np.random.default_rng(2), replicates)


@pytest.mark.parametrize(("replicates", "looks"), [(3, (4,)), (3, (4, 8))])
def test_adoption_stays_at_alpha(replicates: int, looks: tuple[int, ...]) -> None:
    runs = null_runs(2000, looks[-1], replicates)
    adopted, _, _ = rung.adopt(runs, np.ones((2000, 9), dtype=bool), looks, RULE)
    wrong = int(adopted.any(axis=1).sum())
    assert stats.binomtest(wrong, 2000, RULE.alpha, alternative="greater").pvalue > 0.001
    assert wrong > 0.07 * 2000, "so few that power is being given away"


def test_the_root_of_the_variants_shows_most_for_its_cost() -> None:
    """Variance of an effect times cost, as measured: √9 runs of the reference a seed do best."""
    product = {}
    for replicates in (1, 2, 3, 6, 12):
        runs = null_runs(3000, 4, replicates)
        found = rung.estimate(runs, np.ones((3000, 9), dtype=bool), 4)
        assert float(found.effect_WS.std()) == pytest.approx(
            NOTHING.noise_sd[2] * np.sqrt((1 + 1 / replicates) / 4), rel=0.03
        )
        assert (found.df_W == 4 * (9 + replicates - 1) - 9).all()
        product[replicates] = float(found.effect_WS.var()) * (9 + replicates)
    assert min(product, key=lambda replicates: product[replicates]) == 3
    assert product[3] < 0.85 * product[1]


def test_power_counts_them() -> None:
    known = Calibration(6, "d", "fp32", "cpu", 1, "val_bpb", 1.0, 4, "", ())
    rng = np.random.default_rng(1)
    num_worlds, k, n, m, effect = 4000, 9, 5, 3, 1.5
    df = known.df + n * (k + m - 1) - k
    error = np.sqrt(rng.chisquare(df, num_worlds) / df) * np.sqrt((1 + 1 / m) / n)
    estimate = effect + rng.standard_normal(num_worlds) * np.sqrt((1 + 1 / m) / n)
    shown = (estimate / error >= dunnett.critical(0.05, k, df, 1 / (1 + m))).mean()
    assert expected.chance(effect, n, k, known, 0.05, 0.0, m) == pytest.approx(shown, abs=0.02)
    assert expected.chance(effect, n, k, known, 0.05, 0.0, m) > expected.chance(
        effect, n, k, known, 0.05, 0.0
    )


@pytest.mark.parametrize("own_weights", [True, False])
def test_a_common_start_would_hide_in_the_seed(own_weights: bool) -> None:
    """If variants started from the weights of one of the reference's runs, p values would be too small."""
    num_worlds, num_variants, replicates, num_seeds = 2000, 16, 2, 4
    rng = np.random.default_rng(24)
    starts_WQN = rng.normal(0.0, 1.0, (num_worlds, replicates + num_variants, num_seeds))
    if not own_weights:
        starts_WQN[:, replicates:] = starts_WQN[:, :1]
    y_WQN = starts_WQN + rng.normal(0.0, 0.3, starts_WQN.shape)
    everybody = np.ones((num_worlds, num_variants), dtype=bool)
    runs = rung.Runs(y_WQN[:, replicates:], y_WQN[:, :replicates], everybody)
    p_W = rung.estimate(runs, everybody, num_seeds).p_WS[:, 0]
    wrong = stats.binomtest(int((p_W <= 0.05).sum()), num_worlds, 0.05)
    assert (wrong.pvalue > 0.001) if own_weights else (wrong.statistic > 0.08)


def test_the_bound_is_that_of_independent_means() -> None:
    """Dunnett's statistic with m runs of the reference, drawn from its own definition."""
    rng = np.random.default_rng(3)
    k, m, n, df = 5, 3, 4, 30
    reference = rng.normal(0, np.sqrt(1 / (m * n)), (40000, 1))
    t = (rng.normal(0, np.sqrt(1 / n), (40000, k)) - reference) / np.sqrt((1 + 1 / m) / n)
    t /= np.sqrt(rng.chisquare(df, (40000, 1)) / df)
    share = float((t.max(axis=1) >= dunnett.critical(0.05, k, df, dunnett.rho(m))).mean())
    assert share == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / 40000))
    assert special.ndtr(-dunnett.critical(0.05, k, df, dunnett.rho(m))) < special.ndtr(
        -dunnett.critical(0.05, k, df)
    )


@pytest.mark.slow
def test_a_ladder_decides_by_all_of_them_and_survives_a_kill(tmp_path: Path) -> None:
    rule = dataclasses.replace(RULE_OF_LADDERS, looks=(3, 5), num_unselected=0)
    effects = {"holds": -0.03, "hurts": 0.08}

    def world(folder: str, **settings: int) -> World:
        frozen = freeze(tmp_path / folder, list(effects), depths=(2, 4), seeds=5, rule=rule, replicates=3)
        return World(frozen, effects, **settings)

    undisturbed = climb(world("a"))
    assert undisturbed.of(Final.adopted) == ["holds"]
    evidence = undisturbed.rungs[0].verdicts[0].evidence
    assert (evidence.effect.n, len(evidence.reference_run_ids)) == (5, 15)
    assert evidence.effect.rho == pytest.approx(1 / 4)
    first_look = undisturbed.rungs[1].verdicts[0].evidence
    assert (first_look.effect.n, len(first_look.reference_run_ids)) == (3, 9)
    killed = world("b", kill_after=17)
    with pytest.raises(Killed):
        climb(killed)
    killed.kill_after = None
    assert settled(climb(killed)) == settled(undisturbed)


NINE = """\
base: [experiment=mini, model=d2, horizon.num_steps=32]
axes: {optimizer.matrix.lr: [0.02, 0.01, 0.011, 0.012, 0.013, 0.014, 0.015, 0.016, 0.017, 0.018]}
reference: {optimizer.matrix.lr: 0.02}
seeds: [1, 2, 3, 4]
decision: {min_effect: 0.002}
"""


@pytest.mark.slow
def test_plan_tells_the_seeds_with_and_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(tmp_path / "results"))
    for name, changed in {"once": NINE, "often": f"{NINE}reference_replicates: auto\n"}.items():
        Path(f"{name}.yaml").write_text(changed)
        Path(f"{name}_auto.yaml").write_text(changed.replace("[1, 2, 3, 4]", "auto"))
    tokens = expand.expand_all(file.load("once.yaml"))[0].plan.total_tokens
    known = Calibration(2, "embedded", "fp32", "cpu", tokens, "val_bpb", 0.002, 20, "2026-01-20T00:00:00", ())
    calibration_file.add(paths.results_dir(), [known])
    asked = {
        name: expected.with_seeds(file.load(f"{name}_auto.yaml"), [], paths.results_dir())
        for name in ("once", "often")
    }
    seeds = {name: len(sweep.seeds) for name, sweep in asked.items()}
    assert seeds["often"] < seeds["once"]
    assert main(["plan", "sweep=once.yaml"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert f"takes {seeds['once']} seeds ({seeds['often']} with reference_replicates: auto)" in told
    assert main(["plan", "sweep=often.yaml"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "the reference runs 3 times with each seed on single" in told
    assert f"takes {seeds['often']} seeds" in told
    sweep = file.load("often.yaml")
    played = of_sweep.design_of(expand.expand_all(sweep), expand.rungs_of(None), sweep.decision)
    assert played.describe() == "4 seeds, reference ×3"
