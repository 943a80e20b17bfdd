"""What a design can decide is foreseen by the rule itself: by degrees of freedom, and before α is spent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from promotion_worlds import World, climb, freeze, with_seed

from sweepkit.analysis.calibration import MIN_DF, Calibration
from sweepkit.errors import ConfigError
from sweepkit.promotion import amend, expected, foresight
from sweepkit.promotion.verdict_record import Outcome
from sweepkit.sweep import amendments
from sweepkit.sweep.decision import DecisionRule

RULE = DecisionRule()
KNOWN = Calibration(
    2, "embedded", "bf16", "a processor", 40960, "val_bpb", 0.001, 6, "2026-01-01T00:00", ("a",)
)


@pytest.mark.slow
@pytest.mark.parametrize(("variants", "replicates"), [(1, 1), (2, 1), (1, 2)])
def test_too_few_degrees_of_freedom_are_foreseen(variants: int, replicates: int) -> None:
    """Seeds × (variants + reference runs − 1) − variants of them are left of a fit of variant + seed."""
    needed = foresight.seeds_to_decide(variants, replicates, RULE, None)
    assert needed is not None
    for seeds in range(2, needed):
        assert not foresight.can_decide(variants, seeds, replicates, RULE, None)
    assert needed * (variants + replicates - 1) - variants >= MIN_DF
    if (variants, replicates) == (1, 1):
        assert needed == 5
        assert foresight.can_decide(1, 3, 1, RULE, KNOWN), "the noise was measured"


@pytest.mark.slow
def test_a_plan_foresees_that_one_climber_would_not_be_decided() -> None:
    found = expected.Power("d6", 4, 3, 1, None, None, None, None)
    said = foresight.foreseen(found, RULE, "mine")
    assert said is not None and "decides nothing for as few as 1 variant (those drawn" in said
    assert "takes 5 seeds, or the noise measured first (sweepkit calibrate sweep=mine)" in said
    assert foresight.foreseen(replace(found, seeds=5), RULE, "mine") is None
    of_command = foresight.foreseen(found, RULE, None)
    assert of_command is not None and of_command.endswith("it takes 5 seeds")
    assert foresight.foreseen(replace(found, noise=KNOWN), RULE, "mine") is None
    assert foresight.foreseen(found, RULE, "mine", is_climbed_to=False) is None, "one rung has all that runs"
    alone = foresight.foreseen(replace(found, num_variants=1), RULE, "mine", is_climbed_to=False)
    assert alone is not None and "decides nothing for 1 variant, whatever comes out" in alone


@pytest.mark.slow
def test_an_amendment_that_decides_nothing_spends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(amendments, "with_seed", with_seed)
    rule = DecisionRule(alpha=0.1, min_effect=0.001)
    world = World(freeze(tmp_path, ["slight"], depths=(2,), seeds=3, rule=rule), {"slight": -0.002})
    climb(world)
    frozen = world.frozen

    def check(to_seeds: int, known: list[Calibration], is_accepted: bool = True) -> None:
        amend.amend(
            frozen,
            to_seeds,
            check=lambda wanted: foresight.check_amendment(frozen, to_seeds, wanted, known, is_accepted),
        )

    with pytest.raises(
        ConfigError, match=r"3 fresh seeds of 1 variant decide nothing.*write --amend-to 8, or"
    ):
        check(6, [])
    with pytest.raises(ConfigError, match=r"1 fresh seeds of 1 variant decide nothing.*write --amend-to 8"):
        check(4, [])  # not 6, which would be refused next
    with pytest.raises(ConfigError, match=r"80% chance, and 3 fresh seeds.*α = 0.05.*write --amend-to"):
        check(6, [KNOWN], is_accepted=False)
    assert not list(frozen.sweep_dir.glob("amendment-*.json")), "no α is spent"
    check(6, [KNOWN])
    assert (frozen.sweep_dir / "amendment-1.json").exists()


def test_what_is_refused_could_not_have_been_adopted(tmp_path: Path) -> None:
    """The advice and the rule agree: three seeds of one variant decide nothing, five adopt what is plain."""
    for seeds, outcome in ((3, Outcome.inconclusive), (5, Outcome.adopt)):
        world = World(freeze(tmp_path / str(seeds), ["far"], depths=(2,), seeds=seeds), {"far": -0.5})
        (verdict,) = climb(world).rungs[-1].verdicts
        assert verdict.outcome is outcome
