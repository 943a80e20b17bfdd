"""A file of runs that others made, as it is: what ``fit`` reads where nothing was imported.

``{"d=96-0.003": 2.7}`` names a configuration in its key; a template such as ``d={width}-{lr}`` says what
stands where. The values become the column ``value``. Files are read as ``sweepkit import`` reads them.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sweepkit.errors import invalid
from sweepkit.results.others import source, template, values

SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl", ".json")
KEY, VALUE = "key", "value"


def read(path: Path, key: str | None = None) -> pd.DataFrame:
    """The rows of a file, columns as they are called there.

    Args:
        key: template of the column ``key``; its fields become columns, numbers where all are.

    Raises:
        ConfigError: no such file, not of a known kind, unreadable, empty, or a key that does not fit.
    """
    frame = values.typed(source.read(str(path)))
    return with_key(frame, key) if key else frame


def with_key(frame: pd.DataFrame, key: str) -> pd.DataFrame:
    """``frame`` with a column for each field of the template.

    Raises:
        ConfigError: the table has no column ``key``, or one of them does not fit.
    """
    if KEY not in frame:
        contract, remedy = f"be of a table with a column {KEY}", "leave it out, or name the columns there are"
        raise invalid("--key", key, contract, remedy)
    pattern = template.pattern("--key", key)
    rows = []
    for text in frame[KEY]:
        match = pattern.fullmatch(str(text))
        if match is None:
            remedy = "write between the braces what stands between the fields"
            raise invalid("--key", key, f"fit every key, as {text!r}", remedy)
        rows.append(match.groupdict())
    found = pd.DataFrame(rows, index=frame.index)
    for name in template.names(pattern):
        numbers = pd.to_numeric(found[name], errors="coerce")
        if numbers.notna().all():
            found[name] = numbers
    return frame.assign(**{name: found[name] for name in template.names(pattern)})
