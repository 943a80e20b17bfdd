"""Step times: against scipy at the corners of the model, and coverage under node effects and drift."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sample import is_full
from sweepkit.analysis import clock_mixture, step_time

START = pd.Timestamp("2026-01-01", tz="UTC")
Drift = Callable[[np.random.Generator, int], np.ndarray]


def runs(
    rng: np.random.Generator,
    order: list[tuple[str, int, str]],
    ratio: float = 1.0,
    noise: float = 0.003,
    host_sd: float = 0.03,
    on_host_sd: float = 0.0,
    drift: Drift = lambda rng, n: np.zeros(n),
) -> pd.DataFrame:
    """One run after the other on every host: ``order`` has (variant, seed, host)."""
    hosts = {host: rng.normal(0.0, host_sd) for host in dict.fromkeys(item[2] for item in order)}
    own = {host: rng.normal(0.0, on_host_sd) for host in hosts}
    drifts = {host: drift(rng, len(order)) for host in hosts}
    place = dict.fromkeys(hosts, 0)
    rows: list[dict[str, Any]] = []
    for variant, seed, host in order:
        log_time = hosts[host] + drifts[host][place[host]] + rng.normal(0.0, noise)
        log_time += math.log(ratio) + own[host] if variant == "a" else 0.0
        start = START + pd.Timedelta(minutes=place[host])
        place[host] += 1
        rows.append(
            {
                "variant": variant,
                "seed": seed,
                "compile_key": variant.partition("@")[0],
                "host": host,
                "median_step_time_s": 0.1 * math.exp(log_time),
                "started_at": start,
                "ended_at": start + pd.Timedelta(seconds=58),
                "hardware": "processor",
                "concurrency": 2,
            }
        )
    return pd.DataFrame(rows).convert_dtypes()


def blocks(seeds: int, hosts: int = 1, horizons: bool = True) -> list[tuple[str, int, str]]:
    """Seed by seed, the reference among the variants, every other seed the other way round."""
    names = ["reference", *(["reference@0.5x", "reference@2x"] if horizons else []), "a"]
    return [
        (name, seed, f"n{seed % hosts}")
        for seed in range(seeds)
        for name in (names if seed % 2 == 0 else names[::-1])
    ]


def apart(hosts: int, each: int = 1) -> list[tuple[str, int, str]]:
    """Variant and reference never on one host."""
    return [
        (name, seed * each + again, f"{name}-{seed}")
        for name in ("reference", "a")
        for seed in range(hosts)
        for again in range(each)
    ]


def walk(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.cumsum(rng.normal(0.0, 0.005, n))


def ramp(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.linspace(0.0, 0.05, n)


def wave(rng: np.random.Generator, n: int) -> np.ndarray:
    """Slower and faster again by 2%, half a time to twice in all."""
    turns = np.arange(n) / n * rng.uniform(0.5, 2.0)
    return 0.02 * np.sin(2 * np.pi * (turns + rng.uniform()))


def coverage(order: list[tuple[str, int, str]], total: int, **how: Any) -> tuple[float, float]:
    """Share of worlds whose 90% interval holds the ratio of 1.05, and of those that lies below it."""
    hits = faster = 0
    for world in range(total):
        table = runs(np.random.default_rng([1, world]), order, ratio=1.05, **how)
        found = step_time.compare(table, "a", 0.05).effect
        assert found.low is not None and found.high is not None
        hits += found.low <= math.log(1.05) <= found.high
        faster += found.high < math.log(1.05)
    print(f"covered {hits / total:.0%}, below {faster / total:.0%}")  # for docs/comparisons.md
    return hits / total, faster / total


@pytest.mark.parametrize(
    ("order", "how"),
    [
        (blocks(3), {}),
        (blocks(4, horizons=False), {"drift": walk}),
        (blocks(4), {"drift": ramp}),
        (blocks(6, hosts=3), {}),
        (blocks(6, hosts=3), {"on_host_sd": 0.006}),
        (apart(3), {}),
        (apart(2, each=2), {}),
    ],
    ids=["quiet", "walk", "ramp", "hosts", "ratio differs by host", "no host shared", "two hosts each"],
)
def test_intervals_hold_node_effects_and_drift(
    order: list[tuple[str, int, str]], how: dict[str, Any]
) -> None:
    """A nominal 90%: at least that within binomial error, less 3% for the handful of runs they come from."""
    total = 120 if is_full() else 50
    covered, below = coverage(order, total, **how)
    assert covered > 0.87 - 3 * math.sqrt(0.9 * 0.1 / total)
    assert below < 0.06 + 3 * math.sqrt(0.05 * 0.95 / total)


@pytest.mark.parametrize(
    "drift", [lambda rng, n: np.zeros(n), walk, ramp, wave, lambda rng, n: np.linspace(0, 0.03, n)]
)
@pytest.mark.parametrize("by_variant", [False, True])
def test_without_times_drift_is_allowed_for(drift: Drift, by_variant: bool) -> None:
    """Whatever the order was, which such a table does not tell: 90% intervals hold the ratio."""
    order = blocks(5, horizons=False)
    order = sorted(order, key=lambda item: item[0]) if by_variant else order
    hits, worlds = 0, 150 if is_full() else 60
    for world in range(worlds):
        table = runs(np.random.default_rng([9, world]), order, ratio=1.05, drift=drift)
        found = step_time.compare(table.drop(columns=["started_at", "ended_at"]), "a", 0.05)
        assert found.effect.low is not None and found.effect.high is not None
        hits += found.effect.low <= math.log(1.05) <= found.effect.high
    print(f"without times: {hits / worlds:.0%}")  # for docs/comparisons.md
    assert hits / worlds > 0.9 - 3 * math.sqrt(0.9 * 0.1 / worlds)
    assert "started_at and ended_at" in found.note


@pytest.mark.slow
def test_slow_waves_are_the_worst_it_can_meet() -> None:
    """No random walk, and three readings a side: an honest lower end, which the documentation gives."""
    covered, _ = coverage(blocks(3, horizons=False), 120, drift=wave)
    assert covered > 0.6
    better, _ = coverage(blocks(3), 120, drift=wave)
    assert better > covered


def test_without_hosts_and_drift_it_is_the_t_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock_mixture, "DRIFT", (0.0,))
    table = runs(np.random.default_rng(2), blocks(4, horizons=False), ratio=1.01)
    found = step_time.compare(table, "a", 0.05).effect
    mine, base = (
        np.log(table.loc[table["variant"] == name, "median_step_time_s"]) for name in ("a", "reference")
    )
    expected = stats.ttest_ind(mine.astype(float), base.astype(float), alternative="less")
    assert found.effect == pytest.approx(expected.statistic * found.standard_error)
    assert (found.p, found.df) == (pytest.approx(expected.pvalue, rel=1e-6), expected.df)
    interval = expected.confidence_interval(0.95)
    assert found.high == pytest.approx(interval.high, rel=1e-6)


def test_where_moments_are_all_there_is_runs_are_paired(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other corner: a table without times whose seeds differ wildly compares differences."""
    monkeypatch.setattr(clock_mixture, "DRIFT", (1e7,))
    table = runs(np.random.default_rng(3), blocks(5, horizons=False), drift=walk).drop(columns=["started_at"])
    found = step_time.compare(table, "a", 0.05).effect
    logs = {
        name: np.log(group.sort_values("seed")["median_step_time_s"].astype(float).to_numpy())
        for name, group in table.groupby("variant")
    }
    expected = (logs["a"] - logs["reference"]).mean()
    assert found.effect == pytest.approx(expected, abs=1e-6)


