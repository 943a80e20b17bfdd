"""Runs of several environments are refused, or their verdicts say on what they rest."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from other_tables import EFFECTS, table
from promotion_worlds import RULE, World, freeze

from sample import sample
from sweepkit.analysis.comparable import MIXED
from sweepkit.errors import SweepkitError
from sweepkit.promotion import ladder
from sweepkit.promotion.compare import compare

#: A part of the environment, as a table's column, and two values.
PARTS = {
    "hardware": ("a100", "h100"),
    "device": ("cpu", "cuda"),
    "torch": ("2.12", "2.13"),
    "num_threads": (1, 2),
    "num_ranks": (1, 8),
    "dtype": ("bf16", "fp32"),
    "sources": ("0123", "4567"),
}


@pytest.mark.parametrize("part", sample(list(PARTS), 4))
def test_a_table_of_two_environments_is_judged_with_a_mark(part: str) -> None:
    one, other = PARTS[part]
    frame = table(EFFECTS)
    frame[part] = [one if seed % 2 else other for seed in frame["seed"]]
    with pytest.raises(SweepkitError, match="must be one for all runs compared"):
        compare(frame, "baseline", RULE)
    found = compare(frame, "baseline", RULE, allow_mixed_environments=True)
    assert any(note.startswith(MIXED) and str(one) in note for note in found.notes)
    for verdict in found.verdicts:
        assert verdict.notes[0].startswith(MIXED)
        assert verdict.evidence.mixed_environments == verdict.notes[0]


def test_what_is_allowed_and_not_needed_is_not_said() -> None:
    found = compare(table(EFFECTS, hardware="a100"), "baseline", RULE, allow_mixed_environments=True)
    assert not any(MIXED in note for note in [*found.notes, *(n for v in found.verdicts for n in v.notes)])


def test_a_promotion_of_two_environments_says_so(tmp_path: Path) -> None:
    world = World(freeze(tmp_path, list(EFFECTS), depths=(2,)), EFFECTS)
    world.run_cells("d2", world.frozen.cells)
    run_id, record = next(iter(world.done.items()))
    other = dataclasses.replace(record.environment, hardware="another processor")
    world.done[run_id] = dataclasses.replace(record, environment_fingerprint="f" * 12, environment=other)
    with pytest.raises(SweepkitError, match="another processor"):
        ladder.promote(world.frozen, world.run_cells, world.load)
    promotion = ladder.promote(world.frozen, world.run_cells, world.load, allow_mixed_environments=True)
    assert "adopted: better" in promotion.message and MIXED in promotion.message
    assert all("another processor" in item.notes[0] for item in promotion.rungs[-1].verdicts)
