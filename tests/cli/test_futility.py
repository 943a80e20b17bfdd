"""Stopping for futility: what is stopped, what never is, and that it ends the same however it was run."""

from __future__ import annotations

import functools
import itertools
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from curve_trainer import CurveTrainer, Killed
from made_up_slurm import install

from sweepkit import fsio
from sweepkit.analysis import futility
from sweepkit.cli import watching
from sweepkit.cli.main import main
from sweepkit.config.schema import LauncherConfig
from sweepkit.errors import ConfigError
from sweepkit.launch import execute
from sweepkit.launch.sweep_status import status
from sweepkit.results import pruned, store
from sweepkit.results.record import RunDir
from sweepkit.sweep import curves_alike, expand, file, frozen, seen, tuning
from sweepkit.sweep.file import SweepFile

RULE: dict[str, Any] = {
    "looks": [0.25, 0.5], "slopes": [1.0, 1.0], "floors": [0.01, 0.01], "shares": [0.1, 0.1],
}  # fmt: skip
#: ``tenth`` is worse by 0.5 from the start, ``slow`` too, with another warm-down; ``up`` is better by 0.04.
CONTENT: dict[str, Any] = {
    "base": [
        *("experiment=mini", "model=d2", "horizon.num_steps=40", "horizon.total_batch_size=4096"),
        "evaluation.every_steps=2",
    ],
    "axes": {
        "rate": {"tenth": ["optimizer.matrix.lr=0.002"], "up": ["optimizer.matrix.lr=0.04"]},
        "both": {"slow": ["optimizer.matrix.lr=0.003", "schedule.warmdown_ratio=0.9"]},
    },
    "seeds": [1, 2, 3],
    "decision": {"alpha": 0.1, "min_effect": 0.001, "num_unselected": 0, "futility": RULE},
}
Captured = pytest.CaptureFixture[str]


def written(folder: Path, name: str = "mine", **changes: Any) -> None:
    (folder / "sweeps").mkdir(exist_ok=True)
    fsio.write_text(folder / "sweeps" / f"{name}.yaml", json.dumps(CONTENT | changes))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the sweep, whose runs take no time."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(tmp_path / "results"))
    written(tmp_path)
    with_trainer(monkeypatch, CurveTrainer())
    return tmp_path


def with_trainer(monkeypatch: pytest.MonkeyPatch, trainer: CurveTrainer) -> None:
    inner = getattr(execute.execute, "func", execute.execute)
    fakes: dict[str, Any] = {"session_factory": lambda: trainer, "prepare": lambda config: None}
    worker = Path(__file__).with_name("curve_trainer.py")
    monkeypatch.setattr(
        execute, "execute", functools.partial(inner, **fakes, worker_command=(sys.executable, str(worker)))
    )


def table(here: Path, name: str = "mine") -> pd.DataFrame:
    return store.load(name, here / "results").set_index(["variant", "seed"])


def states(here: Path, name: str = "mine") -> dict[str, list[str]]:
    frame = table(here, name).reset_index()
    return {str(name): list(group["state"]) for name, group in frame.groupby("variant")}


STOPPED = {
    "reference": ["complete"] * 3,
    "rate=tenth": ["complete", "futile", "futile"],
    "rate=up": ["complete"] * 3,
    "both=slow": ["complete"] * 3,  # its warm-down is another: its curve does not compare
}


@pytest.mark.slow
def test_the_hopeless_is_stopped_and_the_verdict_says_so(here: Path, capsys: Captured) -> None:
    assert main(["promote", "mine"]) == 0
    out = capsys.readouterr().out
    assert states(here) == STOPPED
    frame = table(here)
    assert list(frame.loc["rate=tenth", "step"]) == [40, 10, 0], "the third is not started"
    why = frame.loc[("rate=tenth", 2), "failure_message"]
    assert why.startswith("stopped for futility at 25%: +0.53") and "over 2 seeds" in why
    assert "2 futile, 1 complete" in out and "stopped for futility at 25%" in out
    stored = fsio.read_json(here / "results/mine/verdicts.json")["verdicts"]
    by_name = {item["variant"]: item for item in stored}
    assert by_name["rate=up"]["outcome"] == "adopt"
    stopped = by_name["rate=tenth"]
    assert (stopped["outcome"], stopped["climbs"]) == ("reject", False)
    assert stopped["reasons"][0].startswith("stopped for futility at 25%")
    assert {item["evidence"]["num_variants"] for item in stored} == {3}, "comparisons as planned"
    assert (stopped["evidence"]["missing"], stopped["evidence"]["doubts"]["lost"]) == ({}, 0)
    assert len(stopped["evidence"]["stopped"]) == 2
    report = (here / "results/mine/report.html").read_text()
    assert "stopped for futility at 25%" in report
    (found,) = status(here / "results", "mine")
    assert found.counts == {"complete": 10, "futile": 2}