def test_a_reference_next_to_every_run_takes_drift_out() -> None:
    """A clock that slows by 20% meanwhile: interleaved the ratio is told, one after the other it is not."""

    def slower(rng: np.random.Generator, n: int) -> np.ndarray:
        return np.linspace(0.0, 0.2, n)

    order = blocks(5, horizons=False)
    apart_in_time = sorted(order, key=lambda item: item[0], reverse=True)
    near, far = (
        step_time.compare(runs(np.random.default_rng(4), item, drift=slower), "a", 0.05).effect
        for item in (order, apart_in_time)
    )
    assert near.effect == pytest.approx(0.0, abs=0.01)
    assert far.effect is not None and far.effect > 0.02
    assert far.low is not None and far.low < 0.0
    assert near.standard_error is not None and far.standard_error is not None
    assert near.standard_error < far.standard_error / 2


def test_what_hosts_differ_by_is_needed_where_none_is_shared() -> None:
    """Any number of runs on one host each says nothing; in the error once there are more hosts."""
    one_each = step_time.compare(runs(np.random.default_rng(5), apart(1, each=6)), "a", 0.05)
    assert one_each.effect.effect is not None and one_each.effect.low is None
    assert "what hosts differ by is not known" in one_each.note
    two_each = step_time.compare(runs(np.random.default_rng(5), apart(2, each=6)), "a", 0.05).effect
    shared = step_time.compare(runs(np.random.default_rng(5), blocks(12, hosts=2)), "a", 0.05).effect
    assert two_each.standard_error is not None and shared.standard_error is not None
    assert two_each.standard_error > 3 * shared.standard_error


