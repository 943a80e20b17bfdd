"""Variants on the same items, against sums written out."""

from __future__ import annotations

import math
import statistics

import pytest

from sweepkit.analysis.paired_items import MEAN, compare
from sweepkit.results.core_outcomes import TaskOutcome, scores


def tasks(endings: str, words: str) -> dict[str, TaskOutcome]:
    return {
        "endings": TaskOutcome("endings", "multiple_choice", 25.0, endings),
        "words": TaskOutcome("words", "language_modeling", 0.0, words),
    }


RUNS = [tasks("11110", "1010"), tasks("01110", "1000")]
BASE = [tasks("10010", "0010"), tasks("00010", "0100")]


def test_differences_are_those_of_items() -> None:
    found = {item.task: item for item in compare(RUNS, BASE, is_reference=False)}
    per_item = [0.0, 1.0, 1.0, 0.0, 0.0]  # of endings: mean over two runs each
    assert found["endings"].score == pytest.approx(((0.8 + 0.6) / 2 - 0.25) / 0.75)
    assert found["endings"].difference == pytest.approx(statistics.mean(per_item) / 0.75)
    assert found["endings"].se_items == pytest.approx(statistics.stdev(per_item) / math.sqrt(5) / 0.75)
    spread = statistics.variance([0.8, 0.6]) / 2 + statistics.variance([0.4, 0.2]) / 2
    assert found["endings"].se_seeds == pytest.approx(math.sqrt(spread) / 0.75)
    assert (found["endings"].won, found["endings"].lost) == (2, 0)
    assert (found["words"].won, found["words"].lost) == (1, 1)
    differences = [item.difference or 0.0 for name, item in found.items() if name != MEAN]
    assert found[MEAN].difference == pytest.approx(statistics.mean(differences))
    assert found[MEAN].items == 9


def test_the_reference_has_its_scores_and_one_run_no_noise_of_seeds() -> None:
    found = compare(BASE, BASE, is_reference=True)
    assert all(item.difference is None and item.won is None for item in found)
    assert all(item.se_items is not None for item in found)
    alone = compare(RUNS[:1], [], is_reference=False)
    assert all(item.se_seeds is None and item.difference is None for item in alone)


def test_scores_are_centred_and_their_errors_binomial() -> None:
    found = scores(list(RUNS[0].values()), is_whole=True)
    endings, words = (0.8 - 0.25) / 0.75, 0.5
    errors = [math.sqrt(0.8 * 0.2 / 5) / 0.75, math.sqrt(0.5 * 0.5 / 4)]
    assert found == pytest.approx(
        {
            "core": (endings + words) / 2,
            "core_se": math.hypot(*errors) / 2,
            "core_endings": endings,
            "core_se_endings": errors[0],
            "core_words": words,
            "core_se_words": errors[1],
        }
    )
    assert "core" not in scores(list(RUNS[0].values()), is_whole=False)