def test_what_was_seen_gives_the_verdict_again(here: Path) -> None:
    main(["sweep", "mine"])
    frame = table(here).reset_index()
    run_ids = list(frame.loc[frame["state"] == "futile", "run_id"])
    entries = [pruned.read(RunDir.of(here / "results", run_id).path / pruned.FILE) for run_id in run_ids]
    evidence = entries[0]["mine"]["evidence"]
    curves = store.curves("mine", here / "results").set_index(["variant", "seed", "step"])["val_bpb"].dropna()
    for seed, difference in evidence["by_seed"].items():
        # evaluations at steps 8 and 10 lie in the tenth of the schedule before the look
        mine, base = (curves.loc[(name, int(seed), [8, 10])].mean() for name in ("rate=tenth", "reference"))
        assert difference == pytest.approx(mine - base)
    assert evidence["look"] == 0.25 and evidence["chance"] < 0.01
    assert entries[1]["mine"]["evidence"]["decided_in"] == run_ids[0]


def test_noise_at_a_look_is_that_of_all_who_came_so_far(here: Path) -> None:
    """The one that was stopped before it among them."""
    axis = {"tenth": ["optimizer.matrix.lr=0.002"], "third": ["optimizer.matrix.lr=0.0021"]}
    written(here, axes={"rate": axis})
    main(["sweep", "mine"])
    frame = table(here)
    assert list(frame.loc["rate=tenth", "state"]) == ["complete", "futile", "futile"]
    run_id = str(frame.loc[("rate=third", 2), "run_id"])
    evidence = pruned.read(RunDir.of(here / "results", run_id).path / pruned.FILE)["mine"]["evidence"]
    assert evidence["look"] == 0.25
    curves = store.curves("mine", here / "results")
    seen = futility.differences(
        curves[curves["step"] <= 10].assign(num_steps=40), "reference", [0.25], "val_bpb"
    )
    by_variant = {name: list(rows[0.25]) for name, rows in seen.groupby("variant")}
    two = {name: values[:2] for name, values in by_variant.items()}
    sd = max(np.std(two["rate=third"], ddof=1), futility.typical_sd(two.values()))
    assert evidence["error"] == pytest.approx(sd / 2**0.5)
    assert len(two) == 2


def test_it_is_off_unless_asked_for(here: Path) -> None:
    written(here, decision=CONTENT["decision"] | {"futility": None})
    assert main(["sweep", "mine"]) == 0
    assert set(itertools.chain(*states(here).values())) == {"complete"}
    assert "futility" not in fsio.read_json(here / "results/mine/frozen.json")["sweep"]["decision"]


