"""A decision has all its runs, or waits: every state of a run × every road to a verdict × every launcher.

One run of the lowest rung is made to have ended in some way. Then a command runs: either all ends in the
table and the verdicts of the undisturbed sweep, or in one line that names the run and what to do.
"""

from __future__ import annotations

import functools
import itertools
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_up_slurm
import pytest
from fake_trainer import FakeTrainer

import sample
from sweepkit import fsio
from sweepkit.cli.main import main
from sweepkit.launch import execute
from sweepkit.launch.slurm import retries
from sweepkit.report import html
from sweepkit.results import answer
from sweepkit.results.record import FailureClass, RunDir, RunState

pytestmark = pytest.mark.xdist_group("no answer")

SWEEP = """\
question: Which rate?
axes:
  rate: {tenth: [optimizer.matrix.lr=0.002], up: [optimizer.matrix.lr=0.04]}
seeds: [1, 2, 3, 4, 5]
decision: {alpha: 0.1, min_effect: 0.001, num_unselected: 0, axes: {wall_clock: not_worse}}
ladder: mini
"""
SEEDS = "seed=1,2,3,4,5"
MULTIRUN = ["train", "-m", "experiment=mini", "model=d2", "optimizer.matrix.lr=0.02,0.04", SEEDS]
COMMANDS = {
    "sweep": ["sweep", "mine"],
    "promote": ["promote", "mine"],
    "resume": ["resume", "mine"],
    "climb": ["resume", "mine", "--climb"],
    "-m": MULTIRUN,
    "gate": ["resume", "mine", "--climb"],
}
CLIMBING = ("promote", "climb", "gate")
WORKER = (sys.executable, str(Path(__file__).with_name("fake_trainer.py")))
STATES = [
    *((state.value, None) for state in (RunState.running, RunState.preempted, RunState.pruned)),
    (RunState.cancelled.value, FailureClass.cancelled.value),
    (RunState.diverged.value, FailureClass.diverged.value),
    *((RunState.failed.value, failure.value) for failure in FailureClass),
    (RunState.failed.value, None),
    *((damage, None) for damage in ("gone", "emptied", "cut", "a list", "no state", "an unknown state")),
]
#: Ended, so that a gate, which nobody asked just now, leaves it alone.
ENDED = [(state, why) for state, why in STATES if state == "cancelled" or (
    state == "failed" and why in {item.value for item in answer.FROM_OUTSIDE})]  # fmt: skip
LAUNCHERS = ("inline", "local", "slurm")
CASES = [  # of the reference and of a variant in turn
    (state, why, name, launcher, ("reference", "rate=up")[(number + number // 18) % 2])
    for number, ((state, why), name, launcher) in enumerate(itertools.product(STATES, COMMANDS, LAUNCHERS))
    if (name == "gate") <= (launcher == "slurm")
]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A sweep whose lowest rung has been run, and what its undisturbed promotion says, in ``ended``."""
    folder = tmp_path_factory.mktemp("swept")
    (folder / "sweeps").mkdir()
    (folder / "sweeps" / "mine.yaml").write_text(SWEEP)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        wire(patch)
        patch.setenv("SWEEPKIT_RESULTS_DIR", str(folder / "results"))
        assert main(["sweep", "mine"]) == 0
        assert main(MULTIRUN) == 0
        shutil.copytree(folder / "results", folder / "ended")
        patch.setenv("SWEEPKIT_RESULTS_DIR", str(folder / "ended"))
        assert main(["promote", "mine"]) == 0
    yield folder


def wire(patch: pytest.MonkeyPatch) -> None:
    fake = functools.partial(
        execute.execute,
        session_factory=FakeTrainer,
        worker_command=WORKER,
        prepare=lambda config: None,
    )
    patch.setattr(execute, "execute", fake)
    patch.setattr(html, "write", lambda name, results_dir: results_dir / name / "report.html")  # slow


def plant(run_dir: RunDir, state: str, why: str | None) -> None:
    """Have the run have ended so."""
    path = run_dir.record_path
    record: dict[str, Any] = fsio.read_json(path)
    if state == "gone":
        path.unlink()
    elif state == "emptied":
        path.write_text("")
    elif state == "cut":
        path.write_text(path.read_text()[: path.stat().st_size // 2])
    elif state == "a list":
        path.write_text("[1, 2]")
    elif state == "no state":
        fsio.write_json(path, {name: value for name, value in record.items() if name != "state"})
    elif state == "an unknown state":
        fsio.write_json(path, record | {"state": "finished"})
    else:
        before = run_dir.read_record()
        assert before is not None
        failure = FailureClass(why) if why else None
        run_dir.write_record(replace(before, state=RunState(state), failure_class=failure, results={}))


def promotion(results: Path) -> dict[str, Any]:
    return dict(fsio.read_json(results / "mine" / "promotion.json"))


def losses(results: Path) -> dict[str, tuple[str, Any]]:
    """run id → how it ended and its loss, of every run that there is."""
    found = {}
    for path in results.glob("runs/*/record.json"):
        record = json.loads(path.read_text())
        found[path.parent.name] = (record["state"], record["results"].get("val_bpb"))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("state", "why", "name", "launcher", "variant"), sample.sample(CASES, 6))
def test_a_run_without_an_answer_is_run_again_or_named(
    state: str,
    why: str | None,
    name: str,
    launcher: str,
    variant: str,
    swept: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    results = tmp_path / "results"
    shutil.copytree(swept / "results", results)
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(results))
    monkeypatch.chdir(swept)
    wire(monkeypatch)
    slurm = made_up_slurm.install(monkeypatch)
    cells = [json.loads(line) for line in (results / "mine" / "plan.jsonl").read_text().splitlines()]
    run_id = next(
        cell["plan"]["run_id"]
        for cell in cells
        if cell.get("variant") == variant and cell["rung"] == "d2" and cell["plan"]["seed"] == 2
    )
    plant(RunDir.of(results, run_id), state, why)

    if name == "gate":
        monkeypatch.setenv(retries.IS_JOB, "1")
    try:
        status = main([*COMMANDS[name], f"launcher={launcher}"])
    except SystemExit as ended:  # the only way in which Hydra lets a multirun say that runs failed
        status = int(str(ended.code))
    monkeypatch.delenv(retries.IS_JOB, raising=False)
    if slurm.waiting:
        status = slurm.carry_out(results, monkeypatch)
    said = capsys.readouterr().out

    stays = (state, why) in ENDED if name == "gate" else False
    is_own = state == "diverged" or (state == "failed" and why in ("crash", "diverged", "impossible", None))
    is_own |= name not in CLIMBING and why in ("oom", "timeout")  # only a verdict needs to know
    if stays:
        assert status == 1
        assert f"{run_id}: {why or state}" in said and "sweepkit resume mine --climb" in said
        assert not promotion(results)["finished"] and promotion(results)["rungs"] == []
        monkeypatch.setattr(sys, "argv", ["sweepkit"])
        main(["promote", "mine"])
    if is_own:
        assert losses(results)[run_id][0] == state
        assert name not in CLIMBING or promotion(results)["finished"]
    else:
        whole = losses(swept / "ended")
        assert losses(results)[run_id] == whole[run_id]
        if name in CLIMBING:
            assert losses(results) == whole
            assert promotion(results)["finals"] == promotion(swept / "ended")["finals"]
        else:
            assert status == 0


def test_the_cases_are_all_there() -> None:
    """Every state and failure by every road; a gate is Slurm's alone."""
    assert len(CASES) == len(STATES) * (5 * 3 + 1)
    assert {why for _, why in STATES} == {None, *(item.value for item in FailureClass)}
