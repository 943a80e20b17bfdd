"""``sweepkit plan``: one run, a sweep, JSON, errors, and what it must not import."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sweepkit.cli import plan as plan_command
from sweepkit.cli.main import main
from sweepkit.config import typed
from sweepkit.config.compose import compose
from sweepkit.plan.build import build
from sweepkit.sweep import expand, sealed_text

SWEEP = """
question: Does it help?
base: [experiment=mini]
axes:
  lr: {low: [optimizer.matrix.lr=0.01], high: [optimizer.matrix.lr=0.04]}
  width: {wide: [model.aspect_ratio=64]}
seeds: [1, 2]
ladder: mini
"""


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "mine.yaml").write_text(SWEEP)
    monkeypatch.chdir(tmp_path)
    return "sweep=mine"


def test_json_of_one_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "model=d12", "--format", "json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert 700 < found.pop("epochs") < 1_000
    assert found == json.loads(json.dumps(typed.dump(build(compose(["model=d12"])))))


def test_table_of_one_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "model=d12"]) == 0
    text = capsys.readouterr().out
    for part in ("d12-", "transformer_matrices 84,935,088", "524,288", "0.28 (matrices)", "h100 at 40% MFU"):
        assert part in text


def test_a_number_just_below_a_million_is_a_million(sweep: str, capsys: pytest.CaptureFixture[str]) -> None:
    tokens = "horizon.num_steps=31249"  # × 32 = 999,968
    assert main(["plan", sweep, tokens, "horizon.total_batch_size=32", "horizon.device_batch_size=1",
                 "horizon.sequence_len=32"]) == 0  # fmt: skip
    text = capsys.readouterr().out
    assert " 1M " in text
    assert "e+03" not in text


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("horizon.num_steps=1", "asked for 1 step)"),
        ("horizon.target_flops=2e18", "asked for 2e+18 FLOPs"),
        ("horizon.target_tokens=1000000000", "asked for 1,000,000,000)"),
        ("horizon.target_param_data_ratio=10", "asked for 1,101,009,120)"),  # 10 × 110,100,912
    ],
)
def test_table_says_what_set_the_length(
    override: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", "model=d12", override]) == 0
    assert words in " ".join(capsys.readouterr().out.split())


def test_a_ladder_is_planned_rung_by_rung(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "ladder=gpt2", "optimizer.x0.lr=0.4", "--format", "json"]) == 0
    plans = [plan for plan in json.loads(capsys.readouterr().out) if plan["variant"] == "reference"]
    seeds = {"d12": 1, "d20": 2, "d24": 3}  # fresh ones on every rung
    alone = [
        build(compose([f"model={rung}", "dataset=climbmix", "optimizer.x0.lr=0.4", f"seed={seed}"]))
        for rung, seed in seeds.items()
    ]
    assert [plan["run_id"] for plan in plans] == [plan.run_id for plan in alone]
    assert [plan["rung"] for plan in plans] == ["d12", "d20", "d24"]


def test_unknown_device_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "launcher.plan_device=h1000"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "unknown on h1000" in text and "known: a10, " in text


def test_json_of_a_sweep_has_all_rungs(sweep: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", sweep, "--format", "json"]) == 0
    plans = json.loads(capsys.readouterr().out)
    assert len(plans) == 3 * 4 * 2  # rungs × (reference and three levels) × seeds
    assert {plan["rung"] for plan in plans} == {"d2", "d4", "d6"}
    assert {plan["role"] for plan in plans} == {"reference", "variant"}
    assert {plan["variant"] for plan in plans} == {"reference", "lr=low", "lr=high", "width=wide"}
    assert len({plan["run_id"] for plan in plans}) == len(plans)


def test_command_line_wins_over_the_sweep(sweep: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", sweep, "tokenizer.vocab_size=1024", "--format", "json"]) == 0
    assert {plan["padded_vocab_size"] for plan in json.loads(capsys.readouterr().out)} == {1024}


def test_table_of_a_sweep_joins_what_costs_the_same(sweep: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", sweep]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.split()[:1] == ["d2"] for line in lines) == 2  # the narrow three, the wide one
    assert any("24 runs" in line for line in lines)
    end = " ".join(lines[-4:])
    assert "power unknown" in end and "sweepkit calibrate sweep=mine" in end


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["modle=d12"], "did you mean 'model'"),
        (["sweep=no_such"], "no_such"),
        (["sweep=a", "sweep=b"], "one sweep"),
        (["~model"], "none can be added or deleted"),
        (["model"], "write model=d2, or sweep=demo"),
        (["dmo"], "did you mean 'sweep=demo'?"),
        (["foo"], "write optimizer.matrix.lr=0.02"),
        (["experiment=mini", "horizon.num_steps=1", "schedule.batch_ramp=[2,1]"], "as the run has steps (1)"),
    ],
)
def test_errors(arguments: list[str], part: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *arguments]) == 2
    assert part in capsys.readouterr().err


@pytest.mark.slow
def test_the_examples_of_its_help_work(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["plan", "--help"])
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    examples = [line.split("   ")[0].split() for line in lines if line.startswith("sweepkit plan ")]
    assert len(examples) > 5
    for words in examples:
        assert main(words[1:]) == 0, words


@pytest.mark.slow
def test_the_reference_at_other_horizons_is_no_variant(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "sweep=x0_beta1"]) == 0
    text = capsys.readouterr().out
    assert "reference@2x" in text and "5 variants at most" in text
    assert text.count("x0_beta1=b98") == 2  # what it changes, and among the variants of the first rung
    assert text.count("the same 6") == 2


MANY = """
axes:
  optimizer.matrix.lr: [0.01, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.05]
  optimizer.x0.beta1: [0.8, 0.9, 0.94, 0.96, 0.97]
  model: [d12, d20]
