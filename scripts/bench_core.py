"""What asking costs: items a second, batched as sweepkit does it and one item at a time.

    python scripts/bench_core.py               # 80 items of every task of the package's bundle
    python scripts/bench_core.py --items 4

The reference workload's model (docs/benchmarks.md) in fp32, eager, on one thread. Ten solved items stand
before each item, as in most tasks of CORE. One at a time is the metric written out: the choices of an item in
one batch, filled up to the longest, with logits of every token. Both ways take turns, and have to agree on
every item.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import torch

from sweepkit.config.compose import compose
from sweepkit.config.schema import CoreConfig
from sweepkit.data import core_items
from sweepkit.data.core_items import AskedTask
from sweepkit.data.core_prompts import questions
from sweepkit.data.prepare import prepare
from sweepkit.data.tokenizer import Tokenizer
from sweepkit.plan.build import build
from sweepkit.plan.core_bundle import TaskKind
from sweepkit.training import core_run
from sweepkit.training.engine import Engine, EngineKey

MODEL = (
    "experiment=mini", "model=d4", "model.aspect_ratio=64", "model.head_dim=64", "model.window_pattern=L",
    "tokenizer.vocab_size=8192", "horizon.sequence_len=512", "horizon.device_batch_size=8",
    "horizon.total_batch_size=4096", "horizon.num_steps=1", "evaluation.max_bytes=65536",
    "trainer.compile=false", "trainer.device=cpu",
)  # fmt: skip
SHOTS = 10


@torch.no_grad()
def one_at_a_time(engine: Engine, asked: AskedTask, tokenizer: Tokenizer, length: int) -> str:
    """Which items are right, a character each."""
    right = []
    for index in range(len(asked.items)):
        (question,) = questions(asked, [index], tokenizer, length)
        longest = max(len(sequence.tokens) for sequence in question.sequences)
        batch = torch.full((len(question.sequences), longest), tokenizer.bos_id)
        for row, sequence in enumerate(question.sequences):
            batch[row, : len(sequence.tokens)] = torch.tensor(sequence.tokens)
        logits = engine.model(batch)
        losses = torch.nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1), batch[:, 1:].flatten(), reduction="none"
        ).view(len(batch), -1)
        ends = [slice(sequence.start - 1, len(sequence.tokens) - 1) for sequence in question.sequences]
        if asked.task.kind is TaskKind.language_modeling:
            is_right = bool((logits[0, ends[0]].argmax(-1) == batch[0, 1:][ends[0]]).all())
        else:
            means = [float(losses[row, end].mean()) for row, end in enumerate(ends)]
            is_right = means.index(min(means)) == question.gold
        right.append(str(int(is_right)))
    return "".join(right)


def main() -> None:
    """Print a line a task."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--items", type=int, default=80, help="of every task")
    num_items = max(SHOTS + 1, parser.parse_args().items)
    torch.set_num_threads(1)
    plan = build(compose(MODEL))
    tokenizer = prepare(plan.config).tokenizer
    engine = Engine(plan, EngineKey("", torch.device("cpu"), torch.float32, 1, False))
    engine.model.initialize(1)
    with torch.no_grad():
        for parameter in engine.model.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape))
    core = core_items.load(CoreConfig(bundle="embedded", max_per_task=num_items))
    assert core is not None
    shape = (plan.device_batch_size, plan.sequence_len)
    for asked in core.tasks:
        shown = replace(asked, task=replace(asked.task, num_fewshot=SHOTS))
        started = time.perf_counter()
        batched = core_run.ask(engine, shown, tokenizer, shape, lambda: False, lambda _: None)
        middle = time.perf_counter()
        alone = one_at_a_time(engine, shown, tokenizer, plan.sequence_len)
        rates = [len(alone) / seconds for seconds in (middle - started, time.perf_counter() - middle)]
        assert alone == batched.correct, "both ways agree"
        print(
            f"{asked.task.kind.value}, {len(alone)} items: {rates[0]:.1f} items a second batched, "
            f"{rates[1]:.1f} one at a time, {rates[0] / rates[1]:.1f} times as many"
        )


if __name__ == "__main__":
    main()
