"""Learning rates and weight decay across depths (methodology §3).

LR: the tables' and the head's with (width / reference_width)^-0.5; every group's but smear's with
√(B / B_ref). Weight decay of the matrices keeps B/(η·λ·D) constant: λ = λ_ref × √(B / B_ref) × D_ref / D;
the AdamW groups' is not scaled.
"""

from __future__ import annotations

import math

from sweepkit.config.schema import RunConfig
from sweepkit.plan.horizon import Horizon
from sweepkit.plan.sizing import Sizing

GROUPS = ("matrix", "embedding", "unembedding", "value_embedding", "resid", "x0", "smear")
_SCALED_BY_WIDTH = frozenset({"embedding", "unembedding", "value_embedding"})
_UNSCALED_BY_BATCH = frozenset({"smear"})
WIDTH_EXPONENT = -0.5


def learning_rates(config: RunConfig, sizing: Sizing, horizon: Horizon) -> dict[str, float]:
    """Peak LR of every group."""
    optimizer = config.optimizer
    by_width = (sizing.width / optimizer.reference_width) ** WIDTH_EXPONENT
    by_batch = math.sqrt(horizon.total_batch_size / config.horizon.reference_batch_size)
    return {
        group: getattr(optimizer, group).lr
        * (by_width if group in _SCALED_BY_WIDTH else 1.0)
        * (1.0 if group in _UNSCALED_BY_BATCH else by_batch)
        for group in GROUPS
    }


def weight_decays(config: RunConfig, horizon: Horizon) -> dict[str, float]:
    """Weight decay of every group; the matrices' before its schedule."""
    decays: dict[str, float] = {group: getattr(config.optimizer, group).weight_decay for group in GROUPS}
    by_batch = math.sqrt(horizon.total_batch_size / config.horizon.reference_batch_size)
    decays["matrix"] *= by_batch * horizon.reference_tokens / horizon.transfer_tokens
    return decays
