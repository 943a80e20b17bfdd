"""Hydra's multirun syntax as sweeps."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from sweepkit.errors import ConfigError
from sweepkit.sweep import multirun

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
        (cell.plan.config["optimizer"]["x0"]["lr"], cell.plan.config["optimizer"]["x0"]["beta1"],
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


def test_seeds_alone_are_replicates(tmp_path: Path) -> None:
    frozen = multirun.freeze([*BASE, "seed=1,2,3"], tmp_path)
    assert [cell.plan.seed for cell in frozen.cells] == [1, 2, 3]
    assert {cell.variant for cell in frozen.cells} == {"reference"}


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("seed=interval(1,5)", "seeds are replicates"),
        ("optimizer.x0.lr=interval(0.5,0.1)", "low < high"),
        ("optimizer.x0.lr=tag(fast,interval(0.1,0.5))", "no tag but log"),
        ("optimizer.x0.lrr=interval(0.1,0.5)", "lrr"),
        ("optimizer.x0.lr=range(3,3)", "at least one value"),
        ("optimizer.x0.lr=0.1,,", "be overrides key=value"),
        ("optimizer.x0.lrr=0.1,0.2", "lrr"),
        ("optimizer.x0.lr=0.1,fast", "fast"),
        ("optimizer=muon,muno", "muno"),
        ("seed=a,b", "seed is 'a,b'"),
        ("trainer.compile=true,false", "how it is carried out"),
    ],
)
def test_wrong_multiruns_are_refused(tmp_path: Path, argument: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        multirun.freeze([*BASE, argument], tmp_path)
