"""Interactions against the definition, a full regression, and a simulated truth."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sweepkit.analysis.combinations import Term, terms


def factorial(
    effects: dict[tuple[str, ...], float],
    axes: tuple[str, ...],
    size: int,
    seeds: int,
    seed: Any,
    noise: float,
) -> pd.DataFrame:
    """Runs of all combinations of up to ``size`` axes, each with one level ``on``; effects add up."""
    rng = np.random.default_rng(seed)
    luck = rng.normal(0.0, 0.01, seeds)
    rows = []
    for number in range(size + 1):
        for chosen in itertools.combinations(axes, number):
            true = sum(value for names, value in effects.items() if set(names) <= set(chosen))
            for index in range(seeds):
                rows.append(
                    {
                        "variant": ",".join(f"{axis}=on" for axis in chosen) or "reference",
                        "seed": index,
                        "pair_key": f"order-{index}",
                        "val_bpb": 1.0 + true + luck[index] + rng.normal(0.0, noise),
                        **{f"level_{axis}": "on" for axis in chosen},
                    }
                )
    return pd.DataFrame(rows)


ROUTES = {("a",): -0.002, ("b",): -0.002, ("a", "b"): 0.0025}


def named(found: list[Term]) -> dict[str, Term]:
    return {term.name: term for term in found}


def test_two_routes_that_conflict() -> None:
    found = named(terms(factorial(ROUTES, ("a", "b"), 2, 5, 0, 0.0002), "val_bpb", 0.05))
    pair = found["a=on × b=on"]
    assert pair.is_conflict
    assert pair.effect == pytest.approx(0.0025, abs=0.0005)
    assert pair.together == pytest.approx(-0.0015, abs=0.0005)
    assert "conflict: a=on gives −0.00" in pair.sentence
    assert "less than the better one alone" in pair.sentence


def test_an_interaction_is_its_definition() -> None:
    table = factorial(ROUTES, ("a", "b"), 2, 3, 1, 0.001)
    means = table.groupby("variant")["val_bpb"].mean()
    found = named(terms(table, "val_bpb", 0.1))
    assert found["a=on"].effect == pytest.approx(means["a=on"] - means["reference"])
    wanted = means["a=on,b=on"] - means["a=on"] - means["b=on"] + means["reference"]
    assert found["a=on × b=on"].effect == pytest.approx(wanted)
    # the error by brute force: the interaction seed by seed has 2 degrees of freedom, the pool has 6
    wide = table.pivot(index="seed", columns="variant", values="val_bpb")
    residual = wide.sub(wide.mean(axis=1), axis=0).sub(wide.mean() - wide.to_numpy().mean())
    sd = math.sqrt(float((residual**2).to_numpy().sum()) / 6)
    half = stats.t.ppf(0.9, 6) * sd * math.sqrt(4 / 3)
    term = found["a=on × b=on"]
    assert term.high is not None
    assert term.high - term.effect == pytest.approx(half)


def test_a_synergy_is_no_evidence_of_conflict() -> None:
    """p(Holm) is of "no less than the sum": near 1 where together they give more, however surely."""
    routes = {("a",): -0.002, ("b",): -0.002, ("c",): -0.002, ("a", "b"): -0.003, ("a", "c"): 0.001}
    found = terms(factorial(routes, ("a", "b", "c"), 2, 4, 3, 0.0005), "val_bpb", 0.05)
    pairs = [term for term in found if len(term.settings) == 2]
    one_sided = []
    for term in pairs:
        assert term.high is not None
        df = 3 * 6  # 7 variants, 4 seeds
        error = (term.high - term.effect) / stats.t.ppf(0.95, df)
        one_sided.append(float(stats.t.sf(term.effect / error, df)))
    holm = multipletests(one_sided)
    assert [term.p_holm for term in pairs] == pytest.approx(holm)
    synergy = named(found)["a=on × b=on"]
    assert synergy.p is not None and synergy.p < 0.001
    assert synergy.p_holm == pytest.approx(1.0) and not synergy.is_conflict
    assert named(found)["a=on × c=on"].p_holm == pytest.approx(3 * min(one_sided))


def multipletests(p_values: list[float]) -> list[float]:
    """Holm by its definition: the smallest level at which each is rejected."""
    order = np.argsort(p_values)
    scaled = [min(1.0, (len(order) - rank) * p_values[place]) for rank, place in enumerate(order)]
    adjusted = np.maximum.accumulate(scaled)
    return [float(adjusted[list(order).index(place)]) for place in range(len(p_values))]


def test_a_full_product_is_a_regression() -> None:
    """Three axes: coefficients equal least squares with dummies for seeds, as a library would fit it."""
    truth = {("a",): -0.01, ("b",): 0.02, ("c",): 0.005, ("a", "b"): 0.01, ("a", "b", "c"): 0.03}
    table = factorial(truth, ("a", "b", "c"), 3, 4, 2, 0.001)
    found = named(terms(table, "val_bpb", 0.05))
    on = {axis: table[f"level_{axis}"].eq("on").to_numpy(dtype=float) for axis in "abc"}
    pairs = [("a", "b"), ("a", "c"), ("b", "c")]
    design = np.column_stack(
        [
            *(on[axis] for axis in "abc"),
            *(on[one] * on[other] for one, other in pairs),
            pd.get_dummies(table["seed"]).to_numpy(dtype=float),
        ]
    )
    coefficients = np.linalg.lstsq(design, table["val_bpb"].to_numpy(), rcond=None)[0]
    names = ["a=on", "b=on", "c=on", *(f"{one}=on × {other}=on" for one, other in pairs)]
    for name, coefficient in zip(names, coefficients, strict=False):
        assert found[name].effect == pytest.approx(coefficient)


@pytest.mark.slow
def test_intervals_cover_and_conflicts_are_rarely_invented() -> None:
    covered = invented = 0
    total = 300
    for world in range(total):
        additive = factorial({("a",): -0.002, ("b",): -0.002}, ("a", "b"), 2, 3, [3, world], 0.0005)
        term = named(terms(additive, "val_bpb", 0.05))["a=on × b=on"]
        assert term.low is not None and term.high is not None
        covered += term.low <= 0.0 <= term.high
        invented += term.is_conflict
    assert abs(covered / total - 0.9) < 4 * math.sqrt(0.9 * 0.1 / total)
    assert invented / total < 0.05 + 4 * math.sqrt(0.05 * 0.95 / total)


def test_one_axis_at_a_time_has_no_interactions() -> None:
    assert terms(factorial(ROUTES, ("a", "b"), 1, 3, 0, 0.001), "val_bpb", 0.1) == []


def test_what_cannot_be_told_is_left_out() -> None:
    """Without ``b`` alone, its effect and the interaction are one number: neither is reported."""
    table = factorial(ROUTES, ("a", "b"), 2, 3, 0, 0.001)
    found = named(terms(table[table["variant"] != "b=on"], "val_bpb", 0.1))
    assert list(found) == ["a=on"]
    single = named(terms(factorial(ROUTES, ("a", "b"), 2, 1, 0, 0.001), "val_bpb", 0.1))
    assert single["a=on × b=on"].low is None
    assert not single["a=on × b=on"].is_conflict
