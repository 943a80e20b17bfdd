"""Variants that lost and climb all the same: who is drawn, and that nothing else depends on them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from promotion_worlds import EFFECTS, FATES, RULE, VARIANTS, World, climb, freeze

from sample import is_full
from sweepkit.errors import ConfigError
from sweepkit.promotion import unselected
from sweepkit.promotion.verdict_record import Final, Outcome
from sweepkit.sweep.decision import DecisionRule


@given(
    st.dictionaries(st.text("abcdef", min_size=1, max_size=4), st.floats(-1, 1), max_size=30),
    st.integers(-1, 12),
    st.text(max_size=5),
)
def test_a_draw_has_one_variant_of_every_stratum(effects: dict[str, float], num: int, salt: str) -> None:
    drawn = unselected.draw(effects, num, salt)
    assert drawn == unselected.draw(dict(reversed(effects.items())), num, salt)
    wanted = max(0, min(num, len(effects)))
    assert len(set(drawn)) == wanted
    order = sorted(effects, key=lambda name: (effects[name], name))
    places = [order.index(name) for name in drawn]
    assert all(len(order) * rank // wanted <= place for rank, place in enumerate(places))
    assert all(place < len(order) * (rank + 1) // wanted for rank, place in enumerate(places))


def test_within_a_stratum_all_are_equally_likely() -> None:
    effects = {f"v{number}": number / 10 for number in range(10)}
    counts = Counter(name for salt in range(2000) for name in unselected.draw(effects, 2, str(salt)))
    assert len(counts) == 10
    chi_squared = sum((number - 400) ** 2 / 400 for number in counts.values())
    assert chi_squared < 27.9, "0.1% point of chi-squared with 9 degrees of freedom"


@pytest.mark.parametrize(("variants", "num"), [(1, 2), (9, 2), (15, 3), (39, 7), (40, 8), (320, 8)])
def test_how_many_climb(variants: int, num: int) -> None:
    assert DecisionRule().num_unselected_of(variants) == num
    assert DecisionRule(num_unselected=1).num_unselected_of(variants) == 1


def test_a_number_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="num_unselected"):
        DecisionRule.from_json({"num_unselected": -1})


@pytest.mark.slow
def test_they_are_run_to_the_top_and_change_nothing_for_those_that_won(tmp_path: Path) -> None:
    ends = {}
    for num in (0, 2):
        world = World(freeze(tmp_path / str(num), VARIANTS, rule=replace(RULE, num_unselected=num)), EFFECTS)
        ends[num] = climb(world)
    judged = {
        num: [
            (
                item.variant,
                item.rung,
                item.outcome,
                item.climbs,
                pytest.approx(item.evidence.effect.effect, abs=1e-9),  # the noise is better known
            )
            for result in end.rungs
            for item in result.verdicts
            if item.outcome is not Outcome.unselected
        ]
        for num, end in ends.items()
    }
    assert judged[0] == judged[2]
    drawn = ends[2].rungs[0].unselected
    assert len(drawn) == 2
    for result in ends[2].rungs[1:]:
        assert set(drawn) <= {item.variant for item in result.verdicts if item.outcome is Outcome.unselected}
    finals = {final.variant: (final.outcome, final.rung) for final in ends[2].finals}
    assert finals == {final.variant: (final.outcome, final.rung) for final in ends[0].finals}


def test_one_that_is_best_at_the_top_is_still_not_adopted(tmp_path: Path) -> None:
    effects = {"first": -0.05, ("late", 2): 0.1, ("late", 4): -0.2}
    promotion = climb(World(freeze(tmp_path, ["first", "late"], depths=(2, 4)), effects))
    assert promotion.rungs[0].unselected == ["late"]
    rows = {row.rung: row for row in promotion.transfer if row.variant == "late"}
    assert rows["d4"].effect is not None and rows["d4"].effect < -0.1, "it is measured"
    assert promotion.of(Final.adopted) == ["first"]
    assert promotion.of(Final.rejected) == ["late"]


@pytest.mark.slow
def test_what_diverged_is_not_drawn_and_what_nothing_else_climbs_with_stays(tmp_path: Path) -> None:
    fates = {("hurts", 2, seed): FATES["nothing", 4, 1] for seed in range(1, 6)}
    promotion = climb(World(freeze(tmp_path / "a", ["holds", "hurts"]), EFFECTS, fates))
    assert promotion.rungs[0].survivors == ["holds"]
    assert promotion.rungs[0].unselected == [], "it has no effect that could be followed"
    promotion = climb(World(freeze(tmp_path / "b", ["hurts", "bad"]), {"hurts": 0.08, "bad": 0.2}))
    assert len(promotion.rungs) == 1


@pytest.mark.slow
def test_retention_of_the_unselected_is_not_shrunk_by_selection(tmp_path: Path) -> None:
    """Noise alone: what won on the first rung loses its gain on the second, what was drawn does not."""
    names = [f"v{number}" for number in range(40)]
    gains: dict[str, list[tuple[float, float]]] = {"won": [], "drawn": []}
    worlds = 6 if is_full() else 3
    for seed in range(worlds):
        rule = replace(RULE, min_effect=0.0, num_unselected=8)
        frozen = freeze(tmp_path / str(seed), names, depths=(2, 4), seeds=2, rule=rule, max_promoted=4)
        promotion = climb(World(frozen, {}, noise=0.01, seed=seed))
        assert len(promotion.rungs[0].unselected) == 8
        for row in promotion.transfer:
            kind = "won" if row.variant in promotion.rungs[0].survivors else "drawn"
            if row.rung == "d4":
                (below,) = [it for it in promotion.transfer if it.variant == row.variant and it.rung == "d2"]
                assert row.effect is not None and below.effect is not None
                gains[kind].append((below.effect, row.effect))
    won, drawn = (np.array(gains[kind]) for kind in ("won", "drawn"))
    standard_error = 0.01 / np.sqrt(worlds)  # of a mean of effects that share the reference of their world
    assert won[:, 0].mean() < -0.004, "selected for looking good"
    assert abs(won[:, 1].mean()) < 4 * standard_error
    assert abs((drawn[:, 1] - drawn[:, 0]).mean()) < 4 * standard_error * np.sqrt(2)
