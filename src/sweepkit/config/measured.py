"""What a loss is measured on, as far as a configuration tells: fields marked ``measured`` in the schema.

Losses over configurations that differ in one of them are losses on other text, other bytes or other rows,
and do not compare. The run records ``MeasuredOn`` with a digest of the text itself (``data/streams.py``), by
which verdicts go; the fields are for refusing before anything has run.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from sweepkit.config import holdout
from sweepkit.config.facts import fields_of
from sweepkit.config.schema import RunConfig

#: A text that ships with the package, whatever the dataset.
_SHARED = "probe"


@dataclass(frozen=True)
class MeasuredOn:
    """What a loss is a loss on, as a run has found it; only equal ones compare."""

    text: str | None  # digest of the tokens' text
    bytes: list[int]  # first, and the one after the last
    layout: str
    sequence_len: int
    byte_rule: str


@dataclass(frozen=True)
class TextRead:
    """The text of a split: its digest, and the commit where it came from a hub."""

    digest: str
    commit: str | None = None


def measured_on(config: RunConfig, stream: str) -> dict[str, object]:
    """Dotted field → value, of the fields that decide what a loss on ``stream`` is a loss on."""
    kinds = {"every"}
    if holdout.usual(stream) != _SHARED:
        kinds.add("own" if config.dataset.validation_path is None else "validation")

    def value_of(key: str) -> Any:
        return attrgetter(key)(config)

    return {
        key: value_of(key)
        for key, field in fields_of(RunConfig).items()
        if field.facts.measured in kinds and field.is_read(value_of)
    }
