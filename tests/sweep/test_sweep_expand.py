"""Cells: precedence, ownership of rungs, seeds, and what is refused. Composes real configurations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from sweepkit.code import planner
from sweepkit.config import typed
from sweepkit.config.choices import MatrixOptimizer
from sweepkit.config.schema import RungConfig
from sweepkit.errors import ConfigError
from sweepkit.sweep import expand
from sweepkit.sweep.cell import Cell
from sweepkit.sweep.file import SweepFile

LR = "optimizer.matrix.lr"


def sweep(**given: Any) -> SweepFile:
    given.setdefault("axes", {LR: [0.01, 0.03]})
    return SweepFile.from_json({"name": "s", "ladder": "mini"} | given)


def matrix_lr(cell: Cell) -> float:
    value: float = cell.plan.config.optimizer.matrix.lr
    return value


def test_cells_of_a_ladder() -> None:
    cells = expand.expand_all(sweep(seeds=[3, 1]))
    assert [(cell.rung, cell.variant, cell.plan.seed) for cell in cells] == [
        (rung, variant, seed)
        for rung, seeds in {"d2": (3, 1), "d4": (4, 5), "d6": (6, 7)}.items()
        for seed in seeds
        for variant in ("reference", f"{LR}=0.01", f"{LR}=0.03")
    ], "seed by seed, so that the reference stands among the variants"
    assert {(cell.rung, cell.plan.depth) for cell in cells} == {("d2", 2), ("d4", 4), ("d6", 6)}
    assert {cell.role for cell in cells if cell.variant == "reference"} == {"reference"}
    assert len({cell.plan.run_id for cell in cells}) == len(cells)
    by_variant = {cell.variant: cell.variant_key for cell in cells}
    assert all(cell.variant_key == by_variant[cell.variant] for cell in cells), "keys hold no depth"
    assert all(
        cell.plan.run_id == f"d{cell.plan.depth}-{cell.plan.variant_id}-s{cell.plan.seed}" for cell in cells
    )


def test_a_sweep_without_a_ladder_has_one_rung() -> None:
    cells = expand.expand_all(sweep(ladder=None, base=["model=d4"]))
    assert {(cell.rung, cell.plan.depth) for cell in cells} == {(expand.SINGLE_RUNG, 4)}


def test_cells_survive_json() -> None:
    cell = expand.expand_all(sweep())[1]
    assert typed.load(Cell, typed.dump(cell)) == cell
    assert cell.levels == {LR: "0.01"}


@pytest.mark.parametrize(
    ("base", "level", "extra", "expected"),
    [
        ([], None, [], 0.02),  # the schema
        (["optimizer=adamw"], None, [], 0.001),  # a group
        (["optimizer=adamw", f"{LR}=0.05"], None, [], 0.05),  # a value over a group
        ([f"{LR}=0.05"], 0.03, [], 0.03),  # a level over base
        (["optimizer=adamw"], 0.03, [], 0.03),
        ([f"{LR}=0.05"], 0.03, [f"{LR}=0.07"], 0.07),  # the command line over a level
        ([f"{LR}=0.05"], None, ["optimizer=adamw"], 0.05),  # values are set after groups
    ],
)
def test_precedence(base: list[str], level: float | None, extra: list[str], expected: float) -> None:
    levels = {"other": ["schedule.warmdown_ratio=0.3"]}
    if level is not None:
        levels["it"] = [f"{LR}={level}", "schedule.final_lr_frac=0.1"]
    cells = expand.expand_all(sweep(base=base, axes={"axis": levels}), extra)
    last = cells[-1] if level is not None else cells[0]
    assert matrix_lr(last) == expected


def test_a_level_that_sets_backout_where_it_does_nothing_is_refused() -> None:
    for level in ("model.backout=true", "model.backout_lambda_init=0.4"):
        with pytest.raises(ConfigError, match="backout"):
            expand.expand_all(sweep(axes={"it": {"it": [level]}}))
    with pytest.raises(ConfigError, match="differ from reference"):
        expand.expand_all(sweep(axes={"it": {"off": ["model.backout=false"]}}))
    deeper = sweep(ladder=None, base=["model=d4"], axes={"it": {"off": ["model.backout=false"]}})
    assert len({cell.plan.variant_id for cell in expand.expand_all(deeper)}) == 2


def test_a_rung_wins_over_groups_and_base_over_a_rung(monkeypatch: pytest.MonkeyPatch) -> None:
    rung = RungConfig(name="d4", overrides=["model=d4", "schedule.final_lr_frac=0.2"])
    plain = expand.expand(sweep(), rung)[0].plan.config.schedule.final_lr_frac
    based = expand.expand(sweep(base=["schedule.final_lr_frac=0.3"]), rung)[0]
    assert (plain, based.plan.config.schedule.final_lr_frac) == (0.2, 0.3)


def test_the_last_choice_of_a_group_wins() -> None:
    cells = expand.expand_all(sweep(base=["optimizer=adamw"]), ["optimizer=muon"])
    assert cells[0].plan.config.optimizer.matrix.kind is MatrixOptimizer.muon


def test_seeds_do_not_change_a_variant() -> None:
    cells = expand.expand_all(sweep(seeds=[1, 2]))
    first, second = [cell for cell in cells if cell.variant == "reference"][:2]
    assert first.plan.variant_id == second.plan.variant_id
    assert first.plan.pair_key != second.plan.pair_key


def test_all_variants_of_a_seed_see_the_same_data() -> None:
    cells = [cell for cell in expand.expand_all(sweep(seeds=[1, 2])) if cell.rung == "d2"]
    assert len({cell.plan.pair_key for cell in cells if cell.plan.seed == 1}) == 1


def test_a_rung_may_ask_for_fewer_seeds() -> None:
    cells = expand.expand(sweep(seeds=[5, 6, 7]), RungConfig(name="d2", overrides=["model=d2"], num_seeds=2))
    assert {cell.plan.seed for cell in cells} == {5, 6}
    with pytest.raises(ConfigError, match="num_seeds is 4, but must lie between 1 and the sweep's 3"):
        expand.expand(sweep(seeds=[5, 6, 7]), RungConfig(name="d2", num_seeds=4))


def test_the_ladder_can_be_chosen_on_the_command_line() -> None:
    assert {cell.rung for cell in expand.expand_all(sweep(), ["ladder=gpt2"])} == {"d12", "d20", "d24"}
    assert {cell.rung for cell in expand.expand_all(sweep(), ["ladder=none"])} == {expand.SINGLE_RUNG}


@pytest.mark.parametrize(
    "extra",
    [["launcher=local"], ["launcher.num_workers=2"], ["trainer.keep_checkpoints=true"], ["logging=offline"]],
)
def test_how_runs_are_carried_out_is_not_their_identity(extra: list[str]) -> None:
    def ids(overrides: Sequence[str]) -> list[str]:
        return [cell.plan.run_id for cell in expand.expand_all(sweep(), overrides)]

    assert ids(extra) == ids([])


@pytest.mark.parametrize(
    ("given", "extra", "message"),
    [
        ({"axes": {"a": {"x": ["model=d8"]}}}, [], r"axes\.a\.x is 'model=d8'.*rung d2 of the ladder owns"),
        ({"axes": {"a": {"x": ["model.depth=8"]}}}, [], r"model\.depth is 8, but must stay what rung d2"),
        ({"axes": {"a": {"x": ["experiment=baseline", "model.depth=8"]}}}, [], r"rung d2"),
        ({"axes": {"a": {"x": ["seed=4"]}}}, [], r"axes\.a\.x is 'seed=4', but must leave the seed alone"),
        ({"base": ["seed=4"]}, [], "base is 'seed=4'"),
        ({}, ["seed=4"], "command line is 'seed=4'"),
        ({"axes": {"a": {"x": ["ladder=gpt2"]}}}, [], "leave the ladder alone"),
        ({"base": ["ladder=gpt2"]}, [], "leave the ladder alone"),
        ({"axes": {"a": {"x": ["trainer.compile=false"]}}}, [], "how it is carried out"),
        ({"axes": {LR: [0.02]}}, [], f"variant is '{LR}=0.02', but must differ from reference"),
        ({"axes": {LR: [0.01, 0.03]}}, [f"{LR}=0.05"], "must differ from reference"),
        ({"axes": {"a": {"x": [f"{LR}=0.01"], "y": [f"{LR}=0.010"]}}}, [], "must differ from a=x"),
        ({"base": ["model=d2"]}, [], "rung is 'd4', but must differ from rung d2"),
        ({}, ["model=d2"], "rung is 'd4', but must differ from rung d2"),
        ({"axes": {"optimizer.matrix.lrr": [0.1]}}, [], "lrr"),
        ({"axes": {LR: ["fast"]}}, [], "fast"),
        ({"base": ["optimizer=muno"]}, [], "muno.*muon"),
        ({"ladder": "maxi"}, [], "maxi.*mini"),
    ],
)
def test_contradictions_and_typos_are_refused(given: dict[str, Any], extra: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        expand.expand_all(sweep(**given), extra)


def test_a_level_may_set_other_fields_of_the_group_a_rung_chooses() -> None:
    cells = expand.expand_all(sweep(axes={"model.window_pattern": ["L"]}))
    assert cells[1].plan.config.model.window_pattern == "L"
    assert cells[1].plan.windows != cells[0].plan.windows


@pytest.mark.parametrize(
    ("metric", "base", "message"),
    [
        ("bpb_prob", [], "decision.metric is 'bpb_prob', but must be measured by every run"),
        ("bpb_probe", ["evaluation.streams=[validation]"], "write val_bpb or bpb_validation"),
        ("bpb_probe", [], None),
        ("bpb_validation", [], None),
        ("val_bpb", ["evaluation.streams=[validation]"], None),
        ("ema_val_bpb", [], "set optimizer.ema_decay for every variant"),
        ("ema_val_bpb", ["optimizer.ema_decay=0.9"], None),
        ("ema_bpb_prob", ["optimizer.ema_decay=0.9"], "decision.metric is 'ema_bpb_prob', but must be"),
    ],
)
def test_a_sweep_is_decided_by_what_its_runs_measure(
    metric: str, base: list[str], message: str | None
) -> None:
    asked = sweep(base=base, decision={"metric": metric})
    if message is None:
        assert expand.expand_all(asked)
        return
    with pytest.raises(ConfigError) as error:
        expand.expand_all(asked)
    assert message in str(error.value)


def test_the_reference_at_other_horizons() -> None:
    """Only the number of steps differs, and only where there is a variant to be held against it."""
    cells = expand.expand_all(sweep(seeds=[1, 2], reference_horizons=[2, 0.5]))
    one = [cell for cell in cells if cell.rung == "d2" and cell.plan.seed == 1]
    assert [cell.variant for cell in one] == [
        "reference", "reference@0.5x", "reference@2x", f"{LR}=0.01", f"{LR}=0.03"
    ]  # fmt: skip
    plain, half, twice = (cell.plan for cell in one[:3])
    assert [half.num_steps, twice.num_steps] == [round(plain.num_steps / 2), 2 * plain.num_steps]
    for other in (half, twice):
        assert other.total_batch_size == plain.total_batch_size
        assert other.learning_rates == plain.learning_rates
        assert other.weight_decays == plain.weight_decays
        assert (other.pair_key, other.compile_key) == (plain.pair_key, plain.compile_key)
        assert other.run_id != plain.run_id
    assert {cell.role for cell in one[1:3]} == {"horizon"}


@pytest.mark.parametrize("given", [[1], [0.5, 0.5], [0], [-1], [True], "half", ["2"], [100]])
def test_horizons_that_make_no_sense_are_refused(given: Any) -> None:
    with pytest.raises(ConfigError, match=r"reference_horizons.*write \[0\.5, 2\]"):
        sweep(reference_horizons=given)


def test_the_ladder_says_whether_there_are_other_horizons() -> None:
    def labels(**given: Any) -> set[str]:
        return {cell.variant for cell in expand.expand_all(sweep(**given)) if cell.role == "horizon"}

    assert labels() == set(), "the mini ladder leaves them out"
    assert labels(ladder="gpt2") == {"reference@0.5x", "reference@2x"}
    assert labels(ladder="gpt2", reference_horizons=[]) == set()


def test_a_variant_has_one_code() -> None:
    """Two axes of code are tried one at a time; trees are put on the reference, not on each other."""
    one, two = ({"code": f"tree_{digit * 16}"} for digit in "12")
    written = {"name": "codes", "axes": {"norm": {"a": one}, "mlp": {"b": two}}, "combine": 2}
    with pytest.raises(
        ConfigError, match=r"axes\.mlp\.b is 'code=tree_2+', but must be the only code of variant"
    ):
        expand.variants(SweepFile.from_json(written))
    labels = [item.label for item in expand.variants(SweepFile.from_json(written | {"combine": 1}))]
    assert labels == ["reference", "norm=a", "mlp=b"]


@pytest.mark.parametrize("given", [{"code": 3}, {"overrides": []}, {"code": "a.patch", "more": 1}])
def test_a_level_of_code_says_what_it_may_hold(given: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"axes\.norm\.a.*name code with what it sets beside"):
        SweepFile.from_json({"name": "codes", "axes": {"norm": {"a": given}}})


@pytest.mark.parametrize("commit", ["4803e27", "1234567", "0123456", "12e4567", "true", "77e0912"])
def test_a_commit_that_reads_as_a_number_is_taken_as_it_is_written(commit: str) -> None:
    """One short name in twenty does."""
    assert planner.named([f"code={commit}"]) == planner.named([f"code='{commit}'"]) == commit
