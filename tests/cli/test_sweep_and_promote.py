"""sweep, promote and -m, wired with a launcher that takes no time."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cli_fakes import FakeLauncher

from sweepkit.cli.main import main
from sweepkit.config import paths
from sweepkit.launch import job
from sweepkit.plan.run_plan import RunPlan
from sweepkit.results.record import FailureClass, RunDir
from sweepkit.sweep import file, frozen

SWEEP = """\
question: Which rate?
axes:
  rate: {tenth: [optimizer.matrix.lr=0.002], up: [optimizer.matrix.lr=0.04]}
seeds: [1, 2, 3]
decision: {alpha: 0.1, min_effect: 0.001, num_unselected: 0}
ladder: mini
"""
Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    (folder / "sweeps").mkdir(parents=True)
    path = folder / "sweeps" / "mine.yaml"
    path.write_text(SWEEP)
    monkeypatch.chdir(folder)
    return path


def test_sweep_runs_the_first_rung(launcher: FakeLauncher, capsys: Captured) -> None:
    assert main(["sweep", "mine"]) == 0
    out = capsys.readouterr().out
    assert len(launcher.started) == 9
    assert all(run_id.startswith("d2-") for run_id in launcher.started)
    assert "Which rate?" in out
    assert "rate=tenth" in out
    assert "next: sweepkit promote mine" in out


def test_what_was_frozen_and_never_run_may_be_changed(
    launcher: FakeLauncher, a_sweep: Path, own_results_dir: Path, capsys: Captured
) -> None:
    frozen.freeze(file.load("mine"), own_results_dir)
    a_sweep.write_text(SWEEP.replace("Which rate?", "Which rate of two?") + "\nreference_horizons: [2]\n")
    assert main(["sweep", "mine"]) == 0
    assert "mine is frozen anew" in capsys.readouterr().out
    a_sweep.write_text(SWEEP)
    assert main(["sweep", "mine"]) == 2
    assert "new name" in capsys.readouterr().err


def test_sweep_without_a_ladder_runs_everything(launcher: FakeLauncher, capsys: Captured) -> None:
    assert main(["sweep", "mine", "ladder=none", "experiment=mini", "model=d4"]) == 0
    assert len(launcher.started) == 9
    assert all(run_id.startswith("d4-") for run_id in launcher.started)
    said = capsys.readouterr().out
    assert "next: sweepkit promote mine ladder=none experiment=mini model=d4 decides" in said


@pytest.mark.slow
def test_launcher_overrides_reach_the_launcher_of_a_frozen_sweep(launcher: FakeLauncher) -> None:
    main(["sweep", "mine"])
    assert main(["sweep", "mine", "launcher=local", "launcher.num_workers=2"]) == 0
    assert [item.kind.name for item in launcher.launchers] == ["inline", "local"]
    assert len(launcher.started) == 9


@pytest.mark.parametrize(("now", "kind", "num_workers"), [
    ([], "local", 3), (["launcher.num_workers=2"], "local", 2), (["launcher=inline"], "inline", "auto"),
])  # fmt: skip
def test_resume_changes_of_the_launcher_what_it_is_told(
    launcher: FakeLauncher, now: list[str], kind: str, num_workers: int | str
) -> None:
    main(["sweep", "mine", "launcher=local", "launcher.num_workers=3"])
    assert main(["resume", "mine", *now]) == 0
    assert (launcher.launchers[-1].kind.name, launcher.launchers[-1].num_workers) == (kind, num_workers)


def test_resume_starts_failed_runs_of_the_named_classes_again(launcher: FakeLauncher) -> None:
    main(["sweep", "mine"])
    named = (FailureClass.timeout, FailureClass.crash)
    others = (failure_class for failure_class in FailureClass if failure_class not in named)
    for run_id, failure_class in zip(launcher.started, [*named, *others], strict=False):
        run_dir = RunDir.of(paths.results_dir(), run_id)
        job.mark_failed(run_dir.read_plan(), run_dir, failure_class, "made up")
    del launcher.started[:]
    assert main(["resume", "mine", "--only", "timeout,crash"]) == 1  # others have failed still
    assert len(launcher.started) == 2


def test_a_budget_is_for_simulating_and_starts_nothing(launcher: FakeLauncher, capsys: Captured) -> None:
    assert main(["promote", "mine", "--gpu-hours", "64"]) == 2
    assert "--simulate" in capsys.readouterr().err
    assert launcher.started == []


def test_options_and_overrides_mix(launcher: FakeLauncher, capsys: Captured) -> None:
    assert main(["sweep", "mine", "trainer=eager", "--retry-failed", "launcher=local"]) == 0
    assert launcher.launchers[0].kind.name == "local"
    assert main(["sweep", "mine", "--retry-faild"]) == 2
    assert (
        "does not know --retry-faild; did you mean --retry-failed? see sweepkit sweep --help"
        in capsys.readouterr().err
    )


def test_a_changed_sweep_is_refused(launcher: FakeLauncher, a_sweep: Path, capsys: Captured) -> None:
    main(["sweep", "mine"])
    a_sweep.write_text(SWEEP.replace("[1, 2, 3]", "[1, 2]"))
    capsys.readouterr()
    assert main(["sweep", "mine"]) == 2
    assert "sweep mine is changed (seeds)" in capsys.readouterr().err


@pytest.mark.slow
def test_promote_climbs_and_tells(launcher: FakeLauncher, a_sweep: Path, capsys: Captured) -> None:
    a_sweep.write_text(SWEEP.replace("[1, 2, 3]", "[1, 2, 3, 4, 5]"))
    assert main(["promote", "mine"]) == 0
    out = capsys.readouterr().out
    depths = [run_id.partition("-")[0] for run_id in launcher.started]
    assert depths == ["d2"] * 15 + ["d4"] * 10 + ["d6"] * 10, "the tenth is rejected at d2"
    folder = paths.results_dir() / "mine"
    for name in ("frozen.json", "plan.jsonl", "promotion.json", "verdicts.json", "runs.csv", "report.html"):
        assert (folder / name).is_file(), name
    for heading in ("Results", "Verdicts", "Transfer between depths", "Outcome"):
        assert heading in out
    assert "adopted      rate=up" in out
    assert "rejected     rate=tenth" in out
    assert "to the next rung: rate=up" in out
    assert "forecast: effects at d4 as expected:" in out
    assert "forecast: the reference's loss at d6 is" in out
    assert out.index("forecast: effects at d4") < out.index("d6: "), "before it is paid for"
    assert "report.html" in out


@pytest.mark.slow
def test_promote_again_runs_nothing_and_says_the_same(launcher: FakeLauncher, capsys: Captured) -> None:
    main(["promote", "mine"])
    first = capsys.readouterr().out
    started = list(launcher.started)
    report = paths.results_dir() / "mine" / "report.html"
    written = report.stat().st_mtime_ns
    assert main(["promote", "mine"]) == 0
    again = capsys.readouterr().out
    assert launcher.started == started
    assert again[again.index("Results") :] == first[first.index("Results") :]
    assert report.stat().st_mtime_ns == written
    report.unlink()
    main(["promote", "mine"])
    assert report.is_file()


@pytest.mark.slow
def test_status_calls_cells_that_no_rung_needed_so(launcher: FakeLauncher, capsys: Captured) -> None:
    main(["sweep", "mine"])
    main(["status", "mine"])
    assert "18 planned, 9 complete" in capsys.readouterr().out
    main(["promote", "mine"])
    capsys.readouterr()
    main(["status", "mine"])
    assert "6 never needed, 21 complete" in capsys.readouterr().out


@pytest.mark.slow
def test_sweep_then_promote_shares_runs(launcher: FakeLauncher) -> None:
    main(["sweep", "mine"])
    main(["promote", "mine"])
    assert len(launcher.started) == len(set(launcher.started)) == 21


def test_a_tampered_plan_is_refused(launcher: FakeLauncher, capsys: Captured) -> None:
    main(["sweep", "mine"])
    path = paths.results_dir() / "mine" / "frozen.json"
    path.write_text(path.read_text().replace('"alpha": 0.1', '"alpha": 0.4'))
    capsys.readouterr()
    assert main(["promote", "mine"]) == 2
    assert "edited after it was frozen" in capsys.readouterr().err


@pytest.mark.slow
def test_diverged_runs_are_shown_and_do_not_stop_the_ladder(
    launcher: FakeLauncher, a_sweep: Path, capsys: Captured
) -> None:
    a_sweep.write_text(SWEEP.replace("[1, 2, 3]", "[1, 2, 3, 4, 5]"))
    normal = launcher.loss

    def loss(plan: RunPlan) -> float | None:
        return None if plan.config.optimizer.matrix.lr < 0.005 else normal(plan)

    launcher.loss = loss
    assert main(["promote", "mine"]) == 0
    out = capsys.readouterr().out
    assert "the loss is NaN at step 3" in out
    assert "adopted      rate=up" in out


def test_multirun_goes_through_the_same_ledger(launcher: FakeLauncher, capsys: Captured) -> None:
    arguments = ["train", "-m", "experiment=mini", "model=d2", "optimizer.matrix.lr=0.02,0.04", "seed=1,2"]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert len(launcher.started) == 4
    name = next(word for word in out.split() if word.startswith("multirun-")).rstrip(":")
    assert (paths.results_dir() / name / "plan.jsonl").is_file()
    assert main(arguments) == 0
    assert len(launcher.started) == 4
    assert main(["sweep", "mine", "--reuse-runs"]) == 0
    assert len(launcher.started) == 4 + 9 - 4, "the sweep shares the reference and up, seeds 1 and 2"
    assert "after the fact: 4 of its runs had been seen when it was frozen" in capsys.readouterr().out
    capsys.readouterr()
    assert main(["results", name, "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert sorted(row["seed"] for row in rows) == [1, 1, 2, 2]
    assert not list(Path.cwd().glob("multirun*")), "Hydra leaves no folders behind"
    assert not list(Path.cwd().glob("outputs*"))


@pytest.mark.slow
def test_a_text_that_leaves_nothing_for_the_last_rung_is_refused_before_anything_is_frozen(
    launcher: FakeLauncher, tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / "text").mkdir()
    for number in range(2):  # the last file is the validation text
        texts = [f"text {number} {line}: " + " ".join(map(str, range(line))) for line in range(200)]
        table = pa.table({"text": texts})
        pq.write_table(table, tmp_path / "text" / f"part{number}.parquet")
    data = ["dataset=files", f"dataset.path={tmp_path / 'text'}", "tokenizer.vocab_size=300"]
    data.append("launcher.max_epochs=1000")
    few = "evaluation.streams=[validation]"
    assert main(["promote", "mine", *data, few]) == 2
    assert "leaves 0 bytes of text for validation_holdout" in capsys.readouterr().err
    assert not launcher.started and not (paths.results_dir() / "mine").exists()
    assert main(["promote", "mine", *data, few, "evaluation.max_bytes=5000"]) == 0
