"""The last rung is decided by text that no rung below is evaluated on, wherever there is any."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from sweepkit import fsio
from sweepkit.config import typed
from sweepkit.config.compose import compose
from sweepkit.errors import ConfigError
from sweepkit.plan import build
from sweepkit.plan.run_plan import RunPlan
from sweepkit.sweep import expand, last_rung, sealed_text
from sweepkit.sweep.cell import Cell
from sweepkit.sweep.decision import DecisionRule
from sweepkit.sweep.file import SweepFile
from sweepkit.sweep.frozen import freeze, load_frozen

LR = "optimizer.matrix.lr"
HELD_BACK = "bpb_validation_holdout"


def sweep(**given: Any) -> SweepFile:
    return SweepFile.from_json({"name": "s", "ladder": "mini", "axes": {LR: [0.01, 0.03]}} | given)


def streams(cells: list[Cell]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for cell in cells:
        found.setdefault(cell.rung, set()).add(",".join(cell.plan.config.evaluation.streams))
    return found


def test_only_the_last_rung_sees_it(tmp_path: Path) -> None:
    frozen = freeze(sweep(reference_horizons=[0.5]), tmp_path)
    assert streams(frozen.cells) == {
        "d2": {"validation,probe"},
        "d4": {"validation,probe"},
        "d6": {"validation,probe,validation_holdout"},
    }, "the reference's other horizons too"
    again = load_frozen(tmp_path, "s")
    assert [again.rule_on(rung).metric for rung in ("d2", "d4", "d6")] == ["val_bpb", "val_bpb", HELD_BACK]
    assert again.decision == DecisionRule(), "what was frozen is what was written"


def test_one_rung_needs_none_and_has_the_runs_it_always_had() -> None:
    cells = expand.expand_all(sweep(ladder=None, base=["experiment=mini"]))
    assert set(streams(cells)["single"]) == {"validation,probe"}
    alone = build.build(compose(["experiment=mini"]))
    assert cells[0].plan.run_id == alone.run_id


@pytest.mark.parametrize(
    ("decision", "base", "metric", "said"),
    [
        ({}, [], HELD_BACK, "text that no rung below is evaluated on"),
        ({"metric": "bpb_probe"}, [], "bpb_probe_holdout", "text that no rung below is evaluated on"),
        ({"last_metric": "val_bpb"}, [], "val_bpb", "decided by val_bpb, the text of the rungs below"),
        ({"last_metric": "bpb_probe"}, [], "bpb_probe", "the text of the rungs below"),
        ({}, ["evaluation.max_bytes=380000"], "val_bpb", "313,352 or less would hold some back"),
        ({}, ["evaluation.max_bytes=313352"], HELD_BACK, "text that no rung below is evaluated on"),
    ],
)
def test_what_decides(
    decision: dict[str, Any], base: list[str], metric: str, said: str, tmp_path: Path
) -> None:
    frozen = freeze(sweep(decision=decision, base=base), tmp_path)
    assert frozen.rule_on("d6").metric == metric
    assert frozen.rule_on("d4").metric == frozen.decision.metric
    config = next(cell.plan.config for cell in frozen.cells if cell.rung == "d6")
    assert said in (last_rung.said(frozen.decision, frozen.rungs, config) or "")


def test_who_insists_is_told_what_is_missing() -> None:
    asked = sweep(decision={"last_metric": HELD_BACK}, base=["evaluation.max_bytes=380000"])
    with pytest.raises(ConfigError, match=r"evaluation\.max_bytes is 380000, but must be at most 313352"):
        expand.expand_all(asked)
    with pytest.raises(ConfigError, match=r"hold probe before probe_holdout"):
        compose(["evaluation.streams=[validation,probe_holdout]", "evaluation.max_bytes=1000"])
    with pytest.raises(ConfigError, match=r"decision\.metric is 'bpb_probe_holdout'.*last_metric"):
        DecisionRule.from_json({"metric": "bpb_probe_holdout"})
    sizes = {
        "probed": ["evaluation.streams=[validation,probe]", "optimizer.x0.lr=0.4"],
        "plain": ["evaluation.streams=[validation]", "optimizer.x0.lr=0.45"],
    }
    mixed = sweep(axes={"size": sizes}, decision={"metric": "bpb_validation", "last_metric": "bpb_probe"})
    with pytest.raises(ConfigError, match=r"decision\.last_metric.*size=plain evaluates on validation"):
        expand.expand_all(mixed)


def test_points_of_a_search_have_it_on_the_last_rung_too(tmp_path: Path) -> None:
    from sweepkit.sweep import points

    searching = sweep(axes=None, search={"space": {LR: {"low": 0.01, "high": 0.1}}, "n_trials": 2})
    frozen = freeze(searching, tmp_path)
    points.check_unchanged(frozen.stacks, (), frozen.fixed)
    found = points.cells({LR: 0.05}, stacks=frozen.stacks, extra=(), fixed=frozen.fixed, labels={})
    assert streams(list(found)) == streams(frozen.fixed)


def test_the_rule_survives_json() -> None:
    rule = DecisionRule(last_metric="bpb_probe", scores={"score_core": 0.01})
    assert DecisionRule.from_json(typed.dump(rule)) == rule
    for wrong in ({"last_metric": "loss"}, {"last_metric": 3}, {"scores": {"a": -1}}, {"scores": ["a"]}):
        with pytest.raises(ConfigError):
            DecisionRule.from_json(wrong)


def test_more_bytes_of_a_lower_rungs_run_reach_it_too(tmp_path: Path) -> None:
    """Losses of so many bytes and of twice as many have the holdout's for their difference."""
    frozen = freeze(sweep(), tmp_path)
    below = next(cell.plan for cell in frozen.cells if cell.rung == "d4")
    top = next(cell.plan for cell in frozen.cells if cell.rung == "d6")

    def asking(plan: RunPlan, **changes: Any) -> RunPlan:
        evaluation = dataclasses.replace(plan.config.evaluation, **changes)
        return build.build(dataclasses.replace(plan.config, evaluation=evaluation))

    usual = below.config.evaluation.max_bytes
    more = asking(below, max_bytes=usual + 1)
    assert more.run_id == below.run_id
    sealed_text.check_runs([below, asking(below, max_bytes=usual // 2)], [frozen.cells], tmp_path)
    sealed_text.check_runs([top, asking(top, max_bytes=usual + 1)], [frozen.cells], tmp_path)
    sealed_text.check_runs([more], [], tmp_path)  # of no sweep: nothing is decided by it
    assert not (tmp_path / sealed_text.FILE).exists()
    with pytest.raises(ConfigError, match="held back for runs of a last rung alone"):
        sealed_text.check_runs([more], [frozen.cells], tmp_path)
    (noted,) = fsio.read_lines(tmp_path / sealed_text.FILE)
    assert (noted["runs"], noted["max_bytes"]) == ([below.run_id], usual + 1)


def test_a_sweep_of_one_rung_has_it_only_where_it_is_decided_by_it(tmp_path: Path) -> None:
    streams = "evaluation.streams=[validation,validation_holdout]"
    base, asked = ["experiment=mini"], ["experiment=mini", streams]
    decided = sweep(ladder=None, base=base, decision={"last_metric": HELD_BACK})
    assert all(
        "validation_holdout" in cell.plan.config.evaluation.streams
        for cell in freeze(decided, tmp_path).cells
    )
    searched = {"axes": None, "search": {"space": {LR: {"low": 0.01, "high": 0.1}}}}
    for given in ({"base": asked}, {"base": base, "decision": {"last_metric": HELD_BACK}} | searched):
        with pytest.raises(ConfigError, match="held back for runs of a last rung alone"):
            freeze(sweep(ladder=None, name="t", **given), tmp_path)
