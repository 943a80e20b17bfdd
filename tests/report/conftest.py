"""The made-up runs live beside the tests of the runs table, the trainer of searches beside theirs."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / name) for name in ("results", "search")]
