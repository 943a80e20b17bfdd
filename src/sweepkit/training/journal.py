"""All that a run writes into its folder while it lives, checkpoints apart.

metrics.jsonl grows by a row a logged step, diagnostics.jsonl by a row a diagnosed one; log.txt is for people;
progress.json says once a second where the run is; attempts/N.json and record.json are written at the start
and at the end of an attempt.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from sweepkit import fsio, patience
from sweepkit.config import sources, typed
from sweepkit.plan.run_plan import RunPlan
from sweepkit.results import diagnosed, document_losses
from sweepkit.results.conditions import Environment
from sweepkit.results.diagnosed import Diagnosed
from sweepkit.results.document_losses import DocumentLosses
from sweepkit.results.progress import Progress
from sweepkit.results.record import (
    FINAL_STATES,
    Attempt,
    Measured,
    RunDir,
    RunRecord,
    RunState,
)

_PROGRESS_EVERY_S = 1.0


class Journal:
    """The writer for one attempt of one run, or for one evaluation of the weights that it has kept.

    Attributes:
        record: what ``begin`` and ``end`` write; the session fills it.
    """

    def __init__(
        self, plan: RunPlan, run_dir: RunDir, attempt: int | None = None, leads: bool = True
    ) -> None:
        """Only the leader of several ranks writes; ``attempt`` is None for an evaluation."""
        self.plan, self.run_dir, self.attempt, self._leads = plan, run_dir, attempt, leads
        self.record = RunRecord(
            run_id=plan.run_id,
            variant_id=plan.variant_id,
            seed=plan.seed,
            state=RunState.running,
            evaluation_key=plan.evaluation_key,
            attempt=attempt or 1,
            started_at=_now(),
            num_steps=plan.num_steps,
            environment=Environment(sources=sources.digest()),
        )
        self.notes = self.record.resolved.notes
        self._started = time.monotonic()
        self._progress_at = 0.0
        self._first_step = 0

    def begin(self) -> None:
        """Open the attempt: plan, record and attempt file, each whole."""
        if not self._leads:
            return
        if self.attempt is None:
            self.say(f"evaluating the kept weights ({self.plan.evaluation_key}) on {platform.node()}")
            return
        self.run_dir.write_plan(self.plan)
        self.run_dir.write_record(self.record)
        self._write_attempt()
        for path in (self.run_dir.metrics_path, self.run_dir.path / diagnosed.FILE):
            _end_torn_line(path)
        self.say(f"attempt {self.attempt} of {self.plan.run_id} on {platform.node()}, pid {os.getpid()}")

    def resumed(self, step: int) -> None:
        """Note where this attempt goes on."""
        self._first_step = self.record.step = step
        if step:
            self.say(f"resumed after step {step}")

    def end(self) -> None:
        """Write the record and close the attempt."""
        self.record.ended_at = _now()
        self.write_record()
        self._write_attempt()
        reason = f": {self.record.failure_message}" if self.record.failure_message else ""
        self.say(f"{self.record.state} at step {self.record.step}{reason}")

    def write_record(self) -> None:
        """The record as it stands, unless a later attempt has begun."""
        if self.attempt is None:
            if self._leads and self.record.state in FINAL_STATES:
                self.run_dir.write_evaluation(self.record)
        elif self.is_current():
            self.run_dir.write_record(self.record)

    def is_current(self) -> bool:
        """Whether this process leads the run's latest attempt.

        One that stood still for long enough (its machine was suspended) was taken for dead; the run is no
        longer its own, and may be complete.
        """
        there = self.run_dir.read_record() if self._leads else None
        return self._leads and (there is None or there.attempt <= (self.attempt or 1))

    def say(self, line: str) -> None:
        """One line for people."""
        if not self._leads:
            return
        self.run_dir.say(f"{datetime.now().strftime('%H:%M:%S')} {line}")

    def note(self, line: str) -> None:
        """A line that the record keeps too."""
        self.notes.append(line)
        self.say(line)

    def metrics(self, row: Measured) -> Measured:
        """Append a row, with the attempt; returns it."""
        row = {"step": row["step"], "attempt": self.attempt} | row
        if not self._leads:
            return row
        fsio.append_line(self.run_dir.metrics_path, row)
        return row

    def diagnosed(self, row: Diagnosed) -> None:
        """Append a diagnosed step, with the attempt."""
        if self._leads and self.attempt is not None:
            row = dataclasses.replace(row, attempt=self.attempt)
            fsio.append_line(self.run_dir.path / diagnosed.FILE, typed.dump(row))

    def by_document(self, kept: Mapping[str, DocumentLosses]) -> None:
        """Keep a final evaluation's losses by document; nothing of one on the way."""
        if kept and self._leads and (self.attempt is None or self.is_current()):
            document_losses.write(self.run_dir, self.plan.evaluation_key, kept)

    def elapsed_s(self) -> float:
        """Since this attempt began."""
        return time.monotonic() - self._started

    def progress(
        self,
        phase: str,
        force: bool = False,
        *,
        loss: float | None = None,
        tokens_per_s: float | None = None,
        eta_s: float | None = None,
    ) -> None:
        """Say where the run is, at most once a second; a reader sees the old file or the new."""
        now = time.monotonic()
        if not self._leads or (not force and now - self._progress_at < _PROGRESS_EVERY_S):
            return
        self._progress_at = now
        value = Progress(
            phase=phase,
            step=self.record.step,
            num_steps=self.plan.num_steps,
            tokens_per_s=tokens_per_s,
            eta_s=eta_s,
            loss=loss,
            updated_at=_now(),
        )
        path = self.run_dir.progress_path
        temporary = path.with_name(f".progress.{os.getpid()}.tmp")
        with fsio.explain_full_disk(path):
            # No fsync, and once: it is stale within a second anyway.
            try:
                temporary.write_text(json.dumps(fsio.finite(typed.dump(value))))
                temporary.replace(path)
            except OSError as error:
                if error.errno not in patience.TRANSIENT:
                    raise

    def _write_attempt(self) -> None:
        if not self._leads or self.attempt is None:
            return
        record = self.record
        self.run_dir.write_attempt(
            Attempt(
                attempt=self.attempt,
                started_at=record.started_at,
                ended_at=record.ended_at,
                host=platform.node(),
                node=os.environ.get("SLURMD_NODENAME"),
                job=_slurm_job(),
                pid=os.getpid(),
                first_step=self._first_step,
                last_step=record.step,
                state=record.state,
                failure_class=record.failure_class,
                failure_message=record.failure_message,
                notes=self.notes,
            )
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _slurm_job() -> str | None:
    """The job or array task that this process belongs to, as squeue writes it."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID")


def _end_torn_line(path: Path) -> None:
    """A killed writer may leave half a row: end it, so that the next row stands on its own."""
    if path.exists() and not (fsio.read_bytes(path) or b"\n").endswith(b"\n"):
        fsio.append(path, b"\n")
