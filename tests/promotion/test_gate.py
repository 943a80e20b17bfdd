"""What the gate decides on one rung, and that its reasons carry the numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from promotion_worlds import RULE, World, freeze

from sweepkit.config import typed
from sweepkit.config.schema import RungConfig
from sweepkit.errors import ConfigError, SweepkitError
from sweepkit.promotion import gate
from sweepkit.promotion.verdict_record import Outcome, Verdict
from sweepkit.results.record import FailureClass, RunState
from sweepkit.sweep.decision import DecisionRule


def judged(
    tmp_path: Path,
    effects: dict[str, float],
    fates: dict[Any, Any] | None = None,
    is_last: bool = False,
    rung: RungConfig | str = "d2",
    rule: DecisionRule = RULE,
    seeds: int = 3,
    plan_changes: Any = lambda variant, depth, seed: {},
    clock: int = 0,
) -> dict[str, Verdict]:
    frozen = freeze(tmp_path, list(effects), depths=(2,), seeds=seeds, plan_changes=plan_changes)
    world = World(frozen, effects, fates or {}, clock=clock)
    world.run_cells("d2", frozen.cells)
    return {verdict.variant: verdict for verdict in gate.decide(world.load(), rule, rung, is_last)}


EFFECTS = {"better": -0.02, "same": 0.0, "worse": 0.05}


def test_a_screen_promotes_rejects_and_leaves_open(tmp_path: Path) -> None:
    found = judged(tmp_path, EFFECTS)
    assert found["better"].outcome is Outcome.promote
    assert found["worse"].outcome is Outcome.reject
    assert found["same"].outcome in (Outcome.inconclusive, Outcome.reject)
    assert [name for name, verdict in found.items() if verdict.climbs] == ["better"]
    assert list(found) == list(EFFECTS)


def test_the_last_rung_adopts(tmp_path: Path) -> None:
    found = judged(tmp_path, EFFECTS, is_last=True)
    assert found["better"].outcome is Outcome.adopt
    assert found["worse"].outcome is Outcome.reject
    assert not any(verdict.climbs for verdict in found.values())


def test_reasons_and_evidence_carry_the_numbers(tmp_path: Path) -> None:
    verdict = judged(tmp_path, EFFECTS, is_last=True)["better"]
    evidence = verdict.evidence
    text = "\n".join([*verdict.reasons, *verdict.notes])
    effect = f"{evidence.effect.effect:+.5f}".replace("-", "−")
    for part in (
        effect,
        "n=3",
        "80% interval",
        "step-down Dunnett over 3",
        "shrunken estimate",
        "α = 0.1",
        "min_effect 0.001",
        "FLOPs ratio",
    ):
        assert part in text
    assert "6 degrees of freedom" in text
    assert "equal by construction" in text
    assert len(evidence.run_ids) == len(evidence.reference_run_ids) == 3
    assert typed.load(Verdict, typed.dump(verdict)) == verdict


@pytest.mark.parametrize("is_last", [False, True])
def test_a_diverged_replicate_counts_against_the_best_as_a_rate(tmp_path: Path, is_last: bool) -> None:
    fates = {("better", 2, 3): (RunState.diverged, FailureClass.diverged)}
    found = judged(tmp_path, EFFECTS, fates, is_last)["better"]
    assert found.outcome is Outcome.inconclusive, "neither shown to be less stable, nor promoted"
    assert "1 of 3 runs diverged, a rate of 33% (90% interval" in found.reasons[0]
    every = {("better", 2, seed): (RunState.diverged, FailureClass.diverged) for seed in range(1, 4)}
    found = judged(tmp_path / "every", EFFECTS, every, is_last)["better"]
    assert found.outcome is Outcome.reject
    assert "3 of 3 runs diverged" in found.reasons[0] and "p(Boschloo) = 0.016" in found.reasons[0]
    fates[("reference", 2, 2)] = (RunState.diverged, FailureClass.diverged)
    found = judged(tmp_path / "both", EFFECTS, fates, is_last)["better"]
    assert "diverged" not in found.reasons[0], "no more often than the reference"


@pytest.mark.parametrize("attempts", [1, 2])
def test_out_of_memory_counts_once_it_has_happened_again(tmp_path: Path, attempts: int) -> None:
    frozen = freeze(tmp_path, list(EFFECTS), depths=(2,), seeds=3)
    world = World(frozen, EFFECTS, {("better", 2, 3): (RunState.failed, FailureClass.oom)})
    world.run_cells("d2", frozen.cells)
    frame = world.load().assign(failed_attempts=attempts, failed_hosts=1)
    found = {verdict.variant: verdict for verdict in gate.decide(frame, RULE, "d2", False)}["better"]
    if attempts == 1:
        assert (found.outcome, found.climbs) == (Outcome.inconclusive, True)
        assert "lost 1 of 3 runs, the reference 0 of 3: not promoted until" in found.reasons[0]
        assert any("oom, not retried" in note for note in found.notes)
    else:
        assert found.outcome is Outcome.reject
        assert "did not fit" in found.reasons[0] and "again after a retry" in found.reasons[0]


def test_a_run_that_cannot_be_counts_at_once(tmp_path: Path) -> None:
    """Its text does not fill a batch of it, say: no machine and no retry would change that."""
    frozen = freeze(tmp_path, list(EFFECTS), depths=(2,), seeds=3)
    fates = {("better", 2, seed): (RunState.failed, FailureClass.impossible) for seed in (1, 2, 3)}
    world = World(frozen, EFFECTS, fates)
    world.run_cells("d2", frozen.cells)
    found = {verdict.variant: verdict for verdict in gate.decide(world.load(), RULE, "d2", False)}["better"]
    assert found.outcome is Outcome.reject and "3 runs did not fit: " in found.reasons[0]


@pytest.mark.parametrize(
    ("state", "failure"),
    [
        (RunState.failed, FailureClass.lost),
        (RunState.failed, FailureClass.disk_full),
        (RunState.failed, FailureClass.crash),
        (RunState.cancelled, FailureClass.cancelled),
    ],
)
def test_infrastructure_never_counts_against_a_variant_but_is_waited_for(
    tmp_path: Path, state: RunState, failure: FailureClass
) -> None:
    one = judged(tmp_path, EFFECTS, {("better", 2, 3): (state, failure)})["better"]
    assert (one.outcome, one.climbs) == (Outcome.inconclusive, True)
    assert "lost 1 of 3 runs, the reference 0 of 3: not promoted until" in one.reasons[0]
    assert f"missing, not counted: {one.evidence.missing.popitem()[0]} {failure.value}" in one.notes


def test_too_few_seeds_left_is_inconclusive_and_not_a_rejection(tmp_path: Path) -> None:
    lost = {("better", 2, seed): (RunState.failed, FailureClass.lost) for seed in (2, 3)}
    found = judged(tmp_path, EFFECTS, lost, is_last=True)["better"]
    assert found.outcome is Outcome.inconclusive
    assert "fewer than 2 complete pairs" in found.reasons[0]
    lost[("better", 2, 1)] = (RunState.failed, FailureClass.lost)
    found = judged(tmp_path / "again", EFFECTS, lost)["better"]
    assert (found.outcome, found.climbs) == (Outcome.inconclusive, False)
    assert "no complete run" in found.reasons[0]


def test_without_degrees_of_freedom_there_is_no_verdict(tmp_path: Path) -> None:
    found = judged(tmp_path, EFFECTS, seeds=1)
    assert {verdict.outcome for verdict in found.values()} == {Outcome.inconclusive}
    assert "fresh seeds do (of a last rung that is decided: sweepkit promote" in found["better"].reasons[0]
    assert found["better"].climbs
    assert not found["worse"].climbs
    last = judged(tmp_path / "last", EFFECTS, seeds=1, is_last=True)
    assert {verdict.outcome for verdict in last.values()} == {Outcome.inconclusive}


@pytest.mark.parametrize("is_last", [False, True])
@pytest.mark.parametrize("alone, outcome", [("worse", Outcome.reject), ("better", Outcome.inconclusive)])
def test_few_degrees_of_freedom_reject_what_is_worse_and_promote_nothing(
    tmp_path: Path, alone: str, outcome: Outcome, is_last: bool
) -> None:
    """Two degrees of freedom: an interval that wide and above 0 needs no fresh seeds to be a rejection."""
    (verdict,) = judged(tmp_path, {alone: {"worse": 0.5, "better": -0.5}[alone]}, is_last=is_last).values()
    assert verdict.effect.df == 2
    assert verdict.outcome is outcome
    assert ("do not measure the noise" in verdict.reasons[0]) is (outcome is Outcome.inconclusive)


def test_without_a_reference_nothing_is_judged(tmp_path: Path) -> None:
    lost = {("reference", 2, seed): (RunState.failed, FailureClass.lost) for seed in (1, 2, 3)}
    found = judged(tmp_path, EFFECTS, lost)
    assert {verdict.outcome for verdict in found.values()} == {Outcome.inconclusive}
    assert "the reference has no complete run on rung d2" in found["better"].reasons[0]


def test_a_lost_reference_run_is_told(tmp_path: Path) -> None:
    found = judged(tmp_path, EFFECTS, {("reference", 2, 1): (RunState.diverged, FailureClass.diverged)})
    assert any("the reference lost runs" in note for note in found["better"].notes)
    assert found["better"].evidence.effect.n == 2


def test_an_effect_below_min_effect_is_rejected_however_significant(tmp_path: Path) -> None:
    frozen = freeze(tmp_path, ["tiny"], depths=(2,), seeds=8)
    world = World(frozen, {"tiny": -0.0005}, noise=0.00002)
    world.run_cells("d2", frozen.cells)
    (found,) = gate.decide(world.load(), RULE, "d2", True)
    assert found.evidence.p_corrected < 0.001
    assert found.outcome is Outcome.reject
    assert "short of min_effect 0.001" in found.reasons[0]


def test_more_flops_are_rejected_at_once(tmp_path: Path) -> None:
    def bigger(variant: str, depth: int, seed: int) -> dict[str, Any]:
        return {"total_flops": 10**9, "compile_key": "big"} if variant == "better" else {}

    found = judged(tmp_path, EFFECTS, plan_changes=bigger)["better"]
    assert found.outcome is Outcome.reject
    assert any("FLOPs ratio" in reason and "must be at most 1.020" in reason for reason in found.reasons)


def test_an_open_wall_clock_lets_climb_but_not_adopt(tmp_path: Path) -> None:
    def other_program(variant: str, depth: int, seed: int) -> dict[str, Any]:
        return {"compile_key": "other"} if variant == "better" else {}

    noisy: dict[str, Any] = {"plan_changes": other_program, "clock": 4}
    screen = judged(tmp_path, EFFECTS, **noisy)["better"]
    last = judged(tmp_path / "last", EFFECTS, is_last=True, **noisy)["better"]
    assert screen.evidence.axes["wall_clock"].status == "unresolved"
    assert (screen.outcome, screen.climbs) == (Outcome.promote, True)
    assert last.outcome is Outcome.inconclusive
    assert any("wall clock unresolved" in reason for reason in last.reasons)
    assert "largest over the axes" in last.reasons[0]


def test_max_promoted_keeps_the_best(tmp_path: Path) -> None:
    effects = {"good": -0.02, "best": -0.06, "better": -0.04}
    found = judged(tmp_path, effects, rung=RungConfig(name="d2", max_promoted=2))
    assert [name for name, verdict in found.items() if verdict.climbs] == ["best", "better"]
    assert found["good"].outcome is Outcome.inconclusive
    assert "place 3 of 3" in found["good"].reasons[0]


def test_decisions_do_not_depend_on_the_order_of_rows(tmp_path: Path) -> None:
    frozen = freeze(tmp_path, list(EFFECTS), depths=(2,))
    world = World(frozen, EFFECTS)
    world.run_cells("d2", frozen.cells)
    frame = world.load()
    expected = {verdict.variant: verdict.outcome for verdict in gate.decide(frame, RULE, "d2", True)}
    for seed in range(5):
        shuffled = frame.sample(frac=1.0, random_state=seed)
        found = {verdict.variant: verdict.outcome for verdict in gate.decide(shuffled, RULE, "d2", True)}
        assert found == expected


def test_mixed_fingerprints_are_refused(tmp_path: Path) -> None:
    frozen = freeze(tmp_path, ["a"], depths=(2,))
    world = World(frozen, {})
    world.run_cells("d2", frozen.cells)
    frame: pd.DataFrame = world.load()
    frame.loc[frame["variant"] == "a", "evaluation_fingerprint"] = "other"
    with pytest.raises(SweepkitError, match="measured on different text"):
        gate.decide(frame, RULE, "d2", False)
    frame["evaluation_fingerprint"] = "one"
    frame.loc[frame["seed"] == 2, "environment_fingerprint"] = "other"
    with pytest.raises(SweepkitError, match="environment_fingerprint differs"):
        gate.decide(frame, RULE, "d2", False)
    assert gate.decide(frame, RULE, "d2", False, allow_mixed_environments=True)


def test_a_metric_that_no_run_measured_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"decision.metric is 'bpb_web'.*val_bpb"):
        judged(tmp_path, EFFECTS, rule=DecisionRule(metric="bpb_web"))
