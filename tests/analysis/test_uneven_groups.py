"""Optima of tables as they come: a thin group beside good ones, uneven seeds, jittered levels, a lost run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from sweepkit.analysis import fit
from sweepkit.analysis.laws.optima import Optimum

LRS = 1e-3 * 2.0 ** np.arange(7)
BEST = 0.009


def table(rng: np.random.Generator, seeds: int = 3, sd: float = 0.002, **more: Any) -> pd.DataFrame:
    rows = [(x, seed) for seed in range(seeds) for x in LRS]
    loss = [3 + 0.02 * np.log(x / BEST) ** 2 + 0.05 * seed + rng.normal(0, sd) for x, seed in rows]
    return pd.DataFrame(rows, columns=["lr", "seed"]).assign(val_bpb=loss, **more)


def optimum(frame: pd.DataFrame) -> Optimum:
    (found,) = fit(frame, axis="lr").optima
    return found


@pytest.mark.parametrize("curvatures", [(0.02, 0.08, 0.05), (0.04, 0.06, 0.05)])
@pytest.mark.parametrize("thin_levels", [0, 3, 4])
def test_a_thin_group_borrows_and_takes_nothing_from_the_others(
    curvatures: tuple[float, ...], thin_levels: int
) -> None:
    """All intervals hold the truth, and the law its exponent, whatever the thin one is like."""
    rng, worlds, covered, laws, sds = np.random.default_rng(0), 25, np.zeros(4), 0, []
    for _ in range(worlds):
        rows = [
            (width, lr, seed, 3 + c * np.log(lr * width / 1.8) ** 2 + rng.normal(0, 0.002))
            for width, c in zip((64, 128, 256), curvatures, strict=True)
            for seed in range(3)
            for lr in LRS[:6]
        ]
        rows += [
            (512, lr, 0, 3 + 0.05 * np.log(lr * 512 / 1.8) ** 2 + rng.normal(0, 0.002))
            for lr in LRS[1 : 1 + thin_levels]
        ]
        frame = pd.DataFrame(rows, columns=["width", "lr", "seed", "val_bpb"])
        found = fit(frame, axis="lr", by="width")
        for place, item in enumerate(found.optima):
            covered[place] += item.interval.holds(1.8 / float(item.group))
            is_lent = any("curvature from the other groups" in note for note in item.notes)
            assert is_lent == (item.group == "512")
        sds.append(found.optima[0].sd)
        laws += found.law is not None and found.law.interval.holds(-1.0)
    assert covered[: 4 if thin_levels else 3].min() >= worlds * 0.8
    assert laws >= worlds * 0.8
    assert np.median(sds) == pytest.approx(0.002, rel=0.2), "not what unlike curvatures leave"


def test_groups_that_are_all_thin_share_one_curvature() -> None:
    rng = np.random.default_rng(1)
    frame = pd.concat(
        [table(rng, 1)[lambda t: t["lr"].between(0.003, 0.02)].assign(depth=d) for d in (2, 4, 6)]
    )
    notes = [note for item in fit(frame, axis="lr", by="depth").optima for note in item.notes]
    assert notes == ["curvature shared between groups: too few runs for one each"] * 3


@pytest.mark.parametrize("jitter", [0.0, 1e-7, 1e-6])
@pytest.mark.parametrize("step", [2.0, 5.0])
def test_a_value_and_its_float32_are_one_level(jitter: float, step: float) -> None:
    rng = np.random.default_rng(2)
    lrs = 5e-4 * step ** np.arange(5 if step > 2 else 8)
    frame = pd.DataFrame(
        [(x, s, 1 + 0.02 * np.log(x / BEST) ** 2 + rng.normal(0, 0.004)) for s in range(5) for x in lrs],
        columns=["lr", "seed", "val_bpb"],
    )
    frame["lr"] *= 1 + jitter * rng.normal(size=len(frame))
    found = optimum(frame)
    assert len(found.levels) == len(lrs)
    assert found.value == pytest.approx(BEST, rel=0.05) and found.interval.is_bounded


def test_seeds_of_which_none_is_at_two_levels_are_no_blocks() -> None:
    frame = table(np.random.default_rng(3), 1).assign(seed=range(len(LRS)))
    found = optimum(frame)
    assert found.value == pytest.approx(BEST, rel=0.1)
    assert found.notes == ["no seed is at two levels: what seeds do is counted as noise"]


def test_levels_are_compared_within_seeds_where_not_every_seed_has_all() -> None:
    """The best level, what to extend and cliffs go by the same means as the parabola."""
    rng = np.random.default_rng(4)
    frame = table(rng, 2, sd=0.001)  # the second seed is 0.05 worse
    uneven = frame[(frame["seed"] == 0) & (frame["lr"] < 0.05) | (frame["seed"] == 1) & (frame["lr"] > 0.003)]
    found = optimum(uneven.assign(val_bpb=uneven["val_bpb"] - 0.11 * uneven["seed"]))
    assert (found.best_level, found.extend_to, found.cliff) == (0.008, None, None)
    inner = table(rng, 1, sd=0.001).assign(seed=1).iloc[1:6]
    both = pd.concat([frame[frame["seed"] == 0], inner.assign(val_bpb=inner["val_bpb"] - 0.6)])
    assert optimum(both).cliff is None and optimum(both).best_level == 0.008
    means = frame.groupby("lr")["val_bpb"].mean()
    assert [level.loss for level in optimum(frame).levels] == pytest.approx([*means]), "balanced: as they are"


@pytest.mark.parametrize("lost", range(len(LRS)))
def test_a_run_lost_between_levels_that_stand_is_no_edge(lost: int) -> None:
    frame = table(np.random.default_rng(5))
    state = np.where((frame["lr"] == LRS[lost]) & (frame["seed"] == 1), "diverged", "complete")
    found = optimum(frame.assign(state=state))
    assert found.censored == ""
    assert found.value == pytest.approx(BEST, rel=0.1) and found.interval.holds(BEST)
    is_between = 1 <= lost <= 5
    assert any(f"diverged at {LRS[lost]:g}, between" in note for note in found.notes) <= is_between
    if found.cliff is not None:
        assert found.cliff.drop is None and found.cliff.beyond == LRS[lost]


def test_beyond_the_last_level_that_stands_is_still_a_cliff() -> None:
    frame = table(np.random.default_rng(6))
    found = optimum(frame.assign(state=np.where(frame["lr"] > 0.012, "diverged", "complete")))
    assert found.cliff is not None and (found.cliff.edge, found.cliff.beyond) == (0.008, 0.016)


def test_another_valley_is_said() -> None:
    rng, lrs = np.random.default_rng(7), 5e-4 * 2.0 ** np.arange(10)

    def loss(x: float, of_second: float) -> float:
        first, second = 0.05 * np.log(x / 0.002) ** 2, 0.05 * np.log(x / 0.064) ** 2 + of_second
        return float(1 + min(first, second) + rng.normal(0, 0.002))

    for of_second, is_told in ((0.0005, True), (0.05, False)):
        rows = [(x, seed, loss(x, of_second)) for seed in range(3) for x in lrs]
        notes = optimum(pd.DataFrame(rows, columns=["lr", "seed", "val_bpb"])).notes
        assert any(note.startswith("another valley: at 0.064") for note in notes) == is_told
