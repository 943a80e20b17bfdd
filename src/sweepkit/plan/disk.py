"""Disk that a run takes: the weights that it keeps, and its checkpoints. Estimates from the plan alone.

A parameter takes 4 bytes, one of a table 2 where it is kept in bf16 (``model/layers.py``); a checkpoint holds
the optimizer's state beside the parameters: one momentum for Muon, two moments for AdamW.
"""

from __future__ import annotations

from collections.abc import Sequence

from sweepkit.config.choices import Dtype, MatrixOptimizer
from sweepkit.plan.run_plan import RunPlan

#: Checkpoints that a run has at a time (``training/checkpoint.py``).
NUM_CHECKPOINTS = 2
_TABLES = ("wte", "value_embeds")


def weights_bytes(plan: RunPlan) -> int:
    """Bytes of the final weights; an automatic dtype counts as bf16."""
    return sum(count * _bytes(plan, group) for group, count in plan.param_groups.items())


def checkpoint_bytes(plan: RunPlan) -> int:
    """Bytes of one checkpoint: parameters and optimizer state."""
    is_muon = plan.config["optimizer"]["matrix"]["kind"] == MatrixOptimizer.muon.name
    moments = {group: 1 if group == "transformer_matrices" and is_muon else 2 for group in plan.param_groups}
    return sum(
        count * _bytes(plan, group) * (1 + moments[group]) for group, count in plan.param_groups.items()
    )


def in_words(plans: Sequence[RunPlan]) -> str:
    """What these runs leave and need, as ``0.5 GiB of weights ..., 2 checkpoints of up to 0.8 GiB ...``."""
    kept = sum(weights_bytes(plan) for plan in plans if plan.config["trainer"]["keep_weights"])
    weights = f"{size(kept)} of weights" if kept else "no weights (trainer.keep_weights=false)"
    if all(plan.config["trainer"]["keep_checkpoints"] for plan in plans):
        checkpoints = NUM_CHECKPOINTS * sum(map(checkpoint_bytes, plans))
        return f"{weights} and {size(checkpoints)} of checkpoints, which stay (trainer.keep_checkpoints)"
    largest = max(map(checkpoint_bytes, plans))
    return f"{weights}, and {NUM_CHECKPOINTS} checkpoints of up to {size(largest)} for each run at work"


def _bytes(plan: RunPlan, group: str) -> int:
    """Of one parameter."""
    narrow = plan.config["precision"]["dtype"] not in (Dtype.fp16.name, Dtype.fp32.name)
    return 2 if narrow and group in _TABLES else 4


def size(num_bytes: int) -> str:
    """Bytes in words: ``18 MiB``, ``1.9 GiB``."""
    mib = num_bytes / 2**20
    return f"{mib:.3g} MiB" if mib < 1000 else f"{mib / 1024:,.1f} GiB"
