"""Disk that a run takes: the weights that it keeps, and its checkpoints. Estimates from the plan alone."""

from __future__ import annotations

from collections.abc import Sequence

from sweepkit.config.schema import RunConfig
from sweepkit.plan import cost, sizing
from sweepkit.plan.run_plan import RunPlan

#: Checkpoints that a run has at a time (``training/checkpoint.py``).
NUM_CHECKPOINTS = 2


def weights_bytes(plan: RunPlan) -> int:
    """Bytes of the final weights, the averaged ones among them; an automatic dtype counts as bf16."""
    return _bytes(plan.config) * (1 if plan.config.optimizer.ema_decay is None else 2)


def checkpoint_bytes(plan: RunPlan) -> int:
    """Bytes of one checkpoint: parameters, and what the update rules keep of them."""
    config = plan.config
    kept = sum(cost.kept_bytes(config, item) for item in sizing.size(config).weights)
    return _bytes(config) + kept


def in_words(plans: Sequence[RunPlan]) -> str:
    """What these runs leave and need, as ``0.5 GiB of weights ..., 2 checkpoints of up to 0.8 GiB ...``."""
    variants = {plan.variant_id: plan for plan in plans}
    of_weights = {name: weights_bytes(plan) for name, plan in variants.items()}
    of_checkpoint = {name: checkpoint_bytes(plan) for name, plan in variants.items()}
    kept = sum(of_weights[plan.variant_id] for plan in plans if plan.config.trainer.keep_weights)
    weights = f"{size(kept)} of weights" if kept else "no weights (trainer.keep_weights=false)"
    if all(plan.config.trainer.keep_checkpoints for plan in plans):
        checkpoints = NUM_CHECKPOINTS * sum(of_checkpoint[plan.variant_id] for plan in plans)
        return f"{weights} and {size(checkpoints)} of checkpoints, which stay (trainer.keep_checkpoints)"
    largest = max(of_checkpoint.values())
    return f"{weights}, and {NUM_CHECKPOINTS} checkpoints of up to {size(largest)} for each run at work"


def _bytes(config: RunConfig) -> int:
    return sum(item.num_params * cost.bytes_each(config, item) for item in sizing.size(config).weights)


def size(num_bytes: float) -> str:
    """Bytes in words: ``18 MiB``, ``1.9 GiB``."""
    mib = num_bytes / 2**20
    return f"{mib:.3g} MiB" if mib < 1000 else f"{mib / 1024:,.1f} GiB"
