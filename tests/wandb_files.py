"""Reads back what wandb wrote offline: a log of blocks, as LevelDB's, of protobuf records."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

_BLOCK, _HEADER = 32768, 7
_WHOLE, _LAST = 1, 4


def records(path: Path) -> list[Any]:
    """All records of a ``.wandb`` file."""
    data = path.read_bytes()
    assert data.startswith(b":W&B")
    found, parts, place = [], b"", _HEADER  # the file has a header of its own
    while place + _HEADER <= len(data):
        room = _BLOCK - place % _BLOCK
        if room < _HEADER:
            place += room
            continue
        length, kind = struct.unpack("<HB", data[place + 4 : place + _HEADER])
        parts += data[place + _HEADER : place + _HEADER + length]
        place += _HEADER + length
        if kind in (_WHOLE, _LAST):
            found.append(wandb_internal_pb2.Record.FromString(parts))
            parts = b""
    return found


def read(folder: Path) -> dict[str, Any]:
    """Of the one offline run in a run's folder: how it is filed, config, rows and summary."""
    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    shown: dict[str, Any] = {"config": {}, "rows": [], "summary": {}}
    for record in records(path):
        if record.HasField("run"):
            run = record.run
            shown |= {
                "id": run.run_id,
                "name": run.display_name,
                "group": run.run_group,
                "project": run.project,
            }
            shown |= {"job_type": run.job_type, "tags": list(run.tags)}
            shown["config"] |= {item.key: json.loads(item.value_json) for item in run.config.update}
        elif record.HasField("history"):
            row = {item.key or ".".join(item.nested_key): item.value_json for item in record.history.item}
            shown["rows"].append({key: json.loads(value) for key, value in row.items()})
        elif record.HasField("summary"):
            update = {
                item.key or ".".join(item.nested_key): item.value_json for item in record.summary.update
            }
            shown["summary"] |= {key: json.loads(value) for key, value in update.items()}
        elif record.HasField("exit"):
            shown["exit_code"] = record.exit.exit_code
    return shown
