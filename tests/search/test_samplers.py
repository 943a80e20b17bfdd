"""CMA-ES and grid: against Optuna's own in a study that lives, and what they cannot search."""

from __future__ import annotations

import itertools
from pathlib import Path

import optuna
import pytest
from search_fakes import BETA, LR, FormulaSession, freeze, loss_of, ran

from sweepkit import fsio
from sweepkit.config.schema import LauncherConfig
from sweepkit.errors import ConfigError
from sweepkit.search import drive, study
from sweepkit.sweep import trials
from sweepkit.sweep.frozen import Frozen

SPACE = {LR: {"low": 0.005, "high": 0.2, "log": True}, BETA: {"low": 0.7, "high": 0.99}}


def search(sweep: Frozen) -> None:
    drive.search(
        sweep, LauncherConfig(), results_dir=sweep.sweep_dir.parent, session_factory=FormulaSession,
        prepare=lambda config: None,
    )  # fmt: skip


def test_cma_es_proposes_what_one_sampler_that_lives_proposes(tmp_path: Path) -> None:
    """Over three generations; between trials nothing but the trials is kept."""
    sweep = freeze(tmp_path, space=SPACE, sampler="cmaes", n_trials=20, seed=5)
    search(sweep)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    plain = optuna.create_study(
        sampler=optuna.samplers.CmaEsSampler(
            seed=int(fsio.digest([5])[:8], 16), warn_independent_sampling=False
        )
    )
    plain.enqueue_trial({LR: 0.02, BETA: 0.96})  # the reference
    distributions = {
        LR: optuna.distributions.FloatDistribution(0.005, 0.2, log=True),
        BETA: optuna.distributions.FloatDistribution(0.7, 0.99),
    }
    for trial in trials.load(sweep.sweep_dir):
        asked = plain.ask(fixed_distributions=distributions)
        assert asked.params == pytest.approx(trial.params, rel=1e-12)
        plain.tell(asked, loss_of(trial.cells[0].plan))
    assert "cma" not in (sweep.sweep_dir / study.FILE).read_text(), "no pickles in the folder"


def test_a_grid_is_tried_once_each(tmp_path: Path) -> None:
    space = {LR: [0.01, 0.02, 0.04], BETA: {"low": 0.8, "high": 0.9, "step": 0.05}}
    sweep = freeze(tmp_path, space=space, sampler="grid", n_trials=12)
    search(sweep)
    lines = trials.load(sweep.sweep_dir)
    wanted = set(itertools.product([0.01, 0.02, 0.04], [0.8, 0.85, 0.9]))
    assert {(line.params[LR], line.params[BETA]) for line in lines} == wanted
    assert len(lines) == 9 and sum(line.repeats for line in lines) == 0
    assert len(ran(tmp_path)) == 10, "and the reference, which lies outside"


def test_what_a_sampler_cannot_search_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"search\.space\.optimizer\.matrix\.lr .* sampler: grid"):
        freeze(tmp_path, space=SPACE, sampler="grid")
    with pytest.raises(
        ConfigError, match=r"sampler is 'cmaes', but must have 2 intervals or more .* \(it has 1\)"
    ):
        freeze(tmp_path, space={LR: SPACE[LR], BETA: [0.8, 0.9]}, sampler="cmaes")
