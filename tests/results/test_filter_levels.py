"""A level that is a number compares as a number."""

from __future__ import annotations

import pandas as pd
import pytest

from sweepkit.errors import SweepkitError
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


def test_an_axis_is_named_as_it_is_or_by_its_end() -> None:
    numbers = pd.array([0.5, 7.0], dtype="Float64")
    lr, decay = "level_optimizer.matrix.lr", "level_optimizer.matrix.weight_decay"
    frame = pd.DataFrame({"seed": [1, 2], lr: numbers, decay: numbers})
    for name in (lr, "optimizer.matrix.lr", "matrix.lr", "lr"):
        assert list(query.keep(frame, f"{name} > 5")[lr]) == [7.0]
        assert list(query.select(frame, name).columns) == [lr]
        assert list(query.order_by(frame, f"-{name}")[lr]) == [7.0, 0.5]
    for name in ("r", "level", "weights"):
        with pytest.raises(SweepkitError, match="must name a column"):
            query.keep(frame, f"{name} > 5")
    frame["level_optimizer.x0.lr"] = numbers
    with pytest.raises(SweepkitError, match=r"write one of level_optimizer\.matrix\.lr, level_optimizer\.x0"):
        query.keep(frame, "lr > 5")
