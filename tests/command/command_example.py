"""The worked example of docs/any_trainer.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

TRAINER = Path(__file__).with_name("trainer.py")
DOCS = Path(__file__).parents[2] / "docs" / "any_trainer.md"


def example() -> dict[str, Any]:
    """The sweep file of docs/any_trainer.md's worked example."""
    text = DOCS.read_text()
    found: dict[str, Any] = yaml.safe_load(text[text.index("```yaml\n") + 8 :].partition("```")[0])
    return found
