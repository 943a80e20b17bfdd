"""How numbers are written for people, in the terminal and on the page. Missing is a dash, never 0."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from sweepkit.results import duration as durations

MISSING = "–"


def is_missing(value: Any) -> bool:
    """None, NaN, ``pd.NA`` and ``pd.NaT`` without importing pandas."""
    if value is None or type(value).__name__ in {"NAType", "NaTType"}:
        return True
    return isinstance(value, float) and math.isnan(value)


def bpb(value: Any) -> str:
    """A metric to five decimals: in bits per byte seeds differ in the fourth; large ones to six digits."""
    if is_missing(value):
        return MISSING
    return f"{float(value):.5f}" if abs(float(value)) < 100.0 else f"{float(value):,.6g}"


def change(value: Any, digits: int = 5) -> str:
    """A difference, always with its sign."""
    return MISSING if is_missing(value) else f"{float(value):+.{digits}f}".replace("-", "−")


def percent_change(ratio: Any) -> str:
    """A ratio to the reference as a signed percentage: 1.02 is +2.0%."""
    return MISSING if is_missing(ratio) else f"{100 * (float(ratio) - 1):+.1f}%".replace("-", "−")


def percent(value: Any) -> str:
    """A fraction as a percentage."""
    return MISSING if is_missing(value) else f"{100 * float(value):.1f}%"


def count(value: Any) -> str:
    """An integer with thousands separated."""
    return MISSING if is_missing(value) else f"{int(value):,}"


def scaled(value: Any, fixed: bool = True) -> str:
    """Three digits and a metric suffix: 1,234,567 is 1.23M; beyond 10^15 a power of ten.

    ``fixed`` keeps zeros at the end (25.0k), as a column needs them; an axis does not.
    """
    if is_missing(value):
        return MISSING
    number = float(f"{float(value):.2e}")  # rounded first: 999,900 is 1.00M, not 1000k
    if abs(number) >= 1e15:
        return f"{number:.2e}".replace("e+", "e")
    for limit, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= limit:
            return f"{number / limit:{'#' if fixed else ''}.3g}".rstrip(".") + suffix
    return f"{number:.3g}"


def duration(seconds: Any, decimals: int = 1) -> str:
    """Seconds as people say them: 8.2 s, 3 min 20 s, 2 h 05 min, 4 d 3 h."""
    return MISSING if is_missing(seconds) else durations.duration(float(seconds), decimals)


def column(values: Iterable[Any]) -> list[str]:
    """``plain`` for a column: floats get equally many decimals, so that their points line up."""
    cells = list(values)
    shown = [plain(value) for value in cells]
    floats = [words for value, words in zip(cells, shown, strict=True) if isinstance(value, float)]
    if not floats or any(set(words) - set("-.0123456789–") for words in floats):
        return shown  # text, or numbers with an exponent
    decimals = max(len(words.partition(".")[2]) for words in floats)
    return [
        f"{value:.{decimals}f}" if isinstance(value, float) and not is_missing(value) else words
        for value, words in zip(cells, shown, strict=True)
    ]


def plain(value: Any) -> str:
    """Any other value: six significant digits, times to the second."""
    if is_missing(value):
        return MISSING
    if isinstance(value, float):
        return f"{value:.6g}"
    if hasattr(value, "strftime"):
        return str(value.strftime("%Y-%m-%d %H:%M:%S"))
    return str(value)
