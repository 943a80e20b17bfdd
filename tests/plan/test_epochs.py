"""How often a run sees its text: known where the text is, refused where it is too often."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweepkit.cli.main import USER_ERROR, main
from sweepkit.config import compose as composing
from sweepkit.data.prepare import prepare
from sweepkit.errors import ConfigError
from sweepkit.plan import build, epochs
from sweepkit.plan.run_plan import RunPlan
from sweepkit.sweep import expand, file


@pytest.fixture(autouse=True)
def own_cache_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEPKIT_CACHE_DIR", str(tmp_path / "cache"))


def plan(*overrides: str) -> RunPlan:
    return build.build(composing.compose(overrides))


@pytest.mark.slow
def test_of_the_embedded_text_an_estimate_is_close_to_what_is_counted_then() -> None:
    mini = plan("experiment=mini", "model=d2", "tokenizer.vocab_size=300")
    before = epochs.of(mini)
    assert before is not None and not before.is_exact
    prepared = prepare(mini.config)
    after = epochs.of(mini)
    rows = prepared.packing(mini.sequence_len).num_rows
    assert after == epochs.Epochs(mini.total_tokens / (rows * mini.sequence_len), True)
    assert before.number == pytest.approx(after.number, rel=0.3)
    assert str(before).startswith("about ") and not str(after).startswith("about")


@pytest.mark.slow
def test_another_tokenizer_packing_or_length_is_another_number() -> None:
    mini = ["experiment=mini", "model=d2", "tokenizer.vocab_size=300"]
    prepare(plan(*mini).config)
    assert epochs.of(plan(*mini, "seed=2", "optimizer.matrix.lr=0.1")) == epochs.of(plan(*mini))
    for other in ("tokenizer.vocab_size=512", "packing=best_fit", "horizon.sequence_len=64"):
        found = epochs.of(plan(*mini, other))
        assert found is not None and not found.is_exact


def test_a_hub_dataset_that_was_not_fetched_is_unknown_and_not_refused() -> None:
    unknown = plan("model=d24", "dataset=climbmix")
    assert epochs.of(unknown) is None
    epochs.check(unknown)


@pytest.mark.parametrize("model", ["d2", "d4", "d6"])
def test_mini_needs_nothing_extra(model: str) -> None:
    epochs.check(plan("experiment=mini", f"model={model}"))


def test_too_many_are_refused_with_the_number_and_what_allows_them() -> None:
    with pytest.raises(
        ConfigError, match=r"launcher\.max_epochs is 4\.0, but must allow the about 8\d\d epochs"
    ):
        epochs.check(plan("model=d12"))
    epochs.check(plan("model=d12", "launcher.max_epochs=900"))
    epochs.check(plan("model=d12", "launcher.max_epochs=null"))
    assert plan("model=d12", "launcher.max_epochs=900").run_id == plan("model=d12").run_id


@pytest.mark.parametrize("command", ["train", "train -m seed=1,2", "calibrate", "train launcher=slurm"])
def test_commands_that_start_runs_refuse_and_leave_nothing(
    command: str, capsys: pytest.CaptureFixture[str], own_results_dir: Path
) -> None:
    words = [*command.split(), "model=d8", "launcher.max_hours=null", "launcher.max_memory_frac=null"]
    assert main(words) == USER_ERROR
    assert "launcher.max_epochs is 4.0, but must allow" in capsys.readouterr().err
    assert not list(own_results_dir.glob("*/*"))


def test_plan_shows_them_and_says_what_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "model=d12"]) == 0
    assert "more than launcher.max_epochs=4, so that no command starts it" in " ".join(
        capsys.readouterr().out.split()
    )
    assert main(["plan", "ladder=gpt2"]) == 0
    assert "epochs of the longest: unknown: the text has not been fetched" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in file.available() if name != "ideas"])
def test_no_shipped_sweep_trains_on_a_text_too_often(name: str) -> None:
    """Those of d12 and deeper name a text that is large enough; that of code is on the mini ladder."""
    cells = expand.expand_all(file.load(name))
    for cell in {cell.plan.variant_id: cell for cell in cells}.values():
        epochs.check(cell.plan)
        assert cell.plan.depth < 12 or cell.plan.config.dataset.name == "climbmix"
