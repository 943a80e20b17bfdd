"""A process that trains runs, one after the other, and keeps what the next one can use.

The engine (``bench.py``) is made new in place for every run, bit for bit what a fresh process has.

Whatever goes wrong becomes the record's state; neither ``run`` nor ``evaluate`` raises.

Where several ranks train a run, the leader's session gives the plan to the others' (``follow``), and all do
the same; the leader alone writes.
"""

from __future__ import annotations

import contextlib
import functools
import math
import shutil
import traceback
from collections.abc import Callable, Iterator

import torch

from sweepkit.distributed.team import Order, Report, Team
from sweepkit.errors import ConfigError, StorageError
from sweepkit.plan import cost, world
from sweepkit.plan.run_plan import RunPlan
from sweepkit.results.document_losses import Kept
from sweepkit.results.record import FailureClass, RunDir, RunRecord, RunState
from sweepkit.training import (
    core_run,
    environment,
    failure,
    final_weights,
    recording,
    sample,
    throughput,
    wandb_log,
)
from sweepkit.training import device as devices
from sweepkit.training.bench import Bench, Chosen
from sweepkit.training.checkpoint import Checkpoints, TrainState
from sweepkit.training.clock import Clock
from sweepkit.training.engine import Engine
from sweepkit.training.evaluation import evaluate
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
        self._bench = Bench(self._team.ranks)

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
        self._team.order(Order(plan, run_dir.path, attempt))
        return self._attempt(plan, run_dir, attempt, should_stop)

    def evaluate(
        self, plan: RunPlan, run_dir: RunDir, should_stop: Callable[[], bool] = lambda: False
    ) -> RunRecord:
        """Measure what ``plan`` asks for on the weights that a complete run has kept.

        Args:
            should_stop: polled once a batch; True ends it as ``preempted``, and nothing is written.

        Returns:
            The record of the evaluation, as written beside the run's own (``evaluations/KEY.json``).
        """
        self._team.order(Order(plan, run_dir.path, None))
        return self._evaluation(plan, run_dir, should_stop)

    def follow(self) -> None:
        """Take part, as another rank than the leader, in what the leader runs, until it is done."""
        while (order := self._team.next_order()) is not None:
            run_dir = RunDir(order.run_dir)
            if order.attempt is None:
                record = self._evaluation(order.plan, run_dir, lambda: False)
            else:
                record = self._attempt(order.plan, run_dir, order.attempt, lambda: False)
            if self._team.broken:
                self._team.stay()
                raise SystemExit(f"rank {self._team.ranks.rank}: {record.failure_message}")

    def _attempt(
        self, plan: RunPlan, run_dir: RunDir, attempt: int, should_stop: Callable[[], bool]
    ) -> RunRecord:
        journal = Journal(plan, run_dir, attempt, leads=self._team.ranks.leads)
        work = functools.partial(self._run, plan, run_dir, journal, should_stop)
        written = self._carry_out(journal, work, should_stop)
        # Only now: were they dropped first, a kill in between would cost the whole run.
        drop = written and self._team.ranks.leads and not plan.config.trainer.keep_checkpoints
        if drop and journal.record.state is RunState.complete:
            shutil.rmtree(run_dir.checkpoints_path, ignore_errors=True)
        return journal.record

    def _evaluation(self, plan: RunPlan, run_dir: RunDir, should_stop: Callable[[], bool]) -> RunRecord:
        journal = Journal(plan, run_dir, leads=self._team.ranks.leads)
        work = functools.partial(self._evaluate, plan, run_dir, journal, should_stop)
        self._carry_out(journal, work, should_stop)
        return journal.record

    def _carry_out(self, journal: Journal, work: Callable[[], None], should_stop: Callable[[], bool]) -> bool:
        """Do ``work`` and record how it ended; whether that could be written."""
        record = journal.record

        def end_stuck(report: Report) -> None:
            _fail(journal, report)
            _quietly(journal.end)

        self._team.when_stuck = end_stuck
        try:
            journal.begin()
            journal.progress("starting", force=True)
            work()
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
                self._bench.forget()
            if self._team.ranks.size > 1 and not isinstance(error, failure.Diverged | failure.Stopped):
                self._ask_the_others(error, record, journal)
        self._team.done()
        written = _quietly(journal.end)
        if self._team.broken and self._team.ranks.leads:
            self._team.recorded()
        return written

    def _ask_the_others(self, error: BaseException, record: RunRecord, journal: Journal) -> None:
        """``error`` may be no more than what another rank's failure looks like from here."""
        _quietly(lambda: journal.say("a rank has failed: the others end too"))
        report = self._team.cause(error, record.failure_class, record.failure_message or "")
        if report is not None:
            _fail(journal, report)

    def _run(self, plan: RunPlan, run_dir: RunDir, journal: Journal, should_stop: Callable[[], bool]) -> None:
        """With as many threads as the run was begun with: other sums would be other bits."""
        world.check(plan, self._team.ranks.size)
        checkpoints = Checkpoints(run_dir.checkpoints_path, plan, journal.note)
        with self._threads_of(checkpoints.num_threads(), journal):
            self._train(plan, run_dir, journal, should_stop, checkpoints)

    @contextlib.contextmanager
    def _threads_of(self, begun: int | None, journal: Journal) -> Iterator[None]:
        here = torch.get_num_threads()
        begun = self._team.ranks.word(begun) or here
        if begun != here:
            journal.note(f"goes on with {begun} threads, as it was begun, instead of {here}")
            torch.set_num_threads(begun)
        try:
            yield
        finally:
            torch.set_num_threads(here)

    def _evaluate(
        self, plan: RunPlan, run_dir: RunDir, journal: Journal, should_stop: Callable[[], bool]
    ) -> None:
        """With the threads that trained it, so that the same text gives the same bits."""
        trained, record, ranks = run_dir.read_record(), journal.record, self._team.ranks
        if trained is None or trained.state is not RunState.complete:
            raise ConfigError(f"{run_dir.path} has no complete run, but must have one to be evaluated")
        record.weights, record.step = trained.weights, trained.step
        config = plan.config
        with self._threads_of(trained.resolved.num_threads, journal):
            chosen = Chosen.of(plan, config, ranks)
            record.environment = environment.describe(chosen.device)
            data = self._bench.data(plan, config, journal)
            engine = self._bench.ready_engine(plan, config, chosen, journal, should_stop, trains=False)
            kept = final_weights.load(run_dir, trained)
            eager = self._bench.no_compile_reason(config, chosen.device)
            recording.note_resolved(record, engine, chosen, eager, ranks)
            recording.note_data(record, data)
            clock = Clock(plan.num_steps)
            bpb: dict[str, float] = {}
            by_document: Kept = {}
            for ema, weights in kept.items():
                final_weights.put(weights, engine, run_dir)
                mine: Kept = {}
                with clock.measure("eval"):
                    found = evaluate(
                        engine,
                        data.streams,
                        data.tokenizer,
                        plan.device_batch_size,
                        lambda: ranks.agreed(should_stop()),
                        lambda frac: journal.progress(f"evaluating {frac:.0%}"),
                        mine,
                    )
                    by_document |= {f"{ema}{name}": item for name, item in mine.items()}
                    bpb |= {f"{ema}{name}": value for name, value in found.items()}
                    if data.core is not None and all(map(math.isfinite, bpb.values())):
                        bpb |= core_run.evaluate(
                            engine,
                            data.core,
                            data.tokenizer,
                            plan,
                            run_dir,
                            record.environment_fingerprint,
                            ema,
                            lambda: ranks.agreed(should_stop()),
                            lambda label, frac: journal.progress(f"asking {label} {frac:.0%}"),
                        )
            if bad := [name for name, value in bpb.items() if not math.isfinite(value)]:
                raise failure.Diverged(f"{bad[0]} of its kept weights is {bpb[bad[0]]}")
            journal.by_document(by_document)
            record.results = {**bpb, "eval_time_s": clock.eval_time_s}

    def _train(
        self,
        plan: RunPlan,
        run_dir: RunDir,
        journal: Journal,
        should_stop: Callable[[], bool],
        checkpoints: Checkpoints,
    ) -> None:
        record = journal.record
        config = plan.config
        ranks = self._team.ranks
        clock = Clock(plan.num_steps)
        with clock.measure("setup"):
            chosen = Chosen.of(plan, config, ranks)
            device, precision = chosen.device, chosen.precision
            cost.check_memory(
                plan, ranks.size, devices.name(device), devices.memory_gib(device, self._main_memory_gib)
            )
            utilisation = throughput.utilisation(plan, precision, device, ranks.size)
            record.environment = environment.describe(device)
            data = self._bench.data(plan, config, journal)
        with clock.measure("compile"):
            engine = self._bench.ready_engine(plan, config, chosen, journal, should_stop)
            engine.renew(plan)
        memory = PeakMemory(device, engine.kept())
        eager = self._bench.no_compile_reason(config, device)
        recording.note_resolved(record, engine, chosen, eager, ranks)
        recording.note_speed(record, utilisation, memory)
        engine.gradients.agree()
        recording.note_data(record, data)
        state = _restored(checkpoints, engine, plan, clock, self._concurrency)
        # Losses do not depend on it and clocks do, so it is no part of the fingerprint.
        record.environment.concurrency = state.concurrency
        journal.resumed(state.step)
        journal.say(recording.describe(record, clock))
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
            by_rank = ranks.words(recording.of_rank(memory, state))
            if config.trainer.keep_weights:
                with state.clock.measure("checkpoint"):
                    record.weights = final_weights.save(engine, run_dir, journal.is_current())
            rate = recording.tokens_per_s(plan, state)
            utilisation = throughput.plausible(utilisation, rate, device, precision.compute_dtype)
            recording.note_peak(record, utilisation)
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
            by_rank = by_rank or [recording.of_rank(memory, state)]
            record.results = recording.results(plan, state, utilisation, by_rank, data)
            display.finish(record.results, failed)


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
