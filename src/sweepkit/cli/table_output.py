"""A table for other programs: ``--format`` and ``--output`` of the commands that have one."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from sweepkit.errors import invalid
from sweepkit.printable import counted
from sweepkit.results import export

_SUFFIXES = {".csv": "csv", ".json": "json", ".md": "markdown", ".parquet": "parquet"}


def put(frame: pd.DataFrame, how: str | None, output: Path | None) -> bool:
    """Write ``frame`` to a file, or to stdout; False where it is to be drawn as a table instead.

    Args:
        how: ``--format``; left out, the ending of ``output`` says it.

    Raises:
        ConfigError: a file's format is not known, or a terminal would get parquet.
    """
    wanted = how if output is None or how is not None else _SUFFIXES.get(output.suffix.lower())
    if output is not None:
        if wanted in (None, "table"):
            remedy = "give --format or a file name ending in .csv, .json, .md or .parquet"
            raise invalid("--output", str(output), "have a known format", remedy)
        export.write(frame, output, wanted)
        print(
            f"{counted(len(frame), 'row')}, {counted(len(frame.columns), 'column')}: {output}",
            file=sys.stderr,
        )
        return True
    if wanted in (None, "table"):
        return False
    if wanted == "parquet" and sys.stdout.isatty():
        raise invalid("--format", "parquet", "go to a file", "add --output runs.parquet")
    sys.stdout.buffer.write(export.encode(frame, wanted))
    sys.stdout.buffer.flush()
    return True
