"""What a loss is measured on, as far as a configuration tells: fields marked ``measured`` in the schema.

Losses over configurations that differ in one of them are losses on other text, other bytes or other rows,
and do not compare. The run records a digest of the text itself (``data/streams.py``), by which verdicts go;
this is for refusing before anything has run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from sweepkit.config import holdout
from sweepkit.config.choices import DatasetKind
from sweepkit.config.schema import RunConfig

#: A text that ships with the package, whatever the dataset.
_SHARED = "probe"


def measured_on(config: RunConfig, stream: str) -> dict[str, Any]:
    """Dotted field → value, of the fields that decide what a loss on ``stream`` is a loss on."""
    is_shared = (holdout.base(stream) or stream) == _SHARED
    found = {}
    for name, kind, value in _marked(config, ""):
        is_own = kind == "own"
        if is_own and is_shared:
            continue
        if is_own and config.dataset.kind is DatasetKind.embedded and name != "dataset.kind":
            continue  # its text for validation is one, whatever is trained on
        found[name] = value
    return found


def _marked(block: Any, prefix: str) -> Iterator[tuple[str, str, Any]]:
    for item in dataclasses.fields(block):
        value = getattr(block, item.name)
        if dataclasses.is_dataclass(value):
            yield from _marked(value, f"{prefix}{item.name}.")
        elif "measured" in item.metadata:
            yield f"{prefix}{item.name}", item.metadata["measured"], value
