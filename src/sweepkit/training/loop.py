"""The training loop: from a state to the end of the run, or to what stopped it.

One step: schedules, gradients of the planned batch in micro-steps, optimizer, loss; where the batch is
divided (``schedule.batch_ramp``), each part makes an update of its own. Between steps, each at its own
interval: evaluation, checkpoint, rows and progress. All intervals count finished steps, so a resumed run does
the same things at the same steps as one that was never cut.

Clocks: a step's time is what its own work took, waiting for data included; diagnostics are taken out.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sweepkit.config.schema import RunConfig
from sweepkit.data.prepare import PreparedData
from sweepkit.data.streams import EvalStream
from sweepkit.optim import schedule
from sweepkit.plan.run_plan import RunPlan
from sweepkit.results import core_outcomes
from sweepkit.results.document_losses import Kept
from sweepkit.results.record import Measured
from sweepkit.sweep.metric import EMA
from sweepkit.training import core_run
from sweepkit.training import device as devices
from sweepkit.training.checkpoint import Checkpoints, TrainState
from sweepkit.training.diagnostics import StepProbe
from sweepkit.training.engine import Engine
from sweepkit.training.evaluation import evaluate
from sweepkit.training.failure import Diverged, Stopped
from sweepkit.training.garbage import FrozenGarbage
from sweepkit.training.journal import Journal
from sweepkit.training.low_mfu import MfuWatch
from sweepkit.training.prefetch import MicroBatch, Prefetcher
from sweepkit.training.throughput import Utilisation
from sweepkit.training.time_left import TimeLeft
from sweepkit.training.wandb_log import Display


@dataclass
class Loop:
    """One attempt at one run. ``state`` is where it is; everything else stays as it is."""

    plan: RunPlan
    config: RunConfig
    engine: Engine
    data: PreparedData
    state: TrainState
    checkpoints: Checkpoints
    journal: Journal
    display: Display
    utilisation: Utilisation
    should_stop: Callable[[], bool]
    saved_at: float = field(default_factory=time.monotonic)  # or begun

    def run(self) -> None:
        """Train and evaluate to the end.

        Raises:
            Diverged: the loss is not finite or has exploded.
            Stopped: ``should_stop`` said so; a checkpoint was saved.
        """
        plan, trainer = self.plan, self.config.trainer
        self.watch = MfuWatch(
            self.utilisation,
            plan.total_batch_size,
            self.engine.device,
            self.engine.key.compile,
            plan.device_batch_size,
        )
        at_end = sum(stream.num_rows for stream in self.data.streams)
        between = [stream for stream in self.data.streams if not stream.is_holdout]
        self.time_left = TimeLeft(
            plan.num_steps,
            plan.total_batch_size // plan.sequence_len,
            self.config.evaluation.every_steps,
            sum(stream.num_rows for stream in between),
            2 * at_end if self.engine.optimizer.averages_weights else at_end,
        )
        loader = self.data.train(plan.seed, plan.total_batch_size, plan.sequence_len)
        batches = Prefetcher(
            loader,
            self.state.step,
            plan.num_steps,
            plan.device_batch_size,
            self.engine.device,
            self.engine.ranks,
            lambda step: schedule.updates_in(step, plan),
        )
        with batches, FrozenGarbage(trainer.gc_every_steps) as garbage:
            while True:
                try:
                    self._evaluate_if_due()
                    if self._stop_agreed() and self.state.step < plan.num_steps:
                        raise Stopped("asked to stop")
                except Stopped as stopped:
                    if self.state.step:
                        self.checkpoints.save(self.state, self.engine)
                    raise Stopped(f"{stopped}; checkpoint at step {self.state.step}") from None
                self._save_if_due()
                if self.state.step == plan.num_steps:
                    return
                self._step(batches)
                garbage.after_step()

    def _stop_agreed(self) -> bool:
        """Whether to stop: asked at the same places on all ranks, where the leader's word counts."""
        return self.engine.ranks.agreed(self.should_stop())

    def _step(self, batches: Prefetcher) -> None:
        step, num = self.state.step, self.state.step + 1
        ranks, optimizer = self.engine.ranks, self.engine.optimizer
        ranks.waiting.clear()
        started = time.perf_counter()
        micro_batches = batches.take()
        waiting_s = time.perf_counter() - started
        num_parts = schedule.updates_in(step, self.plan)
        size = len(micro_batches) // num_parts
        losses: list[Tensor] = []
        measured: dict[str, float] = {}
        probe = StepProbe(self.engine, self.plan) if self._is_diagnosed(num) else None
        for part in range(num_parts):
            self.engine.set_step(self.plan, step, self.state.num_skipped_steps, part)
            is_last = part == num_parts - 1
            losses += self._backward(
                micro_batches[part * size : (part + 1) * size], probe if is_last else None
            )
            finite = self.engine.unscale()
            grad_norm = optimizer.clip() if finite else None
            if finite and is_last and probe is not None:
                grad_norm = probe.before_update(grad_norm)
            if finite:
                measured = self.engine.step(self.plan)
            else:
                self.state.num_skipped_steps += 1
            if not is_last:
                optimizer.zero_grad()
        loss = self.engine.mean_over_ranks(math.fsum(loss.item() for loss in losses) / len(losses))
        devices.synchronize(self.engine.device)
        seconds = time.perf_counter() - started - (probe.seconds if probe else 0.0)
        communication_s = ranks.waiting.seconds() if ranks.size > 1 else None
        diagnostics: dict[str, float | None] = {}
        if probe is not None and finite:
            diagnostics, diagnosed = probe.measure(step, loss, micro_batches[0][0])
            self.journal.diagnosed(diagnosed)
        optimizer.zero_grad()
        warning = self.watch.after_step(seconds, waiting_s, communication_s)
        if warning is not None:
            self.journal.note(warning)
        self.state.clock.add_step(num, seconds, communication_s or 0.0)
        self._account(num, loss, seconds, grad_norm, measured, diagnostics)

    def _backward(self, micro_batches: Sequence[MicroBatch], probe: StepProbe | None) -> list[Tensor]:
        """The losses of one update's micro-batches; its gradient is then whole where it is owned."""
        last = len(micro_batches) - 1
        share = 1.0 / (len(micro_batches) * self.engine.ranks.size)
        losses = []
        for index, (inputs, targets) in enumerate(micro_batches):
            if probe is not None:
                probe.before_backward(index, share, len(micro_batches))
            losses.append(self.engine.backward(inputs, targets, share, last=index == last))
        self.engine.gradients.finish()
        return losses

    def _is_diagnosed(self, num: int) -> bool:
        """At an interval, and at both ends: what weights begin as, and what the run comes to."""
        every = self.config.logging.diagnostics_every_steps
        return every > 0 and (num % every == 0 or num in (1, self.plan.num_steps))

    def _account(
        self,
        step: int,
        loss: float,
        seconds: float,
        grad_norm: Tensor | None,
        measured: dict[str, float],
        diagnostics: dict[str, float | None],
    ) -> None:
        state, plan = self.state, self.plan
        state.step = self.journal.record.step = step
        state.last_loss = loss
        if state.first_loss is None:
            state.first_loss = loss
        tokens_per_s = plan.total_batch_size / seconds
        problem = self._problem(step, loss)
        if (
            problem
            or diagnostics
            or step % self.config.logging.every_steps == 0
            or step in (1, plan.num_steps)
        ):
            row: Measured = {
                "step": step,
                "loss": loss,
                "lr": schedule.at(step - 1, plan).lr_by_batch,
                "tokens": step * plan.total_batch_size,
                "flops": step * plan.total_batch_size * plan.flops_per_token,
                "step_time_s": seconds,
                "train_time_s": state.clock.train_time_s,
                "elapsed_s": self.journal.elapsed_s(),
                "tokens_per_s": tokens_per_s,
                **self.utilisation.mfu(tokens_per_s),
                **measured,
                **diagnostics,
            }
            if grad_norm is not None:
                row["grad_norm"] = grad_norm.item()
            if self.engine.scaler is not None:
                row["loss_scale"] = self.engine.scaler.scale.item()
            self.display.log(self.journal.metrics(row))
        usual = state.clock.mean_step_time_s or seconds
        self.journal.progress(
            "training",
            loss=loss,
            tokens_per_s=plan.total_batch_size / usual,
            eta_s=self.time_left.seconds(step, usual, is_evaluated=False),
        )
        if problem:
            raise Diverged(problem)

    def _problem(self, step: int, loss: float) -> str | None:
        first, ratio = self.state.first_loss, self.config.trainer.max_loss_ratio
        if not math.isfinite(loss):
            return f"the loss is {loss} at step {step}; {self._remedy()}"
        if self.engine.scaler is not None and self.engine.scaler.scale.item() < 1:
            return (
                f"gradients are not finite in fp16 at step {step}, at a loss scale below 1; {self._remedy()}"
            )
        if first is not None and loss > ratio * first:
            return (
                f"the loss is {loss:.3f} nats at step {step}, more than trainer.max_loss_ratio ({ratio:g}) "
                f"× its first value {first:.3f}; lower the learning rates"
            )
        return None

    def _remedy(self) -> str:
        narrow = self.engine.key.compute_dtype is not torch.float32
        return "lower the learning rates" + (" or see what precision=fp32 gives" if narrow else "")

    def _evaluate_if_due(self) -> None:
        state, every = self.state, self.config.evaluation.every_steps
        due = state.step == self.plan.num_steps or (every and state.step and state.step % every == 0)
        if not due or state.evaluated_step == state.step:
            return
        usual = state.clock.mean_step_time_s
        eta_s = None if usual is None else self.time_left.seconds(state.step, usual, is_evaluated=False)
        self.journal.progress("evaluating", force=True, loss=state.last_loss, eta_s=eta_s)
        at_end = state.step == self.plan.num_steps
        streams = [stream for stream in self.data.streams if at_end or not stream.is_holdout]
        before = state.clock.eval_time_s
        kept: Kept = {}
        with state.clock.measure("eval"):
            if not at_end:
                bpb = self._evaluate(streams, eta_s)
            else:
                bpb = self._evaluate(streams, None, kept)
                bpb |= self._asked(bpb, "")
            if at_end and self.engine.optimizer.averages_weights:
                averaged: Kept = {}
                with self.engine.optimizer.averaged():
                    found = self._evaluate(streams, None, averaged)
                    bpb |= {f"{EMA}{name}": value for name, value in found.items()}
                    bpb |= self._asked(bpb, EMA)
                kept |= {f"{EMA}{name}": item for name, item in averaged.items()}
        bad = [name for name, value in bpb.items() if not math.isfinite(value)]
        if bad:
            raise Diverged(f"{bad[0]} is {bpb[bad[0]]} at step {state.step}; {self._remedy()}")
        self.journal.by_document(kept)
        state.bpb, state.evaluated_step = bpb, state.step
        self.time_left.evaluated(state.clock.eval_time_s - before, at_end)
        losses = {name: value for name, value in bpb.items() if not core_outcomes.is_score(name)}
        row: Measured = {"step": state.step, **losses, "eval_time_s": state.clock.eval_time_s - before}
        self.display.log(self.journal.metrics(row))
        mean = core_outcomes.named(bpb)
        shown = ", ".join(
            f"{name} {value:.4f}" for name, value in bpb.items() if name in losses or name == mean
        )
        self.journal.say(f"step {state.step}: loss {state.last_loss:.4f}, {shown}")

    def _evaluate(
        self, streams: Sequence[EvalStream], eta_s: float | None, kept: Kept | None = None
    ) -> dict[str, float]:
        """Losses of these streams.

        Args:
            eta_s: of the run; None: at the end, where the pace of this evaluation tells.
            kept: is given them by document too.
        """
        rows, loss, started = self.plan.device_batch_size, self.state.last_loss, time.perf_counter()

        def report(frac: float) -> None:
            left = (time.perf_counter() - started) * (1 - frac) / frac if frac else None
            self.journal.progress(f"evaluating {frac:.0%}", loss=loss, eta_s=left if eta_s is None else eta_s)

        return evaluate(self.engine, streams, self.data.tokenizer, rows, self._stop_agreed, report, kept)

    def _asked(self, bpb: dict[str, float], ema: str) -> dict[str, float]:
        """Scores of the tasks that are asked of the finished model, if any are and its losses are numbers."""
        if self.data.core is None or not all(map(math.isfinite, bpb.values())):
            return {}
        loss = self.state.last_loss
        return core_run.evaluate(
            self.engine,
            self.data.core,
            self.data.tokenizer,
            self.plan,
            self.journal.run_dir,
            self.journal.record.environment_fingerprint,
            ema,
            self._stop_agreed,
            lambda label, frac: self.journal.progress(f"asking {label} {frac:.0%}", loss=loss),
        )

    def _save_if_due(self) -> None:
        state, trainer = self.state, self.config.trainer
        if state.step == 0:
            return
        if state.step == self.plan.num_steps:
            if trainer.keep_checkpoints:
                self.checkpoints.save(state, self.engine)
        elif self._is_save_due():
            self.checkpoints.save(state, self.engine)
            self.saved_at = time.monotonic()

    def _is_save_due(self) -> bool:
        """By steps, or by the leader's clock; all ranks say the same."""
        trainer = self.config.trainer
        if trainer.checkpoint_every_steps and self.state.step % trainer.checkpoint_every_steps == 0:
            return True
        if not trainer.checkpoint_every_min:
            return False
        return self.engine.ranks.agreed(time.monotonic() - self.saved_at >= 60 * trainer.checkpoint_every_min)
