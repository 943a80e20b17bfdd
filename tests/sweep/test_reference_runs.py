"""Several runs of the reference a seed: which runs a plan then holds, from which weights, in which order."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepkit.errors import ConfigError, FrozenPlanError
from sweepkit.sweep import expand, points, reference_runs
from sweepkit.sweep.cell import Cell
from sweepkit.sweep.file import SweepFile
from sweepkit.sweep.frozen import freeze, load_frozen

CONTENT: dict[str, Any] = {
    "name": "mine",
    "base": ["experiment=mini", "model=d2", "horizon.num_steps=20"],
    "axes": {"optimizer.matrix.lr": [0.01, 0.02, 0.03, 0.04]},
    "reference": {"optimizer.matrix.lr": 0.02},
    "seeds": [1, 2],
    "reference_replicates": "auto",
}


def sweep(**changes: Any) -> SweepFile:
    return SweepFile.from_json(CONTENT | changes)


def shape(cells: list[Cell]) -> list[tuple[str, int, int]]:
    return [(cell.variant.rpartition("=")[2], cell.plan.seed, cell.number) for cell in cells]


def test_the_reference_is_spread_among_the_variants_of_every_seed() -> None:
    assert shape(expand.expand_all(sweep())) == [
        entry
        for seed in (1, 2)
        for entry in (
            ("reference", seed, 0),
            ("0.01", seed, 0),
            ("0.03", seed, 0),
            ("reference", seed, 1),
            ("0.04", seed, 0),
        )
    ]


def test_every_run_of_a_seed_has_weights_of_its_own_and_the_same_tokens() -> None:
    cells = expand.expand_all(sweep(reference_replicates=3, reference_horizons=[0.5]))
    assert len(cells) == 2 * (3 + 1 + 3)
    assert len({cell.plan.run_id for cell in cells}) == len(cells)
    for seed in (1, 2):
        here = [cell.plan for cell in cells if cell.plan.seed == seed]
        assert len({plan.pair_key for plan in here}) == 1
        assert len({plan.init_seed for plan in here}) == len(here) == 7
    again = expand.expand_all(sweep(reference_replicates=2))
    assert {cell.plan.run_id for cell in again} < {cell.plan.run_id for cell in cells}


def test_left_out_nothing_changes() -> None:
    plain = {key: value for key, value in CONTENT.items() if key != "reference_replicates"}
    cells = expand.expand_all(SweepFile.from_json(plain))
    once = expand.expand_all(sweep(reference_replicates=1))
    assert cells == once
    assert all(cell.plan.run_id.endswith(f"-s{cell.plan.seed}") for cell in cells)
    assert expand.expand_all(sweep(seeds=[1])) == once[: len(once) // 2]


@given(num_variants=st.integers(1, 400), num_seeds=st.integers(2, 9))
def test_auto_is_the_cheapest_for_its_variance(num_variants: int, num_seeds: int) -> None:
    def cost(own: int) -> float:
        return (num_variants + own) * (1 + 1 / own)

    chosen = reference_runs.on_rung("auto", num_seeds, num_variants)
    assert cost(chosen) <= 1.005 * min(cost(own) for own in range(1, 40))
    assert reference_runs.on_rung("auto", 1, num_variants) == reference_runs.on_rung(5, 1, num_variants) == 1
    assert reference_runs.on_rung("auto", num_seeds, num_variants, proposes=True) == 1
    assert reference_runs.on_rung(5, num_seeds, num_variants, proposes=True) == 5


@pytest.mark.slow
def test_a_rung_counts_the_variants_that_can_come_there(tmp_path: Path) -> None:
    ladder = sweep(
        base=["horizon.num_steps=20"],
        ladder="mini",
        axes={"optimizer.matrix.lr": [0.01 + 0.001 * place for place in range(17)]},
        reference={"optimizer.matrix.lr": 0.01},
    )
    frozen = freeze(ladder, tmp_path)
    most = {rung.name: 0 for rung in frozen.rungs}
    for cell in frozen.cells:
        most[cell.rung] = max(most[cell.rung], cell.number + 1)
    assert most == {"d2": 4, "d4": 1, "d6": 1}, "16 variants, then the best two"
    again = load_frozen(tmp_path, "mine")
    assert [cell.number for cell in again.cells] == [cell.number for cell in frozen.cells]
    assert [stack.reference_replicates for stack in again.stacks] == [4, 1, 1]
    with pytest.raises(FrozenPlanError, match=r"changed \(reference_replicates\)"):
        freeze(dataclasses.replace(ladder, reference_replicates=2), tmp_path)


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "some", 1000])
def test_a_wrong_number_is_refused(wrong: object) -> None:
    with pytest.raises(ConfigError, match="reference_replicates"):
        sweep(reference_replicates=wrong)


@pytest.mark.parametrize(
    "where", [{"base": ["init_seed=3"]}, {"axes": {"weights": {"other": ["init_seed=3"]}}}]
)
def test_init_seed_is_not_for_levels(where: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"init_seed.* leave (the init_seed alone|it out)"):
        expand.expand_all(sweep(**({"reference": {}} | where)))


def test_a_searchs_points_have_weights_of_their_own_too(tmp_path: Path) -> None:
    """A point that is the reference is its first run of every seed."""
    space = {"optimizer.matrix.lr": {"low": 0.01, "high": 0.04}}
    changes = {"axes": {}, "reference": {}, "search": {"space": space, "n_trials": 4}}
    frozen = freeze(sweep(**changes, reference_replicates=2), tmp_path)
    assert [(cell.plan.seed, cell.number) for cell in frozen.fixed] == [(1, 0), (1, 1), (2, 0), (2, 1)]
    found = {
        lr: points.cells(
            {"optimizer.matrix.lr": lr}, stacks=frozen.stacks, extra=(), fixed=frozen.fixed, labels={}
        )
        for lr in (0.02, 0.03)
    }
    assert list(found[0.02]) == [cell for cell in frozen.fixed if cell.number == 0]
    weights = {cell.plan.init_seed for cell in [*frozen.fixed, *found[0.03]]}
    assert len(weights) == 6
    assert [cell.plan.pair_key for cell in found[0.03]] == [cell.plan.pair_key for cell in found[0.02]]
    points.check_unchanged(frozen.stacks, (), frozen.fixed)
    alone = freeze(sweep(**changes, name="alone"), tmp_path)
    assert [cell.number for cell in alone.fixed] == [0, 0], "auto: trials are compared among themselves"
