"""Files that are whole or absent."""

from __future__ import annotations

import os
from pathlib import Path

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
