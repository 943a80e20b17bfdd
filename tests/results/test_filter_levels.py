"""A level that is a number compares as a number."""

from __future__ import annotations

import pandas as pd
import pytest

from sweepkit.results import query

LEVELS = ["50", "47.5", "5", "4e0", "reference", "1e2", None, "-7", "SSSL"]


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        ("> 5", {"50", "47.5", "1e2"}),
        (">= 5", {"50", "47.5", "5", "1e2"}),
        ("< 5", {"4e0", "-7"}),
        ("== 4", {"4e0"}),
        ("== 100.0", {"1e2"}),
        ("!= 5", {"50", "47.5", "4e0", "1e2", "-7"}),
        ("== SSSL", {"SSSL"}),
        ("== reference", {"reference"}),
    ],
)
def test_numbers_compare_with_numbers_and_words_with_words(asked: str, kept: set[str]) -> None:
    frame = pd.DataFrame({"level_optimizer.matrix.lr": pd.array(LEVELS, dtype="string")})
    found = query.keep(frame, f"level_optimizer.matrix.lr {asked}")
    assert set(found["level_optimizer.matrix.lr"]) == kept
