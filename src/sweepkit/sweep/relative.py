"""Levels as multiples of what the reference has: ``optimizer.matrix.lr: [0.5x, 2x]``.

They become plain numbers before anything is planned or frozen, so that a frozen sweep says what its runs use;
the labels of the levels stay as they were written.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from sweepkit import errors
from sweepkit.config import typed
from sweepkit.sweep import expand
from sweepkit.sweep.file import SweepFile

_MULTIPLE = re.compile(r"([^=]+)=((?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)x")
_DIGITS = 12  # 3 × 0.1 is 0.3


def resolved(sweep: SweepFile, extra: Sequence[str] = ()) -> SweepFile:
    """The sweep with numbers in the place of multiples of its reference's at the lowest rung.

    Args:
        extra: overrides of the command line.

    Raises:
        ConfigError: a multiple of what is no number.
    """
    written = [item for levels in sweep.axes.values() for level in levels.values() for item in level]
    if not any(map(_MULTIPLE.fullmatch, written)):
        return sweep
    reference: Mapping[str, Any] = sweep.params or typed.flatten(
        expand.stacks(sweep, extra)[0].config(expand.above(extra))
    )
    axes = {
        axis: {
            level: tuple(number(f"axes.{axis}.{level}", item, reference) for item in overrides)
            for level, overrides in levels.items()
        }
        for axis, levels in sweep.axes.items()
    }
    return dataclasses.replace(sweep, axes=axes)


def number(where: str, item: str, reference: Mapping[str, Any]) -> str:
    """An override, a multiple in it worked out from the flat configuration that it is of."""
    if not (match := _MULTIPLE.fullmatch(item)):
        return item
    key, base = match[1], reference.get(match[1])
    if isinstance(base, bool) or not isinstance(base, int | float):
        raise errors.invalid(
            where, item, f"be a multiple of a number ({key} is {base!r} in the reference)", "write its value"
        )
    value = float(match[2]) * base
    if isinstance(base, int) and value.is_integer():
        return f"{key}={int(value)}"
    return f"{key}={value:.{_DIGITS}g}"
