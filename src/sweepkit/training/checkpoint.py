"""Checkpoints: whole or absent, checksummed, and no code in them.

``checkpoints/step_000100/`` holds ``state.safetensors`` (parameters and optimizer state, keyed by parameter
name, unsharded) and ``meta.json`` (step, clocks, SHA-256 of the state, and one of all that). The folder is
written under another name, fsynced and renamed, so a killed writer leaves nothing that looks like a
checkpoint. The last two are kept while a run lives. ``restore`` takes the newest that is intact and says what
it passed over; with none left the run starts again from step 0, which costs time but no correctness. Those
passed over are later than what the run then saves: they go with its first save, so that they push out nothing
that is of use.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from sweepkit import fsio, patience
from sweepkit.config import sources, typed
from sweepkit.errors import CheckpointError, DamagedError, StorageError, SweepkitError
from sweepkit.plan.run_plan import RunPlan
from sweepkit.training import tensor_file
from sweepkit.training.clock import Clock
from sweepkit.training.engine import Engine

SCHEMA_VERSION = 1
NUM_KEPT = 2
_STATE, _META = "state.safetensors", "meta.json"


@dataclass
class TrainState:
    """Where a run is. All else about step s follows from the plan."""

    clock: Clock
    step: int = 0  # finished steps
    first_loss: float | None = None  # nats
    last_loss: float | None = None
    evaluated_step: int | None = None
    num_skipped_steps: int = 0  # fp16: gradients overflowed
    bpb: dict[str, float] = field(default_factory=dict)  # of the last evaluation
    concurrency: int | None = None  # of all attempts that the clock has measured; None: not one, or not known


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, folder: Path, plan: RunPlan, say: Callable[[str], None]) -> None:
        """``say`` takes one line for the run's log."""
        self._folder, self._plan, self._say = folder, plan, say
        self.saved_step: int | None = None

    def found(self) -> list[Path]:
        """Checkpoint folders, newest first, intact or not."""
        paths = [path for path in self._folder.glob("step_*") if path.name[5:].isdecimal()]
        return sorted(paths, key=lambda path: int(path.name[5:]), reverse=True)

    def save(self, state: TrainState, engine: Engine) -> None:
        """Write ``state`` and ``engine``, then drop all but this and the one before; every rank must ask.

        Raises:
            StorageError: the disk is full; earlier checkpoints are as they were.
        """
        if self.saved_step == state.step:
            return
        if not engine.ranks.leads:
            engine.state_dict()  # the leader writes what the others have, too
            self.saved_step = state.step
            return
        target = self._folder / f"step_{state.step:06d}"
        temporary = self._folder / f".{target.name}.{os.getpid()}.tmp"
        try:
            with fsio.explain_full_disk(target), state.clock.measure("checkpoint"):
                tensors = engine.state_dict()
                checksum = patience.patiently(lambda: _write_tensors(temporary, tensors))
            meta = {
                "schema_version": SCHEMA_VERSION,
                "run_id": self._plan.run_id,
                "sources": sources.digest(),
                "compute_dtype": str(engine.key.compute_dtype),
                "num_threads": engine.key.num_threads,
                "state_sha256": checksum,
                "state": typed.dump(state),
            }
            fsio.write_json(temporary / _META, meta)
            with fsio.explain_full_disk(target):
                patience.patiently(lambda: _put(temporary, target))
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        self.saved_step = state.step
        found = self.found()
        newest = found.index(target)
        for other in found[:newest] + found[newest + NUM_KEPT :]:
            shutil.rmtree(other, ignore_errors=True)

    def num_threads(self) -> int | None:
        """Threads that the run has been computed with so far; None where nothing tells."""
        for folder in self.found():
            with contextlib.suppress(OSError, SweepkitError, KeyError):
                return int(fsio.read_json(folder / _META)["num_threads"])
        return None

    def restore(self, engine: Engine) -> TrainState | None:
        """Load the newest intact checkpoint into ``engine``; None when there is none.

        Every rank must ask; all load what the leader could.

        Raises:
            CheckpointError: another rank cannot read it.
        """
        if not engine.ranks.leads:
            name = engine.ranks.word()
            state = None if name is None else load(self._folder / name, self._plan, engine)
            self.saved_step = None if state is None else state.step
            return state
        state = self._restore(engine)
        engine.ranks.word(None if state is None else f"step_{state.step:06d}")
        return state

    def _restore(self, engine: Engine) -> TrainState | None:
        for leftover in self._folder.glob(".step_*.tmp"):  # of a killed writer
            shutil.rmtree(leftover, ignore_errors=True)
        found = self.found()
        for folder in found:
            try:
                state = load(folder, self._plan, engine)
            except CheckpointError as error:
                self._say(f"checkpoint passed over: {error}")
                continue
            self.saved_step = state.step
            return state
        if found:
            self._say("no checkpoint is usable: starting again from step 0")
        return None


def load(folder: Path, plan: RunPlan, engine: Engine) -> TrainState:
    """Load one checkpoint into ``engine``.

    Raises:
        CheckpointError: it is incomplete, corrupt, or of another run, dtype or code; a corrupt one is found
            by its checksum before anything is loaded.
    """

    def bad(what: str, contract: str) -> CheckpointError:
        return CheckpointError(
            f"{folder} {what}, but must {contract}; delete it to start from an earlier one"
        )

    try:
        meta = fsio.read_json(folder / _META)
        if meta["run_id"] != plan.run_id:
            raise bad(f"is of run {meta['run_id']}", f"be of {plan.run_id}")
        if meta["sources"] != sources.digest():
            raise bad(
                f"was written by other code (sources {meta['sources']})",
                f"be of the sources that go on with it ({sources.digest()})",
            )
        if meta["compute_dtype"] != str(engine.key.compute_dtype):
            raise bad(f"is in {meta['compute_dtype']}", f"be in this node's {engine.key.compute_dtype}")
        if not (folder / _STATE).is_file():
            raise bad(f"has no file {_STATE}", "hold a whole checkpoint")
        if fsio.sha256(folder / _STATE) != meta["state_sha256"]:
            raise bad("is corrupt (its content does not match its SHA-256)", "be as it was written")
        state = typed.load(TrainState, meta["state"])
        engine.load_state_dict(tensor_file.load(folder / _STATE))
    except (OSError, ValueError, KeyError, TypeError, tensor_file.SafetensorError) as error:
        if isinstance(error, CheckpointError | StorageError):
            raise
        why = error.why if isinstance(error, DamagedError) else f"{type(error).__name__}: {error}"
        raise bad(f"cannot be read ({why})", "hold a whole checkpoint") from error
    return state


def _write_tensors(folder: Path, tensors: Mapping[str, Tensor]) -> str:
    """Into a new folder; returns the file's SHA-256."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return tensor_file.write(folder / _STATE, tensors)


def _put(temporary: Path, target: Path) -> None:
    if temporary.exists():
        shutil.rmtree(target, ignore_errors=True)
        temporary.replace(target)
    with contextlib.suppress(OSError):
        fsio.sync(target.parent)
