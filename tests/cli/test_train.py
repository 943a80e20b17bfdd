"""train as a Hydra app: showing, completing, erring, and running once."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_fakes import FakeLauncher
from omegaconf import OmegaConf

from sweepkit import fsio
from sweepkit.cli import command_line, train_flags
from sweepkit.cli.main import main
from sweepkit.config import compose, paths, typed
from sweepkit.config.choices import Dtype
from sweepkit.plan.build import build
from sweepkit.results.record import FailureClass, RunDir, RunState

MINI = ["experiment=mini", "model=d2"]
Output = Callable[[], str]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_cfg_job_shows_the_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *MINI, "optimizer.x0.lr=0.3", "--cfg", "job"]) == 0
    shown = OmegaConf.create(capsys.readouterr().out)
    assert shown.model.depth == 2
    assert shown.optimizer.x0.lr == 0.3
    assert "hydra" not in shown


def test_hydra_shows_what_the_rest_of_sweepkit_composes(capsys: pytest.CaptureFixture[str]) -> None:
    overrides = [*MINI, "optimizer=adamw", "optimizer.x0.lr=0.3", "+experiment=mini", "launcher=local"]
    assert main(["train", "-m", *overrides, "seed=1,2", "search.n_trials=3", "--cfg", "job"]) == 0
    shown = OmegaConf.to_container(OmegaConf.create(capsys.readouterr().out))
    assert shown == typed.dump(compose.compose(overrides))


@pytest.mark.slow
@pytest.mark.parametrize("words", [["--help"], ["-h"], ["model=d12", "--help", "-m"]])
def test_help_names_every_option_examples_that_are_planned_and_where_to_look(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *words]) == 0
    text = capsys.readouterr().out
    options = [name for name in command_line.options(train_flags.flags()) if name.startswith("--")]
    assert {"--name", "--rerun", "--accept-code", "--cfg"} <= set(options)
    assert all(f" {name}" in text for name in [*options, "--config-dir", "sweepkit fields", "--hydra-help"])
    assert "ladder      demo, gpt2, mini, none" in text
    lines = re.findall(r"^  (sweepkit train .*=.*?)(?:   .*)?$", text, re.MULTILINE)
    examples = [shlex.split(line)[2:] for line in lines]
    assert len(examples) > 4
    for example in examples:
        planned = [word for word in example if word not in ("--cfg", "job") and not word.startswith("--name")]
        assert main(["plan", *planned]) == 0, example


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model=d3"], "must be one of [d2, d4, d6"),
        (["modle=d2"], "did you mean 'model'"),
        (["precision.dtype=fp7"], "must be one of [auto, bf16, fp16, fp32, fp8"),
        (["horizon.num_steps=many"], "horizon.num_steps is 'many', but must be a whole number"),
        (["optimizer.x0.betta1=0.9"], "optimizer.x0.betta1"),
        (["horizon.total_batch_size=500000"], "total_batch_size is 500000"),
        (["model"], "key=value"),
        (["model=d3", "--cfg", "job"], "must be one of [d2, d4, d6"),
        (["+foo=1"], "none can be added or deleted"),
        (["+model.foo=1"], "none can be added or deleted"),
        (["+optimizer.matrx={lr: 1}"], "none can be added or deleted"),
        (["model=null"], "must be one of [d2, d4, d6"),
        (["ladder=mini"], "ladder is 'mini', but must be none for one run; add -m"),
        (["-m", "hydra/sweeper=basic", "seed=1,2"], "hydra/sweeper is 'basic', but must be left out"),
        (["-m", "model=d2,d3"], "must be one of [d2, d4, d6"),
        (["-m", "model=d2,"], "override is 'model=d2,', but must be key=value"),
        (["-m", "horizon.num_steps=many", "seed=1,2"], "must be a whole number"),
        (["-m", "optimizer.x0.lr=interval(0.2,0.1)"], "low < high"),
        (["-m", "optimizer.x0.lr=interval(0.1,0.2)", "search.trials=3"], "did you mean 'n_trials'"),
        (["search.n_trials=3"], "go with -m"),
        (["~model"], "none can be added or deleted"),
        (["-m", "~experiment", "seed=1,2"], "none can be added or deleted"),
        (["model@optimizer=d2"], "name no package"),
        (["--config-dir", "mine"], "--config-dir is 'mine', but must be a folder that exists"),
        (["--config-dir"], "--config-dir needs a folder behind it"),
        (["hydra.searchpath=[mine]"], "hydra.searchpath is 'mine', but must be a folder that exists"),
        (["hydra/launcher=submitit_local"], "write launcher=local"),
        (["-m", "hydra/launcher=submitit_slurm", "seed=1,2"], "write launcher=slurm"),
        (
            ["-m", "hydra.sweeper.max_batch_size=2", "seed=1,2"],
            "hydra.sweeper.max_batch_size is 2",
        ),
        (["-m", "hydra.verbose=true,false"], "hydra.verbose is 'true,false', but must have one value"),
        (["-m", "launcher=inline,local"], "launcher is 'inline,local', but must have one value"),
        (["model=d2,d4"], "add -m"),
        (["--name", "mine"], "go with -m"),
        (["-m", "--name", "demo", "seed=1,2"], "--name is 'demo', but must be free"),
        (["-m", "--name", "a/b", "seed=1,2"], "--name is 'a/b', but must be at most 128 letters"),
        (["--nmae", "mine"], "train does not know --nmae"),
        (["--cfg", "jobs"], "invalid choice: 'jobs'"),
        (["-cn", "other", "--cfg", "job"], "--config-name is 'other', but must be left out"),
    ],
)
def test_the_cause_of_an_error_is_shown(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert "HYDRA_FULL_ERROR" not in error


def test_a_run_is_run_once(
    launcher: FakeLauncher, capsys: pytest.CaptureFixture[str], in_an_empty_folder: Path
) -> None:
    assert main(["train", *MINI]) == 0
    assert len(launcher.started) == 1
    assert "complete: " in capsys.readouterr().out
    assert main(["train", *MINI, "launcher=local"]) == 0
    assert len(launcher.started) == 1
    out = capsys.readouterr().out
    assert out.startswith("already complete: ")
    assert launcher.started[0] in out
    assert "val_bpb 1.4" in out
    assert list(in_an_empty_folder.iterdir()) == [], "Hydra leaves no folders behind"
    record = RunDir.of(paths.results_dir(), launcher.started[0]).record_path
    content = fsio.read_json(record)
    content["results"] |= {"core_subset": 0.1, "core_se_subset": 0.02}
    fsio.write_json(record, content)
    assert main(["train", *MINI]) == 0
    assert "core_subset 0.1000 ± 0.0200" in capsys.readouterr().out


def test_a_run_whose_record_cannot_be_read_is_run_again(
    launcher: FakeLauncher, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["train", *MINI])
    RunDir.of(paths.results_dir(), launcher.started[0]).record_path.write_text("{")
    assert main(["train", *MINI]) == 0
    assert len(launcher.started) == 2


def test_a_results_folder_that_is_none_is_said_in_one_line(
    launcher: FakeLauncher,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "a_file").touch()
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(tmp_path / "a_file"))
    assert main(["train", *MINI]) == 2
    error = capsys.readouterr().err
    assert f"{tmp_path / 'a_file'}" in error
    assert "SWEEPKIT_RESULTS_DIR" in error


def test_a_run_that_diverged_says_so(launcher: FakeLauncher, capsys: pytest.CaptureFixture[str]) -> None:
    launcher.loss = lambda plan: None
    for _ in range(2):
        assert main(["train", *MINI]) == 1
        error = capsys.readouterr().err
        assert error.startswith("diverged: ")
        assert "the loss is NaN at step 3" in error
        assert "delete" in error


@pytest.mark.parametrize(
    ("failure", "said"),
    [(FailureClass.bad_config, "run the same command again"), (FailureClass.crash, "is not run again")],
)
def test_what_to_do_about_a_failed_run_is_said(
    failure: FailureClass, said: str, launcher: FakeLauncher, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *MINI]) == 0
    (path,) = paths.results_dir().glob("runs/*/record.json")
    record = RunDir(path.parent).read_record()
    assert record is not None
    record.state, record.failure_class = RunState.failed, failure
    RunDir(path.parent).write_record(record)
    assert main(["train", *MINI]) == 1
    assert said in capsys.readouterr().err


def test_an_evaluation_that_failed_is_no_training(
    launcher: FakeLauncher, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *MINI]) == 0
    (path,) = paths.results_dir().glob("runs/*/record.json")
    run_dir, other = RunDir(path.parent), [*MINI, "evaluation.max_bytes=4096"]
    record = run_dir.read_record()
    assert record is not None
    record.evaluation_key = build(compose.compose(other)).evaluation_key
    record.state, record.failure_class = RunState.failed, FailureClass.crash
    record.failure_message = "out of luck"
    run_dir.write_evaluation(record)
    capsys.readouterr()
    assert main(["train", *other]) == 1
    out, err = capsys.readouterr()
    assert "its kept weights are evaluated" in out and "steps of" not in out
    assert "out of luck" in err and "delete" not in err


@pytest.mark.parametrize("content", ["{", "{}", "[]"])
def test_a_damaged_plan_is_said_once(
    content: str, launcher: FakeLauncher, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = RunDir.of(paths.results_dir(), "d2-0")
    run_dir.path.mkdir(parents=True)
    run_dir.plan_path.write_text(content)
    assert main(["evaluate", "d2-0"]) == 2
    said = capsys.readouterr().err
    assert said.count("but must") == 1 and str(run_dir.plan_path) in said and "name the sweep" in said


def test_how_it_was_computed_what_was_noted_and_what_can_go_on_is_said(
    launcher: FakeLauncher, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *MINI]) == 0
    (path,) = paths.results_dir().glob("runs/*/record.json")
    record = RunDir(path.parent).read_record()
    assert record is not None
    resolved = record.resolved
    resolved.dtype, resolved.dtype_reason, resolved.notes = "fp32", "SWEEPKIT_DTYPE=fp32", ["MFU is low"]
    RunDir(path.parent).write_record(record)
    capsys.readouterr()
    assert main(["train", *MINI]) == 0
    note, result = capsys.readouterr().out.splitlines()
    assert note == "MFU is low" and result.endswith(", in fp32 (SWEEPKIT_DTYPE=fp32)")
    record.state, record.failure_message = RunState.failed, "the network file system hung up"
    RunDir(path.parent).write_record(record)
    assert main(["train", *MINI]) == 1
    assert "checkpoint" not in capsys.readouterr().err
    (path.parent / "checkpoints" / "step_000100").mkdir(parents=True)
    assert main(["train", *MINI]) == 1
    assert "to go on from its last checkpoint, delete record.json there" in capsys.readouterr().err


def complete(line: str, monkeypatch: pytest.MonkeyPatch, output: Output) -> list[str]:
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_POINT", str(len(line)))
    assert main(["-sc", "query=bash"]) == 0
    return output().split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("sweepkit ", {"train", "promote", "status"}),
        ("sweepkit tr", {"train"}),
        ("sweepkit train mod", {"model="}),
        ("sweepkit train model=", {"model=d2", "model=d26"}),
        ("sweepkit train model=d2 optimizer.mat", {"optimizer.matrix."}),
        ("sweepkit train -m model=d2 ladder=m", {"ladder=mini"}),
        ("sweepkit plan model=d1", {"model=d12", "model=d16"}),
        ("sweepkit plan --format json model=d2 hori", {"horizon."}),
        ("sweepkit fields model.d", {"model.depth"}),
        ("sweepkit plan sweep=", {"sweep=demo", "sweep=x0_beta1"}),
        ("sweepkit sweep ", {"demo", "x0_beta1"}),
        ("sweepkit sweep demo --retry-failed launcher=l", {"launcher=local"}),
        ("sweepkit promote de", {"demo"}),
        ("sweepkit promote demo launcher=l", {"launcher=local"}),
        ("sweepkit status ", set()),
        ("sweepkit calibrate sweep=", {"sweep=demo", "sweep=x0_beta1"}),
        ("sweepkit calibrate model=d1", {"model=d12", "model=d16"}),
        ("sweepkit doctor precision=f", {"precision=fp8"}),
        ("sweepkit data ", {"prepare", "stats", "list"}),
        ("sweepkit data prepare dataset=cl", {"dataset=climbmix"}),
        ("sweepkit train -m model=d2,d", {"model=d2,d12", "model=d2,d4"}),
        ("sweepkit train -m 'experiment=[mini,b", set()),
        ("sweepkit train experiment=[mini,b", {"experiment=[mini,baseline"}),
        ("sweepkit train +exp", {"+experiment="}),
        ("sweepkit plan precision.dtype=", {f"precision.dtype={name.name}" for name in Dtype}),
        ("sweepkit plan trainer.compile=", {"trainer.compile=true", "trainer.compile=false"}),
        ("sweepkit plan horizon.total_batch_size=", {"horizon.total_batch_size=auto"}),
        ("sweepkit plan optimizer.x0.", {"optimizer.x0.lr="}),
        ("sweepkit plan --fo", {"--format"}),
        ("sweepkit plan --format ", {"table", "json"}),
        ("sweepkit plan --format=j", {"--format=json"}),
        ("sweepkit train --", {"--multirun", "--cfg", "--name", "--config-dir", "--rerun"}),
        ("sweepkit train --cfg ", {"job", "hydra", "all"}),
        ("sweepkit fields deci", {"decision.alpha"}),
        ("sweepkit --ver", {"--version"}),
    ],
)
def test_completion(
    line: str, expected: set[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert expected <= set(complete(line, monkeypatch, lambda: capsys.readouterr().out))


def test_a_value_is_proposed_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "model=d2,d2" not in complete(
        "sweepkit train model=d2,d", monkeypatch, lambda: capsys.readouterr().out
    )


def test_completion_is_installed_for_sweepkit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--shell-completion", "install=bash"]) == 0
    script = capsys.readouterr().out
    assert "-sc query=bash" in script
    assert script.strip().endswith("-F _sweepkit sweepkit")


def test_started_sweeps_are_completed(
    launcher: FakeLauncher, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["train", "-m", *MINI, "seed=1,2"])
    capsys.readouterr()
    names = complete("sweepkit results ", monkeypatch, lambda: capsys.readouterr().out)
    assert len(names) == 1
    assert (paths.results_dir() / names[0] / "frozen.json").is_file()


def test_hydras_environment_is_put_back(capsys: pytest.CaptureFixture[str]) -> None:
    main(["train", "--cfg", "job"])
    assert "HYDRA_FULL_ERROR" not in os.environ
