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
import shutil
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

from sweepkit import fsio
from sweepkit.config import codec
from sweepkit.config.choices import AttentionBackend
from sweepkit.config.schema import RunConfig
from sweepkit.data.prepare import PreparedData, prepare
from sweepkit.distributed.team import Report, Team
from sweepkit.errors import StorageError
from sweepkit.model import attend
from sweepkit.plan import fit, text, world
from sweepkit.plan.run_plan import RunPlan
from sweepkit.precision.policy import Precision, refuse_slow_fp8, resolve
from sweepkit.results.record import FailureClass, RunDir, RunRecord, RunState
from sweepkit.training import (
    compile_lock,
    environment,
    failure,
    final_weights,
    outcome,
    sample,
    throughput,
    wandb_log,
)
from sweepkit.training import device as devices
from sweepkit.training.checkpoint import Checkpoints, TrainState
from sweepkit.training.clock import Clock
from sweepkit.training.engine import Engine, EngineKey, cannot_compile, is_compile_error
from sweepkit.training.journal import Journal
from sweepkit.training.loop import Loop
from sweepkit.training.peak_memory import PeakMemory


class Session:
    """Trains runs; see the module's docstring."""

    def __init__(
        self,
        team: Team | None = None,
        concurrency: int | None = None,
        main_memory_gib: float | None = None,
    ) -> None:
        """A session without an engine yet.

        Args:
            team: the ranks that train together; None: this process alone.
            concurrency: runs that this machine may train at a time, where the launcher knows; for the record.
            main_memory_gib: what this process may use, where the launcher knows.
        """
        self._team = team or Team()
        self._concurrency, self._main_memory_gib = concurrency, main_memory_gib
        compile_lock.use_folder()
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
                self._team.stay()
                raise SystemExit(f"rank {self._team.ranks.rank}: {record.failure_message}")

    def _attempt(
        self, plan: RunPlan, run_dir: RunDir, attempt: int, should_stop: Callable[[], bool]
    ) -> RunRecord:
        journal = Journal(plan, run_dir, attempt, leads=self._team.ranks.leads)
        record = journal.record

        def end_stuck(report: Report) -> None:
            _fail(journal, report)
            _quietly(journal.end)

        self._team.when_stuck = end_stuck
        try:
            journal.begin()
            journal.progress("starting", force=True)
            self._run(plan, run_dir, journal, should_stop)
            record.state = RunState.complete
        except (Exception, KeyboardInterrupt) as error:
            record.state, record.failure_class, record.failure_message = failure.classify(error)
            if record.failure_class not in (None, FailureClass.diverged):
                trace = traceback.format_exc()
                _quietly(lambda: journal.say(trace))
            if record.failure_class is FailureClass.crash and should_stop():
                # Whoever stopped this process may have hit its compiler's helpers: no verdict on the run.
                record.state, record.failure_class = RunState.preempted, None
            if record.failure_class is FailureClass.oom:
                self.forget()
            if self._team.ranks.size > 1 and not isinstance(error, failure.Diverged | failure.Stopped):
                self._ask_the_others(error, record, journal)
        self._team.done()
        written = _quietly(journal.end)
        if self._team.broken and self._team.ranks.leads:
            self._team.recorded()
        # Only now: were they dropped first, a kill in between would cost the whole run.
        drop = written and self._team.ranks.leads and not plan.config["trainer"]["keep_checkpoints"]
        if drop and record.state is RunState.complete:
            shutil.rmtree(run_dir.checkpoints_path, ignore_errors=True)
        return record

    def _ask_the_others(self, error: BaseException, record: RunRecord, journal: Journal) -> None:
        """``error`` may be no more than what another rank's failure looks like from here."""
        _quietly(lambda: journal.say("a rank has failed: the others end too"))
        report = self._team.cause(error, record.failure_class, record.failure_message or "")
        if report is not None:
            _fail(journal, report)

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
        """With as many threads as the run was begun with: other sums would be other bits."""
        world.check(plan, self._team.ranks.size)
        checkpoints = Checkpoints(run_dir.checkpoints_path, plan, journal.note)
        here = torch.get_num_threads()
        begun = self._team.ranks.word(checkpoints.num_threads()) or here
        if begun != here:
            journal.note(f"goes on with {begun} threads, as it was begun, instead of {here}")
            torch.set_num_threads(begun)
        try:
            self._train(plan, run_dir, journal, should_stop, checkpoints)
        finally:
            torch.set_num_threads(here)

    def _train(
        self,
        plan: RunPlan,
        run_dir: RunDir,
        journal: Journal,
        should_stop: Callable[[], bool],
        checkpoints: Checkpoints,
    ) -> None:
        record = journal.record
        config = codec.from_json(plan.config)
        ranks = self._team.ranks
        clock = Clock(plan.num_steps)
        with clock.measure("setup"):
            device = devices.choose(config.trainer.device, ranks)
            fit.check(
                plan, ranks.size, devices.name(device), devices.memory_gib(device, self._main_memory_gib)
            )
            precision = resolve(config.precision, device)
            attention = attend.choose(
                config.trainer.attention, device, precision.compute_dtype, plan.head_dim
            )
            utilisation = throughput.utilisation(plan, precision, device, ranks.size)
            record.environment = environment.describe(device)
            data = self._prepared(plan, config, journal)
        with clock.measure("compile"):
            engine = self._ready_engine(plan, config, device, precision, attention[0], journal, should_stop)
            engine.renew(plan)
        memory = PeakMemory(device, engine.kept())
        eager = self._no_compile_reason(config, device)
        record.resolved |= outcome.resolved(engine, precision, attention[1], eager, utilisation, memory)
        record.resolved |= outcome.alike(ranks, record)
        engine.gradients.agree()
        record.environment_fingerprint = environment.fingerprint(record.environment, record.resolved)
        outcome.note_data(record, data)
        state = _restored(checkpoints, engine, plan, clock, self._concurrency)
        # Losses do not depend on it and clocks do, so it is no part of the fingerprint.
        record.environment["concurrency"] = state.concurrency
        journal.resumed(state.step)
        journal.say(outcome.describe(record, clock))
        display = wandb_log.start(config.logging, plan, run_dir, journal.say, ranks.leads)
        record.wandb = display.info
        journal.write_record()
        loop = Loop(
            plan, config, engine, data, state, checkpoints, journal, display, utilisation, should_stop
        )
        failed = True
        by_rank: list[list[float]] = []
        try:
            loop.run()
            by_rank = ranks.words(outcome.of_rank(memory, state))
            if config.trainer.keep_weights and journal.is_current():
                with state.clock.measure("checkpoint"):
                    record.weights = final_weights.save(engine, run_dir)
            rate = outcome.tokens_per_s(plan, state)
            utilisation = throughput.plausible(utilisation, rate, device, precision.compute_dtype)
            record.resolved |= outcome.peak(utilisation)
            journal.say(utilisation.shown(rate) or "MFU unknown: no peak is known")
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
            by_rank = by_rank or [outcome.of_rank(memory, state)]
            record.results = outcome.results(plan, state, utilisation, by_rank)
            display.finish(record.results, failed)

    def _prepared(self, plan: RunPlan, config: RunConfig, journal: Journal) -> PreparedData:
        """The data of ``config``; the last one is kept, most runs of a session share it.

        Raises:
            DataError: the text is not the one that the plan is named by.
        """
        text.check(plan)
        value = codec.to_json(config)
        parts = ("dataset", "tokenizer", "packing", "evaluation")
        key = fsio.digest([*(value[part] for part in parts), config.horizon.sequence_len, plan.texts])
        if self._data is None or self._data[0] != key:
            self._data = None
            journal.progress("preparing data", force=True)
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
        journal.progress("compiling" if use else "starting", force=True)
        engine = Engine(plan, key, self._team.ranks)
        try:
            # One rank that stopped here would leave the others waiting.
            with compile_lock.compiling(key, should_stop if self._team.ranks.size == 1 else lambda: False):
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


def _restored(
    checkpoints: Checkpoints, engine: Engine, plan: RunPlan, clock: Clock, concurrency: int | None
) -> TrainState:
    """The state of the newest checkpoint, or the beginning."""
    state = checkpoints.restore(engine)
    if state is None:
        if checkpoints.found():
            engine.renew(plan)  # one that failed half way may have left something
        return TrainState(clock, concurrency=concurrency)
    if state.concurrency != concurrency:
        state.concurrency = None
    state.clock.setup_time_s += clock.setup_time_s
    state.clock.compile_time_s += clock.compile_time_s
    return state


def _fail(journal: Journal, report: Report) -> None:
    record = journal.record
    if report.failure_class is None:
        record.state, record.failure_class = RunState.preempted, None
    else:
        record.state, record.failure_class = RunState.failed, FailureClass(report.failure_class)
    record.failure_message = f"rank {report.rank}: {report.message}"
    _quietly(lambda: journal.say(f"rank {report.rank}: {report.trace}"))


def _quietly(write: Callable[[], None]) -> bool:
    """The last words of a run on a full disk may not fit (then False); what was written before stays."""
    try:
        write()
    except (StorageError, OSError):
        return False
    return True
