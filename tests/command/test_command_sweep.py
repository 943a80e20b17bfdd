"""A sweep of somebody else's trainer: refused in time, named by content, run, killed, resumed and judged."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_example import DOCS

from sweepkit.cli.main import main
from sweepkit.errors import ConfigError
from sweepkit.launch import command_result
from sweepkit.plan import command_words
from sweepkit.plan.command_plan import CommandPlan
from sweepkit.results import store
from sweepkit.sweep import command_runs, expand, file, relative
from sweepkit.sweep.cell import Cell

Write = Callable[..., str]


def cells(name: str, *extra: str) -> list[Cell]:
    return expand.expand_all(file.load(name), extra)


def plan(name: str) -> CommandPlan:
    found = cells(name)[0].plan
    assert isinstance(found, CommandPlan)
    return found


WORDS = [
    "python3",
    "trainer.py",
    "--lr",
    "{lr}",
    "--depth",
    "{depth}",
    "--steps",
    "{steps}",
    "--seed",
    "{seed}",
]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"command": [*WORDS, "{wd}"]}, "command is '{wd}'.*must be a parameter.*add it to params"),
        ({"command": [*WORDS, "{lr"]}, "have its braces in pairs.*{{"),
        ({"command": [*WORDS, "{lr:.3f}"]}, "hold names alone"),
        ({"command": [*WORDS[:6], *WORDS[8:]]}, "params.steps is .*must stand in the command"),
        ({"command": WORDS[:8]}, "pass {seed} on"),
        ({"params": {"depth": 1, "lr": 0.1, "steps": 9, "seed": 1}}, "leave {seed} to sweepkit"),
        ({"command": ["no-such-program", *WORDS[2:]]}, "command is 'no-such-program'.*found here"),
        ({"inputs": ["data"]}, "inputs is 'data'.*a file or a folder"),
        ({"inputs": ["/dev/zero"]}, "inputs is '/dev/zero'.*a file or a folder"),
        ({"folder": "nowhere"}, "folder is .*must be a folder"),
        ({"axes": {"lrr": [0.2]}}, "lrr=0.2.*set a parameter.*did you mean 'lr'"),
        ({"axes": {"lr": {"hot": ["lr=hot"]}}}, "lr=hot.*be a number"),
        ({"axes": {"depth": [3]}}, "leave depth to the ladder"),
        ({"ladder": {"small": {"width": 3}}}, "ladder.small.*width=3.*set a parameter"),
        ({"ladder": "mini"}, "map rungs to parameters"),
        ({"metric": None, "decision": None}, "metric is None.*read: result.json"),
        ({"metric": {"name": "val_loss"}}, "have one of read and regex"),
        ({"metric": {"name": "val_loss", "regex": "a(b)(c)"}}, "have one group, and has 2"),
        ({"metric": {"name": "val_loss", "regex": "a(b"}}, "be a regular expression"),
        ({"metric": {"name": "val_loss", "read": "../result.json"}}, "be a file in {run_dir}"),
        ({"decision": {"metric": "val_bpb"}}, "be what the command tells"),
        ({"decision": {"min_effect": 0.1}}, "come with its direction"),
        ({"seeds": "sharde"}, "did you mean 'shared'"),
        ({"seeds": "auto"}, "shared, independent or a list"),
        ({"base": ["model=d2"]}, "base is .*left out beside command"),
        ({"command": None, "decision": None, "ladder": None, "seeds": [1]}, "come with command"),
    ],
)  # fmt: skip
def test_every_mistake_is_named_before_anything_starts(
    write: Write, changes: dict[str, Any], words: str
) -> None:
    name = write(**changes)
    with pytest.raises(ConfigError, match=words):
        cells(name)


@pytest.mark.parametrize("item", ["ladder=mini", "trainer.compile=false", "width=3", "lr=fast"])
def test_a_command_line_sets_parameters_and_the_launcher_alone(write: Write, item: str) -> None:
    with pytest.raises(ConfigError, match=item):
        cells(write(), item)
    found = cells("rates", "steps=7", "launcher.max_attempts=5")[0].plan
    assert isinstance(found, CommandPlan)
    assert (found.params["steps"], found.launcher.max_attempts) == (7, 5)


def test_a_run_is_named_by_all_that_decides_its_result_and_nothing_else(write: Write, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.bin").write_bytes(b"1")
    first = plan(write(inputs=["data"]))
    same = [{"question": "?"}, {"resume": False}, {"axes": {"lr": [0.5]}}]
    assert {plan(write("other", inputs=["data"], **changes)).run_id for changes in same} == {first.run_id}
    (tmp_path / "notes.md").write_text("no program")
    assert plan("rates").run_id == first.run_id
    others = [
        {"params": {"depth": 1, "lr": 0.2, "steps": 100}},
        {"command": [*first.program.command, "--momentum=0.5"]},
        {"metric": {"name": "val_loss", "read": "stdout"}},
        {"inputs": None},
    ]
    names = [plan(write("other", **({"inputs": ["data"]} | changes))).variant_id for changes in others]
    (tmp_path / "data" / "a.bin").write_bytes(b"2")
    names.append(plan("rates").variant_id)
    with (tmp_path / "trainer.py").open("a") as program:
        program.write("# edited\n")
    names.append(plan("rates").variant_id)
    assert len({first.variant_id, *names}) == 1 + len(names)


def test_whoever_has_seen_a_run_has_seen_it_by_an_edited_program_too(write: Write, tmp_path: Path) -> None:
    """A comment or a flag gives runs other names and the same losses, so that its seeds tell nothing new."""
    first = plan(write())
    edits = [
        {"command": [*first.program.command, "--log-every=10"]},
        {"metric": {"name": "val_loss", "read": "stdout"}},
    ]
    same = [plan(write("other", **edit)) for edit in edits]
    with (tmp_path / "trainer.py").open("a") as program:
        program.write("# edited\n")
    same.append(plan("rates"))
    assert {item.training_id for item in same} == {first.training_id}
    assert len({first.variant_id, *(item.variant_id for item in same)}) == 4
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.bin").write_bytes(b"1")
    others = [
        plan(write("other", inputs=["data"])),
        plan(write("other", params={"depth": 1, "lr": 0.2, "steps": 9})),
    ]
    assert first.training_id not in {item.training_id for item in others}


def test_a_seed_pairs_runs_only_where_it_means_one_data_order(write: Write) -> None:
    def keys(name: str) -> list[str]:
        return [cell.plan.pair_key for cell in cells(name) if cell.rung == "small" and cell.plan.seed == 1]

    assert len(set(keys(write()))) == 1
    independent = keys(write("own", seeds={"independent": [1, 2]}))
    assert len(independent) == 3 == len(set(independent))


@pytest.mark.parametrize("seeds", [[1, 2], {"independent": [1, 2]}])
def test_another_seed_of_a_run_is_the_run_that_would_have_been_planned(write: Write, seeds: Any) -> None:
    """As an amendment asks for them."""
    found = [
        cell.plan for cell in cells(write(seeds=seeds)) if (cell.rung, cell.variant) == ("small", "lr=0.3")
    ]
    first, second = found
    assert isinstance(first, CommandPlan)
    assert command_runs.with_seed(first, 2) == second


def test_the_pages_other_example_is_planned_as_it_says(write: Write, tmp_path: Path) -> None:
    """nanochat's, which cannot be run here."""
    write()
    text = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), re.DOTALL)[1]
    (tmp_path / "sweeps" / "nanochat.yaml").write_text(text)
    found = expand.expand_all(relative.resolved(file.load("nanochat")))
    assert {cell.variant for cell in found} == {"reference", "ratio=8", "matrix_lr=0.5x", "matrix_lr=2x"}
    first, twice = found[0].plan, next(cell.plan for cell in found if cell.variant == "matrix_lr=2x")
    assert isinstance(first, CommandPlan) and isinstance(twice, CommandPlan)
    assert twice.params == {"depth": 12, "ratio": 12.0, "matrix_lr": 0.04}
    words = command_words.words(first, tmp_path)
    assert words[:3] == ["env", "NANOCHAT_SEED=1", "torchrun"]
    assert {"--depth=12", "--target-param-data-ratio=12", f"--model-tag={first.run_id}"} <= set(words)
    log = "Step 00250 | Validation bpb: 0.912345\nStep 00500 | Validation bpb: 0.854321\n"
    assert command_result.read(first.program.metric, tmp_path, log).metric == 0.854321


