"""What a check of the GPU proof finds: rows, each kept on disk at once, should the check be cut off."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from sweepkit import fsio

NO_GPU = "not run: no GPU"
NO_TIME = "not run: time was up"
RIGHT, WRONG, MEASURED = "right", "wrong", "measured"
Numbers = Mapping[str, float | None]


@dataclass(frozen=True)
class Row:
    """One finding.

    Attributes:
        name: what was looked at.
        words: what came out, with units.
        bound: what it must be for ``right``; "" where nothing is judged.
        status: right, wrong, measured, or "not ..." and why.
        numbers: what ``words`` says, by names that end in their units; a missing one is None.
    """

    name: str
    words: str = ""
    bound: str = ""
    status: str = MEASURED
    numbers: Numbers = field(default_factory=dict)


@dataclass(frozen=True)
class Bench:
    """Where a check runs, until when, and where its rows go.

    Attributes:
        until: of ``time.monotonic``: a further part is not begun after it.
        path: rows, a JSON object a line.
    """

    device: torch.device
    until: float
    path: Path

    @property
    def has_gpu(self) -> bool:
        return self.device.type == "cuda"

    @property
    def left_s(self) -> float:
        return self.until - time.monotonic()

    def add(self, row: Row) -> None:
        """Keep one row, on disk."""
        fsio.append_line(self.path, asdict(row))

    def measured(self, name: str, words: str, **numbers: float | None) -> None:
        """Something that nothing is asked of."""
        self.add(Row(name, words, numbers=numbers))

    def judged(self, name: str, words: str, bound: str, is_right: bool, **numbers: float | None) -> None:
        """Something that must be as ``bound`` says."""
        self.add(Row(name, words, bound, RIGHT if is_right else WRONG, numbers))

    def error(self, name: str, error: float, limit: float, more: str = "", **numbers: float | None) -> None:
        """A deviation that must be at most ``limit``; NaN is above every limit."""
        words, bound = f"{error:.2g}{more}", f"at most {limit:.2g}"
        number = error if math.isfinite(error) else None
        self.judged(name, words, bound, error <= limit, error=number, **numbers)

    def failed(self, name: str, error: Exception) -> None:
        """A part that raised."""
        lines = str(error).strip().splitlines() or [""]
        self.add(Row(name, f"{type(error).__name__}: {lines[0]}", status=WRONG))

    def not_run(self, name: str, why: str = NO_GPU) -> None:
        """A part that was left out."""
        self.add(Row(name, status=why))
