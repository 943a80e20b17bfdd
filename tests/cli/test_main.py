"""The dispatcher: help, versions, errors and exit statuses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sweepkit.cli import main as cli
from sweepkit.cli.main import USER_ERROR, main
from sweepkit.errors import SweepkitError


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for command in cli.COMMANDS.values():
        assert f"  {command.name}" in text
        assert command.help in text
    assert "Examples:" in text
    assert max(map(len, text.splitlines())) <= 80


def test_no_arguments_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "usage: sweepkit COMMAND" in capsys.readouterr().out


@pytest.mark.parametrize("command", sorted(cli.COMMANDS))
def test_every_command_explains_itself_with_an_example(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        assert main([command, "--help"]) == 0
    except SystemExit as leave:
        assert leave.code == 0
    text = capsys.readouterr().out
    assert "example" in text.lower()
    assert f"sweepkit {command}" in text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("sweepkit 0.")


def test_unknown_command_is_suggested(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["promot", "demo"]) == 2
    assert capsys.readouterr().err.strip() == (
        "sweepkit: command is 'promot', but must be a sweepkit command; did you mean 'promote'?"
    )


def test_a_user_error_is_its_message_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "nothing"]) == 2
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    assert captured.err.startswith("sweepkit: sweep is 'nothing', but must be")


def test_debug_shows_where_it_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SweepkitError):
        main(["--debug", "sweep", "nothing"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(SweepkitError):
        main(["train", "model=d3"])


def test_an_interrupt_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(arguments: Any) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_dispatch", interrupted)
    assert main(["sweep", "demo"]) == 130
    assert "run the same command again" in capsys.readouterr().err


def run(*arguments: str, cwd: Path, **given: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sweepkit", *arguments],
        cwd=cwd, capture_output=True, text=True, check=False, timeout=600, **given,
    )  # fmt: skip


def test_help_and_an_error_import_nothing_heavy() -> None:
    code = (
        "import sys; from sweepkit.cli.main import main; main(['--help']); main(['sweep', 'zzz']);"
        "heavy = {'torch', 'pandas', 'scipy', 'pyarrow', 'matplotlib', 'wandb'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_no_help_and_no_completion_imports_what_is_heavy() -> None:
    code = (
        "import contextlib, os, sys; from sweepkit.cli import main\n"
        "for name in main.COMMANDS:\n"
        "    with contextlib.suppress(SystemExit):\n"
        "        assert main.main([name, '--help']) == 0\n"
        "    os.environ['COMP_LINE'] = f'sweepkit {name} --'\n"
        "    assert main.main(['-sc', 'query=bash']) == 0\n"
        "    heavy = {'torch', 'pandas', 'pyarrow', 'matplotlib', 'wandb', 'optuna'} & set(sys.modules)\n"
        "    assert not heavy, (name, heavy)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(f"usage: sweepkit {name}" in done.stdout for name in cli.COMMANDS)


def test_a_terminal_without_unicode_is_no_error() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sweepkit", "plan", "model=d12"],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "512?3 2048" in done.stdout


def test_info_is_hydras(tmp_path: Path) -> None:
    done = run("train", "--info", "defaults", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "command_line" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    ["train --cfg job", "plan model=d12", "plan sweep=demo --format json", "results --columns", "--help"],
)
def test_a_reader_that_leaves_ends_a_command_as_it_ends_any_other(arguments: str, tmp_path: Path) -> None:
    command = f"{sys.executable} -m sweepkit {arguments} | sleep 0; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600
    )
    assert (done.stdout, done.stderr) == ("141\n", "")


@pytest.mark.parametrize("arguments", ["--version", "status", "fields --format json"])
def test_output_that_a_full_disk_does_not_take_is_a_line(arguments: str, tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "sweepkit", *arguments.split()],
            cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=600,
        )  # fmt: skip
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1 and "the disk is full" in done.stderr


def test_another_pipe_that_breaks_is_an_error_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(arguments: Any) -> int:
        raise BrokenPipeError

    monkeypatch.setattr(cli, "_dispatch", broken)
    with pytest.raises(BrokenPipeError):
        main(["sweep", "demo"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["resume"], "the following arguments are required: SWEEP"),
        (["cancel", "x", "--wait", "soon"], "argument --wait: invalid float value: 'soon'"),
        (["sweep", "x", "--rerun", "--accept-code"], "not allowed with argument"),
        (["plan", "--format", "xml"], "invalid choice: 'xml'"),
        (["data"], "required"),
        (["train", "--model", "d2"], "train does not know --model d2; a field is set as model=d2, "),
        (["train", "--optimizer.matrix.lr=0.1"], "a field is set as optimizer.matrix.lr=0.1, "),
        (["train", "--modle", "d2"], "train does not know --modle d2; did you mean model=d2? see"),
        (["train", "--compile=false"], "did you mean trainer.compile=false? see"),
        (["train", "--no-comple"], "train does not know --no-comple; see"),
        (["sweep", "x", "--seed", "3"], "sweep does not know --seed 3; a field is set as seed=3, "),
        (
            ["results", "x", "--sort", "-val_bpb"],
            "expected one argument (one that begins with - is written --sort=-",
        ),
    ],
)
def test_wrong_arguments_are_one_line(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("sweepkit: ") and said.count("\n") == 1
    assert words in said and f"see sweepkit {arguments[0]}" in said and "--help" in said


def test_a_sweep_that_plan_is_given_bare_is_proposed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for given, meant in {"demo": "demo", "dmo": "demo", "x0_bta1": "x0_beta1"}.items():
        assert main(["plan", given]) == 2
        said = capsys.readouterr().err
        assert f"override is {given!r}" in said and f"did you mean 'sweep={meant}'?" in said, said
    assert main(["plan", "./mine.yaml"]) == 2
    assert "sweep=./mine.yaml" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["results"], "sweepkit sweep NAME starts one"),
        (["promote", "demo", "--amend-to", "8"], "run sweepkit promote demo first"),
        (["promote", "demo", "--amend-variant", "change=resid_2x"], "must go with --amend-to"),
    ],
)
def test_where_nothing_was_started_the_first_step_is_named_and_nothing_begun(
    arguments: list[str], said: str, own_results_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert said in capsys.readouterr().err
    assert not list(own_results_dir.rglob("frozen.json"))


@pytest.mark.parametrize(
    "command", ["status", "results", "report", "diagnose", "publish", "cancel", "resume", "evaluate"]
)
def test_a_sweep_that_was_not_started_is_answered_with_what_starts_it(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(tmp_path))
    assert main([command, "demo"]) == 2
    assert "sweepkit promote demo runs it" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("variable", ["SWEEPKIT_RESULTS_DIR", "SWEEPKIT_CACHE_DIR"])
@pytest.mark.parametrize("is_set", [True, False])
@pytest.mark.parametrize(
    "line", ["status", "results demo", "train model=d2 experiment=mini", "plan sweep=demo"]
)
def test_a_file_where_results_or_caches_go_is_not_an_empty_folder(
    variable: str, is_set: bool, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Not read as one without runs, and not met in the middle of a run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    default = {"SWEEPKIT_RESULTS_DIR": "results", "SWEEPKIT_CACHE_DIR": "sweepkit"}[variable]
    (tmp_path / default).write_text("a note\n")
    monkeypatch.delenv(variable, raising=False)
    if is_set:
        monkeypatch.setenv(variable, str(tmp_path / default))
    if variable == "SWEEPKIT_CACHE_DIR" and line in ("status", "results demo"):
        assert main(line.split()) in (0, USER_ERROR), "which read no cache"
        return
    assert main(line.split()) == USER_ERROR
    said = capsys.readouterr().err.splitlines()[-1]
    assert f"{variable} is '{tmp_path / default}', but must be a folder, or nothing yet" in said
    assert (tmp_path / default).read_text() == "a note\n"