reference: {optimizer.matrix.lr: 0.02, optimizer.x0.beta1: 0.96, model: d12}
combine: all
seeds: [1, 2, 3, 4]
"""


def test_plans_of_a_large_sweep_are_all_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "many.yaml").write_text(MANY)
    monkeypatch.chdir(tmp_path)
    found = plan_command.planned(["sweep=many.yaml"]).rows
    assert len({row.plan.run_id for row in found}) == len(found) == 320


@pytest.mark.slow
def test_planning_imports_nothing_heavy() -> None:
    """A plan needs neither torch nor the libraries of tables, and touches no file of data."""
    code = (
        "import sys\n"
        "from sweepkit.cli.main import main\n"
        "assert main(['plan', 'sweep=demo', '--format', 'json']) == 0\n"
        "heavy = {'torch', 'pandas', 'scipy', 'pyarrow', 'numpy', 'wandb', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", ["plan", "calibrate"])
def test_two_sweeps_are_not_one(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "sweep=demo", "sweep=x0_beta1"]) == 2
    assert "be one sweep" in capsys.readouterr().err


@pytest.mark.slow
def test_depth_goes_last_where_there_is_no_room(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "72")
    assert main(["plan", "sweep=x0_beta1"]) == 0
    shown = capsys.readouterr().out
    header = next(line for line in shown.splitlines() if "GPU-h" in line)
    assert "depth" in header and "width" not in header and "no room for width" in shown


@pytest.mark.slow
@pytest.mark.parametrize("words", [["sweep=demo"], ["ladder=mini"]])
def test_a_sweep_is_expanded_once(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    once = expand.expand_all

    def counted(*given: Any, **named: Any) -> Any:
        calls.append(given)
        return once(*given, **named)

    monkeypatch.setattr(expand, "expand_all", counted)
    assert main(["plan", *words]) == 0
    assert len(calls) == 1


HELD_BACK = "evaluation.streams=[validation,validation_holdout]"


@pytest.mark.parametrize(
    "words",
    [
        ["plan", "model=d2", "experiment=mini", HELD_BACK],
        ["plan", "-m", "model=d2,d4", "experiment=mini", HELD_BACK],
        ["plan", "sweep=tune_mini", HELD_BACK],
        ["plan", "sweep=demo", HELD_BACK],
        ["train", "model=d2", "experiment=mini", HELD_BACK],
        ["train", "-m", "model=d2", "experiment=mini", "seed=1,2", HELD_BACK],
        ["sweep", "tune_mini", HELD_BACK],
        ["promote", "demo", HELD_BACK],
        ["calibrate", "model=d2", "experiment=mini", HELD_BACK],
        ["calibrate", "sweep=tune_mini", HELD_BACK],
    ],
)
def test_text_that_is_held_back_is_refused_by_every_command(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(tmp_path))
    assert main(words) == 2
    assert "held back for runs of a last rung alone" in capsys.readouterr().err
    is_noted = (tmp_path / sealed_text.FILE).exists()
    assert is_noted is (words[0] != "plan"), "a plan starts nothing and writes nothing"
