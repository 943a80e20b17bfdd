"""Two objectives: what is told, the front against brute force, and what knows one objective only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from search_fakes import BETA, LR, FormulaSession, freeze, loss_of

from sweepkit.cli import main
from sweepkit.config.schema import LauncherConfig
from sweepkit.errors import ConfigError
from sweepkit.plan.run_plan import RunPlan
from sweepkit.report import content, numbers, search_front
from sweepkit.results.record import RunDir, RunState
from sweepkit.search import best_point, drive, raising, study
from sweepkit.sweep import frozen, trials
from sweepkit.sweep.frozen import Frozen

SPACE = {LR: {"low": 0.005, "high": 0.2, "log": True}, BETA: {"low": 0.7, "high": 0.99}}


class Rated(FormulaSession):
    """Higher rates are slower here; the highest diverge."""

    def __init__(self) -> None:
        super().__init__(diverges=lambda plan: plan.config.optimizer.matrix.lr > 0.15)

    def run(self, plan: RunPlan, run_dir: RunDir, *args: Any, **kwargs: Any) -> Any:
        record = super().run(plan, run_dir, *args, **kwargs)
        if record.state is RunState.complete:
            record.results["tokens_per_s"] = speed_of(plan)
            run_dir.write_record(record)
        return record


def speed_of(plan: RunPlan) -> float:
    return 1000.0 - 900 * plan.config.optimizer.matrix.lr


def search(sweep: Frozen) -> None:
    drive.search(
        sweep, LauncherConfig(), results_dir=sweep.sweep_dir.parent, session_factory=Rated,
        prepare=lambda config: None,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["tpe", "random", "nsgaii"])
def test_the_front_is_what_brute_force_finds(
    sampler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(tmp_path))
    sweep = freeze(tmp_path, space=SPACE, n_trials=16, sampler=sampler, second_objective="tokens_per_s")
    search(sweep)
    values = {
        trial.number: (loss_of(trial.cells[0].plan), -speed_of(trial.cells[0].plan))
        for trial in trials.load(sweep.sweep_dir)
        if trial.params[LR] <= 0.15
    }
    on_it = [
        number
        for number, mine in values.items()
        if not any(other != mine and other[0] <= mine[0] and other[1] <= mine[1] for other in values.values())
    ]
    assert main.main(["results", "s", "--front", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["trial"] for row in rows] == sorted(on_it, key=values.__getitem__)
    for row in rows:
        assert (row["val_bpb"], -row["tokens_per_s"]) == pytest.approx(values[row["trial"]])
    told = content.gather("s", tmp_path)
    _, picture, table = search_front.front(told)
    shown = [tuple(row[1:]) for row in table.value.rows]
    assert shown == [(numbers.bpb(row["val_bpb"]), numbers.plain(row["tokens_per_s"])) for row in rows]
    drawn = {line["label"]: line for line in picture.value.data["lines"]}
    cell_of = {trial.number: trial.cells[0] for trial in trials.load(sweep.sweep_dir) if trial.cells}
    named = {cell_of[number].variant for number in on_it}
    assert set(drawn["on the front"]["names"]) == named and not named & set(drawn["beaten"]["names"])
    assert set(drawn["on the front"]["runs"]) == {cell_of[number].plan.run_id for number in on_it}
    at, height = drawn["the front"]["tokens_per_s"], drawn["the front"]["val_bpb"]
    assert at == sorted(at, reverse=True) and height == sorted(height, reverse=True)  # fast and bad first
    told = study.load(sweep.sweep_dir)
    assert sorted(item.user_attrs[study.NUMBER] for item in told.best_trials) == sorted(on_it)
    for item in told.get_trials():
        if item.params[LR] <= 0.15:
            assert item.values == pytest.approx(values[item.user_attrs[study.NUMBER]])
        else:
            before = [values[n] for n in values if n < item.user_attrs[study.NUMBER]]
            assert item.values == pytest.approx([max(one) for one in zip(*before, strict=True)])
            assert item.constraints[study.ENDS] > 0
    other = best_point.of(tmp_path, "s", on_it[-1])
    assert other.trial == on_it[-1] and f"{LR}={other.params[LR]!r}" in other.overrides
    assert main.main(["results", "s", "--importances", "--format", "json"]) == 0


@pytest.mark.slow
def test_nsga_ii_breeds_what_it_would_have_bred_with_its_journal(tmp_path: Path) -> None:
    """From the second generation on of values that parents have; also where the study was made anew."""
    found = []
    for n_trials in (24, 14):
        results = tmp_path / str(n_trials)
        results.mkdir()
        asked = {"space": SPACE, "sampler": "nsgaii", "second_objective": "tokens_per_s"}
        search(freeze(results, n_trials=n_trials, **asked))
        if n_trials == 14:
            (results / "s" / study.FILE).unlink()
            raising.raise_to(24, "s", results)
            search(frozen.load_frozen(results, "s"))
        found.append([line.params for line in trials.load(results / "s")])
    assert found[0] == found[1] and len(found[0]) == 24
    inherited = [
        sum(own[key] in [other[key] for other in found[0][:place]] for key in SPACE)
        for place, own in enumerate(found[0])
    ]
    assert not any(inherited[:10]) and sum(inherited[10:]) >= 8, "of 28; half are mutated"


@pytest.mark.parametrize("sampler", ["tpe", "gp", "nsgaii", "qmc", "random", "grid"])
def test_two_objectives_with_conditions_and_constraints(sampler: str, tmp_path: Path) -> None:
    space: dict[str, Any] = {
        "model.window_pattern": ["SSSL", "L"],
        LR: {"low": 0.01, "high": 0.05, "step": 0.01, "when": {"model.window_pattern": "SSSL"}},
        BETA: {"low": 0.7, "high": 0.9, "step": 0.05},
    }
    limits = ["optimizer.matrix.lr <= 0.04", "tokens_per_s >= 900"]
    sweep = freeze(
        tmp_path,
        space=space,
        n_trials=4 if sampler == "gp" else 13,
        sampler=sampler,
        second_objective="tokens_per_s",
        constraints=limits,
    )
    search(sweep)
    lines = trials.load(sweep.sweep_dir)
    assert sum(line.counts for line in lines) == sweep.search.n_trials
    for line in lines:
        assert (LR in line.params) == (line.params["model.window_pattern"] == "SSSL")
        assert line.error or line.params.get(LR, 0.02) <= 0.04


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sampler": "cmaes"}, "sampler is 'cmaes', but must be another with second_objective"),
        ({"pruning": "median"}, "pruning.kind is 'median', but must be another with second_objective"),
        ({"second_objective": "speed"}, "second_objective is 'speed', but must be measured by runs"),
        ({"second_objective": "val_bpb"}, "be another than decision.metric"),
    ],
)
def test_what_knows_one_objective_is_refused(given: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        freeze(tmp_path, **{"space": SPACE, "second_objective": "train_time_s"} | given)


def test_a_front_of_one_objective_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                          capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(tmp_path))
    freeze(tmp_path)
    assert main.main(["results", "s", "--front"]) == 2
    assert "--front is 's', but must name a search with two objectives" in capsys.readouterr().err
