"""A table of runs that others made, from a file: csv, tsv, parquet, JSON lines, or JSON by configuration.

``{"d=96-0.003": 2.7}`` names a configuration in its key; a template such as ``d={width}-{lr}`` says what
stands where. The values become the column ``value``.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd

from sweepkit import fsio
from sweepkit.errors import ConfigError, invalid

SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl", ".json")
KEY, VALUE = "key", "value"
_NUMBER = r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"
_FIELD = re.compile(r"\{(\w+)\}")


def read(path: Path, key: str | None = None) -> pd.DataFrame:
    """The rows of a file, columns as they are called there.

    Args:
        key: template of the column ``key``; its fields become columns, numbers where all are.

    Raises:
        ConfigError: no such file, not of a known kind, unreadable, empty, or a key that does not fit.
    """
    if not path.is_file():
        raise invalid(
            "table",
            str(path),
            "be a file, or a sweep",
            "check the path; it is looked up from the current folder",
        )
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise invalid(
            "table", str(path), f"end in one of {', '.join(SUFFIXES)}", "export your runs as one row a run"
        )
    try:
        frame = _read(path, suffix)
    except ConfigError:
        raise
    except (OSError, ValueError) as error:
        raise invalid("table", str(path), f"be readable ({error})", "export it again") from error
    if frame.empty:
        raise invalid("table", str(path), "have rows", "export your runs as one row a run")
    return with_key(frame, key) if key else frame


def _read(path: Path, suffix: str) -> pd.DataFrame:
    if suffix == ".parquet":
        return pd.read_parquet(path)
    text = fsio.read_bytes(path).decode("utf-8-sig")
    if suffix == ".jsonl":
        return pd.json_normalize([json.loads(line) for line in text.splitlines() if line.strip()])
    if suffix != ".json":
        return pd.read_csv(path, sep="\t" if suffix == ".tsv" else ",", encoding="utf-8-sig")
    found: Any = json.loads(text)
    if isinstance(found, dict) and all(not isinstance(item, list | dict) for item in found.values()):
        return pd.DataFrame({KEY: list(found), VALUE: list(found.values())})
    return pd.json_normalize(found) if isinstance(found, list) else pd.DataFrame(found)


def with_key(frame: pd.DataFrame, template: str) -> pd.DataFrame:
    """``frame`` with a column for each field of the template.

    Raises:
        ConfigError: the table has no column ``key``, or one of them does not fit.
    """
    if KEY not in frame:
        raise invalid(
            "--key",
            template,
            f"be of a table with a column {KEY}",
            "leave it out, or name the columns there are",
        )
    parts = _FIELD.split(template)
    names = parts[1::2]
    if not names or len(set(names)) < len(names):
        raise invalid("--key", template, "name fields in braces, each once", "as d={width}-{lr}")
    pattern = "".join(
        f"({_NUMBER}|.*?)" if place % 2 else re.escape(part) for place, part in enumerate(parts)
    )
    rows = []
    for key in frame[KEY]:
        match = re.fullmatch(pattern, str(key))
        if match is None:
            raise invalid(
                "--key",
                template,
                f"fit every key, as {key!r}",
                "write between the braces what stands between the fields",
            )
        rows.append(match.groups())
    found = pd.DataFrame(rows, columns=names, index=frame.index)
    for name in names:
        numbers = pd.to_numeric(found[name], errors="coerce")
        if numbers.notna().all():
            found[name] = numbers
    return frame.assign(**{name: found[name] for name in names})
