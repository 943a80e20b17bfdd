"""The reference workload's training step against the machine's own matrix products.

    make bench      # or: python scripts/bench_training.py

Depth 4, width 256, heads of 64, T 512, 8 rows, full windows, bf16, compiled, two threads, on real text; a
vocabulary of 8,192 and one of 32,768. Every round times (4096×256)·(256×1024) products in bf16, then one step
with its batch, backward pass and optimizer. The share is model FLOPs a second over the products' median rate.
"""

from __future__ import annotations

import ctypes
import os
import statistics
import time
from collections import defaultdict

import torch
from bench_figures import Figure, of_rounds, run
from torch.profiler import ProfilerActivity, profile

from sweepkit.config import codec, paths
from sweepkit.config.compose import compose
from sweepkit.data.prepare import prepare
from sweepkit.model.loss import mean_nats
from sweepkit.plan.build import build
from sweepkit.plan.run_plan import RunPlan
from sweepkit.training.engine import Engine, EngineKey
from sweepkit.training.peak_memory import PeakMemory
from sweepkit.training.prefetch import Prefetcher

NUM_ROUNDS, NUM_PROFILED, NUM_PRODUCTS = 25, 4, 9
TOKENS, WIDTH, HIDDEN = 4096, 256, 1024
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


def product_rate(a: torch.Tensor, b: torch.Tensor) -> float:
    """FLOP/s, the median of some products."""
    seconds = []
    for _ in range(NUM_PRODUCTS):
        started = time.perf_counter()
        torch.mm(a, b)
        seconds.append(time.perf_counter() - started)
    return 2 * TOKENS * WIDTH * HIDDEN / statistics.median(seconds)


class Workload:
    """The reference workload with one vocabulary, compiled and ready."""

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size
        self.plan: RunPlan = build(compose([*REFERENCE, f"tokenizer.vocab_size={vocab_size}"]))
        config = codec.from_json(self.plan.config)
        self.data = prepare(config)
        key = EngineKey(self.plan.compile_key, CPU, torch.bfloat16, torch.get_num_threads(), compile=True)
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

    def figures(self) -> list[Figure]:
        a, b = torch.randn(TOKENS, WIDTH).bfloat16(), torch.randn(WIDTH, HIDDEN).bfloat16()
        shares, waits, loads, optimizer_shares = [], [], [], []
        loader = self.data.train(self.plan.seed, self.plan.total_batch_size, self.plan.sequence_len)
        rows, ranks = self.plan.device_batch_size, self.engine.ranks
        with Prefetcher(loader, 0, self.plan.num_steps, rows, CPU, ranks) as batches:
            for _ in range(3):
                self.step(batches)
            for number in range(NUM_ROUNDS):
                rate = product_rate(a, b)
                seconds, waited, optimizer_s = self.step(batches)
                started = time.perf_counter()
                loader.batch(number)
                loads.append((time.perf_counter() - started) / seconds)
                shares.append(self.plan.flops_per_token * TOKENS / seconds / rate)
                waits.append(waited / seconds)
                accumulated_s = MICRO_STEPS * (seconds - optimizer_s) + optimizer_s
                optimizer_shares.append(optimizer_s / accumulated_s)
            self.print_breakdown(batches)
        v = f"V {self.vocab_size}"
        return [
            of_rounds(f"share of the matrix products' rate, {v}", shares, 0.45, True),
            of_rounds(f"optimizer's share of a step of 16,384 tokens, {v}", optimizer_shares, 0.05),
            of_rounds(f"making a batch, as a share of a step, {v}", loads, 0.01),
            Figure(f"waiting for a batch, as a share of a step, {v}", statistics.median(waits), target=0.001),
            Figure(f"loss: peak memory over all logits in fp32, {v}", self.loss_memory(), target=1.0),
        ]

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
        """Most memory that the loss takes, gradients included, over what all logits take in fp32."""
        head = self.engine.model.lm_head.weight.detach()[: self.vocab_size].requires_grad_()
        x_ND = torch.randn(TOKENS, WIDTH).bfloat16().requires_grad_()
        targets_N = torch.randint(0, self.vocab_size, (TOKENS,))
        ctypes.CDLL(None).malloc_trim(0)  # what is free already would hide what is taken now
        memory = PeakMemory(CPU)
        before = memory.gib()
        mean_nats(
            x_ND, head, targets_N, self.plan.config["model"]["logit_softcap"],
            self.engine.model._nats_and_gradient,
        ).backward()  # fmt: skip
        return (memory.gib() - before) * 2**30 / (4 * TOKENS * self.vocab_size)


def measure() -> list[Figure]:
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(paths.cache_dir() / "inductor"))
    torch.set_num_threads(2)
    return [figure for vocab_size in (8192, 32_768) for figure in Workload(vocab_size).figures()]


if __name__ == "__main__":
    run(measure, "The reference workload's step, as shares.")
