"""Files that are whole or absent."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from sweepkit import fsio
from sweepkit.errors import StorageError


def test_half_a_line_is_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:5]))
    with pytest.raises(StorageError, match="the disk is full"):
        fsio.append_line(tmp_path / "rows.jsonl", {"step": 1})
    monkeypatch.undo()
    assert fsio.read_lines(tmp_path / "rows.jsonl") == []


def test_a_file_that_was_replaced_while_it_was_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "record.json"
    fsio.write_json(path, {"step": 1})
    read, errors = Path.read_text, [OSError(errno.ESTALE, os.strerror(errno.ESTALE))]

    def read_or_fail(self: Path, *args: Any, **more: Any) -> str:
        if errors:
            raise errors.pop()
        return read(self, *args, **more)

    monkeypatch.setattr(Path, "read_text", read_or_fail)
    assert fsio.read_json(path) == {"step": 1}
    errors += [OSError(errno.EIO, os.strerror(errno.EIO))]
    with pytest.raises(OSError, match="Input/output error"):
        fsio.read_json(path)


def test_a_folder_that_cannot_be_made_is_no_missing_file() -> None:
    with pytest.raises(StorageError, match=r"^/proc/nothing cannot be used .*but must be a place to read"):
        fsio.write_text(Path("/proc/nothing/file"), "")
