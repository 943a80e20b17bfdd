"""What a command has told: the metric, what else its result says, and the rows of its learning curve.

The metric is in a JSON file of the run's folder, in a line of the log that is a JSON object, or what the one
group of a regular expression matched last. The object that holds it, and ``result.json`` in any case, may say
more: steps, seconds, FLOPs, memory, hardware. What is not said is not known.
"""

from __future__ import annotations

import csv
import json
import math
import os
import re
import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from sweepkit import fsio
from sweepkit.errors import DamagedError, SweepkitError
from sweepkit.plan.command_plan import STDOUT, MetricRead
from sweepkit.results import columns, curve_columns
from sweepkit.results.columns import Row

#: Other names for columns of the runs table, and of the curves.
_ALIASES = {"steps": "num_steps", "seconds": "train_time_s", "flops": "total_flops"}
_CURVE_ALIASES = {"train_loss": "loss", "seconds": "train_time_s"}
#: Columns that a command may tell, beside any ``score_<name>``.
TOLD = (
    "num_steps", "train_time_s", "median_step_time_s", "eval_time_s", "tokens_per_s", "mfu",
    "peak_memory_gib", "total_flops", "final_train_loss",
)  # fmt: skip
RESULT_FILE = "result.json"
_NOTHING = object()
_NO_FINITE = ("nan", "inf", "+inf", "-inf", "infinity", "+infinity", "-infinity")
_LARGEST = 10**300
#: Columns of the curves that are not the command's to say.
_OURS = ("attempt", "seed", "depth", "state", "run_id", "variant", "role", "rung")
_CURVES = ("metrics.jsonl", "metrics.csv")


class NoResult(SweepkitError):
    """A command ended in order, and what it was to tell is missing or cannot be read."""


@dataclass(frozen=True)
class Told:
    """The metric, which may be no finite number, and what else a command said."""

    metric: float
    numbers: dict[str, int | float] = field(default_factory=dict)
    hardware: str | None = None


def read(how: MetricRead, folder: Path, log: str) -> Told:
    """What a run has told that ended in order.

    Args:
        folder: ``{run_dir}``.
        log: what it printed.

    Raises:
        NoResult: says what is missing, and where.
    """
    said: dict[str, Any] = {}
    if how.regex is not None:
        found = _matched(how.regex, log)
    elif how.read == STDOUT:
        found, said = _in_log(how, log)
    else:
        said = _object(folder / str(how.read))
        found = _number(said, how.key or how.name, str(how.read))
    if (folder / RESULT_FILE).is_file() and how.read != RESULT_FILE:
        said = _object(folder / RESULT_FILE) | said
    numbers = _numbers(said)
    if {"train_time_s", "num_steps"} <= numbers.keys() and numbers["num_steps"] > 0:
        numbers.setdefault("median_step_time_s", numbers["train_time_s"] / numbers["num_steps"])
    hardware = said.get("hardware")
    try:
        columns.check_plausible(numbers | ({how.name: found} if math.isfinite(found) else {}))
    except ValueError as error:
        raise NoResult(f"what the command told cannot be: {error}") from None
    return Told(found, numbers, hardware if isinstance(hardware, str) else None)


def _numbers(said: Mapping[str, Any]) -> dict[str, int | float]:
    named = {_ALIASES.get(name, name): value for name, value in said.items()}
    return {
        name: int(value) if name == "num_steps" else value
        for name, value in named.items()
        if (name in TOLD or name.startswith("score_")) and _is_number(value) and math.isfinite(value)
    }


def _matched(regex: str, log: str) -> float:
    texts = [match.group(1) for match in re.finditer(regex, log, re.MULTILINE)]
    if not texts:
        raise NoResult(f"metric.regex {regex!r} matches nothing in the log, but must match the result")
    try:
        return float(texts[-1])
    except (TypeError, ValueError):
        raise NoResult(
            f"metric.regex {regex!r} matched {texts[-1]!r} last, but must match a number"
        ) from None


def _in_log(how: MetricRead, log: str) -> tuple[float, dict[str, Any]]:
    key = how.key or how.name
    for line in reversed(re.split(r"[\r\n]+", log)):
        if line.lstrip().startswith("{"):
            try:
                said = json.loads(line)
            except (ValueError, RecursionError):
                continue
            # the last one with the key is the result, also where it is none: one before it may be a step's
            if isinstance(said, dict) and _found(said, key) is not _NOTHING:
                return _number(said, key, STDOUT), said
    raise NoResult(f"no line of the log is a JSON object with a number {key!r}, but one must be")


