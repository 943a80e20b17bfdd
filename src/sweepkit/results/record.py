"""RunRecord and RunDir: what a run leaves behind, and where.

``results/runs/<run_id>/``
    plan.json         the plan, written when the run is first claimed
    metrics.jsonl     a row a logged step, append only, with attempt, step and a checksum; the last wins
    attempts/N.json   start, end, host and outcome of every attempt
    record.json       replaced atomically; ``state`` tells how it ended (sealed, as plan and attempts)
    evaluations/KEY.json  a record of what was measured on those weights apart from training (``asked.py``)
    items/KEY.json, documents/KEY.npz  the same by item (``core_outcomes.py``) and document
    weights.safetensors  what a complete run ended with (trainer.keep_weights)
    checkpoints/      step_NNNNNN folders, the last two while it lives; log.txt: what it printed
    pruned.json       the sweeps that stopped it as hopeless, if any
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from sweepkit import fsio, sealed
from sweepkit.config import typed
from sweepkit.config.facts import REQUIRED, fact
from sweepkit.config.measured import MeasuredOn, TextRead
from sweepkit.config.ranges import at_least
from sweepkit.errors import DamagedError, SweepkitError
from sweepkit.plan.command_plan import Plan
from sweepkit.plan.run_spec import Spec
from sweepkit.results import columns, curve_columns
from sweepkit.results.conditions import Accepted, Environment, KeptWeights, Resolved, Shown
from sweepkit.results.progress import Progress
from sweepkit.results.states import FINAL_STATES, STOPPED, FailureClass, RunState

__all__ = ["FINAL_STATES", "STOPPED", "FailureClass", "RunState"]

SCHEMA_VERSION = 1
#: Name → number, of whatever was measured; None where it was to be and was not.
Measured = dict[str, int | float | None]


@dataclass
class RunRecord:
    """What a run was, where it ran and what came out. None means not measured, never 0."""

    run_id: str
    variant_id: str
    seed: int
    state: RunState
    failure_class: FailureClass | None = None
    failure_message: str | None = None
    attempt: int = fact(1, "how many times it was started", at_least(1))
    started_at: str | None = None  # ISO 8601, UTC
    ended_at: str | None = None
    step: int = fact(0, "last finished step", at_least(0))
    num_steps: int | None = fact(None, "planned", at_least(0))
    resolved: Resolved = field(default_factory=Resolved)
    environment: Environment = field(default_factory=Environment)
    environment_fingerprint: str | None = None
    evaluation_key: str = ""  # what was asked of it (RunPlan.evaluation_key)
    evaluation_fingerprints: dict[str, str] = field(default_factory=dict)  # stream -> digest
    measured_on: dict[str, MeasuredOn] = field(default_factory=dict)  # stream -> what the digest is of
    texts: dict[str, TextRead] = field(default_factory=dict)  # by split
    # val_bpb, bpb per stream, train_time_s, median_step_time_s, compile_time_s, eval_time_s,
    # checkpoint_time_s, tokens_per_s, mfu, peak_memory_gib, total_flops, final_train_loss
    results: Measured = field(default_factory=dict)
    packing: Measured = field(default_factory=dict)
    weights: KeptWeights | None = None  # where they were kept
    sample: str | None = None
    wandb: Shown | None = None
    accepted: list[Accepted] = field(default_factory=list)
    schema_version: int = SCHEMA_VERSION

    @property
    def sources(self) -> str | None:
        """Digest of the code that made it (``config/sources.py``); None where the record does not say."""
        return self.environment.sources

    def is_of(self, sources: str) -> bool:
        """Whether these sources made it, or it was accepted for them, or it does not say."""
        return self.sources in (None, sources) or sources in [item.sources for item in self.accepted]

    @classmethod
    def from_file(cls, path: Path, content: Mapping[str, Any]) -> RunRecord:
        """A run's ``record.json`` or ``evaluations/KEY.json``; without fields of a newer version.

        Raises:
            DamagedError: it is another run's, or another evaluation's.
            ValueError: a field has another type, or a number that cannot be.
        """
        is_apart = path.parent.name == "evaluations"
        sealed.check_is_of(path, content, run_id=path.parents[is_apart].name)
        if is_apart:
            sealed.check_is_of(path, content, evaluation_key=path.stem)
        own = {item.name for item in fields(cls)}
        record = typed.load(cls, {name: item for name, item in content.items() if name in own})
        columns.check_plausible(record.results)
        columns.check_plausible({f"packing_{name}": value for name, value in record.packing.items()})
        return record


@dataclass(frozen=True)
class Retry:
    """A further try on another node, once, because this one may have been at fault."""

    because: FailureClass
    not_on: list[str]


@dataclass(frozen=True)
class Attempt:
    """One attempt of a run; one that was killed together with its process still stands as running."""

    attempt: int = fact(REQUIRED, "its number", at_least(1), example="1")
    state: RunState = RunState.running
    failure_class: FailureClass | None = None
    failure_message: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    host: str | None = None
    node: str | None = None  # Slurm's name for the host
    job: str | None = None  # Slurm's, as squeue writes it
    pid: int | None = fact(None, "of its process", at_least(1))
    first_step: int = fact(0, "that it began with", at_least(0))
    last_step: int = fact(0, "that it finished", at_least(0))
    notes: list[str] = field(default_factory=list)
    retry: Retry | None = None


@dataclass(frozen=True)
class RunDir:
    """Paths of one run and the few reads and writes that everyone shares."""

    path: Path

    @classmethod
    def of(cls, results_dir: Path, run_id: str) -> RunDir:
        return cls(results_dir / "runs" / run_id)

    @property
    def run_id(self) -> str:
        return self.path.name

    @property
    def plan_path(self) -> Path:
        return self.path / "plan.json"

    @property
    def record_path(self) -> Path:
        return self.path / "record.json"

    @property
    def scores_path(self) -> Path:
        """Scores that an evaluation of the user's may leave, a name to a number."""
        return self.path / "scores.json"

    @property
    def metrics_path(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def progress_path(self) -> Path:
        return self.path / "progress.json"

    @property
    def log_path(self) -> Path:
        return self.path / "log.txt"

    @property
    def checkpoints_path(self) -> Path:
        return self.path / "checkpoints"

    @property
    def weights_path(self) -> Path:
        return self.path / "weights.safetensors"

    @property
    def evaluations_path(self) -> Path:
        return self.path / "evaluations"

    def evaluation_path(self, key: str) -> Path:
        return self.evaluations_path / f"{key}.json"

    @property
    def attempts_path(self) -> Path:
        return self.path / "attempts"

    @property
    def claim_path(self) -> Path:
        return self.path / "claim.json"

    def write_plan(self, plan: Spec) -> Spec:
        """Once; again where it is damaged, or no step was trained by it.

        Returns:
            ``plan``, evaluated as it was when its training began: what a run logs on its way is of one text.
        """
        try:
            begun = typed.load(type(plan), self._plan_content())
        except (FileNotFoundError, DamagedError):
            begun = None
        if begun is not None and (begun.evaluation_key == plan.evaluation_key or self.reached()):
            return plan.evaluated_as(begun)
        fsio.write_json(self.plan_path, typed.dump(plan))
        return plan

    def read_plan(self) -> Plan:
        return typed.load(tuple[Plan], (self._plan_content(),))[0]

    def _plan_content(self) -> dict[str, Any]:
        content = fsio.read_json(self.plan_path)
        sealed.check_is_of(self.plan_path, content, run_id=self.run_id)
        return content

    def write(self, path: Path, content: dict[str, Any]) -> None:
        """Write a small file that says whose it is."""
        fsio.write_json(path, content | {"run_id": self.run_id})

    def read(self, path: Path) -> dict[str, Any]:
        """What ``write`` was given.

        Raises:
            FileNotFoundError: there is none.
            DamagedError: it is not what was written, or another run's.
        """
        content = fsio.read_json(path)
        sealed.check_is_of(path, content, run_id=self.run_id)
        del content["run_id"]
        return content

    def write_record(self, record: RunRecord) -> None:
        fsio.write_json(self.record_path, typed.dump(record))

    def read_record(self) -> RunRecord | None:
        """The record; None for a run that never started, or whose record cannot be read: it is done again.

        Raises:
            SweepkitError: a newer version wrote it, and it cannot be read; it is not to be replaced.
        """
        return _read(self.record_path, "the run is done again")

    def write_evaluation(self, record: RunRecord) -> None:
        """What was measured on the kept weights, by its own ``evaluation_key``."""
        fsio.write_json(self.evaluation_path(record.evaluation_key), typed.dump(record))

    def read_evaluation(self, key: str) -> RunRecord | None:
        """``read_record`` of an evaluation of the kept weights."""
        return _read(self.evaluation_path(key), "it is evaluated again")

    def reached(self) -> int:
        """The furthest step that any attempt has logged or kept a checkpoint of; 0 for none."""
        kept = [path.name.removeprefix("step_") for path in self.checkpoints_path.glob("step_*")]
        logged = [row["step"] for row in self.metrics()]
        return max([*logged, *(int(step) for step in kept if step.isdecimal())], default=0)

    def say(self, text: str) -> None:
        """Append to the log that people read, a line or several."""
        fsio.append(self.log_path, f"{text}\n".encode(errors="replace"))

    def write_attempt(self, attempt: Attempt) -> None:
        self.write(self.attempts_path / f"{attempt.attempt}.json", typed.dump(attempt))

    def attempt_numbers(self) -> list[int]:
        """Of all attempts that were begun, sorted."""
        return sorted(int(path.stem) for path in self.attempts_path.glob("*.json") if path.stem.isdigit())

    def attempts(self) -> list[Attempt]:
        """Every attempt, oldest first; a damaged file is left out."""
        found = []
        for number in self.attempt_numbers():
            try:
                path = self.attempts_path / f"{number}.json"
                content = self.read(path)
                sealed.check_is_of(path, content, attempt=number)
                found.append(typed.load(Attempt, content))
            except (OSError, SweepkitError):
                continue
        return found

    def read_progress(self) -> Progress:
        """What the running process last said; all unknown where it has said nothing that can be read."""
        try:
            return typed.load(Progress, fsio.read_open_json(self.progress_path))
        except (OSError, SweepkitError):
            return Progress()

    def metrics(self) -> list[columns.Row]:
        """Rows by step, in order; where a step was logged twice the later attempt wins. No damaged ones."""
        rows: dict[int, columns.Row] = {}
        for row in fsio.read_lines(self.metrics_path):
            try:
                curve_columns.check_plausible(row)
            except ValueError as error:
                warnings.warn(f"{self.metrics_path}: {error}; that row is left out", stacklevel=2)
                continue
            if isinstance(row.get("step"), int):
                rows[row["step"]] = rows.get(row["step"], {}) | row
        return [rows[step] for step in sorted(rows)]


def _read(path: Path, remedy: str) -> RunRecord | None:
    content = None
    try:
        content = fsio.read_json(path)
        return RunRecord.from_file(path, content)
    except FileNotFoundError:
        return None
    except ValueError as error:
        sealed.check_version(path, content, SCHEMA_VERSION)
        why = f" is damaged ({error.why})" if isinstance(error, DamagedError) else f": {error}"
        warnings.warn(f"{path}{why}: {remedy}", stacklevel=3)
        return None
