"""The reference workload's training step against the machine's own kernels.

    make bench      # or: python scripts/bench_training.py

Depth 4, width 256, heads of 64, T 512, 8 rows, full windows, bf16, compiled, two threads, on real text; a
vocabulary of 8,192 and one of 32,768. Every round times the kernels of yardstick.py, then one step with its
batch, backward pass and optimizer. The share is model FLOPs a second over the products' rate of the same
round; what a change of sweepkit costs shows in the step's time over that of the kernels it cannot do without.
Five processes measure each vocabulary in turn: medians of single processes lay up to 7% apart.
"""

from __future__ import annotations

import itertools
import multiprocessing
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

import torch
from bench_figures import Figure, of_rounds, run
from torch.profiler import ProfilerActivity, profile
from yardstick import TOKENS, WIDTH, Yardstick

from sweepkit.config.choices import Dtype
from sweepkit.config.compose import compose
from sweepkit.data.prepare import prepare
from sweepkit.model.loss import mean_nats
from sweepkit.plan.build import build
from sweepkit.plan.run_plan import RunPlan
from sweepkit.training import compile_lock
from sweepkit.training.engine import Engine, EngineKey
from sweepkit.training.prefetch import Prefetcher

NUM_PROCESSES, NUM_ROUNDS, NUM_WARM_UP, NUM_PROFILED = 5, 15, 5, 4
VOCAB_SIZES = (8192, 32_768)
CPU = torch.device("cpu")
MICRO_STEPS = 4  # 16,384 tokens
REFERENCE = [
    "experiment=mini",
    "model=d4",
    "model.aspect_ratio=64",
    "model.head_dim=64",
    "model.window_pattern=L",
    "horizon.sequence_len=512",
    "horizon.device_batch_size=8",
    "horizon.total_batch_size=4096",
    "horizon.num_steps=200",
    "precision=bf16",
    "trainer.device=cpu",
]
SMOKE = [
    "model.depth=1",
    "model.aspect_ratio=256",
    "horizon.sequence_len=64",
    "horizon.total_batch_size=512",
    "precision=fp32",  # bf16 takes fifty times as long on a CPU without it
]


@dataclass
class Rounds:
    """Shares of a step and of the rate, a round each, and a process's most memory of the loss."""

    costs: list[float] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    optimizer_shares: list[float] = field(default_factory=list)
    loads: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    loss_memory: list[float] = field(default_factory=list)

    def add(self, others: Rounds) -> None:
        """Append another process's, which are thereby a spell of their own (``bench_figures``)."""
        for name, values in vars(others).items():
            getattr(self, name).extend(values)

    def figures(self, vocab_size: int) -> list[Figure]:
        v = f"V {vocab_size}"
        optimizer = f"optimizer's share of a step of 16,384 tokens, {v}"
        memory = f"loss: peak memory over all logits in fp32, {v}"
        return [
            of_rounds(f"step over the kernels it cannot do without, {v}", self.costs, watched=True),
            of_rounds(f"share of the matrix products' rate, {v}", self.shares, 0.45, higher_is_better=True),
            of_rounds(optimizer, self.optimizer_shares, 0.05, watched=True),
            of_rounds(f"making a batch, as a share of a step, {v}", self.loads, 0.01),
            of_rounds(f"waiting for a batch, as a share of a step, {v}", self.waits, 0.001),
            of_rounds(memory, self.loss_memory, 1.0, watched=True),
        ]


