"""A ladder that is killed, anywhere and again and again, ends as if it never had been."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from promotion_worlds import EFFECTS, FATES, VARIANTS, Killed, World, climb, files, freeze, settled

from sample import is_full, sample
from sweepkit import fsio
from sweepkit.promotion.verdict_record import Final, Promotion
from sweepkit.results.record import FailureClass, RunState

pytestmark = pytest.mark.xdist_group("ladder killed")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, str]]:
    """What a ladder with a failed run comes to, and the files of one without."""
    end = climb(World(freeze(tmp_path_factory.mktemp("a"), VARIANTS), EFFECTS, FATES))
    world = World(freeze(tmp_path_factory.mktemp("b"), VARIANTS), EFFECTS)
    climb(world)
    return settled(end), files(world.frozen)


@pytest.mark.slow
@pytest.mark.parametrize("kill_after", sample(range(0, 34, 3), 4))
def test_killed_while_running_it_ends_the_same(
    tmp_path: Path, undisturbed: tuple[dict[str, Any], dict[str, str]], kill_after: int
) -> None:
    world = World(freeze(tmp_path, VARIANTS), EFFECTS, FATES, clock=1, kill_after=kill_after)
    try:
        climb(world)
    except Killed:
        world.kill_after = None
    assert settled(climb(world)) == undisturbed[0]
    assert len(world.asked) == len(set(world.asked)), "a run was run twice"


@pytest.mark.slow
@pytest.mark.parametrize("call", sample(range(1, 10), 3))
def test_killed_while_writing_it_ends_the_same(
    tmp_path: Path,
    undisturbed: tuple[dict[str, Any], dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    call: int,
) -> None:
    """A kill before the n-th file that is written: decisions and tables are whole or absent."""
    world = World(freeze(tmp_path, VARIANTS), EFFECTS)
    calls = 0
    write = fsio.write_text

    def killed(path: Path, text: str) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            raise Killed
        write(path, text)

    with monkeypatch.context() as patch:
        patch.setattr("sweepkit.fsio.write_text", killed)
        with contextlib.suppress(Killed):
            climb(world)
    climb(world)
    assert files(world.frozen) == undisturbed[1]


FATE = st.sampled_from(
    [
        (RunState.diverged, FailureClass.diverged),
        (RunState.failed, FailureClass.oom),
        (RunState.failed, FailureClass.crash),
        (RunState.failed, FailureClass.timeout),
    ]
)


@pytest.mark.slow
@given(
    effects=st.lists(st.sampled_from([-0.05, -0.004, 0.0, 0.004, 0.05]), min_size=1, max_size=4),
    fates=st.dictionaries(
        st.tuples(
            st.sampled_from(["reference", "v0", "v1", "v2"]), st.sampled_from([2, 4]), st.integers(1, 3)
        ),
        FATE,
        max_size=5,
    ),
    seeds=st.integers(1, 3),
    max_promoted=st.sampled_from([None, 1, 2]),
    kills=st.lists(st.integers(0, 12), max_size=4),
    world_seed=st.integers(0, 10_000),
)
@settings(max_examples=15 if is_full() else 6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_ladder_killed_any_number_of_times_keeps_its_promises(
    effects: list[float],
    fates: dict[Any, Any],
    seeds: int,
    max_promoted: int | None,
    kills: list[int],
    world_seed: int,
) -> None:
    truth = {f"v{index}": effect for index, effect in enumerate(effects)}
    with tempfile.TemporaryDirectory() as folder:
        ends = []
        for name, moments in (("calm", []), ("shaken", kills)):
            frozen = freeze(
                Path(folder) / name, list(truth), depths=(2, 4), seeds=seeds, max_promoted=max_promoted
            )
            world = World(frozen, truth, fates, seed=world_seed, clock=len(ends))
            for moment in moments:
                world.kill_after = moment
                try:
                    climb(world)
                except Killed:
                    continue
            world.kill_after = None
            ends.append(climb(world))
            assert len(world.asked) == len(set(world.asked))
    assert settled(ends[0]) == settled(ends[1])
    check_promises(ends[0], fates, max_promoted, seeds)


def check_promises(promotion: Promotion, fates: dict[Any, Any], max_promoted: int | None, seeds: int) -> None:
    assert promotion.finished
    depth = {"d2": 2, "d4": 4}
    previous: set[str] | None = None
    for result in promotion.rungs:
        assert previous is None or {verdict.variant for verdict in result.verdicts} == previous
        climb = set(result.survivors)
        lost = {verdict.variant for verdict in result.verdicts if not verdict.evidence.against} - climb
        previous = climb | set(result.unselected)
        assert max_promoted is None or len(climb) <= max_promoted or result.rung == "d4"
        if result.rung == "d2":
            assert not climb & set(result.unselected)
            assert len(result.unselected) <= min(2, len(lost)) if climb else not result.unselected
        for verdict in result.verdicts:
            assert verdict.reasons
            if verdict.outcome.value == "unselected":
                assert result.rung == "d4"
                continue
            diverged, of_the_reference = (
                sum(
                    fates.get((name, depth[result.rung], seed), (None, None))[1] is FailureClass.diverged
                    for seed in range(1, seeds + 1)
                )
                for name in (verdict.variant, "reference")
            )
            if diverged > 0 and of_the_reference == 0:
                assert verdict.outcome.value in ("reject", "inconclusive")
            assert verdict.outcome.value in (
                ("adopt", "reject", "inconclusive")
                if result.rung == "d4"
                else ("promote", "reject", "inconclusive")
            )
            assert not (verdict.climbs and verdict.outcome.value == "reject")
            assert seeds > 1 or verdict.outcome.value in ("inconclusive", "reject")
    for final in promotion.finals:
        judged = [v for r in promotion.rungs for v in r.verdicts if v.outcome.value != "unselected"]
        last = [verdict for verdict in judged if verdict.variant == final.variant][-1]
        assert final.rung == last.rung
        assert (final.outcome is Final.adopted) == (last.outcome.value == "adopt")
        assert (final.outcome is Final.rejected) == (last.outcome.value == "reject")
