"""Variants that are another one, or nearly so: their runs give the same values.

What a copy changed never came to bear. Its runs say nothing of the noise that the other's do not say, so that
they would thin a pool of it; and where all but one of its runs are the reference's, the reference would look
out of line with that seed. So neither is in the pool. Values are the same up to ``SAME_VALUE``: two trainings
come further apart by rounding alone, and what lies between is a copy that went through another program.
"""

from __future__ import annotations

from collections.abc import Sequence

#: Relative difference up to which two values are one; single precision rounds at 6e-8.
SAME_VALUE = 1e-9


def merged(values: Sequence[float]) -> list[float]:
    """Every value as the smallest of those that are the same, each up to ``SAME_VALUE`` above the next."""
    as_one: dict[float, float] = {}
    first = previous = float("nan")
    for value in sorted(set(values)):
        if not value - previous <= SAME_VALUE * max(abs(value), abs(previous)):
            first = value
        as_one[value] = first
        previous = value
    return [as_one.get(value, value) for value in values]


def copies_of(
    labels: Sequence[str], seeds: Sequence[str], values: Sequence[float], reference: str
) -> dict[str, str]:
    """Variant → the one that it equals in two runs or more; the reference first.

    By seed: a level that reads its text in another way has blocks of its own, and may still read the same.
    """
    runs: dict[str, list[tuple[str, float]]] = {reference: []}
    for label, seed, value in zip(labels, seeds, merged(values), strict=True):
        runs.setdefault(label, []).append((seed, value))
    firsts: dict[tuple[tuple[str, float], ...], str] = {}
    found = {}
    for label, own in runs.items():
        first = firsts.setdefault(tuple(sorted(own)), label)
        if first != label and len(own) > 1:
            found[label] = first
    return found


def near_copies_of(
    labels: Sequence[str], blocks: Sequence[str], values: Sequence[float], reference: str
) -> set[str]:
    """Variants of which most runs equal the reference's with the same seed."""
    rows = list(zip(labels, blocks, merged(values), strict=True))
    of_reference = {(block, value) for label, block, value in rows if label == reference}
    equal: dict[str, list[bool]] = {}
    for label, block, value in rows:
        if label != reference:
            equal.setdefault(label, []).append((block, value) in of_reference)
    return {label for label, own in equal.items() if len(own) > 1 and 2 * sum(own) > len(own)}
