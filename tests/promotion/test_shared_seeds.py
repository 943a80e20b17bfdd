"""Which runs of a table are paired: as it declares, by least squares and scipy's t distribution."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from other_tables import table
from scipy import stats

from sweepkit.errors import ConfigError
from sweepkit.promotion.compare import Comparison, compare
from sweepkit.promotion.verdict_record import Outcome

EFFECTS = {"better": -0.004, "same": 0.0, "worse": 0.005}
SHARED = table(EFFECTS, seeds=4)
UNDECLARED = SHARED.drop(columns="seeds")


def p_values(found: Comparison) -> list[float]:
    p = [found.final[name].effect.p for name in EFFECTS]
    return [math.nan if item is None else item for item in p]


def paired() -> list[float]:
    """By least squares on a column a variant and a column a seed."""
    names, seeds = ["baseline", *EFFECTS], sorted(set(SHARED["seed"]))
    x = np.column_stack(
        [SHARED["variant"] == name for name in names[1:]] + [SHARED["seed"] == seed for seed in seeds]
    ).astype(float)
    y = SHARED["val_bpb"].to_numpy()
    beta, (sse,), _, _ = np.linalg.lstsq(x, y)
    df = len(y) - x.shape[1]
    error = np.sqrt(np.diag(np.linalg.inv(x.T @ x)) * sse / df)
    return list(stats.t.cdf(beta / error, df)[:3])


def unpaired() -> list[float]:
    """By the within-group variance of all four; the luck of the seeds is in all of them alike."""
    groups = {name: SHARED.loc[SHARED["variant"] == name, "val_bpb"] for name in ["baseline", *EFFECTS]}
    assert stats.bartlett(*groups.values()).pvalue > 0.5, "nobody could call these variances different"
    error = math.sqrt(np.mean([group.var() for group in groups.values()]) * 2 / 4)
    return [float(stats.t.cdf((groups[n].mean() - groups["baseline"].mean()) / error, 12)) for n in EFFECTS]


def test_the_two_readings_differ() -> None:
    assert paired()[0] < 0.001
    assert unpaired()[0] > 0.1


@pytest.mark.parametrize(
    "frame", [SHARED, UNDECLARED.assign(pair_key=UNDECLARED["seed"].map("order-{}".format))]
)
def test_declared_shared_is_paired(frame: pd.DataFrame) -> None:
    assert p_values(compare(frame, "baseline")) == pytest.approx(paired())
    assert p_values(compare(UNDECLARED, "baseline", seeds="shared")) == pytest.approx(paired())


def test_independent_and_undeclared_are_not_and_the_latter_is_said() -> None:
    said = "nothing says whether runs of one seed share their data order"
    independent = compare(UNDECLARED.assign(seeds="independent"), "baseline")
    undeclared = compare(UNDECLARED, "baseline")
    for found in (independent, undeclared, compare(UNDECLARED, "baseline", seeds="independent")):
        assert p_values(found) == pytest.approx(unpaired())
    assert not [note for note in independent.notes if said in note]
    assert [note for note in undeclared.notes if said in note]


@pytest.mark.parametrize("others", [1, 2, 3, 5])
@pytest.mark.parametrize("dropped", [1, 2])
def test_a_row_that_was_deleted_is_a_run_that_was_lost(others: int, dropped: int) -> None:
    frame = table({"better": -0.02, **{f"other{number}": 0.0 for number in range(others)}}, seeds=5)
    rest = frame[(frame["variant"] != "better") | (frame["seed"] >= dropped)]
    whole, found = (compare(rows, "baseline").final["better"] for rows in (frame, rest))
    assert whole.outcome is Outcome.promote
    assert found.outcome is Outcome.inconclusive
    doubts = found.evidence.doubts
    lost = (doubts.lost, doubts.runs, doubts.reference_lost, doubts.reference_runs)
    assert lost == (dropped, 5, 0, 5)
    assert f"lost {dropped} of 5 runs" in found.reasons[0]


def test_a_single_variant_with_fewer_seeds_than_the_reference_lost_none() -> None:
    frame = table({"better": -0.02}, seeds=6)
    rest = frame[(frame["variant"] != "better") | (frame["seed"] > 0)]
    assert compare(rest, "baseline").final["better"].outcome is Outcome.promote


def test_an_index_of_runs_is_no_seed() -> None:
    indexed = UNDECLARED.drop(columns="seed")
    for frame in (indexed, indexed.assign(run=UNDECLARED["seed"])):
        with pytest.raises(
            ConfigError, match="a mere number of the run is none: then say --seeds independent"
        ):
            compare(frame, "baseline")
        with pytest.raises(ConfigError, match="seed"):
            compare(frame, "baseline", seeds="shared")
    shuffled = indexed.sample(frac=1.0, random_state=3)
    for frame in (indexed, shuffled):
        assert p_values(compare(frame, "baseline", seeds="independent")) == pytest.approx(unpaired())
    renumbered = UNDECLARED.assign(
        seed=UNDECLARED.groupby("variant")["seed"].transform(lambda s: s.to_numpy()[::-1])
    )
    assert p_values(compare(renumbered, "baseline")) == pytest.approx(unpaired())


@pytest.mark.parametrize(("column", "given"), [("shard", None), ("shared", "independent")])
def test_one_known_word_for_the_table(column: str, given: str | None) -> None:
    with pytest.raises(ConfigError, match="seeds"):
        compare(UNDECLARED.assign(seeds=column), "baseline", seeds=given)
