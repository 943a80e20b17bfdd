"""Checkpoints that are damaged, or of something else, are passed over, and the run says so."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from training_runs import folder, losses, read, run, stop_after, tiny

from damages import DAMAGES, damage
from sample import sample
from sweepkit.config import sources
from sweepkit.plan.run_plan import RunPlan
from sweepkit.results.record import RunState
from sweepkit.training.session import Session

pytestmark = pytest.mark.xdist_group("unusable checkpoints")

EVERY_FOUR = "trainer.checkpoint_every_steps=4"
FILES = ("state.safetensors", "meta.json")
CASES = [*((name, how) for name in FILES for how in [*DAMAGES, "gone"]), ("meta.json", "another step")]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results folders of two runs of a plan: ``cut`` was stopped after step 8, ``whole`` was not."""
    return tmp_path_factory.mktemp("made")


@pytest.fixture
def whole(session: Session, made: Path) -> Path:
    """The results of the run that nobody stopped."""
    if not (made / "whole").exists():
        assert run(session, tiny(EVERY_FOUR), made / "whole").state is RunState.complete
    return made / "whole"


@pytest.fixture
def cut(session: Session, made: Path, tmp_path: Path) -> tuple[RunPlan, list[Path]]:
    """A run stopped after its checkpoints of steps 4 and 8; newest first."""
    plan = tiny(EVERY_FOUR)
    if not (made / "cut").exists():
        assert run(session, plan, made / "cut", should_stop=stop_after(9)).step == 8
    shutil.copytree(made / "cut", tmp_path, dirs_exist_ok=True)
    found = sorted(folder(plan, tmp_path).checkpoints_path.iterdir(), reverse=True)
    assert [path.name for path in found] == ["step_000008", "step_000004"]
    return plan, found


@pytest.mark.slow
@pytest.mark.parametrize(("name", "how"), sample(CASES, 3))
def test_a_corrupt_checkpoint_is_passed_over(
    session: Session, tmp_path: Path, cut: tuple[RunPlan, list[Path]], whole: Path, name: str, how: str
) -> None:
    plan, (newest, _) = cut
    if how == "another step":
        meta = newest / name
        meta.write_text(meta.read_text().replace('"step": 8', '"step": 9'))
    else:
        damage(newest / name, how)
    record = run(session, plan, tmp_path, attempt=2)
    assert record.state is RunState.complete
    assert read(folder(plan, tmp_path).attempts_path / "2.json")["first_step"] == 4
    assert "step_000008" in record.resolved.notes[0]
    assert losses(plan, tmp_path) == losses(plan, whole)
    uncut = folder(plan, whole).read_record()
    assert uncut is not None and record.results["val_bpb"] == uncut.results["val_bpb"]


def test_with_all_checkpoints_corrupt_the_run_starts_again_and_says_so(
    session: Session, tmp_path: Path, cut: tuple[RunPlan, list[Path]], whole: Path
) -> None:
    plan, found = cut
    for path in found:
        damage(path / "state.safetensors", "byte")
    record = run(session, plan, tmp_path, attempt=2)
    assert record.state is RunState.complete
    assert "starting again from step 0" in record.resolved.notes[-1]
    assert losses(plan, tmp_path) == losses(plan, whole)


@pytest.mark.slow
def test_a_checkpoint_in_another_dtype_is_not_used(
    session: Session, tmp_path: Path, cut: tuple[RunPlan, list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, _ = cut
    monkeypatch.setenv("SWEEPKIT_DTYPE", "bf16")
    record = run(session, plan, tmp_path, attempt=2)
    assert record.state is RunState.complete
    assert any("torch.float32" in note for note in record.resolved.notes)


@pytest.mark.slow
def test_checkpoints_of_other_code_are_not_continued(
    session: Session, tmp_path: Path, cut: tuple[RunPlan, list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From step 0, to the numbers of a run that nobody stopped, and the log says why."""
    plan, _ = cut
    written = sources.digest()
    monkeypatch.setattr(sources, "digest", lambda: "f" * 16)
    record = run(session, plan, tmp_path, attempt=2)
    assert record.state is RunState.complete and record.sources == "f" * 16
    log = folder(plan, tmp_path).log_path.read_text()
    assert f"was written by other code (sources {written})" in log and "starting again from step 0" in log
    whole = tmp_path / "whole"
    run(session, plan, whole)
    assert losses(plan, tmp_path) == losses(plan, whole)


def test_a_torn_metrics_row_costs_one_row(
    session: Session, tmp_path: Path, cut: tuple[RunPlan, list[Path]]
) -> None:
    plan, _ = cut
    with folder(plan, tmp_path).metrics_path.open("a") as file:
        file.write('{"step": 9, "attempt": 1, "lo')
    run(session, plan, tmp_path, attempt=2)
    assert len(losses(plan, tmp_path)) == 12


@pytest.mark.slow
def test_those_passed_over_push_out_none_of_those_saved_after(
    session: Session, tmp_path: Path, cut: tuple[RunPlan, list[Path]]
) -> None:
    _, found = cut
    for path in found:
        damage(path / "state.safetensors", "byte")
    often = tiny("trainer.checkpoint_every_steps=1")
    stopped = run(session, often, tmp_path, attempt=2, should_stop=stop_after(4))
    assert stopped.step == 3
    names = sorted(path.name for path in folder(often, tmp_path).checkpoints_path.iterdir())
    assert names == ["step_000002", "step_000003"]
    run(session, often, tmp_path, attempt=3)
    assert read(folder(often, tmp_path).attempts_path / "3.json")["first_step"] == 3
