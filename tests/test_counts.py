"""Counts before plural words: one run, two runs, one degree of freedom, wherever they are said."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import sweepkit
from sweepkit.printable import counted, degrees, percent

#: A field of an f-string before a word that has to follow it; after "of" or "the" it is a part of several.
_FIXED = re.compile(
    r"(?<!of )(?<!the )\{(?:len\([^}]*\)|num_\w+|count|left|more|cancelled|runs|[\w.]*df)"
    r"(?::[^}]*)?\}( more| fresh)? (runs|trials|seeds|workers|documents|degrees|lines more)\b"
)


def test_counts_and_words_agree() -> None:
    assert [counted(number, "run") for number in (0, 1, 2000)] == ["0 runs", "1 run", "2,000 runs"]
    assert degrees(1) == "1 degree of freedom" and degrees(2.5) == "2.5 degrees of freedom"


def test_no_count_is_written_with_a_word_that_does_not_follow_it() -> None:
    folder = Path(sweepkit.__file__).parent
    found = {
        f"{path.relative_to(folder)}: {match[0]}"
        for path in folder.rglob("*.py")
        for match in _FIXED.finditer(path.read_text())
    }
    assert not found


@pytest.mark.parametrize("share", [0.0, 1e-9, 0.00123, 0.0949, 0.38, 0.994, 0.996, 1.0, 1.234, 98765.0])
def test_a_percentage_is_no_power_of_ten_for_many(share: float) -> None:
    """A look that foretells nothing left "1e+02%"."""
    shown = percent(share)
    assert "e+" not in shown and shown.endswith("%")
    assert float(shown.rstrip("%").replace(",", "")) == pytest.approx(100 * share, rel=0.06)
