"""Setting a field to what it comes out as changes nothing: every field of the schema, at every depth."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sample import sample
from sweepkit.config import typed
from sweepkit.config.compose import compose
from sweepkit.config.cross_checks import EMBEDDED_SOURCES
from sweepkit.config.schema import RunConfig
from sweepkit.errors import ConfigError
from sweepkit.plan.build import build
from sweepkit.plan.run_plan import RunPlan

DEPTHS = range(2, 35, 2)
SETTINGS: dict[str, list[str]] = {f"d{depth}": [f"model.depth={depth}"] for depth in DEPTHS} | {
    f"mini-d{depth}": ["experiment=mini", f"model.depth={depth}"] for depth in (1, 2, 3, 4, 6)
} | {
    "small windows": ["experiment=mini", "model=d6", "model.short_window=auto", "model.window_pattern=SL"],
    "grouped": ["model=d12", "model.num_kv_heads=2"],
    "one head": ["model=d26", "model.num_kv_heads=1"],
    "adamw": ["model=d12", "optimizer=adamw", "schedule=short"],
    "tokens": ["model=d12", "horizon=target_tokens"],
    "flops": ["model=d12", "horizon=target_flops"],
    "steps": ["model=d12", "horizon=num_steps"],
    "other counting": ["model=d20", "horizon.count=chinchilla", "horizon.reference_depth=6"],
    "bigrams": ["model=d6", "model.bigram.table_ratio=5", "horizon.count=chinchilla"],
    "asked": ["experiment=mini", "model=d2", "evaluation.core.bundle=embedded"],
    "hub": ["model=d12", "dataset=climbmix", "precision=fp8"],
}  # fmt: skip

#: What a field comes out as where the configuration leaves it open.
COMES_OUT: dict[str, Callable[[RunPlan], object]] = {
    "init_seed": lambda plan: plan.seed,
    "model.num_kv_heads": lambda plan: plan.num_kv_heads,
    "model.backout": lambda plan: plan.depth > 2,
    "model.bigram.num_layers": lambda plan: plan.depth,
    "model.short_window": lambda plan: min(plan.windows),
    "dataset.sources": lambda plan: [] if plan.config.dataset.repo else list(EMBEDDED_SOURCES),
    "schedule.warmup_steps": lambda plan: plan.warmup_steps,
    "schedule.momentum_warmup_steps": lambda plan: plan.momentum_warmup_steps,
    "schedule.warmup_ratio": lambda plan: plan.warmup_steps / plan.num_steps,
    "schedule.momentum_warmup_ratio": lambda plan: plan.momentum_warmup_steps / plan.num_steps,
    "horizon.num_steps": lambda plan: plan.num_steps,
    "horizon.target_tokens": lambda plan: plan.total_tokens,
    "horizon.target_flops": lambda plan: plan.total_flops,
    "horizon.total_batch_size": lambda plan: plan.total_batch_size,
    "horizon.device_batch_size": lambda plan: plan.device_batch_size,
}  # fmt: skip
#: Of the embedded bundle, where it is asked.
ASKED: dict[str, object] = {
    "evaluation.core.tasks": ["next_word", "endings", "beginnings"], "evaluation.core.max_per_task": 80,
}  # fmt: skip
LENGTHS = ("horizon.num_steps", "horizon.target_tokens", "horizon.target_flops")
#: Open in a plan, for only the node, the data or nothing at all says what they become.
LEFT_OPEN = {
    "dataset.path", "dataset.validation_path", "dataset.repo", "dataset.revision", "dataset.shard_pattern",
    "dataset.num_train_shards", "optimizer.grad_clip", "optimizer.ema_decay",
    "evaluation.core.bundle", "evaluation.core.url", "evaluation.core.sha256",
}  # fmt: skip


def leaves(block: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in vars(block).items():
        if dataclasses.is_dataclass(value):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


FIELDS = [name for name, _ in leaves(RunConfig())]
ALWAYS = [("asked", field) for field in ASKED]
CASES = [(setting, field) for setting in SETTINGS for field in FIELDS]
OPEN = [(setting, field) for setting in SETTINGS for field in COMES_OUT]


def spelled(value: Any) -> str:
    """Of a value in a configuration as JSON, in Hydra's grammar."""
    if isinstance(value, list):
        return f"[{','.join(map(spelled, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}: {spelled(item)}" for key, item in value.items()) + "}"
    return repr(value) if isinstance(value, float) else json.dumps(value)


def numbers(plan: RunPlan) -> dict[str, Any]:
    """All of a plan but the words that it was asked for in."""
    kept = typed.dump(plan)
    del kept["config"]
    return kept


@pytest.mark.parametrize(
    ("setting", "field"), [*ALWAYS, *sample(OPEN, 120), *sample([it for it in CASES if it not in OPEN], 120)]
)
def test_setting_a_field_to_what_it_comes_out_as(setting: str, field: str) -> None:
    config = compose(SETTINGS[setting])
    before = build(config)
    written: Any = typed.dump(config)
    for name in field.split("."):
        written = written[name]
    value = COMES_OUT[field](before) if field in COMES_OUT else written
    if setting == "asked":
        value = ASKED.get(field, value)
    others = [f"{name}=null" for name in LENGTHS if name != field] if field in LENGTHS else []
    after = build(compose([*SETTINGS[setting], *others, f"{field}={spelled(value)}"]))
    assert after.run_id == before.run_id
    if field in LENGTHS:  # how long was asked for is not how long it is
        after = dataclasses.replace(after, target_tokens=before.target_tokens)
    assert numbers(after) == numbers(before)


def test_every_open_field_is_known_here() -> None:
    """What computes and is left open by some setting is in one of the two lists above."""
    computing = {"model", "dataset", "tokenizer", "packing", "optimizer", "schedule", "horizon", "evaluation"}
    found = {
        name
        for overrides in SETTINGS.values()
        for name, value in leaves(compose(overrides))
        if value in (None, "auto", []) and name.partition(".")[0] in computing
    }
    assert found <= COMES_OUT.keys() | LEFT_OPEN | ASKED.keys()


@pytest.mark.parametrize("depth", DEPTHS)
def test_every_number_of_kv_heads_keeps_the_reference(depth: int) -> None:
    """The reference model has a head for keys per query head, whatever divides the heads of this one."""
    plain = build(compose([f"model.depth={depth}"]))
    reference = build(compose(["model.depth=12"]))
    for heads in range(1, plain.num_heads + 1):
        if plain.num_heads % heads:
            continue
        found = build(compose([f"model.depth={depth}", f"model.num_kv_heads={heads}"]))
        ratio = reference.transfer_tokens / found.transfer_tokens
        ideal = 524_288 * ratio**-0.383
        batch = min((2**power for power in range(40)), key=lambda b: abs(math.log(b / ideal)))
        assert found.total_batch_size == batch
        assert found.weight_decay == pytest.approx(0.28 * (batch / 524_288) ** 0.5 * ratio)


def test_steps_beside_a_ratio_that_say_something_else_are_refused() -> None:
    with pytest.raises(ConfigError, match="be left out beside"):
        build(compose([*SETTINGS["mini-d4"], "schedule.warmup_steps=39"]))
