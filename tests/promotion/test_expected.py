"""Power of a plan: the formula against simulated verdicts, and what plan, sweep and promote make of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sweepkit.analysis import calibration_file, dunnett
from sweepkit.analysis.calibration import Calibration
from sweepkit.cli import simulating
from sweepkit.cli.main import main
from sweepkit.config import paths
from sweepkit.errors import ConfigError
from sweepkit.promotion import expected
from sweepkit.sweep import expand, file

SWEEP = """\
base: [horizon.num_steps=32]
axes: {optimizer.matrix.lr: [0.01, 0.02, 0.04]}
reference: {optimizer.matrix.lr: 0.02}
seeds: [1, 2, 3, 4]
decision: {min_effect: 0.002}
ladder: mini
"""


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(tmp_path / "results"))
    path = tmp_path / "mine.yaml"
    path.write_text(SWEEP)
    return path


def calibrated(sweep: Path, sd: float) -> Calibration:
    asked = replace(file.load(sweep), seeds=(1,))
    tokens = next(cell.plan.total_tokens for cell in expand.expand_all(asked) if cell.rung == "d6")
    known = Calibration(
        6, "embedded", "fp32", "cpu", tokens, "bpb_validation_holdout", sd, 4, "2026-01-20T00:00:00", ("a",)
    )
    calibration_file.add(paths.results_dir(), [known])
    return known


def test_the_chance_is_that_of_simulated_verdicts() -> None:
    known = Calibration(6, "d", "fp32", "cpu", 1, "val_bpb", 1.0, 4, "", ())
    rng = np.random.default_rng(1)
    worlds, k, n, effect = 4000, 3, 5, 1.5
    df = known.df + k * (n - 1)
    sd = np.sqrt(rng.chisquare(df, worlds) / df)
    estimate = effect + rng.standard_normal(worlds) * np.sqrt(2 / n)
    error = sd * np.sqrt(2 / n)
    shown = (estimate / error >= dunnett.critical(0.05, k, df)).mean()
    assert expected.chance(effect, n, k, known, 0.05, 0.0) == pytest.approx(shown, abs=0.02)


def test_plan_tells_it_and_promote_asks(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calibrated(sweep, 0.002)
    assert main(["plan", f"sweep={sweep}"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "rung d6: 2 variants at most, 4 seeds; noise 0.00200 (0.00120 to 0.00575, 4 degrees" in out
    assert "underpowered" in out
    assert main(["promote", str(sweep)]) == 2
    assert "--underpowered" in capsys.readouterr().err
    assert not (paths.results_dir() / "mine").exists(), "nothing is frozen"


def test_seeds_auto_are_just_enough(sweep: Path) -> None:
    sweep.write_text(SWEEP.replace("[1, 2, 3, 4]", "auto"))
    asked = file.load(sweep)
    with pytest.raises(ConfigError, match="sweepkit calibrate sweep=mine first"):
        expected.with_seeds(asked, [], paths.results_dir())
    known = calibrated(sweep, 0.001)
    seeds = expected.with_seeds(asked, [], paths.results_dir()).seeds
    chances = [expected.chance(0.002, n, 2, known, 0.05, 0.0) for n in (len(seeds) - 1, len(seeds))]
    assert chances[0] < 0.8 <= chances[1]
    assert seeds == tuple(range(1, len(seeds) + 1))


def test_without_noise_or_effect_nothing_is_claimed(sweep: Path) -> None:
    asked = file.load(sweep)
    cells = expand.expand_all(asked)
    rungs = expand.rungs_of(expand.ladder_of(asked))
    found = expected.of(cells, rungs, asked.decision, [])
    assert (found.shown, found.is_enough) == (None, True)
    assert "sweepkit calibrate" in expected.describe(found, asked.decision)
    free = replace(asked.decision, min_effect=0.0)
    found = expected.of(cells, rungs, free, [calibrated(sweep, 0.001)])
    assert "min_effect is 0" in expected.describe(found, free)


@pytest.mark.slow
def test_the_sweep_itself_is_simulated(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["promote", str(sweep), "--simulate"]) == 0
    out = capsys.readouterr().out
    assert "mine: 4 seeds, best 2 climb; 4 seeds, best 2 climb; 4 seeds" in out
    assert main(["promote", str(sweep), "--simulate", "--gpu-hours", "1"]) == 0
    assert "what 1 GPU-hours pay for" in capsys.readouterr().out
    assert not (paths.results_dir() / "mine").exists(), "nothing is frozen"


SEARCH = "search: {n_trials: 12, num_promoted: 3, space: {optimizer.matrix.lr: {low: 0.01, high: 0.1}}}\n"


def test_a_search_is_simulated(
    sweep: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With as many variants as it has trials, of which no more climb than it says."""
    monkeypatch.setattr(simulating, "NUM_WORLDS", 20)
    axes, others = SWEEP.index("axes:"), SWEEP.index("seeds:")
    sweep.write_text(SWEEP[:axes] + SEARCH + SWEEP[others:])
    assert main(["promote", str(sweep), "--simulate"]) == 0
    out = capsys.readouterr().out
    assert "mine: 4 seeds, best 3 climb; 4 seeds, best 2 climb; 4 seeds" in out
    assert "its trials (12) are drawn as a world draws variants" in out
    assert main(["promote", str(sweep), "--simulate", "--gpu-hours", "1"]) == 2
    assert "--gpu-hours is 1.0, but must be left out for a search" in capsys.readouterr().err
    assert not (paths.results_dir() / "mine").exists(), "nothing is frozen"
