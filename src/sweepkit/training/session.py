"""A process that trains runs, one after the other, and keeps what the next one can use.

The engine (model, optimizer, compiled code) stays while the compile key does, and is made new in place for
every run, bit for bit what a fresh process has. Only one engine is held: when another shape is asked for, the
compiler's memory is emptied too, so that no run depends on what ran before; compiled code comes back from
the cache folder on disk, which all workers share.

Whatever goes wrong becomes the record's state; ``run`` does not raise.
"""

from __future__ import annotations

import gc
import os
import shutil
import traceback
from collections.abc import Callable
from typing import Any

import torch

from sweepkit import fsio
from sweepkit.config import codec, paths
from sweepkit.config.schema import AttentionBackend, RunConfig
from sweepkit.data.prepare import PreparedData, prepare
from sweepkit.errors import StorageError
from sweepkit.model import attend
from sweepkit.plan.run_plan import RunPlan
from sweepkit.precision.policy import Precision, refuse_slow_fp8, resolve
from sweepkit.results.record import FailureClass, RunDir, RunRecord, RunState
from sweepkit.training import device as devices
from sweepkit.training import environment, failure, sample, throughput, wandb_log
from sweepkit.training.checkpoint import Checkpoints, TrainState
from sweepkit.training.clock import Clock
from sweepkit.training.compile_lock import compiling
from sweepkit.training.engine import Engine, EngineKey, cannot_compile, is_compile_error
from sweepkit.training.journal import Journal
from sweepkit.training.loop import Loop
from sweepkit.training.throughput import PeakMemory, Utilisation


