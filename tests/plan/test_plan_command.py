"""``sweepkit plan``: one run, a sweep, JSON, errors, and what it must not import."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sweepkit.cli.main import main
from sweepkit.config.compose import compose
from sweepkit.plan.build import build

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
    assert json.loads(capsys.readouterr().out) == [
        json.loads(json.dumps(build(compose(["model=d12"])).to_json()))
    ]


def test_table_of_one_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "model=d12"]) == 0
    text = capsys.readouterr().out
    for part in ("d12-", "transformer_matrices 84,935,088", "524,288", "0.28 (matrices)", "h100 at 40% MFU"):
        assert part in text


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
    assert sum(line.startswith("d2 ") for line in lines) == 2  # the narrow three, the wide one
    assert "24 runs" in lines[-1]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["modle=d12"], "did you mean 'model'"),
        (["sweep=no_such"], "no_such"),
        (["sweep=a", "sweep=b"], "one sweep"),
    ],
)
def test_errors(arguments: list[str], part: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *arguments]) == 2
    assert part in capsys.readouterr().err


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["plan", "--help"])
    assert "sweepkit plan sweep=demo" in capsys.readouterr().out


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
