"""What a launch takes of this machine: by hand, and refused before anything is begun where it is too much."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from sweepkit import fsio
from sweepkit.cli.main import USER_ERROR, main
from sweepkit.config.compose import compose
from sweepkit.data import hub
from sweepkit.errors import ConfigError
from sweepkit.launch import budget, cpu_peak, machine
from sweepkit.launch.budget import Estimate
from sweepkit.launch.ledger import Run
from sweepkit.plan import cost, epochs
from sweepkit.plan.build import build

PEAK = 1e11


@pytest.fixture(autouse=True)
def this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cores of 100 GFLOP/s together, 16 GiB, no GPU."""
    monkeypatch.setenv("SWEEPKIT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setattr(cpu_peak, "measured", lambda dtype: PEAK)
    monkeypatch.setattr(machine, "memory_gib", lambda: 16.0)
    monkeypatch.setattr(machine, "num_cores", lambda: 2)
    monkeypatch.setattr(machine, "gpu_kinds", lambda device: [])


def estimate(tmp_path: Path, *overrides: str, num_runs: int = 1, to_come: int = 0) -> Estimate:
    plans = [build(compose([*overrides, f"seed={seed}"])) for seed in range(1, num_runs + 1)]
    runs = [Run.of(plan, tmp_path) for plan in plans]
    return budget.of(runs, runs, plans[0].config.launcher, tmp_path, to_come)


def test_hours_by_hand(tmp_path: Path) -> None:
    """Training, and evaluations of which each is a forward pass, at 40% of the peak; runs share the cores."""
    words = ("model=d4", "evaluation.every_steps=100", "horizon.num_steps=250")
    plan = build(compose(words))
    evaluations = 3  # after 100, 200 and 250 steps
    flops = plan.total_flops + evaluations * cost.evaluation_flops(plan)
    alone = estimate(tmp_path, *words)
    run_hours = budget.RUN_S / 3600
    assert alone.hours == pytest.approx(flops / (0.4 * PEAK) / 3600 + run_hours)
    asked = build(compose([*words, "evaluation=core"]))  # at the end alone
    with_tasks = (flops + cost.core_flops(asked)) / (0.4 * PEAK) / 3600 + run_hours
    assert estimate(tmp_path, *words, "evaluation=core").hours == pytest.approx(with_tasks)
    four = estimate(tmp_path, *words, num_runs=4)
    assert four.hours == pytest.approx(4 * (alone.hours or 0))
    side_by_side = estimate(tmp_path, *words, "launcher=local", num_runs=4).hours
    assert side_by_side == pytest.approx(four.hours, abs=4 * run_hours)
    assert estimate(tmp_path, *words, to_come=3).hours == pytest.approx(four.hours)


def test_memory_is_that_of_all_processes_at_a_time(tmp_path: Path) -> None:
    each = build(compose(["model=d4"])).estimated_peak_memory_gib + machine.PROCESS_GIB
    for words, processes in (
        ([], 1),
        (["launcher.processes_per_run=4"], 4),
        (["launcher=local", "launcher.num_workers=3"], 3),
        (["launcher=local", "launcher.num_workers=2", "launcher.processes_per_run=2"], 4),
    ):
        found = estimate(tmp_path, "model=d4", *words, num_runs=3)
        assert found.memory_gib == pytest.approx(processes * each), words
        assert found.there_gib == 16.0


def test_on_gpus_it_is_the_makers_peak_and_the_fullest_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus = [machine.Gpu(str(index), "NVIDIA H100 80GB HBM3", 79.6) for index in range(2)]
    monkeypatch.setattr(machine, "gpu_kinds", lambda device: gpus)
    one, both = (estimate(tmp_path, "model=d12", *more) for more in ([], ["launcher.processes_per_run=2"]))
    plan = build(compose(["model=d12"]))
    assert plan.estimated_gpu_hours is not None
    assert plan.estimated_gpu_hours < (one.hours or 0) < 1.1 * plan.estimated_gpu_hours
    assert both.hours == pytest.approx((one.hours or 0) / 2, abs=budget.RUN_S / 3600)
    assert one.memory_gib == both.memory_gib == plan.estimated_peak_memory_gib
    assert one.there_gib == 79.6 and "1 × NVIDIA H100" in str(one)
    crowded = estimate(tmp_path, "model=d12", "launcher.processes_per_run=4")
    assert crowded.memory_gib == 2 * one.memory_gib
    budget.refuse(crowded, plan.config.launcher)  # a GPU that is full ends one run, not the machine
    gpus[0] = machine.Gpu("0", "some card", None)
    unknown = estimate(tmp_path, "model=d12")
    assert unknown.hours is None and unknown.there_gib is None and "unknown hours" in str(unknown)
    budget.refuse(unknown, plan.config.launcher)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            ["model=d8", "horizon.device_batch_size=2"],
            ["launcher.max_hours is 12.0", "hours", "launcher.max_hours="],
        ),
        (
            ["model=d12"],
            ["launcher.max_memory_frac is 0.8", "12.8 of 16.0 GiB", "horizon.device_batch_size=8"],
        ),
        (
            ["model=d12", "launcher.processes_per_run=8"],
            ["launcher.max_memory_frac is 0.8", "8 processes a run", "fewer processes a run"],
        ),
    ],
)
def test_too_much_is_refused_with_the_numbers_and_what_allows_it(
    overrides: list[str], words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = estimate(tmp_path, *overrides)
    launcher = compose(overrides).launcher
    with pytest.raises(ConfigError) as refused:
        budget.refuse(found, launcher)
    for word in [*words, "experiment=mini model=d2"]:
        assert word in str(refused.value)
    allowing = str(refused.value).rpartition(" ")[2]  # what it says allows it does
    others = ["launcher.max_hours=null", "launcher.max_memory_frac=null"]
    budget.refuse(found, compose([*overrides, *others, allowing]).launcher)
    monkeypatch.setenv("SLURM_JOB_ID", "1")  # the allocation is the budget
    budget.refuse(found, launcher)


SWEEP = "axes: {optimizer.x0.lr: [0.1, 0.2]}\nladder: gpt2\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        "train model=d12", "train model=d12 launcher.processes_per_run=8", "train -m model=d12 seed=1,2",
        "train model=d12 launcher=local", "calibrate model=d12", "sweep ./own.yaml dataset=embedded",
        "promote ./own.yaml dataset=embedded", "train -m model=d12 optimizer.x0.lr=interval(0.1,0.2)",
    ],
)  # fmt: skip
def test_every_command_that_starts_runs_refuses_and_begins_nothing(
    command: str, tmp_path: Path, own_results_dir: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("own.yaml").write_text(SWEEP)
    assert main([*command.split(), "launcher.max_epochs=null"]) == USER_ERROR
    said = capsys.readouterr().err
    assert "launcher.max_" in said and "allow it with" in said, said
    assert not list(own_results_dir.glob("runs/*")) and not list(own_results_dir.glob("*/plan.jsonl"))


@pytest.mark.parametrize(
    ("hours", "words"),
    [
        (0.002, "7 s"),
        (0.5, "30 min"),
        (3.42, "3.4 hours"),
        (80, "80.0 hours (3 days)"),
        (5000, "5,000 hours (208 days)"),
    ],
)
def test_hours_in_words(hours: float, words: str) -> None:
    assert budget.in_words(hours) == words


@pytest.mark.parametrize(
    "command",
    [
        ["train", "model=d24"],
        ["train", "-m", "model=d24", "seed=1,2"],
        ["train", "-m", "model=d24", "optimizer.x0.lr=interval(0.1,0.2)"],
        ["calibrate", "model=d24"],
        ["calibrate", "sweep=big"],
        ["promote", "big"],
        ["sweep", "big"],
        ["sweep", "tuned"],
    ],
    ids=" ".join,
)
def test_too_much_is_refused_before_a_hub_is_asked(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(tmp_path / "results"))
    (tmp_path / "sweeps").mkdir()
    big = "base: [model=d24]\naxes: {optimizer.matrix.lr: [0.01, 0.03]}\n"
    (tmp_path / "sweeps" / "big.yaml").write_text(big)
    tuned = f"{big}tune: {{optimizer.x0.lr: [0.5x]}}\nladder: gpt2\n"
    (tmp_path / "sweeps" / "tuned.yaml").write_text(tuned)
    monkeypatch.setattr(hub, "look_up", lambda *of: pytest.fail("the hub was asked"))
    assert main([*command, "dataset=climbmix"]) == USER_ERROR
    assert "GiB of memory" in capsys.readouterr().err


def test_text_that_is_yet_to_be_prepared_is_named_until_it_is_there(tmp_path: Path) -> None:
    own = tmp_path / "own.txt"
    own.write_text("words of my own\n" * 2**16)  # 1 MiB
    words = ["experiment=mini", "model=d2", "dataset=files", f"dataset.path={own}"]
    found = estimate(tmp_path, *words, num_runs=3)
    (said,) = found.to_prepare
    assert said.startswith("0.95 MiB of own.txt to tokenize (about 0.") and said in str(found)
    config = build(compose(words)).config
    epochs.remember(config, 200_000)
    assert estimate(tmp_path, *words).to_prepare == ()
    hub = estimate(tmp_path, "model=d2", "experiment=mini", "dataset=climbmix", "dataset.num_train_shards=8")
    assert hub.to_prepare == ("9 files of climbmix to fetch and tokenize",)
    assert "of embedded to tokenize" in str(estimate(tmp_path, "experiment=mini", "model=d2"))


def test_start_and_compiling_are_said_by_shape(tmp_path: Path) -> None:
    seeds = estimate(tmp_path, "model=d4", num_runs=3)
    assert (seeds.shapes, seeds.compile_s) == (1, 30)
    assert "after 7 s to start and about 30 s to compile, the first time" in str(seeds)
    plans = [build(compose([f"model=d{depth}"])) for depth in (2, 4, 6)]
    runs = [Run.of(plan, tmp_path) for plan in plans]
    assert "each of 3 shapes" in str(budget.of(runs, runs, plans[0].config.launcher, tmp_path))
    assert "compile" not in str(estimate(tmp_path, "model=d4", "trainer.compile=false"))


@pytest.mark.parametrize("is_known", [False, True])
def test_a_plan_says_what_it_takes_here_once_that_was_measured(
    is_known: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if is_known:
        recipe = [platform.node(), "a processor", "2.0", "torch.float32", 2]
        content = {"recipe": recipe, "flops_per_s": PEAK, "measured_at": "2026-01-01"}
        fsio.write_json(tmp_path / "cache" / "gemm" / "mine.json", content)
        others = {"recipe": ["another", *recipe[1:]], "flops_per_s": 9 * PEAK, "measured_at": "2026-01-01"}
        fsio.write_json(tmp_path / "cache" / "gemm" / "theirs.json", others)
    words = ["experiment=mini", "model=d2", "precision.dtype=fp32"]
    assert main(["plan", *words]) == 0
    out = " ".join(capsys.readouterr().out.split())
    said = estimate(tmp_path, *words).without_disk
    assert (said in out) is is_known
    assert ("here no estimate: this machine was not timed (sweepkit doctor does)" in out) is not is_known
