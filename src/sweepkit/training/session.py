"""A process that trains runs, one after the other, and keeps what the next one can use.

The engine (model, optimizer, compiled code) stays while the compile key does, and is made new in place for
every run, bit for bit what a fresh process has. Only one engine is held: when another shape is asked for, the
compiler's memory is emptied too, so that no run depends on what ran before; compiled code comes back from
the cache folder on disk, which all workers share.

Whatever goes wrong becomes the record's state; ``run`` does not raise.

Where several ranks train a run, the leader's session gives the plan to the others' (``follow``), and all do
the same; the leader alone writes.
"""

from __future__ import annotations

import gc
import os
import shutil
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from sweepkit import fsio
from sweepkit.config import codec, paths
from sweepkit.config.schema import RunConfig
from sweepkit.data.prepare import PreparedData, prepare
from sweepkit.distributed.ranks import Ranks
from sweepkit.distributed.team import Report, Team
from sweepkit.errors import ConfigError, StorageError
from sweepkit.plan import world
from sweepkit.plan.run_plan import RunPlan
from sweepkit.precision.policy import Precision, resolve
from sweepkit.results.record import FailureClass, RunDir, RunRecord, RunState
from sweepkit.training import device as devices
from sweepkit.training import environment, failure, sample, throughput, wandb_log
from sweepkit.training.checkpoint import Checkpoints, TrainState
from sweepkit.training.clock import Clock
from sweepkit.training.compile_lock import compiling
from sweepkit.training.engine import Engine, EngineKey, cannot_compile, is_compile_error
from sweepkit.training.journal import Journal
from sweepkit.training.loop import Loop
from sweepkit.training.throughput import Peak, PeakMemory

_DTYPE_NAMES = {torch.bfloat16: "bf16", torch.float32: "fp32"}


class Session:
    """Trains runs; see the module's docstring."""

    def __init__(self, team: Team | None = None) -> None:
        """``team``: the ranks that train together; None: this process alone."""
        self._team = team or Team()
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
        self._team.order({"plan": plan.to_json(), "run_dir": str(run_dir.path), "attempt": attempt})
        return self._attempt(plan, run_dir, attempt, should_stop)

    def follow(self) -> None:
        """Take part, as another rank than the leader, in what the leader runs, until it is done."""
        while (order := self._team.next_order()) is not None:
            plan, run_dir = RunPlan.from_json(order["plan"]), RunDir(Path(order["run_dir"]))
            record = self._attempt(plan, run_dir, order["attempt"], lambda: False)
            if self._team.broken:
                raise SystemExit(f"rank {self._team.ranks.rank}: {record.failure_message}")

    def _attempt(
        self, plan: RunPlan, run_dir: RunDir, attempt: int, should_stop: Callable[[], bool]
    ) -> RunRecord:
        journal = Journal(plan, run_dir, attempt, leads=self._team.ranks.leads)
        record = journal.record

        def end_stuck(report: Report) -> None:
            _fail(record, report)
            _quietly(journal.end)

        self._team.when_stuck = end_stuck
        try:
            journal.begin()
            self._run(plan, run_dir, journal, should_stop)
            record.state = RunState.complete
        except (Exception, KeyboardInterrupt) as error:
            record.state, record.failure_class, record.failure_message = failure.classify(error)
            if record.failure_class not in (None, FailureClass.diverged):
                trace = traceback.format_exc()
                _quietly(lambda: journal.say(trace))
            if record.failure_class is FailureClass.oom:
                self.forget()
            if self._team.ranks.size > 1 and not isinstance(error, failure.Diverged | failure.Stopped):
                self._ask_the_others(error, record, journal)
        self._team.done()
        written = _quietly(journal.end)
        # Only now: were they dropped first, a kill in between would cost the whole run.
        if written and record.state is RunState.complete and not plan.config["trainer"]["keep_checkpoints"]:
            shutil.rmtree(run_dir.checkpoints_path, ignore_errors=True)
        return record

    def _ask_the_others(self, error: BaseException, record: RunRecord, journal: Journal) -> None:
        """``error`` may be no more than what another rank's failure looks like from here."""
        _quietly(lambda: journal.say("a rank has failed: the others end too"))
        report = self._team.cause(error, record.failure_class, record.failure_message or "")
        if report is not None:
            _fail(record, report)

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
        ranks = self._team.ranks
        world.check(plan, ranks.size)
        clock = Clock(plan.num_steps)
        with clock.measure("setup"):
            device = devices.choose(config.trainer.device)
            precision = resolve(config.precision.dtype, device)
            peak = throughput.peak(device, precision.compute_dtype)
            memory = PeakMemory(device)
            record.environment = environment.describe(device)
            data = self._prepared(config)
        with clock.measure("compile"):
            engine = self._ready_engine(plan, config, device, precision, journal, should_stop)
        record.resolved |= _resolved(engine, precision, peak, memory, self._no_compile_reason(config, device))
        record.resolved |= _alike(ranks, record)
        engine.gradients.agree()
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
        display = wandb_log.start(config.logging, plan, run_dir, journal.say, ranks.leads)
        record.wandb = display.info
        journal.write_record()
        flops = peak.flops * ranks.size if peak.flops else None
        loop = Loop(plan, config, engine, data, state, checkpoints, journal, display, flops, should_stop)
        failed = True
        peaks_gib: list[float] = []
        try:
            loop.run()
            peaks_gib = ranks.words(memory.gib())
            if config.evaluation.sample_tokens and ranks.leads:
                record.sample = sample.write(
                    engine,
                    data.tokenizer,
                    config.evaluation.sample_prompt,
                    config.evaluation.sample_tokens,
                    plan.seed,
                )
            failed = False
        finally:
            record.results = _results(plan, state, flops, max(peaks_gib or [memory.gib()]))
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
        journal: Journal,
        should_stop: Callable[[], bool],
    ) -> Engine:
        """An engine that has compiled all it will need; eager where compiling does not work."""
        use = self._no_compile_reason(config, device) is None
        key = EngineKey(plan.compile_key, device, precision.compute_dtype, torch.get_num_threads(), use)
        if self._engine is not None and self._engine.key == key:
            return self._engine
        self.forget()
        engine = Engine(plan, key, self._team.ranks)
        try:
            # One rank that stopped here would leave the others waiting.
            with compiling(key, should_stop if self._team.ranks.size == 1 else lambda: False):
                engine.warm_up(plan)
        except Exception as error:
            if not use or failure.is_out_of_memory(error) or not is_compile_error(error):
                raise
            self._no_compile = f"torch.compile failed: {type(error).__name__}: {str(error).splitlines()[0]}"
            journal.note(f"{self._no_compile}; running eagerly")
            del engine
            return self._ready_engine(plan, config, device, precision, journal, should_stop)
        self._engine = engine
        return engine


