"""Hydra's multirun syntax as sweeps."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import pytest

from sweepkit.cli import plan, running
from sweepkit.cli.main import main
from sweepkit.config import paths
from sweepkit.errors import ConfigError, FrozenPlanError
from sweepkit.sweep import frozen, multirun

BASE = ["experiment=mini", "model=d2"]


def test_choices_and_ranges_become_axes() -> None:
    sweep, extra = multirun.parse(
        [*BASE, "optimizer.x0.lr=0.1,0.2", "optimizer.matrix.num_iterations=range(3,6)",
         "model.window_pattern=choice(L,SL)", "seed=1,2", "launcher=local"]
    )  # fmt: skip
    assert sweep.base == tuple(BASE)
    assert extra == ["launcher=local"]
    assert {axis: list(levels) for axis, levels in sweep.axes.items()} == {
        "optimizer.x0.lr": ["0.1", "0.2"],
        "optimizer.matrix.num_iterations": ["3", "4", "5"],
        "model.window_pattern": ["L", "SL"],
    }
    assert sweep.seeds == (1, 2)


def test_a_multirun_is_the_full_product(tmp_path: Path) -> None:
    rates, betas = (0.1, 0.2, 0.3), (0.8, 0.9)
    frozen = multirun.freeze(
        [*BASE, "optimizer.x0.lr=0.1,0.2,0.3", "optimizer.x0.beta1=0.8,0.9", "seed=range(1,3)"], tmp_path
    )
    found = [
        (cell.plan.config.optimizer.x0.lr, cell.plan.config.optimizer.x0.beta1,
         cell.plan.seed)
        for cell in frozen.cells
    ]  # fmt: skip
    assert sorted(found) == sorted(itertools.product(rates, betas, (1, 2)))
    assert [cell.role for cell in frozen.cells].count("reference") == 2


def test_the_name_is_the_contents(tmp_path: Path) -> None:
    def name(*arguments: str) -> str:
        return multirun.freeze([*BASE, *arguments], tmp_path).name

    first = name("optimizer.x0.lr=0.1,0.2")
    assert first.startswith("multirun-")
    assert name("optimizer.x0.lr=0.10,0.20") == first
    assert name("optimizer.x0.lr=choice(0.1,0.2)", "launcher=local") == first
    assert name("optimizer.x0.lr=0.1,0.3") != first
    assert name("optimizer.x0.lr=0.1,0.2", "seed=1,2") != first


def test_a_group_can_be_swept(tmp_path: Path) -> None:
    frozen = multirun.freeze(["experiment=mini", "model=d2,d4", "optimizer=muon,adamw"], tmp_path)
    assert sorted({cell.plan.depth for cell in frozen.cells}) == [2, 4]
    assert len({cell.plan.variant_id for cell in frozen.cells}) == 4


def test_values_that_repeat_count_once(tmp_path: Path) -> None:
    assert len(multirun.freeze([*BASE, "optimizer.x0.lr=0.1,0.2,0.1"], tmp_path).cells) == 2


def labels(arguments: list[str], tmp_path: Path) -> dict[str, str]:
    return {
        cell.variant: cell.plan.variant_id for cell in multirun.freeze([*BASE, *arguments], tmp_path).cells
    }


@pytest.mark.parametrize(
    "values",
    [
        "a/x_y,a/x/y,a-x-y",
        "'дом','кот',d",
        "'a b','a  b',a_b",
        "'value','значение'",
    ],
)
def test_values_that_look_alike_are_variants_of_their_own(values: str, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.mkdir()
    for number in range(2):
        (text / f"{number}.parquet").write_bytes(b"what a plan takes a digest of")
    arguments = ["dataset=files", f"dataset.path={text}", f"dataset.text_column={values}"]
    found = labels(arguments, tmp_path)
    assert len(found) == len(set(found.values())) == len(values.split(","))


@pytest.mark.parametrize(
    ("arguments", "same"),
    [
        (["optimizer.x0.lr=0.2,0.3", "optimizer.x0.lr=0.1"], ["optimizer.x0.lr=0.1"]),
        (["optimizer.x0.lr=0.2,0.3", "optimizer.x0.lr=0.1,0.4"], ["optimizer.x0.lr=0.1,0.4"]),
        (["optimizer=muon,adamw", "optimizer=adamw"], ["optimizer=adamw"]),
        (["seed=1,2", "seed=3"], ["seed=3"]),
        (["seed=1,1,2"], ["seed=1,2"]),
        (["packing=glob(*)"], ["packing=best_fit,greedy_crop,stream"]),
        (["packing=glob(*,exclude=[best*])"], ["packing=greedy_crop,stream"]),
        (["optimizer={x0: {lr: 0.1}}", "optimizer.x0.lr=0.2,0.3"], ["optimizer.x0.lr=0.2,0.3"]),
    ],
)
def test_later_overrides_of_a_key_win(arguments: list[str], same: list[str], tmp_path: Path) -> None:
    assert labels(arguments, tmp_path) == labels(same, tmp_path)
    seeds = [
        [cell.plan.seed for cell in multirun.freeze([*BASE, *it], tmp_path).cells] for it in (arguments, same)
    ]
    assert seeds[0] == seeds[1]


def test_what_refers_to_the_seed_follows_it(tmp_path: Path) -> None:
    frozen = multirun.freeze([*BASE, "horizon.num_steps=${seed}", "seed=4,5"], tmp_path)
    assert [cell.plan.num_steps for cell in frozen.cells] == [4, 5]


def test_every_variant_keeps_its_launcher_or_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "conf"
    shutil.copytree(paths.conf_dir(), mine)
    (mine / "experiment" / "own.yaml").write_text(
        "# @package _global_\nlauncher: {num_workers: 3}\nseed: 1\n"
    )
    monkeypatch.setenv("SWEEPKIT_CONF_DIR", str(mine))
    swept = ["experiment=mini,own", "model=d2"]
    with pytest.raises(ConfigError, match=r"launcher\.num_workers is 3.*share one launcher"):
        multirun.freeze(swept, tmp_path)
    frozen = multirun.freeze([*swept, "launcher.num_workers=2"], tmp_path)
    assert {cell.plan.config.launcher.num_workers for cell in frozen.cells} == {2}


def test_a_single_init_seed_is_every_runs(tmp_path: Path) -> None:
    frozen = multirun.freeze([*BASE, "init_seed=5", "seed=1,2"], tmp_path)
    assert [(cell.plan.seed, cell.plan.config.init_seed) for cell in frozen.cells] == [(1, 5), (2, 5)]


def test_a_multirun_may_be_named_once(tmp_path: Path) -> None:
    words = [*BASE, "optimizer.x0.lr=0.1,0.2"]
    named = multirun.freeze(words, tmp_path, name="scan")
    assert named.name == "scan" and multirun.freeze(words, tmp_path, name="scan") == named
    with pytest.raises(FrozenPlanError, match="scan"):
        multirun.freeze([*BASE, "optimizer.x0.lr=0.1,0.3"], tmp_path, name="scan")
    with pytest.raises(ConfigError, match="--name is 'demo', but must be free"):
        multirun.freeze(words, tmp_path, name="demo")


def test_a_multirun_is_named_as_a_sweep_file_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """So that the commands that a verdict proposes can be typed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(tmp_path))
    for name, swept in (("scan", "optimizer.x0.lr=0.1,0.2"), ("found", "optimizer.x0.lr=interval(0.1,0.2)")):
        made = multirun.freeze([*BASE, swept, "seed=1,2", "trainer.compile=false"], tmp_path, name=name)
        again = frozen.freeze(running.named_sweep(name, tmp_path), tmp_path)
        assert again.identity == made.identity
        assert [cell.plan.run_id for cell in again.cells] == [cell.plan.run_id for cell in made.cells]
        assert main(["plan", f"sweep={name}"]) == 0
    capsys.readouterr()
    assert main(["promote", "scan", "--amend-to", "4"]) == 2
    assert "--amend-to is 4, but must" in capsys.readouterr().err


