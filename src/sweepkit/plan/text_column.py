"""The column of a file that holds the text: it is there, and it is text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sweepkit.errors import DataError, did_you_mean


def check(path: Path, schema: Any, text_column: str) -> None:
    """Refuse a parquet file that does not have it.

    Args:
        schema: of Arrow.

    Raises:
        DataError: names the file, and the column that was meant.
    """
    if text_column not in schema.names:
        raise missing(path, text_column, schema.names)
    kinds = {field.name: field.type for field in schema}
    texts = [name for name, kind in kinds.items() if _is_text(kind)]
    if text_column not in texts:
        raise no_text(path, text_column, str(kinds[text_column]), texts)


def missing(path: Path, text_column: str, names: Sequence[str], line: int | None = None) -> DataError:
    """Of a file that has other columns, or keys."""
    return DataError(
        f"dataset.text_column is {text_column!r}, but must name a column of {_where(path, line)}; "
        f"{did_you_mean(text_column, names)}"
    )


def no_text(
    path: Path, text_column: str, kind: str, texts: Sequence[str], line: int | None = None
) -> DataError:
    """Of a column that holds something else."""
    remedy = did_you_mean(text_column, texts) if texts else "write that column as strings"
    return DataError(
        f"dataset.text_column is {text_column!r}, of type {kind} in {_where(path, line)}, but must be text; "
        f"{remedy}"
    )


def _where(path: Path, line: int | None) -> str:
    return f"{path}, line {line}" if line else str(path)


def _is_text(kind: Any) -> bool:
    """Whether an Arrow type is text, in any of its layouts."""
    from pyarrow import types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    return any(is_one(kind) for is_one in (types.is_string, types.is_large_string, types.is_string_view))