def _object(path: Path) -> dict[str, Any]:
    try:
        said = json.loads(fsio.read_bytes(path))  # in any of JSON's encodings
    except FileNotFoundError:
        raise NoResult(f"{path} is missing, but must hold the result") from None
    except (OSError, ValueError, RecursionError) as error:
        why = error.why if isinstance(error, DamagedError) else " ".join(str(error).split())
        raise NoResult(f"{path} cannot be read ({why})") from None
    if not isinstance(said, dict):
        raise NoResult(f"{path} holds {type(said).__name__}, but must hold a JSON object")
    return said


def _number(said: Any, key: str, where: str) -> float:
    value = _found(said, key)
    if value is _NOTHING:
        names = f" (it has {', '.join(map(str, said))})" if isinstance(said, dict) else ""
        raise NoResult(f"{key} is missing in {where}{names}, but must be a number")
    if isinstance(value, str) and value.strip().lower() in _NO_FINITE:  # as JSON has none of its own
        return float(value)
    if not _is_number(value):
        raise NoResult(f"{key} is {reprlib.repr(value)} in {where}, but must be a number")
    return float(value)


def _found(said: Any, key: str) -> Any:
    """What stands under a key, whose inner ones are behind dots."""
    value = said
    for name in [key] if isinstance(said, dict) and key in said else key.split("."):
        value = value.get(name, _NOTHING) if isinstance(value, dict) else _NOTHING
    return value


def _is_number(value: object) -> TypeGuard[int | float]:
    """Whether it is a number that a float holds; JSON's may have any number of digits."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, float) or abs(value) < _LARGEST


class Curve:
    """The rows that a command adds to ``metrics.jsonl`` or ``metrics.csv`` in its folder, as they come.

    Args:
        metric: what its runs are compared by, which is known beside the columns of curves.
    """

    def __init__(self, folder: Path, metric: str) -> None:
        self._folder, self._metric = folder, metric
        self._offset, self._header = 0, [""]
        self._path: Path | None = None

    def new(self) -> Iterator[Row]:
        """Rows since the last call that have a step and a known number; what cannot be read is left out."""
        if self._path is None:
            self._path = next(
                (self._folder / name for name in _CURVES if (self._folder / name).is_file()), None
            )
        if self._path is None:
            return
        try:
            with self._path.open("rb") as file:
                if os.fstat(file.fileno()).st_size < self._offset:
                    self._offset = 0  # the command has begun it anew
                file.seek(self._offset)
                added = file.read()
        except OSError:
            return
        whole = added[: added.rfind(b"\n") + 1]
        first, self._offset = self._offset == 0, self._offset + len(whole)
        lines = whole.decode(errors="replace").splitlines()
        is_csv = self._path.suffix == ".csv"
        if is_csv and first and lines:
            self._header = next(csv.reader(lines[:1]))
            lines = lines[1:]
        for line in lines:
            if row := _row(_cells(self._header, line) if is_csv else _json(line), self._metric):
                yield row


def _json(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _cells(header: list[str], line: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, text in zip(header, next(csv.reader([line]), []), strict=False):
        try:
            found[name.strip()] = float(text)
        except ValueError:
            continue
    return found


def _row(said: Mapping[str, Any], metric: str) -> Row:
    """A row of ours; empty where it has no step, or tells nothing that is known."""
    step = said.get("step")
    if not _is_number(step) or not math.isfinite(step) or step != int(step):
        return {}
    named = {_CURVE_ALIASES.get(name, name): value for name, value in said.items() if name != "step"}
    known = {
        name: value
        for name, value in named.items()
        if name not in _OURS and _is_known(name, metric) and _fits(name, value)
    }
    return {"step": int(step)} | known if known else {}


def _is_known(name: str, metric: str) -> bool:
    return name == metric or curve_columns.find(name) is not None


def _fits(name: str, value: object) -> bool:
    """Whether a value is a number that can be."""
    column = curve_columns.find(name)
    if not _is_number(value) or not math.isfinite(value):
        return False
    return column is None or column.implausible(value) is None
