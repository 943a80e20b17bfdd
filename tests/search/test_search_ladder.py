"""A search on the lowest rung of a ladder: what is frozen, who climbs, killed anywhere and run again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from search_fakes import BETA, LR, FormulaSession, loss_of, ran

from sweepkit import fsio
from sweepkit.cli import promote, running, searching
from sweepkit.cli.main import main
from sweepkit.config import typed
from sweepkit.config.schema import LauncherConfig
from sweepkit.errors import ConfigError
from sweepkit.launch import execute
from sweepkit.plan.run_plan import RunPlan
from sweepkit.promotion.verdict_record import Promotion
from sweepkit.results import store
from sweepkit.search import drive
from sweepkit.search.trial_ledger import TrialLedger
from sweepkit.sweep import frozen, trials
from sweepkit.sweep.decision import DecisionRule
from sweepkit.sweep.file import SweepFile
from sweepkit.sweep.frozen import Frozen

BASE = ["horizon.num_steps=20", "horizon.total_batch_size=8192"]
SPACE = {LR: {"low": 0.005, "high": 0.2, "log": True}, BETA: {"low": 0.7, "high": 0.99}}


class Session(FormulaSession):
    """The formula's trainer with what verdicts look at."""

    left: int | None = None  # runs until it is killed

    def run(self, plan: RunPlan, *args: Any, **kwargs: Any) -> Any:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
        return super().run(plan, *args, **kwargs)


def freeze(
    results: Path,
    name: str = "s",
    ladder: str = "mini",
    reference_horizons: list[float] | None = None,
    **search: Any,
) -> Frozen:
    given = {"space": SPACE, "n_trials": 12, "sampler": "random"} | search
    sweep = SweepFile.from_json(
        {
            "name": name,
            "base": BASE,
            "search": given,
            "seeds": [1, 2, 3],
            "decision": {"alpha": 0.1, "min_effect": 0.001},
            "ladder": ladder,
        }
        | ({"reference_horizons": reference_horizons} if reference_horizons else {})
    )
    return frozen.freeze(sweep, results)


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Session:
    """Has every launch of this process train with the formula."""
    trainer = Session()
    for module in (drive, execute):
        inner = module.search if module is drive else module.execute  # type: ignore[attr-defined]
        name = "search" if module is drive else "execute"

        def carried_out(*args: Any, inner: Any = inner, **kwargs: Any) -> Any:
            given = {"session_factory": lambda: trainer, "prepare": lambda config: None}
            return inner(*args, **kwargs, **given)

        monkeypatch.setattr(module, name, carried_out)
    return trainer


@pytest.fixture
def quiet(session: Session, monkeypatch: pytest.MonkeyPatch) -> Session:
    """Without drawing the report, which takes longer than all the rest."""
    monkeypatch.setattr("sweepkit.report.html.write", lambda name, results: results / name / "report.html")
    return session


def climb(sweep: Frozen) -> Promotion | None:
    how = running.How(sweep.sweep_dir.parent, LauncherConfig())
    promote.climb(sweep, how, [], allow_mixed_environments=False)
    path = sweep.sweep_dir / "promotion.json"
    return typed.load(Promotion, fsio.read_json(path)) if path.exists() else None


@pytest.mark.slow
def test_the_best_points_climb_with_the_reference_and_two_that_lost(tmp_path: Path, quiet: Session) -> None:
    sweep = freeze(tmp_path, num_promoted=3, enqueue=[[f"{LR}=0.027"], [f"{LR}=0.03", f"{BETA}=0.9"]])
    promotion = climb(sweep)
    assert promotion is not None and promotion.finished
    lines = trials.load(sweep.sweep_dir)
    assert len(lines) == 12
    means = {
        trial.cells[0].variant: sum(loss_of(cell.plan) for cell in trial.cells) / 3
        for trial in lines
        if trial.cells[0].role != "reference"
    }
    best = sorted(means, key=lambda name: means[name])[:3]
    reference = sum(loss_of(cell.plan) for cell in lines[0].cells) / 3
    best = [name for name in best if means[name] < reference - 0.001]
    assert best, "the formula has points that are better than the reference"
    assert set(promotion.rungs[0].survivors) == set(best)
    drawn = promotion.rungs[0].unselected
    assert len(drawn) == 2 and not set(drawn) & set(best)
    run = {cell.variant for cell in frozen.load_frozen(tmp_path, "s").cells
           if cell.rung != "d2" and cell.plan.run_id in ran(tmp_path)}  # fmt: skip
    assert run >= {"reference", *drawn}
    assert run <= {"reference", *drawn, *best, *promotion.rungs[1].unselected}
    assert not set(drawn) & {final.variant for final in promotion.finals if final.outcome == "adopted"}
    frame = store.load("s", tmp_path)
    assert set(frame["rung"]) == {"d2", "d4", "d6"}
    assert frame["run_id"].is_unique