@pytest.mark.parametrize(("seeds", "is_said"), [([1, 2, 3, 4], True), ([1, 2, 3, 4, 5], False)])
def test_a_plan_says_where_seeds_decide_nothing(
    seeds: list[int], is_said: bool, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    name = write(axes={"lr": [0.3]}, ladder=None, params={"depth": 1, "lr": 0.1, "steps": 9}, seeds=seeds)
    assert main(["plan", f"sweep={name}"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert ("decides nothing for 1 variant, whatever comes out: 4 seeds" in said) is is_said
    assert "calibrate" not in said


def attempts(results: Path) -> dict[str, int]:
    return {run.name: len(list(run.glob("attempts/*.json"))) for run in (results / "runs").glob("*")}


@pytest.mark.slow
def test_a_promotion_that_was_killed_is_resumed_and_decides(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The worked example of docs/any_trainer.md, the driver killed in its first run."""
    name, results = write(), tmp_path / "results"
    command = [sys.executable, "-m", "sweepkit", "promote", name]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 600
    while not list(results.glob("runs/*/output/metrics.jsonl")) and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()

    assert main(["plan", f"sweep={name}"]) == 0
    assert "--lr 0.1" in capsys.readouterr().out
    assert main(["sweep", name, "--cfg", "job"]) == 0
    assert "lr: 0.1" in capsys.readouterr().out
    assert main(["promote", name]) == 0
    out = capsys.readouterr().out
    assert "18 runs, if every variant climbs; frozen in" in out
    assert re.search(r"adopted\s+lr=0.3", out) and re.search(r"rejected\s+lr=0.03", out)
    content = json.loads((results / name / "verdicts.json").read_text())
    last = next(
        item for item in content["verdicts"] if (item["rung"], item["variant"]) == ("large", "lr=0.3")
    )
    assert any("flops is not judged" in note for note in last["notes"])
    assert last["evidence"]["metric"] == "val_loss"

    table = store.load(name, results)
    done = table[table["state"] == "complete"]
    assert len(done) == 18 and done["val_loss"].notna().all()
    assert str(table["val_loss"].dtype) == "Float64"
    assert set(done["num_steps"]) == {100} and done["median_step_time_s"].notna().all()
    assert set(table["level_lr"]) == {0.1, 0.03, 0.3} and set(done["depth"]) == {1, 2}
    curves = store.curves(name, results)
    assert set(curves["step"]) == {20, 40, 60, 80, 100} and curves[["loss", "val_loss"]].notna().all(None)
    before = attempts(results)
    assert max(before.values()) <= 2
    assert main(["forecasts", name]) == 0  # effects and the loss; a law would take sizes, which nobody tells
    out = capsys.readouterr().out
    assert "retention" in out and "same effect" in out and "Score over 1 sweep" in out and " law " not in out

    assert main(["promote", name]) == 0  # nothing is run again
    assert attempts(results) == before
    for line in (["status", name], ["results", name], ["report", name], ["resume", name]):
        assert main(line) == 0, line
    out = capsys.readouterr().out
    assert "val_loss" in out and (results / name / "report.html").stat().st_size
    assert f"next: sweepkit resume {name} --climb decides" in out
    assert main(["evaluate", name]) == 2
    assert "be of this package's trainer" in capsys.readouterr().err
    table[table["rung"] == "large"].to_csv(tmp_path / "runs.csv")
    rule = [
        "decision.metric=val_loss",
        "decision.direction=lower",
        "decision.min_effect=0.005",
        "decision.axes.wall_clock=ignore",
    ]
    assert main(["verdict", "--runs", "runs.csv", "--reference", "reference", *rule]) == 0
    assert "better than reference: lr=0.3" in re.sub(r"\s+", " ", capsys.readouterr().out)


@pytest.mark.slow
def test_nothing_of_torch_or_of_our_trainer_is_imported_for_it(write: Write) -> None:
    name = write(ladder=None, seeds=[1], axes={"lr": [0.3]}, params={"depth": 1, "lr": 0.1, "steps": 2})
    code = (
        "import sys; from sweepkit.cli.main import main\n"
        f"status = main(['sweep', {name!r}, 'launcher=inline'])\n"
        "ours = ('sweepkit.model', 'sweepkit.optim.optimizer', 'sweepkit.precision', 'sweepkit.distributed', "
        "'sweepkit.training.session', 'sweepkit.training.loop', 'sweepkit.data.prepare')\n"
        "print('\\nimported:', sorted(m for m in sys.modules if m == 'torch' or m.startswith(ours)))\n"
        "sys.exit(status)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "imported: []"