class Session:
    """Trains runs; see the module's docstring."""

    def __init__(self) -> None:
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(paths.cache_dir() / "inductor"))
        self._engine: Engine | None = None
        self._no_compile: str | None = None  # why compiling failed in this process
        self._data: tuple[str, PreparedData] | None = None

    def run(
        self,
        plan: RunPlan,
        run_dir: RunDir,
        attempt: int,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> RunRecord:
        """Train ``plan`` from its newest checkpoint, or from the start, to the end.

        Args:
            plan: the run.
            run_dir: where everything about it is written.
            attempt: number of this attempt, from 1.
            should_stop: polled between steps; True ends the run as ``preempted``, with a checkpoint.

        Returns:
            The record as written: complete, diverged, failed or preempted. On a full disk the file may be an
            older one.
        """
        journal = Journal(plan, run_dir, attempt)
        record = journal.record
        try:
            journal.begin()
            self._run(plan, run_dir, journal, should_stop)
            record.state = RunState.complete
        except (Exception, KeyboardInterrupt) as error:
            record.state, record.failure_class, record.failure_message = failure.classify(error)
            if record.failure_class not in (None, FailureClass.diverged):
                _quietly(lambda: journal.say(traceback.format_exc()))
            if record.failure_class is FailureClass.oom:
                self.forget()
        written = _quietly(journal.end)
        # Only now: were they dropped first, a kill in between would cost the whole run.
        if written and record.state is RunState.complete and not plan.config["trainer"]["keep_checkpoints"]:
            shutil.rmtree(run_dir.checkpoints_path, ignore_errors=True)
        return record

    def forget(self) -> None:
        """Drop the engine and its memory."""
        compiled = self._engine is not None and self._engine.key.compile
        self._engine = None
        if compiled:  # imports the compiler, which takes a second
            torch.compiler.reset()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _run(self, plan: RunPlan, run_dir: RunDir, journal: Journal, should_stop: Callable[[], bool]) -> None:
        journal.progress("compiling", force=True)
        record = journal.record
        config = codec.from_json(plan.config)
        clock = Clock(plan.num_steps)
        with clock.measure("setup"):
            device = devices.choose(config.trainer.device)
            precision = resolve(config.precision, device)
            attention = attend.choose(config.trainer.attention, device, precision.compute_dtype)
            utilisation = throughput.utilisation(plan, precision, device)
            memory = PeakMemory(device)
            record.environment = environment.describe(device)
            data = self._prepared(config)
        with clock.measure("compile"):
            engine = self._ready_engine(plan, config, device, precision, attention[0], journal, should_stop)
        record.resolved |= _resolved(engine, precision, utilisation, memory)
        record.resolved |= {
            "attention": attention[0].name,
            "attention_reason": attention[1],
            "compile": {"used": engine.key.compile, "reason": self._no_compile_reason(config, device)},
        }
        record.environment_fingerprint = environment.fingerprint(record.environment, record.resolved)
        record.evaluation_fingerprints = {stream.name: stream.fingerprint for stream in data.streams}
        record.packing = dict(data.packing_stats)
        engine.renew(plan)
        checkpoints = Checkpoints(run_dir.checkpoints_path, plan, journal.note)
        state = checkpoints.restore(engine)
        if state is None:
            if checkpoints.found():
                engine.renew(plan)  # one that failed half way may have left something
            state = TrainState(clock)
        else:
            state.clock.setup_time_s += clock.setup_time_s
            state.clock.compile_time_s += clock.compile_time_s
        journal.resumed(state.step)
        journal.say(_describe(record, clock))
        display = wandb_log.start(config.logging, plan, run_dir, journal.say)
        record.wandb = display.info
        run_dir.write_record(record)
        loop = Loop(
            plan, config, engine, data, state, checkpoints, journal, display, utilisation, should_stop
        )
        failed = True
        try:
            loop.run()
            journal.say(utilisation.shown(_tokens_per_s(plan, state)) or "MFU unknown: no peak is known")
            if config.evaluation.sample_tokens:
                record.sample = sample.write(
                    engine,
                    data.tokenizer,
                    config.evaluation.sample_prompt,
                    config.evaluation.sample_tokens,
                    plan.seed,
                )
            failed = False
        finally:
            record.results = _results(plan, state, utilisation, memory)
            display.finish(record.results, failed)

    def _prepared(self, config: RunConfig) -> PreparedData:
        """The data of ``config``; the last one is kept, most runs of a session share it."""
        value = codec.to_json(config)
        parts = ("dataset", "tokenizer", "packing", "evaluation")
        key = fsio.digest([*(value[part] for part in parts), config.horizon.sequence_len])
        if self._data is None or self._data[0] != key:
            self._data = None
            self._data = key, prepare(config)
        return self._data[1]

    def _no_compile_reason(self, config: RunConfig, device: torch.device) -> str | None:
        if not config.trainer.compile:
            return "trainer.compile=false"
        return self._no_compile or cannot_compile(device)

    def _ready_engine(
        self,
        plan: RunPlan,
        config: RunConfig,
        device: torch.device,
        precision: Precision,
        attention: AttentionBackend,
        journal: Journal,
        should_stop: Callable[[], bool],
    ) -> Engine:
        """An engine that has compiled all it will need; eager where compiling does not work."""
        no_compile = self._no_compile_reason(config, device)
        refuse_slow_fp8(precision, config.precision.fp8, no_compile)
        use = no_compile is None
        key = EngineKey(
            plan.compile_key,
            device,
            precision.compute_dtype,
            torch.get_num_threads(),
            use,
            precision.fp8,
            attention,
        )
        if self._engine is not None and self._engine.key == key:
            return self._engine
        self.forget()
        engine = Engine(plan, key)
        try:
            with compiling(key, should_stop):
                engine.warm_up(plan)
        except Exception as error:
            if not use or failure.is_out_of_memory(error) or not is_compile_error(error):
                raise
            self._no_compile = f"torch.compile failed: {type(error).__name__}: {str(error).splitlines()[0]}"
            journal.note(f"{self._no_compile}; running eagerly")
            del engine
            return self._ready_engine(plan, config, device, precision, attention, journal, should_stop)
        self._engine = engine
        return engine


def _resolved(
    engine: Engine, precision: Precision, utilisation: Utilisation, memory: PeakMemory
) -> dict[str, Any]:
    """What the node made of the plan."""
    value: dict[str, Any] = {
        "dtype": precision.dtype.name,
        "dtype_reason": precision.reason,
        "device": engine.device.type,
        "num_threads": engine.key.num_threads,
        "peak_flops": utilisation.peak.flops,
        "peak_flops_source": utilisation.peak.source,
        "peak_memory_source": memory.source,
    }
    if precision.fp8 is not None:
        value["fp8"] = {
            "backend": precision.fp8.name,
            "reason": precision.fp8_reason,
            "num_layers": engine.num_fp8_layers,
        }
    if utilisation.fp8_peak is not None:
        value["fp8"] |= {
            "flops_share": utilisation.fp8_flops_per_token / utilisation.flops_per_token,
            "peak_flops": utilisation.fp8_peak.flops,
            "peak_flops_source": utilisation.fp8_peak.source,
        }
    return value


def _describe(record: RunRecord, clock: Clock) -> str:
    resolved = record.resolved
    compiled = resolved["compile"]
    how = f"compiled in {clock.compile_time_s:.1f} s" if compiled["used"] else f"eager ({compiled['reason']})"
    fp8 = resolved.get("fp8")
    layers = f", {fp8['num_layers']} layers {fp8['backend']} ({fp8['reason']})" if fp8 else ""
    return (
        f"{record.environment['hardware']}, {resolved['device']}, {resolved['num_threads']} threads; "
        f"{resolved['dtype']} ({resolved['dtype_reason']}{layers}); attention {resolved['attention']} "
        f"({resolved['attention_reason']}); {how}; set up in {clock.setup_time_s:.1f} s"
    )


def _results(
    plan: RunPlan, state: TrainState, utilisation: Utilisation, memory: PeakMemory
) -> dict[str, Any]:
    """The record's results; a number that was not measured is None."""
    clock = state.clock
    mean, tokens_per_s = clock.mean_step_time_s, _tokens_per_s(plan, state)
    done = state.evaluated_step == plan.num_steps
    bpb: dict[str, float | None] = dict(state.bpb) if done else {"val_bpb": None}
    return bpb | {
        "final_train_loss": state.last_loss,
        "train_time_s": clock.train_time_s if mean else None,
        "median_step_time_s": clock.median_step_time_s,
        "num_timed_steps": len(clock.step_times_s),
        "setup_time_s": clock.setup_time_s,
        "compile_time_s": clock.compile_time_s,
        "eval_time_s": clock.eval_time_s,
        "checkpoint_time_s": clock.checkpoint_time_s,
        "tokens_per_s": tokens_per_s,
        **utilisation.mfu(tokens_per_s),
        "num_skipped_steps": state.num_skipped_steps,
        "peak_memory_gib": memory.gib(),
        "total_flops": state.step * plan.total_batch_size * plan.flops_per_token,
        "total_tokens": state.step * plan.total_batch_size,
    }


def _tokens_per_s(plan: RunPlan, state: TrainState) -> float | None:
    mean = state.clock.mean_step_time_s
    return plan.total_batch_size / mean if mean else None


def _quietly(write: Callable[[], None]) -> bool:
    """The last words of a run on a full disk may not fit (then False); what was written before stays."""
    try:
        write()
    except (StorageError, OSError):
        return False
    return True