def test_a_dry_run_of_a_multirun_is_its_runs(tmp_path: Path) -> None:
    words = [*BASE, "optimizer.x0.lr=0.1,0.2", "horizon.total_batch_size=auto,4096", "seed=1,2"]
    planned = plan.planned(words, is_multirun=True).rows
    assert [row.plan.run_id for row in planned] == [
        cell.plan.run_id for cell in multirun.freeze(words, tmp_path).cells
    ]


def test_seeds_alone_are_replicates(tmp_path: Path) -> None:
    frozen = multirun.freeze([*BASE, "seed=1,2,3"], tmp_path)
    assert [cell.plan.seed for cell in frozen.cells] == [1, 2, 3]
    assert {cell.variant for cell in frozen.cells} == {"reference"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("seed=interval(1,5)", "seeds are replicates"),
        ("optimizer.x0.lr=interval(0.5,0.1)", "low < high"),
        ("optimizer.x0.lr=tag(fast,interval(0.1,0.5))", "no tag but log"),
        ("optimizer.x0.lrr=interval(0.1,0.5)", "lrr"),
        ("optimizer.x0.lr=range(3,3)", "at least one value"),
        ("optimizer.x0.lr=range(1,1e9)", "at most 10,000 values"),
        ("seed=range(1,1000000000)", "at most 10,000 values"),
        ("optimizer.x0.lr=0.1,,", "be key=value"),
        ("optimizer.x0.lrr=0.1,0.2", "lrr"),
        ("optimizer.x0.lr=0.1,fast", "fast"),
        ("optimizer.x0.lr=0.1,inf", "finite numbers"),
        ("packing=glob(x*)", "at least one value"),
        ("optimizer.x0.lr=glob(*)", "be a group"),
        ("model.depth=???,2", "be given"),
        ("model.depth=${oc.env:SWEEPKIT_NOT_SET},2", "SWEEPKIT_NOT_SET"),
        ("dataset.name=${hydra:job.name},a", "Hydra's own settings"),
        ("optimizer=muon,muno", "muno"),
        ("seed=a,b", "seed is 'a,b'"),
        ("seed=1.0,2", "seed is '1.0,2'"),  # train seed=1.0 is none either
        ("seed=shuffle()", "at least one value"),
        ("model=shuffle()", "at least one value"),
        ("optimizer.x0.lr=range(1,2,0)", "be key=value"),
        ("optimizer.x0.lr=choice(choice(1,2),3)", "be key=value"),
        ("optimizer.x0.lr=0.5,float(1,2)", "be key=value"),
        ("model=glob(sort(list=[1,2]))", "be key=value"),
        ("trainer.compile=true,false", "how runs are carried out"),
    ],
)
def test_wrong_multiruns_are_refused(tmp_path: Path, argument: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        multirun.freeze([*BASE, argument], tmp_path)


@pytest.mark.parametrize("later", ["optimizer={x0: {lr: 0.1}}", "optimizer.x0={lr: 0.1}"])
def test_a_block_around_what_was_swept_before_is_refused(tmp_path: Path, later: str) -> None:
    with pytest.raises(ConfigError, match="leave alone what was swept before it"):
        multirun.freeze([*BASE, "optimizer.x0.lr=0.2,0.3", later], tmp_path)
