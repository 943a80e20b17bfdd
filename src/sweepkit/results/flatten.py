"""From a record, a plan or a cell to one flat row of the runs table."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sweepkit import fsio, sealed
from sweepkit.config import typed
from sweepkit.config.measured import MeasuredOn
from sweepkit.errors import DamagedError, SweepkitError
from sweepkit.plan import text
from sweepkit.plan.command_plan import CommandPlan, Plan
from sweepkit.results import asked, columns, planned_epochs
from sweepkit.results.columns import CORRUPT, Row
from sweepkit.results.record import SCHEMA_VERSION, FailureClass, RunDir, RunRecord, RunState
from sweepkit.sweep import amendments, frozen, labels, trials
from sweepkit.sweep.cell import Cell

_PLAN_COLUMNS = (
    "run_id", "variant_id", "seed", "pair_key", "compile_key", "evaluation_key", "depth", "width",
    "num_heads", "scaling_params", "total_params", "active_params", "flops_per_token", "sequence_len",
    "device_batch_size", "total_batch_size", "num_steps", "total_tokens", "total_flops", "weight_decay",
    "estimated_gpu_hours",
)  # fmt: skip
_RECORD_COLUMNS = (
    "run_id", "variant_id", "seed", "failure_message", "attempt", "step",
    "num_steps", "started_at", "ended_at", "environment_fingerprint", "evaluation_key", "sample",
)  # fmt: skip
_RESULT_COLUMNS = (
    "final_train_loss", "train_time_s", "median_step_time_s", "compile_time_s", "eval_time_s",
    "checkpoint_time_s", "tokens_per_s", "mfu", "mfu_fp8", "mfu_rest", "communication_frac",
    "num_skipped_steps", "peak_memory_gib", "total_flops", "epochs",
)  # fmt: skip

_CELL_COLUMNS = ("variant", "variant_key", "role", "rung")

#: Not columns: what could not be read of a file, to be said; which text a run reads, as JSON.
UNREAD = "unread"
TEXT = "text"
_NO_FIELD = object()
_RESOURCES = (FailureClass.oom, FailureClass.timeout)


def plan_row(plan: Plan) -> Row:
    """Columns of a plan. Nobody knows what a command compiles, so it has no compile_key."""
    if isinstance(plan, CommandPlan):
        own = ("run_id", "variant_id", "seed", "pair_key", "evaluation_key", "depth")
        row = {name: value for name in own if (value := getattr(plan, name)) is not None}
        return row | ({"code": Path(plan.program.folder).name} if plan.program.of else {})
    row = {name: value for name in _PLAN_COLUMNS if (value := getattr(plan, name)) is not None}
    for name in ("learning_rates", "weight_decays"):
        row |= {f"{name}_{group}": value for group, value in getattr(plan, name).items()}
    row |= {"scaling_count": plan.config.horizon.count.name, "dataset": text.label(plan)}
    row |= {"code": plan.config.code} if plan.config.code else {}
    row[TEXT] = planned_epochs.text_of(plan)
    return row if plan.init_seed == plan.seed else row | {"init_seed": plan.init_seed}


def record_row(record: RunRecord) -> Row:
    """Columns of a RunRecord."""
    row = {name: getattr(record, name) for name in _RECORD_COLUMNS}
    row |= {"state": record.state.value, "failure_class": record.failure_class and record.failure_class.value}
    row |= {
        name: value
        for name, value in record.results.items()
        if name in _RESULT_COLUMNS
        or asked.is_loss(name)
        or name.startswith("score_")
        or columns.find(name) is None  # what a command calls its metric
    }
    fingerprints = record.evaluation_fingerprints
    row |= {f"evaluation_fingerprint_{stream}": value for stream, value in fingerprints.items()}
    row["evaluation_fingerprint"] = _of_validation(fingerprints)
    measured_on = {stream: _parts(value) for stream, value in record.measured_on.items()}
    row |= {f"measured_on_{stream}": value for stream, value in measured_on.items()}
    row["measured_on"] = _of_validation(measured_on)
    resolved, environment = record.resolved, record.environment
    trained_on = record.texts.get("train")
    row |= {
        "dtype": resolved.dtype,
        "fp8_backend": resolved.fp8 and resolved.fp8.backend,
        "attention": resolved.attention,
        "compiled": resolved.is_compiled,
        "device": resolved.device,
        "num_threads": resolved.num_threads,
        "hardware": environment.hardware,
        "num_ranks": resolved.num_ranks,
        "torch": environment.versions.get("torch"),
        "sources": environment.sources,
        "accepted_by": ", ".join(dict.fromkeys(item.sources for item in record.accepted)) or None,
        "host": environment.host,
        "concurrency": environment.concurrency,
        "git_commit": environment.git_commit,
        "git_dirty": environment.git_dirty,
        "weights": record.weights and record.weights.sha256,
        "text_digest": trained_on and trained_on.digest,
        "dataset_commit": trained_on and trained_on.commit,
        "packing_utilisation": record.packing.get("utilisation"),
        "packing_cropped_frac": record.packing.get("cropped_frac"),
    }
    return {name: value for name, value in row.items() if value is not None}


def _of_validation(by_stream: dict[str, str]) -> str | None:
    """What is said of the validation stream, or else of the first."""
    return by_stream.get("validation", next(iter(by_stream.values()), None))


def cell_row(cell: Cell, axes: Iterable[str] = ()) -> Row:
    """Columns of a cell of a frozen plan: the cell's own and its plan's.

    Args:
        axes: of the sweep; the value of those that are fields is told of cells that name no level of theirs.
    """
    row = plan_row(cell.plan) | {name: getattr(cell, name) for name in _CELL_COLUMNS}
    wanted = dict.fromkeys([*axes, *cell.levels])
    fields = cell.plan.settings if wanted else {}  # an axis may also be named after a group, or at will
    for axis in wanted:
        value = fields.get(axis, _NO_FIELD)
        if axis in cell.levels:
            row[f"level_{axis}"] = _level(cell.levels[axis], value)
        elif value is not _NO_FIELD and not isinstance(value, list):
            row[f"level_{axis}"] = labels.of_value(value) if isinstance(value, str) else value
    return row


def _level(name: str, value: Any) -> str | float | None:
    """A level as the table has it: the field's value where its name is that value, else its name."""
    if (value is None or isinstance(value, bool)) and name == labels.of_value(value):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        with contextlib.suppress(ValueError):
            return value if float(name) == value else name
    return name


