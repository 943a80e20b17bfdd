"""What diagnostics cost: a diagnosed step's looking over the time of the steps between two of them.

    python scripts/bench_diagnostics.py

Two workloads: the reference one of bench_training.py (compiled), and experiment=mini at d2, whose steps are
as short as any. In each round one step and one look at it, in CPU seconds of the process, which other work on
the machine leaves alone; amortised over the default of logging.diagnostics_every_steps.
"""

from __future__ import annotations

import time

from bench_figures import Figure, of_rounds, run
from bench_training import CPU, SMOKE, Workload

from sweepkit.config.schema import LoggingConfig
from sweepkit.data.prepare import prepare
from sweepkit.training.diagnostics import StepProbe
from sweepkit.training.prefetch import Prefetcher

NUM_ROUNDS, NUM_WARM_UP = 10, 2
MINI = [
    *("model.depth=2", "model.aspect_ratio=32", "model.head_dim=32", "model.window_pattern=SSSL"),
    *("horizon.sequence_len=128", "horizon.device_batch_size=16", "horizon.total_batch_size=2048"),
    "precision=fp32",
]


def shares(workload: Workload, num_rounds: int) -> list[float]:
    """Of every round: CPU time of looking / that of the steps from one look to the next."""
    plan, engine = workload.plan, workload.engine
    loader = prepare(plan.config).train(plan.seed, plan.total_batch_size, plan.sequence_len)
    every, found = LoggingConfig().diagnostics_every_steps, []
    with Prefetcher(loader, 0, plan.num_steps, plan.device_batch_size, CPU, engine.ranks) as batches:
        for number in range(NUM_WARM_UP + num_rounds):
            ((inputs_BT, targets_BT),) = batches.take()
            started = time.process_time()
            engine.backward(inputs_BT, targets_BT, 1.0)
            backward_s = time.process_time() - started
            probe = StepProbe(engine, plan)
            started = time.process_time()
            norm = probe.before_update(None)
            look_s = time.process_time() - started
            started = time.process_time()
            engine.set_step(plan, number)
            engine.step(plan)
            step_s = backward_s + time.process_time() - started
            started = time.process_time()
            probe.measure(number, norm.item(), inputs_BT)
            look_s += time.process_time() - started
            engine.optimizer.zero_grad()
            if number >= NUM_WARM_UP:
                found.append(look_s / (every * step_s))
    return found


def measure(smoke: bool) -> list[Figure]:
    rounds = 2 if smoke else NUM_ROUNDS
    reference = Workload(512, *SMOKE, compiled=False) if smoke else Workload(8192)
    mini = Workload(512 if smoke else 2048, *MINI, compiled=not smoke)
    return [
        of_rounds("diagnostics over the steps between, reference workload", shares(reference, rounds), 0.01),
        of_rounds("diagnostics over the steps between, mini at d2", shares(mini, rounds), 0.01),
    ]


if __name__ == "__main__":
    run(measure, "What diagnosing every 50th step adds to the time of the steps.")