def _resolved(
    engine: Engine, precision: Precision, peak: Peak, memory: PeakMemory, no_compile: str | None
) -> dict[str, Any]:
    return {
        "dtype": _DTYPE_NAMES[precision.compute_dtype],
        "dtype_reason": precision.reason,
        "device": engine.device.type,
        "num_threads": engine.key.num_threads,
        "compile": {"used": engine.key.compile, "reason": no_compile},
        "attention": "torch scaled_dot_product_attention",
        "peak_flops": peak.flops,
        "peak_flops_source": peak.source,
        "peak_memory_source": memory.source,
    }


def _describe(record: RunRecord, clock: Clock) -> str:
    resolved = record.resolved
    compiled = resolved["compile"]
    how = f"compiled in {clock.compile_time_s:.1f} s" if compiled["used"] else f"eager ({compiled['reason']})"
    return (
        f"{_ranks_in_words(resolved)}{record.environment['hardware']}, {resolved['device']}, "
        f"{resolved['num_threads']} threads; "
        f"{resolved['dtype']} ({resolved['dtype_reason']}); {how}; set up in {clock.setup_time_s:.1f} s"
    )


def _ranks_in_words(resolved: dict[str, Any]) -> str:
    if "num_ranks" not in resolved:
        return ""
    return f"{resolved['num_ranks']} ranks on {', '.join(resolved['hosts'])}, each: "


def _alike(ranks: Ranks, record: RunRecord) -> dict[str, Any]:
    """How many ranks there are, and where; nothing for a process alone.

    Raises:
        ConfigError: they would not compute the same.
    """
    if ranks.size == 1:
        return {}
    mine = [record.environment["host"], *(record.resolved[name] for name in ("dtype", "device"))]
    others = ranks.words([*mine, record.environment["hardware"], record.environment["versions"]["torch"]])
    if len({tuple(other[1:]) for other in others}) > 1:
        shown = "; ".join(f"rank {rank}: {', '.join(other)}" for rank, other in enumerate(others))
        raise ConfigError(
            f"the ranks of this run are unlike ({shown}), but must have one dtype, device and torch; choose "
            "like nodes (launcher.slurm.constraint), or set precision.dtype"
        )
    return {"num_ranks": ranks.size, "hosts": list(dict.fromkeys(other[0] for other in others))}


def _fail(record: RunRecord, report: Report) -> None:
    record.state, record.failure_class = RunState.failed, FailureClass(report.failure_class)
    record.failure_message = f"rank {report.rank}: {report.message}"


def _results(plan: RunPlan, state: TrainState, peak_flops: float | None, peak_gib: float) -> dict[str, Any]:
    """The record's results; a number that was not measured is None."""
    clock = state.clock
    mean = clock.mean_step_time_s
    tokens_per_s = plan.total_batch_size / mean if mean else None
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
        "mfu": throughput.mfu(plan.flops_per_token, tokens_per_s, peak_flops) if tokens_per_s else None,
        "peak_memory_gib": peak_gib,
        "total_flops": state.step * plan.total_batch_size * plan.flops_per_token,
        "total_tokens": state.step * plan.total_batch_size,
    }


def _quietly(write: Callable[[], None]) -> bool:
    """The last words of a run on a full disk may not fit (then False); what was written before stays."""
    try:
        write()
    except (StorageError, OSError):
        return False
    return True