def read_record(path: Path) -> Row | None:
    """The record's row; None when there is none. An unreadable record gives state ``corrupt``."""
    content = None
    try:
        content = fsio.read_json(path)
        record = RunRecord.from_file(path, content)
        return record_row(record) | _retries(path.parent, record)
    except FileNotFoundError:
        return None
    except ValueError as error:
        newer = sealed.too_new(path, content, SCHEMA_VERSION)
        damaged = error if isinstance(error, DamagedError) else DamagedError(path, str(error))
        return {"state": CORRUPT, "failure_message": newer or str(damaged)}


def read_scores(path: Path) -> Row:
    """``score_<name>`` of every number in a scores.json, which an evaluation of the user's leaves.

    Why it cannot be read stands under ``UNREAD``, so that it is said also where it is read from the index.
    """
    try:
        content = fsio.read_open_json(path)
        return {
            f"score_{name}": float(value)
            for name, value in content.items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        }
    except (OSError, SweepkitError, OverflowError) as error:
        return {UNREAD: f"{path} is no mapping of names to numbers and is left out ({error})"}


def _retries(run_dir: Path, record: RunRecord) -> Row:
    """Of a run that ran out of memory or time: how many of its attempts did, and on how many machines."""
    if record.failure_class not in _RESOURCES:
        return {}
    hosts = [
        attempt.node or attempt.host
        for attempt in RunDir(run_dir).attempts()
        if attempt.failure_class in _RESOURCES or attempt.state is RunState.running
    ]
    return {"failed_attempts": max(1, len(hosts)), "failed_hosts": max(1, len(set(hosts)))}


def read_plan(path: Path) -> Row | None:
    """A plan file's row; None where it is missing. Why it cannot be read stands under ``UNREAD``."""
    try:
        row = plan_row(RunDir(path.parent).read_plan())
        columns.check_plausible(row)
        return row
    except FileNotFoundError:
        return None
    except (SweepkitError, ValueError) as error:
        return {UNREAD: f"{path} cannot be read, so what was planned is missing ({error})"}


def read_cells(path: Path) -> list[Row]:
    """All cells of a frozen plan.

    Raises:
        FrozenPlanError: it was edited, or is damaged.
    """
    head, cells = frozen.read(path.parent)
    space = head.sweep.search.space if head.sweep.search else ()
    axes = dict.fromkeys([*(axis for cell in cells for axis in cell.levels), *space])
    return [cell_row(cell, axes) for cell in cells]


def with_trials(rows: list[Row], sweep_dir: Path) -> list[Row]:
    """``rows`` and the cells of a search's trials, every run once; cells have the number of their trial.

    Raises:
        FrozenPlanError: a trial was edited, or is damaged.
    """
    known, axes = {row["run_id"]: row for row in rows}, axes_of(rows)
    for trial in trials.load(sweep_dir):
        for cell in (*trial.cells, *trial.above):
            row = known.setdefault(cell.plan.run_id, cell_row(cell, axes))
            row.setdefault("trial", trial.number)
    return list(known.values()) if len(known) > len(rows) else rows


def with_amendments(rows: list[Row], sweep_dir: Path) -> list[Row]:
    """``rows`` and the cells of the amendments, in order."""
    axes = axes_of(rows)
    for path in amendments.files(sweep_dir):
        try:
            rows = [*rows, *(cell_row(cell, axes) for cell in amendments.read(path).cells)]
        except SweepkitError as error:
            warnings.warn(f"{path} is no amendment of a sweep and is left out ({error})", stacklevel=2)
    return rows


def axes_of(rows: Iterable[Row]) -> list[str]:
    """The axes that any row has a level of."""
    names = dict.fromkeys(name for row in rows for name in row if name.startswith("level_"))
    return [name.removeprefix("level_") for name in names]


def _parts(found: MeasuredOn) -> str:
    """``text: 0123abcd | bytes: [0, 65536] | ...``, in which a reader finds what differs."""
    shown = typed.dump(found) | {"text": str(found.text)[:12]}
    return " | ".join(f"{name}: {item}" for name, item in shown.items())
