"""``isoflop:`` of a sweep file: budgets that are hit, five sizes or more each, on both sides of the best."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sample
from sweepkit.cli.main import main
from sweepkit.config import compose
from sweepkit.errors import ConfigError
from sweepkit.plan.build import build
from sweepkit.plan.run_plan import RunPlan
from sweepkit.sweep import sizes_of_budgets

BASE = ["experiment=mini", "launcher=local", "horizon.total_batch_size=2048"]
blocks = st.fixed_dictionaries(
    {
        "flops": st.tuples(st.floats(11.5, 12.5), st.floats(0.31, 1.0)).map(
            lambda pair: [10 ** pair[0], 10 ** (pair[0] + pair[1])]
        ),
        "budgets": st.integers(1, 3),
        "sizes": st.integers(5, 7),
        "depths": st.sets(st.integers(1, 8), min_size=4).map(sorted),
        "aspect_ratios": st.sets(st.sampled_from([16, 24, 32, 48, 64]), min_size=3).map(sorted),
        "tokens_per_param": st.floats(2.0, 8.0),
        "spread": st.floats(2.0, 5.0),
    }
).map(lambda block: block | {"flops": [block["flops"][0]] * 2} if block["budgets"] == 1 else block)


def grid(block: dict[str, Any]) -> dict[float, list[RunPlan]]:
    """Budget → the plans of its levels, in their order."""
    found = defaultdict(list)
    for level in sizes_of_budgets.expanded({"base": BASE, "isoflop": block})["axes"]["isoflop"].values():
        config = compose.compose([*BASE, *level])
        assert config.horizon.target_flops is not None
        found[config.horizon.target_flops].append(build(config))
    return found


@settings(max_examples=40 if sample.is_full() else 4, deadline=None)
@given(block=blocks)
def test_every_budget_is_hit_by_sizes_on_both_sides_of_the_best(block: dict[str, Any]) -> None:
    """Or refused before anything is planned, where the models of the range do not give them."""
    try:
        found = grid(block)
    except ConfigError as error:
        assert "isoflop" in str(error) and "add depths or aspect_ratios" in str(error)
        return
    assert len(found) == block["budgets"]
    least, most = block["flops"]
    for place, (budget, plans) in enumerate(found.items()):
        share = place / max(1, block["budgets"] - 1)
        assert math.log(budget) == pytest.approx(math.log(least) + share * math.log(most / least), abs=0.01)
        sizes = [plan.scaling_params for plan in plans]
        assert 5 <= len(plans) <= block["sizes"] and sizes == sorted(set(sizes))
        for plan in plans:
            step = plan.flops_per_token * plan.total_batch_size
            assert (
                abs(plan.total_flops - budget) <= 0.5 * step * 1.001
            )  # a step more or less is all it is off by
        ratios = [budget / plan.flops_per_token / plan.scaling_params for plan in plans]
        assert sum(ratio > block["tokens_per_param"] for ratio in ratios) >= 2
        assert sum(ratio < block["tokens_per_param"] for ratio in ratios) >= 2


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ({"depths": [2]}, "add depths or aspect_ratios"),
        ({"sizes": 4}, "isoflop.sizes"),
        ({"spread": 1.0}, "isoflop.spread"),
        ({"flops": [2e12, 1e12]}, "isoflop.flops"),
        ({"flops": [1e30, 1e31]}, "move flops"),
        ({"depths": []}, "isoflop.depths"),
        ({"depths": [0, 1, 2]}, "isoflop.depths"),
        ({"aspect_ratios": []}, "isoflop.aspect_ratios"),
        ({"speed": 4}, "isoflop"),
    ],
)
def test_a_block_that_gives_no_grid_is_refused(block: dict[str, Any], words: str) -> None:
    whole = {"flops": [8e11, 8e12], "depths": [1, 2, 3, 4, 6], "aspect_ratios": [16, 32, 48]}
    with pytest.raises(ConfigError) as error:
        grid(whole | block)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_a_second_axis_of_that_name_and_a_ladder_are_refused() -> None:
    block = {"flops": [8e11, 8e12], "depths": [1, 2, 3, 4, 6], "aspect_ratios": [16, 32, 48]}
    for more in ({"axes": {"isoflop": {}}}, {"ladder": "mini"}):
        with pytest.raises(ConfigError, match="isoflop"):
            sizes_of_budgets.expanded({"base": BASE, "isoflop": block, **more})


@pytest.mark.parametrize(
    ("flops", "budgets", "words"),
    [
        ([8e11, 8e12], 1, "isoflop.budgets is 1, but must be 2 or more for a range of flops"),
        ([8e11, 8e11], 3, "isoflop.budgets is 3, but must be so few that each is 1.4 times the one below"),
        ([8e11, 8.5e11], 2, "isoflop.budgets is 2, but must be so few that each is 1.4 times the one below"),
        ([8e11, 8e12], 100_000, "isoflop.budgets is 100000, but must be so few"),
    ],
)
def test_budgets_that_a_fit_would_take_for_one(flops: list[float], budgets: int, words: str) -> None:
    """They became one budget without a word, or one stood for a range."""
    block = {"flops": flops, "budgets": budgets, "depths": [1, 2, 3, 4, 6]}
    with pytest.raises(ConfigError, match=words):
        sizes_of_budgets.expanded({"base": BASE, "isoflop": block})


def test_a_plan_says_which_budgets_have_fewer_sizes_and_advises_nothing_for_verdicts(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Six sizes were asked for and 5 + 6 + 5 planned, without a word; and ``calibrate`` was advised."""
    assert main(["plan", "sweep=isoflop_mini"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for budget in ("8e11", "8e12"):
        assert f"{budget} FLOPs: 5 sizes instead of 6" in out
    assert out.count("instead of 6") == 2 and "calibrate" not in out
