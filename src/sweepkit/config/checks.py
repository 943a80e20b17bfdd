"""Ranges of single fields and rules across fields; names and types are checked before.

``RANGES`` is the one place a field's range stands. Rules that need the horizon worked out (an automatic
batch, a run without steps) are the plan's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from sweepkit import errors
from sweepkit.config import cross_checks
from sweepkit.config.schema import RunConfig


@dataclass(frozen=True)
class Range:
    """A test and the words for it, written to follow "but must"."""

    holds: Callable[[Any], bool]
    contract: str
    remedy: str


def _at_least(low: float, example: str) -> Range:
    return Range(lambda value: value >= low and math.isfinite(value), f"be at least {low}", f"try {example}")


def _more_than_zero(example: str) -> Range:
    return Range(lambda value: value > 0 and math.isfinite(value), "be more than 0", f"try {example}")


def _between(low: float, high: float, example: str) -> Range:
    return Range(lambda value: low <= value <= high, f"lie between {low} and {high}", f"try {example}")


def _below_one(example: str) -> Range:
    return Range(lambda value: 0 <= value < 1, "be at least 0 and less than 1", f"try {example}")


def _finite(example: str) -> Range:
    return Range(math.isfinite, "be a finite number", f"try {example}")


def _named(example: str) -> Range:
    return Range(lambda value: bool(value.strip()), "not be empty", f"try {example}")


def _auto_or_at_least_one(example: str) -> Range:
    return Range(
        lambda value: value == "auto" or (isinstance(value, int) and value >= 1),
        "be auto or a whole number of at least 1",
        f"try auto or {example}",
    )


_ADAM = {
    "lr": _at_least(0, "0.1"),
    "beta1": _below_one("0.8"),
    "beta2": _below_one("0.95"),
    "eps": _more_than_zero("1e-10"),
    "weight_decay": _at_least(0, "0.01"),
}
_ADAM_GROUPS = ("embedding", "unembedding", "value_embedding", "resid", "x0", "smear")

#: Dotted field → its range. None always passes: where the schema allows it, it means "not set".
RANGES: dict[str, Range] = {
    "seed": _between(0, 2**31 - 1, "1"),
    "init_seed": _between(0, 2**31 - 1, "2"),
    "model.depth": _between(1, 1000, "12"),
    "model.aspect_ratio": _at_least(1, "64"),
    "model.head_dim": Range(
        lambda value: value >= 2 and value % 2 == 0,
        "be an even number of at least 2 (rotary embedding turns pairs)",
        "try 128",
    ),
    "model.num_kv_heads": _at_least(1, "2"),
    "model.mlp_ratio": _at_least(1, "4"),
    "model.window_pattern": Range(
        lambda value: value != "" and set(value) <= {"S", "L"},
        "be made of the letters S (short window) and L (full context)",
        "try SSSL",
    ),
    "model.short_window": _auto_or_at_least_one("512"),
    "model.value_gate_channels": _at_least(1, "12"),
    "model.value_gate_scale": _finite("3.0"),
    "model.smear_channels": _at_least(1, "24"),
    "model.rope_base": _more_than_zero("100000"),
    "model.qk_scale": _more_than_zero("1.2"),
    "model.logit_softcap": _more_than_zero("15"),
    "model.embedding_init_std": _at_least(0, "0.8"),
    "model.unembedding_init_std": _at_least(0, "0.001"),
    "model.mlp_init_scale": _at_least(0, "0.4"),
    "model.gate_init_max": _at_least(0, "0.02"),
    "model.resid_lambda_first": _finite("1.15"),
    "model.resid_lambda_last": _finite("1.05"),
    "model.x0_lambda_first": _finite("0.2"),
    "model.x0_lambda_last": _finite("0.05"),
    "model.smear_lambda_init": _finite("0"),
    "model.backout_lambda_init": _finite("0.2"),
    "model.init_moved_by": _at_least(0, "1e-7"),
    "dataset.name": _named("dataset.name=my_text"),
    "dataset.text_column": _named("dataset.text_column=text"),
    "dataset.num_train_shards": _at_least(1, "8"),
    "dataset.validation_shards": _at_least(1, "1"),
    "tokenizer.name": _named("tokenizer.name=bpe"),
    "tokenizer.vocab_size": Range(
        lambda value: 257 <= value <= 2**20,
        "lie between 257 (256 bytes and the begin-of-text token) and 1048576",
        "try 32768",
    ),
    "tokenizer.max_train_bytes": _at_least(1, "2000000000"),
    "tokenizer.max_digits": _between(1, 100, "2"),
    "packing.buffer_docs": _at_least(1, "100000"),
    "optimizer.reference_width": _at_least(1, "768"),
    "optimizer.matrix.lr": _at_least(0, "0.02"),
    "optimizer.matrix.weight_decay": _at_least(0, "0.28"),
    "optimizer.matrix.momentum_start": _below_one("0.85"),
    "optimizer.matrix.momentum": _below_one("0.97"),
    "optimizer.matrix.momentum_end": _below_one("0.9"),
    "optimizer.matrix.num_iterations": _between(1, 5, "5"),
    "optimizer.matrix.beta1": _below_one("0.8"),
    "optimizer.matrix.beta2": _below_one("0.9"),
    "optimizer.matrix.eps": _more_than_zero("1e-10"),
    **{f"optimizer.{group}.{name}": rule for group in _ADAM_GROUPS for name, rule in _ADAM.items()},
    "schedule.warmup_steps": _at_least(0, "40"),
    "schedule.warmup_ratio": _between(0, 1, "0.02"),
    "schedule.warmdown_ratio": _between(0, 1, "0.65"),
    "schedule.final_lr_frac": _between(0, 1, "0.05"),
    "schedule.momentum_warmup_steps": _at_least(0, "400"),
    "schedule.momentum_warmup_ratio": _between(0, 1, "0.2"),
    "precision.fp8.min_size": _at_least(1, "128"),
    "precision.fp8.size_multiple": Range(
        lambda value: value >= 16 and value % 16 == 0,
        "be a multiple of 16 (what FP8 hardware multiplies)",
        "try 16",
    ),
    "horizon.target_param_data_ratio": Range(
        lambda value: 0 < value <= 1e6, "be more than 0 and at most 1000000", "try 12"
    ),
    "horizon.target_flops": _more_than_zero("1e18"),
    "horizon.num_steps": _at_least(1, "1000"),
    "horizon.target_tokens": _at_least(1, "1000000000"),
    "horizon.total_batch_size": _auto_or_at_least_one("524288"),
    "horizon.device_batch_size": _at_least(1, "32"),
    "horizon.sequence_len": _between(2, 2**20, "2048"),
    "horizon.reference_depth": _between(1, 1000, "12"),
    "horizon.reference_batch_size": _at_least(1, "524288"),
    "horizon.batch_exponent": _between(0, 1, "0.383"),
    "evaluation.every_steps": _at_least(0, "250 (0: only at the end)"),
    "evaluation.max_bytes": _at_least(1, "201326592"),
    "evaluation.sample_tokens": _at_least(0, "64 (0: no sample)"),
    "trainer.checkpoint_every_steps": _at_least(0, "1000 (0: never)"),
    "trainer.checkpoint_every_min": _at_least(0, "15 (0: never)"),
    "trainer.gc_every_steps": _at_least(1, "5000"),
    "trainer.max_loss_ratio": Range(
        lambda value: 1 < value < math.inf,
        "be a finite number of more than 1 (the loss at step 0 must pass)",
        "try 1.5, or 1e9 for a run that never counts as diverged",
    ),
    "launcher.num_workers": _auto_or_at_least_one("2"),
    "launcher.max_attempts": _at_least(1, "3"),
    "launcher.processes_per_run": _at_least(1, "8"),
    "launcher.plan_device": _named("launcher.plan_device=h100"),
    "launcher.plan_mfu": Range(lambda value: 0 < value <= 1, "be more than 0 and at most 1", "try 0.4"),
    **{
        f"launcher.slurm.{name}": _named(f"launcher.slurm.{name}=null")
        for name in ("partition", "account", "qos", "constraint")
    },
    "launcher.slurm.gpus": _at_least(0, "1 (0: CPU nodes)"),
    "launcher.slurm.cpus": _at_least(1, "8"),
    "launcher.slurm.mem_gib": _auto_or_at_least_one("64"),
    "launcher.slurm.time_min": _auto_or_at_least_one("120"),
    "launcher.slurm.time_margin": _at_least(1, "2"),
    "launcher.slurm.runs_per_task": _auto_or_at_least_one("4"),
    "launcher.slurm.task_min": _at_least(1, "60"),
    "launcher.slurm.nodes": _at_least(1, "1"),
    "launcher.slurm.workers_per_task": _at_least(1, "1"),
    "launcher.slurm.max_parallel": _at_least(1, "64"),
    "launcher.slurm.signal_delay_s": _at_least(1, "120"),
    "launcher.slurm.max_requeues": _at_least(0, "50"),
    "ladder.reference_replicates": _auto_or_at_least_one("2"),
    "logging.project": _named("logging.project=sweepkit"),
    "logging.every_steps": _at_least(1, "1"),
    "logging.diagnostics_every_steps": _at_least(0, "50 (0: never)"),
}
_GETTERS = [(field, attrgetter(field), rule) for field, rule in RANGES.items()]


def check(config: RunConfig) -> None:
    """Check every range, then the rules across fields.

    Raises:
        ConfigError: the first that is broken.
    """
    for field, get, rule in _GETTERS:
        value = get(config)
        if isinstance(value, int) and abs(value) >= 2**63:
            raise errors.invalid(field, value, "fit in 64 bits", rule.remedy)
        if value is not None and not rule.holds(value):
            raise errors.invalid(field, value, rule.contract, rule.remedy)
    cross_checks.check(config)
