"""``build``: from a RunConfig to a RunPlan, the one place that decides.

Arithmetic of about 0.2 ms: no tokenizer, no torch; of own text, a look at which files there are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from operator import attrgetter
from typing import NamedTuple

from sweepkit import errors
from sweepkit.config import cross_checks, identity
from sweepkit.config.facts import Field, Identity, fields_of
from sweepkit.config.schema import RunConfig, ScheduleConfig
from sweepkit.plan import cost, depth_scaling, fp8_share, sizing, text, world
from sweepkit.plan.horizon import Horizon, plan_horizon
from sweepkit.plan.resolution import resolved
from sweepkit.plan.run_plan import RunPlan
from sweepkit.plan.sizing import Sizing


def build(config: RunConfig) -> RunPlan:
    """Plan one run.

    Raises:
        ConfigError: the configuration breaks a rule, or the run would have no step.
        DataError: a folder of text is missing or cannot be read.
    """
    cross_checks.check(config)
    config = text.pinned(config)
    decided = _decide(config)
    sizes, horizon, rates, decays, steps, texts = decided
    fp8_share.check(config, sizes)
    keys = identity.keys(config, resolved(config, *decided))
    total_tokens = horizon.num_steps * horizon.total_batch_size
    total_flops = total_tokens * sizes.flops_per_token
    launcher = config.launcher
    plan = RunPlan(
        run_id=identity.run_id(sizes.depth, keys.variant_id, config.seed, config.init_seed),
        variant_id=keys.variant_id,
        training_id=keys.training_id,
        seed=config.seed,
        evaluation_key=keys.evaluation_key,
        pair_key=keys.pair_key,
        compile_key=keys.compile_key,
        depth=sizes.depth,
        width=sizes.width,
        num_heads=sizes.num_heads,
        num_kv_heads=sizes.num_kv_heads,
        head_dim=sizes.head_dim,
        padded_vocab_size=sizes.padded_vocab_size,
        windows=sizes.windows,
        value_embedding_layers=sizes.value_embedding_layers,
        scaling_params=sizes.scaling_params(config.horizon.count),
        total_params=sizes.total_params,
        active_params=sizes.active_params,
        param_groups=sizes.param_groups,
        flops_per_token=sizes.flops_per_token,
        target_tokens=horizon.target_tokens,
        transfer_tokens=horizon.transfer_tokens,
        total_batch_size=horizon.total_batch_size,
        device_batch_size=horizon.device_batch_size,
        sequence_len=config.horizon.sequence_len,
        num_steps=horizon.num_steps,
        total_tokens=total_tokens,
        total_flops=total_flops,
        learning_rates=rates,
        weight_decay=decays["matrix"],
        weight_decays=decays,
        warmup_steps=steps["warmup_steps"],
        warmdown_steps=steps["warmdown_steps"],
        momentum_warmup_steps=steps["momentum_warmup_steps"],
        plan_device=launcher.plan_device,
        plan_mfu=launcher.plan_mfu,
        estimated_peak_memory_gib=cost.peak_memory_gib(config, sizes, horizon.device_batch_size),
        estimated_gpu_hours=cost.gpu_hours(
            total_flops,
            launcher.plan_device,
            config.precision.dtype,
            launcher.plan_mfu,
            fp8_share.fp8_flops_per_token(config, sizes) / sizes.flops_per_token,
        ),
        config=config,
        texts=texts,
    )
    world.check(plan, launcher.processes_per_run)
    return plan


class _Decided(NamedTuple):
    """What ``resolution.resolved`` takes."""

    sizes: Sizing
    horizon: Horizon
    rates: dict[str, float]
    decays: dict[str, float]
    steps: dict[str, int]
    texts: dict[str, str | None]


def _decide(config: RunConfig) -> _Decided:
    sizes, reference = sizing.size(config), sizing.reference(config)
    horizon = plan_horizon(config, sizes, reference)
    _check_adam_steps(config.optimizer.adam_every_steps, horizon.num_steps)
    _check_ramp(config.schedule.batch_ramp, horizon.num_steps)
    return _Decided(
        sizes,
        horizon,
        depth_scaling.learning_rates(config, sizes, horizon),
        depth_scaling.weight_decays(config, sizes, horizon),
        _schedule_steps(config, horizon.num_steps),
        text.texts(config),
    )


def unread(plan: RunPlan, names: Iterable[str]) -> list[Field]:
    """Of fields, by their dotted names, those that nothing reads in a run of this plan."""
    known, config = fields_of(RunConfig), plan.config
    asked = [known[name] for name in names if name in known and known[name].facts.when]
    if not asked:
        return []
    found = resolved(config, *_decide(config))

    def value_of(key: str) -> object:
        return found[key] if key in found else attrgetter(key)(config)

    return [field for field in asked if not field.is_read(value_of)]


def evaluated(plan: RunPlan, config: RunConfig) -> RunPlan:
    """``plan``, its final weights measured as ``config`` asks, and launched as it says.

    Raises:
        ConfigError: that breaks a rule, or sets what belongs to training.
        DataError: a folder of text is missing or cannot be read.
    """
    asked = build(config)
    for key, field in fields_of(RunConfig).items():
        block, _, name = key.rpartition(".")
        is_of_training = block == "evaluation" and field.facts.identity is not Identity.evaluation
        now, begun = (getattr(each.config.evaluation, name, None) for each in (asked, plan))
        if is_of_training and now != begun:
            raise errors.invalid(
                key,
                now,
                f"stay {begun!r}, for it is about training, not about kept weights",
                "leave it out",
            )
    found = plan.evaluated_as(asked)
    return replace(found, config=replace(found.config, launcher=asked.config.launcher))


def _check_adam_steps(every: int, num_steps: int) -> None:
    if every > num_steps:
        raise errors.invalid(
            "optimizer.adam_every_steps",
            every,
            f"be at most the run's {num_steps} steps, or AdamW's groups are never updated",
            f"use {num_steps} or less, or a longer run",
        )


def _check_ramp(ramp: list[int], num_steps: int) -> None:
    if len(ramp) > num_steps:
        raise errors.invalid(
            "schedule.batch_ramp",
            ramp,
            f"have at most as many parts as the run has steps ({num_steps}), or some are never reached",
            "leave parts out, or use a longer run",
        )


def _schedule_steps(config: RunConfig, num_steps: int) -> dict[str, int]:
    """Warm-ups and warm-down in steps; a run may be shorter than a warm-up given in steps."""
    return {
        "warmup_steps": _warmup(config.schedule, "warmup", num_steps),
        "warmdown_steps": round(config.schedule.warmdown_ratio * num_steps),
        "momentum_warmup_steps": _warmup(config.schedule, "momentum_warmup", num_steps),
    }


def _warmup(schedule: ScheduleConfig, name: str, num_steps: int) -> int:
    """Steps of a warm-up: its fraction of the run where that is set, which replaces the number.

    A fraction above 0 is one step at least: a short run would have no warm-up without a word.

    Raises:
        ConfigError: both are set, and differ.
    """
    steps: int = getattr(schedule, f"{name}_steps")
    ratio: float | None = getattr(schedule, f"{name}_ratio")
    if ratio is None:
        return steps
    replaced_by = max(1, round(ratio * num_steps)) if ratio else 0
    if steps not in (replaced_by, getattr(ScheduleConfig, f"{name}_steps")):
        raise errors.invalid(
            f"schedule.{name}_steps",
            steps,
            f"be left out beside schedule.{name}_ratio={ratio:g}, which makes it {replaced_by}",
            f"set schedule.{name}_ratio, or add schedule.{name}_ratio=null",
        )
    return replaced_by