class Workload:
    """The reference workload with one vocabulary, ready for its first step."""

    def __init__(self, vocab_size: int, *overrides: str, compiled: bool = True) -> None:
        self.vocab_size = vocab_size
        self.plan: RunPlan = build(compose([*REFERENCE, f"tokenizer.vocab_size={vocab_size}", *overrides]))
        config = self.plan.config
        self.data = prepare(config)
        self.dtype = torch.float32 if config.precision.dtype is Dtype.fp32 else torch.bfloat16
        key = EngineKey(self.plan.compile_key, CPU, self.dtype, torch.get_num_threads(), compiled)
        self.engine = Engine(self.plan, key)
        self.engine.warm_up(self.plan)
        self.engine.renew(self.plan)
        self.step_number = 0

    def step(self, batches: Prefetcher) -> tuple[float, float, float]:
        """One step; seconds of all of it, of waiting for its batch, and of the optimizer."""
        started = time.perf_counter()
        ((inputs_BT, targets_BT),) = batches.take()
        waited = time.perf_counter() - started
        self.engine.backward(inputs_BT, targets_BT, 1.0)
        before = time.perf_counter()
        self.engine.optimizer.set_step(self.step_number)
        self.engine.optimizer.step()
        self.engine.optimizer.zero_grad()
        ended = time.perf_counter()
        self.step_number += 1
        return ended - started, waited, ended - before

    def rounds(self, num_rounds: int, breakdown: bool) -> Rounds:
        """Measure so many rounds."""
        yardstick, found = Yardstick(self.vocab_size, self.dtype), Rounds()
        loader = self.data.train(self.plan.seed, self.plan.total_batch_size, self.plan.sequence_len)
        rows, ranks = self.plan.device_batch_size, self.engine.ranks
        with Prefetcher(loader, 0, self.plan.num_steps, rows, CPU, ranks) as batches:
            for _ in range(NUM_WARM_UP):
                yardstick.measure()
                self.step(batches)
            for number in range(num_rounds):
                rate, kernels_s = yardstick.measure()
                seconds, waited, optimizer_s = self.step(batches)
                started = time.perf_counter()
                loader.batch(number)
                found.loads.append((time.perf_counter() - started) / seconds)
                found.shares.append(self.plan.flops_per_token * self.plan.total_batch_size / seconds / rate)
                found.costs.append(seconds / kernels_s)
                found.waits.append(waited / seconds)
                accumulated_s = MICRO_STEPS * (seconds - optimizer_s) + optimizer_s
                found.optimizer_shares.append(optimizer_s / accumulated_s)
            if breakdown:
                self.print_breakdown(batches)
        found.loss_memory.append(self.loss_memory())
        return found

    def print_breakdown(self, batches: Prefetcher) -> None:
        """Where a step goes, by torch's profiler."""
        with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiler:
            started = time.perf_counter()
            optimizer_s = sum(self.step(batches)[2] for _ in range(NUM_PROFILED))
            total_s = time.perf_counter() - started
        spent: dict[str, float] = defaultdict(float, optimizer=optimizer_s)
        for row in profiler.key_averages(group_by_input_shape=True):
            shapes = str(row.input_shapes)
            if row.key == "aten::mm" and str(self.vocab_size) in shapes:
                spent["vocabulary projection"] += row.self_cpu_time_total / 1e6
            elif row.key == "aten::mm":
                spent["matrix products of the blocks"] += row.self_cpu_time_total / 1e6
            elif "scaled_dot_product" in row.key:
                spent["attention kernel"] += row.self_cpu_time_total / 1e6
            elif row.key == "_MeanNats":
                spent["softcap, softmax, loss"] += row.cpu_time_total / 1e6
        spent["softcap, softmax, loss"] -= spent["vocabulary projection"]
        spent["norms, rotary, lookups, casts and the rest"] = total_s - sum(spent.values())
        print(f"\n| a step, V {self.vocab_size} | share |\n|---|---|")
        for name, seconds in sorted(spent.items(), key=lambda item: -item[1]):
            print(f"| {name} | {seconds / total_s:.0%} |")
        print(flush=True)

    def loss_memory(self) -> float:
        """Most that torch allocates for the loss, gradients included, over all logits in fp32."""
        head_VD = self.engine.model.lm_head.weight.detach()[: self.vocab_size].requires_grad_()
        x_ND = torch.randn(TOKENS, WIDTH, dtype=self.dtype).requires_grad_()
        targets_N = torch.randint(0, self.vocab_size, (TOKENS,))
        cap = self.plan.config.model.logit_softcap
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            mean_nats(x_ND, head_VD, targets_N, cap, self.engine.model._nats_and_gradient).backward()
        changes = [row for row in profiler.profiler.kineto_results.events() if row.name() == "[memory]"]
        changes.sort(key=lambda row: row.start_ns())
        return max(itertools.accumulate(row.nbytes() for row in changes)) / (4 * TOKENS * self.vocab_size)


def one_process(vocab_size: int, smoke: bool, breakdown: bool) -> Rounds:
    """What one process measures."""
    compile_lock.use_folder()
    torch.set_num_threads(1 if smoke else 2)
    workload = Workload(vocab_size, *(SMOKE if smoke else ()), compiled=not smoke)
    return workload.rounds(3 if smoke else NUM_ROUNDS, breakdown)


def measure(smoke: bool) -> list[Figure]:
    vocab_sizes, num_processes = ((512,), 1) if smoke else (VOCAB_SIZES, NUM_PROCESSES)
    found = {vocab_size: Rounds() for vocab_size in vocab_sizes}
    for number, vocab_size in itertools.product(range(num_processes), vocab_sizes):
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
            found[vocab_size].add(fresh.submit(one_process, vocab_size, smoke, number == 0).result())
    return [figure for vocab_size, rounds in found.items() for figure in rounds.figures(vocab_size)]


if __name__ == "__main__":
    run(measure, "The reference workload's step, as shares.")