@pytest.mark.slow
def test_every_way_of_running_it_gives_the_same_table(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inline, by a worker process, killed in the run that is stopped and resumed, and on Slurm."""
    assert main(["sweep", "mine"]) == 0
    expected = table(here)[["run_id", "state", "step", "val_bpb"]]
    for way in ("local", "killed", "slurm"):
        monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(here / way / "results"))
        if way == "local":
            assert main(["sweep", "mine", "launcher=local", "launcher.num_workers=1"]) == 0
        elif way == "killed":
            with_trainer(monkeypatch, CurveTrainer(dies=expected.loc[("rate=tenth", 2), "run_id"]))
            with pytest.raises(Killed):
                main(["sweep", "mine"])
            assert table(here / way).loc[("rate=tenth", 2), "state"] != "futile"
            assert main(["sweep", "mine"]) == 0
        else:
            slurm = install(monkeypatch)
            assert main(["sweep", "mine", "launcher=slurm"]) == 0
            slurm.carry_out(here / way / "results", monkeypatch)
        found = table(here / way)[["run_id", "state", "step", "val_bpb"]]
        pd.testing.assert_frame_equal(found, expected, obj=way)


@pytest.mark.slow
def test_for_another_sweep_it_is_a_run_that_was_left_half_way(here: Path) -> None:
    main(["sweep", "mine"])
    run_id = table(here).loc[("rate=tenth", 2), "run_id"]
    other = SweepFile.from_json(
        CONTENT | {"name": "other", "decision": {"alpha": 0.1, "min_effect": 0.001, "num_unselected": 0}}
    )
    plans = [cell.plan for cell in frozen.freeze(other, here / "results", reuse_runs=True).cells]
    assert table(here, "other").loc[("rate=tenth", 2), "state"] == "preempted"
    assert main(["sweep", "mine"]) == 0 and states(here) == STOPPED, "started again it stays as it is"
    execute.execute(plans, LauncherConfig(), results_dir=here / "results")
    assert set(table(here, "other")["state"]) == {"complete"}
    assert table(here).loc[("rate=tenth", 2), ["state", "run_id"]].tolist() == ["complete", run_id]


def test_where_the_reference_has_not_come_as_far_the_run_goes_on(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With seeds and variants in the other order nothing is there to compare with."""
    sweep = frozen.freeze(file.load("mine"), here / "results")
    watch = watching.watch(sweep, sweep.cells)
    assert watch is not None and len(watch.run_ids) == 6, "of two variants; not the reference, nor slow"
    last_first = [cell.plan for cell in sorted(sweep.cells, key=lambda cell: cell.role == "reference")]
    with monkeypatch.context() as patch:
        patch.setattr("sweepkit.launch.worker.next_run", lambda startable, **_: startable[0])
        execute.execute(last_first, LauncherConfig(), results_dir=here / "results", watch=watch)
    assert set(table(here)["state"]) == {"complete"}


@pytest.mark.parametrize(("changes", "said"), [
    ({"search": {"space": {"optimizer.x0.lr": {"low": 0.1, "high": 0.2}}}}, "be left out with search"),
    ({"base": CONTENT["base"][:-1]}, "follow an interim evaluation within 10% of the schedule"),
    ({"decision": CONTENT["decision"] | {"axes": {"steps": "not_worse"}}}, "be left out where axes.steps"),
    ({"decision": CONTENT["decision"] | {"futility": RULE | {"floors": [1.0]}}}, "hold a number a look"),
    ({"decision": CONTENT["decision"] | {"futility": RULE | {"looks": [0.5, 0.25]}}}, "be growing fractions"),
    ({"decision": CONTENT["decision"] | {"metric": "mfu"}}, "be loss for mfu"),
    ({"decision": CONTENT["decision"] | {"metric": "ema_val_bpb"}}, "be loss for ema_val_bpb"),
])  # fmt: skip
def test_what_cannot_be_judged_half_way_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        expand.expand_all(SweepFile.from_json(CONTENT | changes | {"name": "mine"}))


def test_what_acts_late_or_nobody_knows_when_is_judged_at_its_end_alone() -> None:
    levels = {
        "rate": ["optimizer.matrix.lr=0.03"],
        "rhythm": ["evaluation.every_steps=4"],
        "warmup": ["schedule.warmup_ratio=0.2"],
        "warmdown": ["schedule.warmdown_ratio=0.3"],
        "ramp": ["schedule.batch_ramp=[2,1]"],
        "average": ["optimizer.ema_decay=0.9"],
        "momentum": ["optimizer.matrix.momentum_end=0.8"],
        "steps": ["horizon.num_steps=44"],
        "words": ["tokenizer.vocab_size=512"],
        "rows": ["packing.algorithm=best_fit"],
    }
    axes = {"of": levels | {"code": ["optimizer.matrix.lr=0.031"]}}
    base = [*CONTENT["base"], "horizon.device_batch_size=16"]
    sweep = SweepFile.from_json(CONTENT | {"name": "mine", "base": base, "axes": axes, "seeds": [1]})
    cells = [
        replace(cell, plan=replace(cell.plan, config=replace(cell.plan.config, code="0" * 12)))
        if cell.variant == "of=code"
        else cell
        for cell in expand.expand_all(sweep)
    ]
    assert curves_alike.comparable(cells) == {"of=rate", "of=rhythm"}


def test_another_rhythm_of_evaluations_is_compared_where_both_were_evaluated(here: Path) -> None:
    """Losses fall: of the last evaluations of each, the rarer ones would be behind."""
    rare = ["optimizer.matrix.lr=0.0215", "evaluation.every_steps=4"]
    written(here, axes={"rate": {"tenth": ["optimizer.matrix.lr=0.002"], "rare": rare}})
    assert main(["sweep", "mine"]) == 0
    assert states(here)["rate=rare"] == ["complete"] * 3
    assert states(here)["rate=tenth"] == STOPPED["rate=tenth"]


@pytest.mark.slow
def test_what_was_stopped_was_judged(here: Path) -> None:
    """Its curve was seen, so that its seeds are not fresh ones although its folder is deleted."""
    assert main(["promote", "mine"]) == 0
    assert seen.judged_runs(here / "results/mine") == set(table(here)["run_id"])


def test_what_tuning_selects_by_runs_to_its_end(tmp_path: Path) -> None:
    sweep = SweepFile.from_json(CONTENT | {"name": "mine", "tune": {"optimizer.x0.lr": ["0.5x"]}})
    assert tuning.freeze(sweep, tmp_path / "results").decision.futility is None
