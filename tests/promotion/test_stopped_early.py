"""Stopping rules on recorded and on made-up curves: what they look at, learn, save and lose."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import optimize, stats

from sample import sample
from sweepkit.analysis import futility
from sweepkit.analysis.futility import LOOKS, WINDOW, Boundary
from sweepkit.cli.main import main
from sweepkit.promotion.simulation import stopped_early
from sweepkit.promotion.simulation.stopped_early import FUTILITY, HALVING, MEDIAN, Curves
from sweepkit.results import store
from sweepkit.sweep.decision import DecisionRule
from sweepkit.sweep.futility_rule import FutilityRule

ROOT = Path(__file__).parents[2]


def test_differences_are_of_equal_fractions_and_seeds() -> None:
    rng = np.random.default_rng(0)
    length = {"reference": 40, "a": 40, "slow": 80}
    rows = [
        {"variant": name, "seed": seed, "step": step, "loss": float(rng.normal())}
        for name, steps in length.items()
        for seed in (1, 2)
        for step in range(1, steps + 1)
    ]
    found = futility.differences(pd.DataFrame(rows), "reference")
    losses = {(row["variant"], row["seed"], row["step"]): row["loss"] for row in rows}

    def window(name: str, seed: int, look: float) -> float:
        steps = [s for s in range(1, length[name] + 1) if look - WINDOW < s / length[name] <= look]
        return float(np.mean([losses[name, seed, step] for step in steps]))

    for name in ("a", "slow"):
        for seed in (1, 2):
            for look in LOOKS:
                wanted = window(name, seed, look) - window("reference", seed, look)
                assert found.loc[(name, seed), look] == pytest.approx(wanted)


@pytest.mark.parametrize("every", [(1, 7), (7, 1), (10, 70), (4, 6), (3, 3)])
@pytest.mark.parametrize("twice", [False, True])
def test_equal_curves_do_not_differ_wherever_they_were_logged(every: tuple[int, int], twice: bool) -> None:
    """The one that logged less seemed .0068 ahead at 25%, for losses fall. A reference that ran twice too."""
    steps, seeds = 1_000, (1, 2, 5)
    own, base = (np.arange(gap, steps + 1, gap) for gap in every)
    runs = [("a", own, seeds[:2]), ("reference", base, seeds), *[("reference", own[::2], seeds)] * twice]
    rows = [(name, seed, step, 3 + 5 * step**-0.5 + 0.1 * seed)
            for name, logged, own_seeds in runs for seed in own_seeds for step in logged]  # fmt: skip
    curves = pd.DataFrame(rows, columns=["variant", "seed", "step", "loss"]).assign(num_steps=steps)
    found = futility.differences(curves, "reference")
    assert list(found.index) == [("a", 1), ("a", 2)]
    assert found.to_numpy(dtype=float) == pytest.approx(0.0, abs=1e-12)
    alone = futility.differences(curves[curves["variant"] == "a"], "reference")
    assert not len(alone.dropna(how="all")) and list(alone.columns) == list(LOOKS)
    finals = pd.DataFrame({1: [3.0, 2.9], 2: [3.0, 2.9]}, index=["reference", "a"])
    made = stopped_early.arranged(curves, finals, {"a": True}, 0.01)
    assert made is not None and made.differences_VSL == pytest.approx(0.0, abs=1e-12)


def test_a_boundary_is_what_least_deviations_and_its_errors_say() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(0, 0.1, 400) * rng.choice([0.1, 1.0], 400)
    y = 0.5 * x + rng.normal(0, np.hypot(0.002, 0.3 * x))
    found = Boundary.learned(np.stack([x] * 3, axis=1), y)
    assert found is not None
    slope = optimize.minimize_scalar(lambda s: np.abs(y - s * x).sum(), bounds=(0, 2), method="bounded").x
    assert found.slopes[0] == pytest.approx(slope, abs=1e-3)
    assert found.floors[0] == pytest.approx(0.002, rel=0.3)
    assert found.shares[0] == pytest.approx(0.3, rel=0.3)
    scale = np.sqrt((found.slopes[0] * 0.01) ** 2 + (found.shares[0] * 0.05) ** 2 + found.floors[0] ** 2)
    chance = found.chance_left(0, np.asarray([0.05]), np.asarray([0.01]), 0.002)[0]
    assert chance == pytest.approx(stats.t(4, found.slopes[0] * 0.05, scale).cdf(-0.002))
    assert Boundary.learned(np.ones((4, 3)), np.ones(4)) is None


def world(turning: float, variants: int = 24, seeds: int = 3) -> Curves:
    """Half of the variants are hopeless from the start; of the others that share is behind before it wins."""
    rng = np.random.default_rng(2)
    final = np.where(np.arange(variants) % 2, rng.uniform(0.02, 0.1, variants), -0.01)
    at = np.stack([final] * len(LOOKS), axis=1)
    turns = np.flatnonzero(final < 0)[: round(turning * variants / 2)]
    at[turns, 0] = 0.15
    noise = rng.normal(0, 0.0005, (variants, seeds, len(LOOKS)))
    finals = final[:, None] + rng.normal(0, 0.0005, (variants, seeds))
    return Curves(at[:, None, :] + noise, finals, np.ones(variants, dtype=bool), 0.005)


def test_curves_that_are_still_the_same_say_nothing() -> None:
    rule = FutilityRule(looks=(0.25,), slopes=(1.0,), floors=(0.0,), shares=(0.1,))
    assert futility.look_at(rule, 0, {1: 0.0, 2: 0.0}, 0.01) is None
    found = futility.look_at(rule, 0, {1: 0.0, 2: 1e-6}, 0.01)
    assert found is not None and found.is_hopeless


@pytest.mark.parametrize("seeds", [2, 3, 6])
def test_the_typical_spread_is_that_of_most_variants(seeds: int) -> None:
    """One that falls apart, one that has not acted yet and one seed alone change nothing of it."""
    rng = np.random.default_rng(7)
    at_look = [*rng.normal(0.3, 0.02, (4_001, seeds))]
    found = futility.typical_sd(at_look)
    assert found == pytest.approx(0.02, rel=0.06)
    more = [*at_look, np.asarray([1e6, -1e6]), np.zeros(seeds), np.asarray([0.5, np.nan])]
    assert futility.typical_sd(more) == pytest.approx(found, rel=1e-3)
    assert futility.typical_sd([[1.0], [0.0, 0.0], []]) == 0.0


def test_seeds_that_happen_to_agree_are_not_taken_for_certainty() -> None:
    rule = FutilityRule(looks=(0.25,), slopes=(1.0,), floors=(0.0,), shares=(0.0,))
    alone = futility.look_at(rule, 0, {1: 0.010, 2: 0.0101}, 0.001)
    among = futility.look_at(rule, 0, {1: 0.010, 2: 0.0101}, 0.001, sd=0.02)
    noisy = futility.look_at(rule, 0, {1: -0.04, 2: 0.06}, 0.001, sd=0.02)
    assert alone is not None and among is not None and noisy is not None
    assert alone.is_hopeless and not among.is_hopeless
    assert among.error == pytest.approx(0.02 / 2**0.5)
    assert noisy.error == pytest.approx(0.05), "its own, which is larger"


def test_a_look_that_foretells_nothing_stops_nobody() -> None:
    rule = FutilityRule(looks=(0.25,), slopes=(0.0,), floors=(0.001,), shares=(0.0,))
    for ahead in (-0.02, 0.0, 0.02):
        found = futility.look_at(rule, 0, {1: ahead, 2: ahead - 0.001}, 0.005)
        assert found is not None and not found.is_hopeless


def test_where_curves_tell_their_ends_the_hopeless_stop_at_the_first_look() -> None:
    table = stopped_early.replay([world(0.0)], 10, 0)
    row = table[(table["rule"] == FUTILITY) & (table["setting"] == 0.01)].iloc[0]
    assert row["saved"] == pytest.approx(0.5 * (1 - LOOKS[0]), abs=0.12)
    assert (row["lost"], row["best_lost"]) == (0.0, 0.0)


def test_where_what_is_behind_may_turn_futility_waits_and_others_lose_winners() -> None:
    table = stopped_early.replay([world(0.5)], 20, 0)
    found = stopped_early.at_equal_losses(table, 0.05).set_index("rule")
    assert found.loc[FUTILITY, "saved"] > found.loc[[HALVING, MEDIAN], "saved"].max() + 0.05
    usual = table.set_index(["rule", "setting"])["lost"]
    assert usual[MEDIAN, 0.5] > 0.4
    assert usual[HALVING, 0.5] > 0.4


def test_what_does_not_compare_is_never_stopped_for_futility() -> None:
    curves = world(0.0)
    kept = Curves(curves.differences_VSL, curves.final_VS, np.arange(24) % 4 != 1, curves.min_effect)
    fixed = stopped_early.learned([kept])
    assert fixed is not None
    ran_V = stopped_early.RULES[FUTILITY](kept, 0.05, fixed)
    assert (ran_V[~kept.compares_V] == 1.0).all()
    assert (ran_V[kept.compares_V & (kept.final_VS.mean(axis=1) > 0)] < 1.0).all()


def test_batch_and_schedule_are_left_alone_in_what_was_committed() -> None:
    (curves,) = stopped_early.read(ROOT / "results/published/tune_mini")
    assert len(curves.compares_V) == 23
    assert (~curves.compares_V).sum() == 5, "two of batch, three of warm-up"


@pytest.mark.slow
def test_the_documented_replay_follows_from_what_is_committed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    page = (ROOT / "docs/statistics.md").read_text()
    section = page[page.index("### Stopping early") :]
    section = section[: section.index("### Equal tuning")]
    _, *blocks = re.split(r"`sweepkit (simulate --stopping[^`]*)`", section)
    assert len(blocks) == 8
    for command, told in sample([*zip(blocks[::2], blocks[1::2], strict=True)], 2):
        assert main([*command.split(), "--format", "csv"]) == 0
        table = pd.read_csv(pd.io.common.StringIO(capsys.readouterr().out))
        rows = re.findall(r"^\| (?:at most (\d+)%)? *\| ([a-z ]+) \| ([\d.]+)% \| ([\d.]+)% \|$", told, re.M)
        most = ""
        assert len(rows) == 9
        for share, rule, saved, lost in rows:
            most = share or most
            found = stopped_early.at_equal_losses(table, int(most) / 100).set_index("rule").loc[rule]
            assert (f"{found['saved']:.1%}", f"{found['lost']:.1%}") == (f"{saved}%", f"{lost}%")


def test_the_rule_that_is_printed_is_one_that_a_sweep_takes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    folder = str(ROOT / "results/published/rounds/rounds-lr_groups")
    assert main(["simulate", "--worlds", "2", "--stopping", folder, "--curve", "evaluations"]) == 0
    said = re.search(r"decision: (\{.*\}\})", capsys.readouterr().out)
    assert said
    written = yaml.safe_load(said[1]) | {"min_effect": 0.002}
    rule = DecisionRule.from_json(written).futility
    fixed = stopped_early.learned(stopped_early.read(Path(folder), "evaluations"))
    assert rule is not None and fixed is not None
    assert rule.slopes == pytest.approx(fixed.slopes, rel=0.01)
    assert rule.floors == pytest.approx(fixed.floors, rel=0.01, abs=1e-9)
    assert (rule.looks, rule.curve, rule.chance) == (LOOKS, "evaluations", 0.01)


def test_sweeps_that_teach_nothing_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(ROOT / "results/published/findings/finding_precision")
    assert main(["simulate", "--worlds", "2", "--stopping", folder]) == 2
    assert "must hold ten complete variants with curves" in capsys.readouterr().err


def test_an_import_teaches_nothing_and_is_not_to_be_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """ "Restore frozen.json, or delete the folder" was said of runs that others made."""
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(tmp_path))
    table = ROOT / "tests/analysis/laws_tables/olmo_ladder_small.csv"
    assert main(["import", str(table), "--name", "theirs", "--metric", "loss_pile=lower,nats/token"]) == 0
    assert main(["simulate", "--worlds", "2", "--stopping", "theirs"]) == 2
    said = capsys.readouterr().err
    assert "--stopping is 'theirs', but must have a plan" in said and "delete" not in said


@pytest.mark.parametrize("state", ["futile", "pruned"])
def test_a_sweep_that_stopped_variants_teaches_by_its_survivors_and_is_refused(
    state: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = store.load("tune_mini", ROOT / "results/published")
    last = runs["variant"].iloc[-1]
    stopped = runs.assign(state=runs["state"].where(runs["variant"] != last, state))
    monkeypatch.setattr(stopped_early.store, "load", lambda *_: stopped)
    assert main(["simulate", "--worlds", "2", "--stopping", str(ROOT / "results/published/tune_mini")]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"tune_mini (1 variant stopped, {last} one of them)" in line and "survivors" in line
    assert "name sweeps without decision.futility" in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--stopping", "TUNE", "--only", "cliff"],
            "--only is 'cliff', but must be left out with --stopping",
        ),
        (
            ["--stopping", "TUNE", "--plot", "x.png"],
            "--plot is 'x.png', but must be left out with --stopping",
        ),
        (["--stopping", "TUNE", "--alpha", "0.1"], "--alpha is 0.1, but must be left out with --stopping"),
        (["--curve", "evaluations"], "--curve is 'evaluations', but must go with --stopping"),
        (["--stopping", "TUNE", "TUNE"], "but must name each sweep once"),
        (["--stopping", "nowhere"], "sweep is 'nowhere', but must name a sweep in"),
    ],
)
def test_what_a_replay_would_not_read_is_refused(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(ROOT / "results/published/tune_mini")
    assert main(["simulate", "--worlds", "1", *(folder if word == "TUNE" else word for word in words)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert said in line


def test_variants_without_every_seed_are_counted() -> None:
    (curves,) = stopped_early.read(ROOT / "results/published/tune_mini")
    assert curves.left_out == 0
    finals = pd.DataFrame({1: [3.0, 2.9, np.nan], 2: [3.0, 2.9, 2.8]}, index=["reference", "a", "b"])
    steps = [(name, seed, step) for name in finals.index for seed in (1, 2) for step in range(1, 41)]
    logged = pd.DataFrame(steps, columns=["variant", "seed", "step"]).assign(loss=3.0)
    made = stopped_early.arranged(logged, finals, {"a": True, "b": True}, 0.01)
    assert made is not None and (len(made.compares_V), made.left_out) == (1, 1)
    is_endless = (logged["variant"] == "b") & (logged["step"] == 10)  # overflowed once, and went on
    again = logged.assign(loss=logged["loss"].mask(is_endless, np.inf))
    made = stopped_early.arranged(again, finals.fillna(2.9), {"a": True, "b": True}, 0.01)
    assert made is not None and (len(made.compares_V), made.left_out) == (1, 1)
