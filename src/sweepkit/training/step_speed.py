"""How fast a planned run's training step is here, before anything is launched: real model, made-up tokens."""

from __future__ import annotations

import dataclasses
import gc
import statistics
import time
from dataclasses import dataclass

import torch

from sweepkit.config.schema import RunConfig
from sweepkit.model import attend
from sweepkit.optim import schedule
from sweepkit.plan.build import build
from sweepkit.plan.run_plan import RunPlan
from sweepkit.precision import policy
from sweepkit.precision.policy import Precision
from sweepkit.training import compile_lock, failure
from sweepkit.training import device as devices
from sweepkit.training.engine import Engine, EngineKey, cannot_compile
from sweepkit.training.peak_memory import PeakMemory
from sweepkit.training.throughput import Utilisation

_NUM_STEPS = 4


@dataclass(frozen=True)
class StepSpeed:
    """Medians over a few steps, after one that does not count; optimizer included, data not.

    Where steps make several updates (``schedule.batch_ramp``), this one has as many as the run's on average.
    """

    device_batch_size: int
    step_time_s: float
    compile_time_s: float
    tokens_per_s: float
    peak_memory_gib: float
    mfu: dict[str, float | None]
    shown: str


def prepare(config: RunConfig, device: torch.device) -> tuple[RunPlan, EngineKey, Precision]:
    """The run that ``config`` is on ``device``: what a session would choose, for ``measure``."""
    compile_lock.use_folder()
    plan, precision = build(config), policy.resolve(config.precision, device)
    kernel, _ = attend.choose(config.trainer.attention, device, precision.compute_dtype, plan.head_dim)
    compiled = config.trainer.compile and cannot_compile(device) is None
    threads, dtype = torch.get_num_threads(), precision.compute_dtype
    key = EngineKey(plan.compile_key, device, dtype, threads, compiled, precision.fp8, kernel)
    return plan, key, precision


def measure(plan: RunPlan, key: EngineKey, utilisation: Utilisation) -> StepSpeed:
    """Train a few steps of ``plan``, with half as many rows at once until they fit.

    Raises:
        torch.OutOfMemoryError: not even one row fits.
    """
    while True:
        try:
            return _measure(plan, key, utilisation)
        except Exception as error:
            if not failure.is_out_of_memory(error) or plan.device_batch_size == 1:
                raise
        plan = dataclasses.replace(plan, device_batch_size=plan.device_batch_size // 2)
        torch.compiler.reset()


def _measure(plan: RunPlan, key: EngineKey, utilisation: Utilisation) -> StepSpeed:
    gc.collect()  # compiled models are in reference cycles; the one before would count as this one's memory
    if key.device.type == "cuda":
        torch.cuda.empty_cache()
    started = time.perf_counter()
    engine = Engine(plan, key)
    engine.warm_up(plan)
    devices.synchronize(key.device)
    compile_time_s = time.perf_counter() - started
    engine.renew(plan)
    memory = PeakMemory(key.device, engine.kept())
    shape = (plan.device_batch_size, plan.sequence_len + 1)
    rows = torch.randint(0, engine.model.vocab_size, shape, dtype=torch.int32).to(key.device)
    inputs_BT, targets_BT = rows[:, :-1].contiguous(), rows[:, 1:].contiguous()
    num_micro = plan.total_batch_size // (plan.device_batch_size * plan.sequence_len)
    num_updates = schedule.updates_before(plan.num_steps, plan) / plan.num_steps
    times_s = []
    for step in range(1 + _NUM_STEPS):
        started = time.perf_counter()
        engine.set_step(plan, min(step, plan.num_steps - 1))  # the run may be shorter
        for _ in range(num_micro):
            engine.backward(inputs_BT, targets_BT, 1 / num_micro)
        if num_updates > 1:  # the update is timed for itself
            devices.synchronize(key.device)
        updating = time.perf_counter()
        if engine.unscale():
            engine.optimizer.clip()
            engine.step(plan)
        engine.optimizer.zero_grad()
        devices.synchronize(key.device)
        times_s.append(updating - started + num_updates * (time.perf_counter() - updating))
    step_time_s = statistics.median(times_s[1:])
    tokens_per_s = plan.total_batch_size / step_time_s
    return StepSpeed(
        device_batch_size=plan.device_batch_size,
        step_time_s=step_time_s,
        compile_time_s=compile_time_s,
        tokens_per_s=tokens_per_s,
        peak_memory_gib=memory.gib(),
        mfu=utilisation.mfu(tokens_per_s),
        shown=utilisation.shown(tokens_per_s),
    )
