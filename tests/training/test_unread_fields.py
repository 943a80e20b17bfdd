"""What the schema says nothing reads, training does not read: weights come out alike to the last bit.

All fields that are not read under some switch are changed at once, and a tiny model is trained from the first
step to the last; identity leaves such fields out, so runs that differ in them are taken for one another.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from operator import attrgetter
from typing import Any

import pytest
import torch
from test_amplified_rounding import engine, step
from training_runs import TINY

from sweepkit.config.compose import compose
from sweepkit.config.facts import Field, fields_of
from sweepkit.config.schema import RunConfig
from sweepkit.data.prepare import prepare
from sweepkit.errors import ConfigError
from sweepkit.plan.build import build

#: Depth 3 has backout and value embeddings.
BASE = (*TINY, "model.depth=3", "model.smear_channels=12", "optimizer.x0.lr=0.1")
SWITCHES = (
    (),
    ("model.smear=false",),
    ("model.backout=false",),
    ("model.smear=false", "model.backout=false"),
    ("model.value_embeddings=false",),
    ("model.smear=false", "model.backout=false", "model.value_embeddings=false"),
    ("model.depth=1", "model.aspect_ratio=48"),
    ("optimizer=adamw",),
    ("optimizer=adamw", "schedule.momentum_warmup_ratio=null"),
    ("optimizer.matrix.weight_decay=0",),
    ("schedule.warmdown_ratio=0",),
    ("schedule.momentum_warmup_ratio=null", "schedule.momentum_warmup_steps=0"),
    ("packing=greedy_crop",),
)


def is_read(field: Field, config: RunConfig) -> bool:
    comes_out = {"model.backout": config.model.backout is not False and config.model.depth > 2}
    return field.is_read(lambda key: comes_out.get(key, attrgetter(key)(config)))


def other(field: Field, value: Any) -> Iterator[Any]:
    """Values that the field does not have; the first that is allowed is taken."""
    for kind in field.kinds:
        if kind is bool:
            yield str(not value).lower()
        elif isinstance(kind, type) and issubclass(kind, Enum):
            yield from (item.name for item in kind if item is not value)
        elif kind in (int, float):
            start = value if isinstance(value, int | float) else 0.3 if kind is float else 2
            yield from (start / 2 + 1, start / 2, start + 0.1) if kind is float else (start - 1, start + 1)


def changes(switches: tuple[str, ...]) -> list[str]:
    """An override for every field that is not read, and may be set all the same, beside the others."""
    config, found = compose([*BASE, *switches]), []
    for key, field in fields_of(RunConfig).items():
        for value in () if is_read(field, config) else other(field, attrgetter(key)(config)):
            try:
                build(compose([*BASE, *switches, *found, f"{key}={value}"]))
            except ConfigError:
                continue
            found.append(f"{key}={value}")
            break
    return found


def weights(overrides: tuple[str, ...]) -> dict[str, torch.Tensor]:
    """After training to the end on made-up tokens."""
    plan = build(compose([*BASE, *overrides]))
    made, generator = engine(plan), torch.Generator().manual_seed(3)
    for number in range(plan.num_steps):
        batch = torch.randint(0, 512, (plan.device_batch_size, plan.sequence_len + 1), generator=generator)
        step(made, number, batch, plan.device_batch_size)
    return {name: tensor.detach().clone() for name, tensor in made.model.named_parameters()}


@pytest.mark.parametrize("switches", SWITCHES)
def test_training_does_not_read_what_nothing_reads(switches: tuple[str, ...]) -> None:
    unread = changes(switches)
    assert len(unread) >= 3
    plain, changed = (build(compose([*BASE, *switches, *more])) for more in ((), unread))
    assert plain.run_id == changed.run_id
    before, after = weights(switches), weights((*switches, *unread))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before), unread


@pytest.mark.slow
def test_every_condition_of_training_is_tried() -> None:
    tried = {override.partition("=")[0] for switches in SWITCHES for override in changes(switches)}
    conditional = {
        key
        for key, field in fields_of(RunConfig).items()
        if field.facts.when and key.partition(".")[0] in ("model", "optimizer", "schedule", "packing")
    }
    refused = {"optimizer.matrix.beta1", "optimizer.matrix.eps", "model.backout_lambda_init"}
    beside_a_ratio = {"schedule.warmup_steps"}  # refused unless it says the same
    assert conditional - tried <= refused | beside_a_ratio


@pytest.mark.slow
def test_data_does_not_read_what_nothing_reads() -> None:
    base = [*BASE, "packing=stream", "tokenizer.max_train_bytes=8000000"]  # more than there is
    plain = prepare(compose(base))
    for same in (["packing.buffer_docs=7"], ["tokenizer=shared"], ["tokenizer.max_train_bytes=9000000"]):
        found = prepare(compose([*base, *same]))
        assert build(found.config).pair_key == build(plain.config).pair_key
        assert found.tokenizer.digest == plain.tokenizer.digest
        batches = [each.train(1, 512).batch(3) for each in (plain, found)]
        assert (batches[0] == batches[1]).all()
