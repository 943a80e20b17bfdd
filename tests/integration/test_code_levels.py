"""Levels that are code: frozen here, carried out by a package that was edited since."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

import sweepkit as package
from comment_patch import COMMENT_ALONE
from sweepkit.cli import main
from sweepkit.code import tree
from sweepkit.config import paths, sources
from sweepkit.launch import code_levels
from sweepkit.report import content, sections
from sweepkit.results import store
from sweepkit.results.record import RunDir
from sweepkit.sweep import file, frozen
from tiny_sweep import write_sweep

Cli = Callable[..., CompletedProcess[str]]
_CRASH = COMMENT_ALONE.replace("# words alone", 'raise ValueError("this idea does not train")')


@pytest.mark.slow
def test_a_comment_changes_nothing_and_a_crash_is_the_variants(
    sweepkit: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The package is edited between freezing and running, and no run is of what it became."""
    results = tmp_path / "results"
    monkeypatch.chdir(tmp_path)
    Path("words.patch").write_text(COMMENT_ALONE)
    Path("crash.patch").write_text(_CRASH)
    axes = "{idea: {words: {code: words.patch}, crash: {code: crash.patch}}}"
    write_sweep(tmp_path, "codes", num_steps=3, seeds=1, axes=axes, reference="{}", ladder="none")
    sweep = code_levels.resolved(file.load("codes"), results)
    made = frozen.freeze(sweep, results, ["launcher=local", "launcher.num_workers=2"], reuse_runs=True)
    plans = {cell.variant: cell.plan for cell in made.cells}
    assert plans["reference"].config.code is None
    assert plans["idea=words"].config.code == plans["idea=words"].tree != plans["reference"].tree
    assert len({plan.compile_key for plan in plans.values()}) == 3
    assert len({plan.pair_key for plan in plans.values()}) == 1

    copy = tmp_path / "code" / "sweepkit"
    shutil.copytree(Path(package.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    edited = (copy / "model/mlp.py").read_text().replace("F.relu(up_BTF).square()", "F.gelu(up_BTF)")
    (copy / "model/mlp.py").write_text(edited)
    Path("words.patch").unlink()
    there = {"PYTHONPATH": str(tmp_path / "code"), "SWEEPKIT_CONF_DIR": str(paths.conf_dir())}
    done = sweepkit("resume", "codes", **there)
    assert done.returncode == 1, done.stderr  # a run failed

    runs = {name: RunDir.of(results, plan.run_id) for name, plan in plans.items()}
    records = {name: run.read_record() for name, run in runs.items()}
    reference, words, crash = (records[name] for name in ("reference", "idea=words", "idea=crash"))
    assert reference and words and crash
    assert "this idea does not train" in str(crash.failure_message)
    assert reference.sources == words.sources == sources.digest() != crash.sources
    losses = [[row["loss"] for row in runs[name].metrics() if "loss" in row] for name in plans]
    assert losses[0] == losses[1] and len(losses[0]) == 3
    assert reference.results["val_bpb"] == words.results["val_bpb"]

    frozen_with = ("launcher=local", "launcher.num_workers=2")
    again = sweepkit("sweep", "codes", *frozen_with, **there)  # planned again, by the trees
    assert again.returncode == 1, again.stderr  # the run that failed; 2 would be a refusal
    assert runs["reference"].read_record() == reference
    frame = store.load("codes", results)
    assert set(frame.loc[frame["code"].notna(), "variant"]) == {"idea=words", "idea=crash"}
    assert main.main(["diff", "codes", "idea=words"]) == 0
    assert "+    # words alone" in capsys.readouterr().out
    folds = sections.what_was_tested(content.gather("codes", results))
    assert any("words.patch, 1 file +1 −0" in str(block.value) for block in folds)

    (folder,) = (path for path in tree.root(results).iterdir() if path.name == plans["idea=words"].tree)
    (folder / "sweepkit/model/mlp.py").write_text(edited)
    tree._check.cache_clear()
    with pytest.raises(ValueError, match="was edited"):
        tree.find(tree.root(results), folder.name)
    assert json.loads((folder / "commit.json").read_text())["dirty"] is True
