"""Odd values by every command that takes overrides: a run, or one line, and never a secret in clear."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from sample import sample
from sweepkit.cli import running, searching
from sweepkit.cli.main import USER_ERROR, main
from sweepkit.config.compose import compose
from sweepkit.config.facts import fields_of
from sweepkit.config.schema import RunConfig
from sweepkit.errors import ConfigError

SECRET = "hf_never_to_be_written"
VALUES = [
    "${oc.env:NOT_SET}", "${oc.env:TOKEN}", "x${oc.env:TOKEN}", "${oc.decode:${oc.env:TOKEN}}",
    "${oc.select:no.such}", "${hydra:job.name}", "${seed}", "${.seed}", "${a.b}", "${", "${}",
    "???", "[???]", "inf", "-inf", "nan", "1e400", "9" * 400, "", "''", "null", "[]", "{}", "[[1]]",
    "{a: {b: c}}", "glob(*)", "choice()", "range(1)", "range(5,1)", "shuffle(1,2)", "sort(2,1)",
    "interval(0,1)", "tag(x,interval(0,1))", "a,b", "\\", "\"", "é", "=", "a=b", "int('3')",
    "float(3)", "bool(1)", "a\nb", "0x10", "010", "4:00:00", "yes", "1_000", "1.50", "~",
    "!!python/object:x", "*a", "%", "@x", "[1,2", "{a:",
]  # fmt: skip
KEYS = [
    "model.depth", "optimizer.x0.lr", "precision.dtype", "dataset.name", "dataset.path",
    "evaluation.streams", "evaluation.sample_prompt", "model.smear", "horizon.total_batch_size",
    "horizon.num_steps", "model", "schedule", "ladder", "seed", "init_seed", "launcher",
    "launcher.slurm.setup", "launcher.slurm.time_min", "logging.entity", "optimizer",
    "ladder.rungs", "experiment", "no_such", "",
]  # fmt: skip
COMMANDS = ("plan", "train", "train -m", "plan sweep", "sweep", "search", "promote")
CASES = [(command, key, value) for command in COMMANDS for key in KEYS for value in VALUES]
BASE = ["experiment=mini", "model=d2", "horizon.num_steps=20"]


def line(command: str, key: str, value: str) -> list[str]:
    """The command line of a case; what stands in a file is written here."""
    item = f"{key}={value}"
    if command in ("plan", "train"):
        return [command, *BASE, item]
    if command == "train -m":
        return ["train", "-m", *BASE, item, "seed=1,2"]
    if command == "promote":
        write({"axes": {"optimizer.x0.lr": [0.1, 0.2]}, "base": BASE, "ladder": "mini"})
        return ["promote", "./odd.yaml", item]
    if command == "search":
        write({"search": {"space": {key: [value, 0.1]}, "n_trials": 2}, "base": BASE})
        return ["sweep", "./odd.yaml"]
    write({"axes": {"a": {"x": ["optimizer.x0.lr=0.1"], "y": [item]}}, "base": BASE})
    return ["sweep", "./odd.yaml"] if command == "sweep" else ["plan", "sweep=./odd.yaml"]


def write(content: dict[str, object]) -> None:
    Path("odd.yaml").write_text(json.dumps(content))


class _Runs(Exception):
    """What would be run would be run now."""


@pytest.mark.parametrize(("command", "key", "value"), sample(CASES, 40))
def test_odd_values(
    command: str,
    key: str,
    value: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(*args: object, **kwargs: object) -> None:
        raise _Runs

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(tmp_path / "results"))
    monkeypatch.setenv("TOKEN", SECRET)
    monkeypatch.setattr(running, "run_plans", run)
    monkeypatch.setattr(running, "run_cells", run)
    monkeypatch.setattr(searching, "carry_out", run)
    try:
        status = main(line(command, key, value))
    except _Runs:
        status = 0
    said = capsys.readouterr()
    if status == USER_ERROR:
        assert said.err.startswith("sweepkit: ") and said.err.count("\n") == 1, said.err
    else:
        assert status == 0, said.err
    written = [path.read_text() for path in (tmp_path / "results").rglob("*") if path.is_file()]
    assert not any(SECRET in text for text in [said.out, said.err, *written])


OVERRIDES = [key for key, field in fields_of(RunConfig).items() if field.facts.holds_overrides]


@pytest.mark.parametrize("key", OVERRIDES)
@pytest.mark.parametrize("value", ["${a.b}", "${seed}", "${model.depth}", "${oc.env:TOKEN}"])
def test_an_interpolation_in_place_of_a_list_of_overrides(
    key: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands inside the list is resolved where it is composed; the list itself must be one."""
    monkeypatch.setenv("TOKEN", SECRET)
    with pytest.raises(ConfigError, match=f"^{re.escape(key)} is ") as raised:
        compose(["ladder=mini", f"{key}={value}"])
    assert SECRET not in str(raised.value)


def test_a_number_with_hundreds_of_digits_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    item = "optimizer.x0.lr=" + "9" * 400
    for command in (["plan"], ["train"], ["train", "-m", "seed=1,2"]):
        assert main([*command, *BASE, item]) == USER_ERROR
        assert "must be a number" in capsys.readouterr().err


@pytest.mark.parametrize(
    "item",
    [
        "logging.entity=${oc.env:TOKEN}",
        "logging.project=a/${oc.env:TOKEN}",
        "launcher.slurm.account=${oc.env:TOKEN}",
        "launcher.slurm.sbatch=['comment=${oc.env:TOKEN}']",
        "launcher.slurm.account=${launcher.slurm.partition}",
    ],
)
def test_a_name_from_the_environment_stays_a_name(
    item: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOKEN", SECRET)
    assert main(["plan", *BASE, "launcher.slurm.partition=${oc.env:TOKEN}", item, "--format", "json"]) == 0
    said = capsys.readouterr().out
    assert "${oc.env:TOKEN}" in said
    assert SECRET not in said


@pytest.mark.parametrize("command", [["plan"], ["train"], ["train", "-m", "seed=1,2"]])
@pytest.mark.parametrize(
    "item",
    [
        "optimizer.x0.lr=${oc.env:NOT_SET}",
        "logging.entity=a/${oc.env:NOT_SET}",
        "horizon.num_steps=${model.depth} model.depth=${oc.env:NOT_SET}",
    ],
)
def test_a_variable_that_is_not_set_is_to_be_exported(
    command: list[str], item: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, *BASE, *item.split()]) == USER_ERROR
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "the environment variable NOT_SET is not set here" in said and "export NOT_SET=..." in said