@pytest.mark.parametrize("column", ["concurrency", "hardware"])
def test_other_concurrency_or_hardware_is_refused_and_named(column: str) -> None:
    table = runs(np.random.default_rng(6), blocks(3))
    table.loc[table["variant"] == "a", column] = 4 if column == "concurrency" else "other"
    found = step_time.compare(table, "a", 0.05)
    assert found.is_refused and found.effect.effect is None
    was, now = ("2", "4") if column == "concurrency" else ("processor", "other")
    assert found.note == f"{column} {now} against the reference's {was}"


def test_unknown_concurrency_compares_with_unknown_alone() -> None:
    table = runs(np.random.default_rng(7), blocks(3))
    table.loc[table["variant"] == "a", "concurrency"] = pd.NA
    assert "concurrency unknown against the reference's 2" in step_time.compare(table, "a", 0.05).note
    table["concurrency"] = pd.NA
    assert step_time.compare(table, "a", 0.05).effect.low is not None


def test_runs_of_another_concurrency_are_left_out_and_said() -> None:
    """One run that was submitted again alone does not cost the others their comparison."""
    table = runs(np.random.default_rng(8), blocks(4))
    table.loc[table.index[-1], "concurrency"] = 1
    found = step_time.compare(table, "a", 0.05)
    without = step_time.compare(table.iloc[:-1], "a", 0.05)
    assert found.effect == without.effect
    assert "1 run of another concurrency than 2 left out" in found.note


def test_other_horizons_are_readings_of_the_references_program() -> None:
    table = runs(np.random.default_rng(9), blocks(3))
    alone = table[~table["variant"].str.contains("@")]
    same = table.assign(compile_key=table["variant"].str.partition("@")[0])
    other = table.assign(compile_key=table["variant"])
    known, unknown, plain = (step_time.compare(item, "a", 0.05).effect.df for item in (same, other, alone))
    assert (known, unknown, plain) == (10, 4, 4)


def test_nothing_timed_and_no_spread() -> None:
    table = runs(np.random.default_rng(10), blocks(3))
    table.loc[table["variant"] == "a", "median_step_time_s"] = pd.NA
    assert step_time.compare(table, "a", 0.05).effect.effect is None
    still = runs(np.random.default_rng(11), blocks(3), noise=0.0)
    found = step_time.compare(still, "a", 0.05).effect
    assert found.effect == pytest.approx(0.0, abs=1e-12) and found.low is None


def test_variants_of_one_layout_are_solved_together_as_alone() -> None:
    """Whatever the order of rows; one variant lost a run, one ran on another host."""
    table = runs(np.random.default_rng(12), blocks(4, hosts=2))
    mine = table[table["variant"] == "a"]
    slow = mine.assign(variant="b", median_step_time_s=1.1 * mine["median_step_time_s"])
    other = [slow, mine.assign(variant="c").iloc[1:], mine.assign(variant="d", host="elsewhere")]
    table = pd.concat([table, *other], ignore_index=True).sample(frac=1, random_state=0)
    together = step_time.compare_each(table, ["d", "b", "c", "a"], 0.05)
    assert list(together) == ["d", "b", "c", "a"]
    for name, found in together.items():
        others = {"a", "b", "c", "d"} - {name}
        alone = step_time.compare(table[~table["variant"].isin(others)], name, 0.05)
        assert found.note == alone.note
        assert found.effect.effect == pytest.approx(alone.effect.effect, abs=1e-9)
        assert found.effect.p == pytest.approx(alone.effect.p, abs=1e-7)
    assert together["b"].effect.effect != pytest.approx(together["a"].effect.effect, abs=1e-3)