@pytest.mark.slow
def test_points_that_climb_are_held_against_the_references_frontier(
    tmp_path: Path, quiet: Session, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A search has no axes of its own when it is frozen, but its points are variants all the same."""
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(tmp_path))
    sweep = freeze(tmp_path, n_trials=6, reference_horizons=[0.5, 2], enqueue=[[f"{LR}=0.027"]])
    horizons = {"reference", "reference@0.5x", "reference@2x"}
    for rung in sweep.rungs:
        assert {cell.variant for cell in sweep.fixed if cell.rung == rung.name} == horizons
    promotion = climb(sweep)
    assert promotion is not None and len(promotion.rungs) > 1
    climbed = promotion.rungs[1].verdicts[0]
    held = climbed.evidence.axes["flops"].matched
    assert held.cost_ratio == 1.0
    assert held.effect == pytest.approx(climbed.evidence.effect.effect, rel=1e-3)
    assert not any(item.variant.startswith("reference") for rung in promotion.rungs for item in rung.verdicts)
    best = searching.best(store.load("s", tmp_path), DecisionRule())
    assert "reference@2x" not in set(best["variant"])
    assert main(["results", "s", "--analysis", "frontier"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "effect: against what the reference reaches at the same cost" in said
    ledger = TrialLedger(sweep, tmp_path)
    ledger.refresh()
    trial = next(run for run in ledger._of_trials.values() if run.plan.num_steps == 20)
    assert {run.plan.num_steps for run in ledger.peers(trial)} == {20}, "pruning looks at runs of one length"


@pytest.mark.slow
def test_without_other_horizons_the_table_says_why(
    tmp_path: Path, quiet: Session, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(tmp_path))
    climb(freeze(tmp_path, n_trials=3))
    capsys.readouterr()
    assert main(["results", "s", "--analysis", "frontier"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "the reference has one horizon" in said and "reference_horizons: [0.5, 2]" in said


@pytest.mark.slow
def test_killed_anywhere_and_run_again_it_ends_the_same(tmp_path: Path, quiet: Session) -> None:
    calm = climb(freeze(tmp_path / "calm", n_trials=6))
    num_runs = len(ran(tmp_path / "calm"))
    sweep = freeze(tmp_path / "shaken", n_trials=6)
    while True:
        quiet.left = 4
        try:
            shaken = climb(sweep)
            break
        except KeyboardInterrupt:
            continue
    assert calm is not None and shaken is not None
    assert [(it.variant, it.outcome, it.rung) for it in shaken.finals] == [
        (it.variant, it.outcome, it.rung) for it in calm.finals
    ]
    assert [rung.unselected for rung in shaken.rungs] == [rung.unselected for rung in calm.rungs]
    started = ran(tmp_path / "shaken")
    assert len(started) == len(set(started)) == num_runs
    before = {path.name: path.read_bytes() for path in sweep.sweep_dir.glob("*.json*")}
    quiet.left = 0
    climb(sweep)  # runs nothing and decides nothing again
    assert {path.name: path.read_bytes() for path in sweep.sweep_dir.glob("*.json*")} == before


@pytest.mark.slow
def test_failed_and_infeasible_points_do_not_climb(tmp_path: Path, quiet: Session) -> None:
    quiet.diverges = lambda plan: plan.config.optimizer.x0.beta1 < 0.8
    quiet.memory = lambda plan: 10.0 if plan.config.optimizer.matrix.lr > 0.03 else 1.0
    promotion = climb(
        freeze(tmp_path, n_trials=16, max_peak_memory_gib=5.0, num_promoted=16, enqueue=[[f"{LR}=0.027"]])
    )
    assert promotion is not None
    above = {item.variant for result in promotion.rungs[1:] for item in result.verdicts}
    assert above
    outcomes = {item.variant: item.outcome for item in promotion.rungs[0].verdicts}
    bad = 0
    for trial in trials.load(tmp_path / "s")[1:]:
        variant = trial.cells[0].variant
        if trial.params[BETA] < 0.8 or trial.params[LR] > 0.03:
            bad += 1
            assert variant not in above and outcomes[variant] in ("reject", "inconclusive")
            assert trial.params[BETA] < 0.8 or outcomes[variant] == "reject", "one that needs too much memory"
    assert bad > 3
    assert set(store.load("s", tmp_path)["failure_class"].dropna()) == {"diverged"}, "the table is untouched"


@pytest.mark.slow
def test_nothing_is_decided_while_the_search_goes_on(
    tmp_path: Path, quiet: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = freeze(tmp_path, n_trials=5)
    drive.search(sweep, LauncherConfig(), results_dir=tmp_path)
    (sweep.sweep_dir / trials.COUNT_FILE).unlink()
    (sweep.sweep_dir / trials.FILE).write_text("")  # as if nothing had been proposed yet
    for place in ("stopped", "not begun"):
        if place == "stopped":
            (sweep.sweep_dir / trials.STOP_FILE).touch()
        assert searching.searched(sweep, tmp_path) is None
    assert climb(sweep) is not None, "a launch by hand goes on"
    assert "search has not ended" not in capsys.readouterr().out


def test_a_space_leaves_the_rungs_alone(tmp_path: Path) -> None:
    for space in ({"model": ["d2", "d4"]}, {"model.depth": {"low": 2, "high": 4}}):
        with pytest.raises(ConfigError, match="in which the rungs of the ladder differ"):
            freeze(tmp_path, space=space)


def test_a_ladder_may_come_from_the_command_line_and_is_frozen_with_its_limit(tmp_path: Path) -> None:
    given = {"name": "s", "base": BASE, "search": {"space": SPACE, "n_trials": 3}}
    sweep = frozen.freeze(SweepFile.from_json(given), tmp_path, ["ladder=mini"])
    assert [(rung.name, rung.max_promoted) for rung in sweep.rungs] == [("d2", 2), ("d4", 2), ("d6", None)]
    drive.search(
        sweep, LauncherConfig(), results_dir=tmp_path, overrides=["ladder=mini"],
        session_factory=Session, prepare=lambda config: None,
    )  # fmt: skip
    (first, *_) = trials.load(sweep.sweep_dir)
    assert [cell.rung for cell in first.above] == ["d4", "d6"]
    assert [cell.plan.depth for cell in first.above] == [4, 6]
    given["name"] = "t"
    given["search"]["num_promoted"] = 7  # type: ignore[index]
    sweep = frozen.freeze(SweepFile.from_json(given), tmp_path, ["ladder=mini"])
    assert sweep.rungs[0].max_promoted == 7


@pytest.mark.slow
def test_with_one_seed_only_points_that_beat_the_reference_climb(tmp_path: Path, quiet: Session) -> None:
    search = {"space": SPACE, "n_trials": 9, "sampler": "random", "num_promoted": 6}
    search |= {"enqueue": [[f"{LR}=0.03"], [f"{LR}=0.021"]]}
    given = {
        "name": "s", "base": BASE, "search": search, "seeds": [1], "ladder": "mini",
        "decision": {"alpha": 0.1, "min_effect": 0.001},
    }  # fmt: skip
    sweep = frozen.freeze(SweepFile.from_json(given), tmp_path)
    promotion = climb(sweep)
    assert promotion is not None
    lines = trials.load(sweep.sweep_dir)
    loss = {trial.cells[0].variant: loss_of(trial.cells[0].plan) for trial in lines}
    better = {name for name, value in loss.items() if value <= loss["reference"] - 0.001}
    assert set(promotion.rungs[0].survivors) == better
    assert 2 <= len(better) < 6


@pytest.mark.slow
def test_plan_status_results_and_report_know_it(
    tmp_path: Path, session: Session, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    results = tmp_path / "results"
    promotion = climb(freeze(results, n_trials=14))
    assert promotion is not None
    few = searching.worth_showing(store.load("s", results), DecisionRule(), promotion)
    assert {"reference", *promotion.rungs[0].survivors, *promotion.rungs[0].unselected} <= few
    assert len(few) < 14, "of many points the best are shown"
    said = capsys.readouterr().out
    assert "search: random, 14 trials in total" in said
    (tmp_path / "sweeps").mkdir()
    text = json.dumps({"base": BASE, "ladder": "mini", "seeds": [1, 2], "search": {"space": SPACE}})
    (tmp_path / "sweeps" / "planned.yaml").write_text(text)
    for command, words in {
        ("plan", "sweep=planned"): (
            "a search of 20 trials, the reference among them: up to 38 further runs",
            "best 2 and 4 that lost, on d4, d6",
        ),
        ("status", "s"): ("14 of 14 trials proposed", "never needed"),
        ("results", "s"): ("d6",),
        ("resume", "s", "--climb"): ("Outcome",),
        ("resume", "s"): ("14 trials", "next: sweepkit promote s"),
    }.items():
        assert main(list(command)) == 0
        said = " ".join(capsys.readouterr().out.split())
        assert all(word in said for word in words), (command, said)
    page = (results / "s" / "report.html").read_text()
    assert "unselected" in page
