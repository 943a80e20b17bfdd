"""wandb's offline folders: ``*.wandb`` files, logs of protobuf records in LevelDB's framing.

A run is one row: ``config.NAME``, ``summary.NAME``, its name, group, tags and state. A run that ended has
left its exit status; one that was killed has not, and is crashed, with what it logged last. Files of one run
(a restarted one has several) are read in the order of their names.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from sweepkit import fsio
from sweepkit.errors import invalid
from sweepkit.printable import counted
from sweepkit.results.others.source import Source
from sweepkit.results.others.structured import flattened

_MAGIC, _START = b":W&B", 7  # the file's own header is as long as a record's
_BLOCK, _HEADER = 32768, 7
_WHOLE, _LAST = 1, 4
_OWN = ("_wandb",)


def read(path: Path, *_: str | None) -> Source:
    """All runs in a file, or in a folder and what is below it."""
    files = sorted({file.resolve() for file in path.rglob("*.wandb")}) if path.is_dir() else [path]
    if not files:
        remedy = "name the folder that has wandb/offline-run-*, or a file"
        raise invalid("the table", str(path), "be a file, or hold offline runs of wandb (*.wandb)", remedy)
    runs: dict[str, dict[str, Any]] = {}
    notes: list[str] = []
    digest = hashlib.sha256()
    for file in files:
        data = fsio.read_bytes(file)
        digest.update(data)
        if not data.startswith(_MAGIC):
            raise invalid(file.name, data[:4], "be a file of wandb's", "leave it out of the folder")
        _take(file, data, runs, notes)
    if not runs:
        raise invalid("the table", str(path), "hold a run", "; ".join(notes))
    rows = [_row(run) for run in runs.values()]
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = pd.DataFrame({name: [row.get(name) for row in rows] for name in names}, dtype=object)
    logged = [row for run in runs.values() for row in run["history"]]
    curves = pd.DataFrame(logged, dtype=object) if logged else None
    places = [f"run {run_id}" for run_id in runs]
    return Source(path.name, "wandb offline", cells, places, digest.hexdigest(), ".", curves, notes)


def _take(file: Path, data: bytes, runs: dict[str, dict[str, Any]], notes: list[str]) -> None:
    """Add what a file says to its run."""
    from wandb.proto import wandb_internal_pb2 as proto

    found: dict[str, Any] = {"config": {}, "summary": {}, "history": [], "exit": None, "told": {}}
    run = found
    try:
        for raw in _records(data):
            record = proto.Record.FromString(raw)  # type: ignore[attr-defined]
            if record.HasField("run"):
                run = runs.setdefault(record.run.run_id, found)
                run["exit"] = None  # of this attempt nothing is known yet
                run["told"] |= {
                    "run_id": record.run.run_id,
                    "name": record.run.display_name,
                    "group": record.run.run_group,
                    "tags": ",".join(record.run.tags),
                    "started_at": record.run.start_time.ToJsonString()
                    if record.run.start_time.seconds
                    else None,
                }
                run["config"] |= _items(record.run.config.update)
            elif record.HasField("config"):
                run["config"] |= _items(record.config.update)
            elif record.HasField("summary"):
                run["summary"] |= _items(record.summary.update)
            elif record.HasField("history"):
                row = _items(record.history.item)
                run["summary"] |= row  # as wandb does, where nothing else is said
                run["history"].append({"run_id": run["told"].get("run_id"), "step": row.get("_step")} | row)
            elif record.HasField("exit"):
                run["exit"] = record.exit.exit_code
    except ValueError as error:  # protobuf's and json's
        notes.append(f"{file.name} ends in what cannot be read, and counts up to there ({error})")
    if not run["told"]:
        notes.append(
            f"{file.name} ends before it names a run ({counted(len(data), 'byte')}), and is left out"
        )


def _records(data: bytes) -> Iterator[bytes]:
    """The records of a file, up to where it was cut."""
    place, parts = _START, b""
    while place + _HEADER <= len(data):
        room = _BLOCK - place % _BLOCK
        if room < _HEADER:
            place += room
            continue
        length, kind = struct.unpack("<HB", data[place + 4 : place + _HEADER])
        end = place + _HEADER + length
        if end > len(data):
            return
        parts += data[place + _HEADER : end]
        place = end
        if kind in (_WHOLE, _LAST):
            yield parts
            parts = b""


def _items(items: Any) -> dict[str, Any]:
    found = {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}
    return flattened({key: value for key, value in found.items() if key.split(".")[0] not in _OWN})


def _row(run: dict[str, Any]) -> dict[str, Any]:
    state = {None: "crashed", 0: "finished"}.get(run["exit"], "failed")
    row = {**run["told"], "state": state}
    for part in ("config", "summary"):
        row |= {f"{part}.{key}": value for key, value in run[part].items()}
    return row
