"""Files of one run in the folder of another: whole, sealed, and of somebody else. None is believed."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import made_up_runs as made_up
import pandas as pd
import pytest

from sweepkit import fsio, sealed
from sweepkit.campaign import course
from sweepkit.config import typed
from sweepkit.data import cache
from sweepkit.errors import DamagedError, FrozenPlanError, SweepkitError
from sweepkit.launch import claim_files, claims, process
from sweepkit.launch.claim_files import ClaimInfo
from sweepkit.launch.curve import Curve
from sweepkit.promotion import verdicts_table
from sweepkit.results import asked, core_outcomes, pruned, store
from sweepkit.results.record import Attempt, RunDir, RunState
from sweepkit.sweep import published_seal

MINE, THEIRS = made_up.plan(seed=1), made_up.plan(seed=2)
ASKED = "another00key"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Two complete runs, each measured in two other ways, and stopped by a search before that."""
    sweep = pruned.Pruner("s", "0" * 12, {})
    for run in (MINE, THEIRS):
        written = made_up.finish(tmp_path, run)
        run_dir = RunDir.of(tmp_path, run.run_id)
        for number, key in enumerate((ASKED, "a-third-key")):
            losses = {"val_bpb": 1.0 + number + run.seed}
            run_dir.write_evaluation(replace(written, evaluation_key=key, results=losses))
        sweep.note(run_dir, 3, "hopeless", {})
        run_dir.write_attempt(Attempt(1))
        info = ClaimInfo("t", process.current(), "d", 1, 0, "now")
        run_dir.claim_path.write_text(claim_files.in_file(run_dir.claim_path, info))
        core_outcomes.write(run_dir, ASKED, core_outcomes.Outcomes(True, "a bundle"))
    made_up.freeze(tmp_path, "s", [made_up.cell(run) for run in (MINE, THEIRS)])
    return tmp_path


def loss(results: Path, key: str | None = None) -> float | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = store.load("s", results, key).set_index("run_id").loc[MINE.run_id, "val_bpb"]
    return None if pd.isna(value) else float(value)


def read_record(run_dir: RunDir) -> object:
    with pytest.warns(UserWarning, match=f"{run_dir.run_id}.*its run_id is {THEIRS.run_id}"):
        return run_dir.read_record()


def read_evaluation(run_dir: RunDir) -> object:
    with pytest.warns(UserWarning, match="is damaged .its (run_id|evaluation_key) is"):
        return run_dir.read_evaluation(ASKED)


READS: dict[str, Callable[[RunDir], object]] = {
    "record.json": read_record,
    f"evaluations/{ASKED}.json": read_evaluation,
    "metrics.jsonl": lambda run_dir: run_dir.metrics() or Curve(run_dir.metrics_path, 40).last_step or None,
    pruned.FILE: lambda run_dir: pruned.read(run_dir.path / pruned.FILE) or None,
    "attempts/1.json": lambda run_dir: run_dir.attempts() or None,
    "claim.json": lambda run_dir: (
        ((held := claims.holder(run_dir.claim_path)) and held.info.process.pid) or None
    ),
    f"items/{ASKED}.json": lambda run_dir: core_outcomes.read(run_dir, ASKED),
}


@pytest.mark.parametrize("file", READS)
def test_a_file_of_another_run_is_none(results: Path, file: str) -> None:
    mine, theirs = (RunDir.of(results, run.run_id) for run in (MINE, THEIRS))
    assert loss(results) and loss(results, ASKED) == 2.0
    if file not in ("record.json", f"evaluations/{ASKED}.json"):
        assert READS[file](mine) is not None
    shutil.copy(theirs.path / file, mine.path / file)
    assert READS[file](mine) is None
    assert (loss(results) is None) == (file == "record.json")
    if file.startswith("evaluations"):
        record = asked.read(mine, ASKED)
        assert record is not None and record.state is RunState.trained


def test_a_line_or_a_file_that_says_nobody_s_is_none(results: Path) -> None:
    mine = RunDir.of(results, MINE.run_id)
    mine.metrics_path.write_bytes(sealed.line({"step": 1, "loss": 2.0}))
    assert not mine.metrics() and not Curve(mine.metrics_path, 40).last_step
    fsio.write_json(mine.attempts_path / "1.json", typed.dump(Attempt(1)))
    assert not mine.attempts()


def test_an_attempt_under_the_number_of_another_is_none(results: Path) -> None:
    mine = RunDir.of(results, MINE.run_id)
    shutil.copy(mine.attempts_path / "1.json", mine.attempts_path / "2.json")
    assert [item.attempt for item in mine.attempts()] == [1]


def test_an_evaluation_under_the_key_of_another_is_none(results: Path) -> None:
    mine = RunDir.of(results, MINE.run_id)
    shutil.copy(mine.evaluation_path("a-third-key"), mine.evaluation_path(ASKED))
    assert read_evaluation(mine) is None
    frame = store.of_plans([replace(MINE, evaluation_key=ASKED)], results)
    assert frame["state"].tolist() == ["trained"] and frame["val_bpb"].isna().all()


def test_a_plan_of_another_run_is_named_and_written_again(results: Path) -> None:
    mine, theirs = (RunDir.of(results, run.run_id) for run in (MINE, THEIRS))
    shutil.copy(theirs.plan_path, mine.plan_path)
    with pytest.raises(DamagedError, match=f"its run_id is {THEIRS.run_id}"):
        mine.read_plan()
    with pytest.warns(UserWarning, match="plan.json cannot be read, so what was planned is missing"):
        assert store.load(store.ALL, results).set_index("run_id")["depth"].isna().to_dict() == {
            MINE.run_id: True, THEIRS.run_id: False,
        }  # fmt: skip
    mine.write_plan(MINE)
    assert mine.read_plan().run_id == MINE.run_id


def test_verdicts_of_another_sweep_are_refused(tmp_path: Path) -> None:
    for name in ("demo", "other"):
        made_up.promote(made_up.sweep(tmp_path, name, seeds=2, depths=(2,)))
    assert len(verdicts_table.table("demo", tmp_path))
    shutil.copy(tmp_path / "other" / verdicts_table.FILE, tmp_path / "demo")
    with pytest.raises(SweepkitError, match="its sweep is other, not demo"):
        verdicts_table.table("demo", tmp_path)
    published_seal.write(tmp_path / "demo")  # a published folder may have any name
    assert len(verdicts_table.table("demo", tmp_path))


@pytest.mark.parametrize("file", ["frozen.json", "plan.jsonl"])
def test_a_decided_round_that_lost_a_frozen_file_is_no_open_round(tmp_path: Path, file: str) -> None:
    made_up.promote(made_up.sweep(tmp_path, seeds=2, depths=(2,)))
    assert course.standing(tmp_path, "demo") and course.standing(tmp_path, "other") is None
    (tmp_path / "demo" / file).unlink()
    with pytest.raises(FrozenPlanError, match=f"demo/{file} is missing"):
        course.standing(tmp_path, "demo")


def test_an_entry_of_the_cache_under_the_name_of_another_is_built_again(tmp_path: Path) -> None:
    def build(text: str) -> Callable[[Path], dict[str, str]]:
        return lambda folder: {"made": str((folder / "text").write_text(text))}

    for name in ("a", "b"):
        cache.ensure(tmp_path / name, build(name))
    shutil.rmtree(tmp_path / "a")
    shutil.copytree(tmp_path / "b", tmp_path / "a")
    assert cache.read(tmp_path / "a") is None
    cache.ensure(tmp_path / "a", build("a"))
    assert (tmp_path / "a" / "text").read_text() == "a"
