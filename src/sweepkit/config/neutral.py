"""Neutral values: what makes a field added later change nothing.

A field added after runs exist gets an entry here with the value under which the code does what it did
before. While a field has its neutral value it is left out of a run's identity, so that old runs stay
found, and an old file that lacks it is read with that value. Entries are never removed.
"""

from __future__ import annotations

from typing import Any

#: Dotted field → its neutral value as plain JSON.
NEUTRAL: dict[str, Any] = {
    "init_seed": None,
    "dataset.manifest_digest": None,
    "precision.fp8.min_size": 128,
    "precision.fp8.size_multiple": 16,
    "precision.fp8.backend": "auto",
    "precision.fp8.allow_eager": False,
    "trainer.attention": "auto",
}
