"""Learning rates and weight decays across depths (methodology §3).

LR: the tables' and the head's with (width / reference_width)^-0.5; every group's but smear's with
√(B / B_ref); that of groups which are updated once in k steps with k^-0.5. Weight decay of the matrices keeps
B/(η·λ·D) constant: λ = λ_ref × √(B / B_ref) × D_ref / D; the AdamW groups' is not scaled.
"""

from __future__ import annotations

import math

from sweepkit.config.schema import RunConfig
from sweepkit.plan.horizon import Horizon
from sweepkit.plan.roles import ROLES, Role, update_rule
from sweepkit.plan.sizing import Sizing

WIDTH_EXPONENT = -0.5
EVERY_EXPONENT = -0.5


def learning_rates(config: RunConfig, sizing: Sizing, horizon: Horizon) -> dict[str, float]:
    """Peak LR of every group that has parameters."""
    optimizer = config.optimizer
    by_width = (sizing.width / optimizer.reference_width) ** WIDTH_EXPONENT
    by_batch = math.sqrt(horizon.total_batch_size / config.horizon.reference_batch_size)
    return {
        name: getattr(optimizer, name).lr
        * (by_width if role.lr_by_width else 1.0)
        * (by_batch if role.lr_by_batch else 1.0)
        * update_rule(name, optimizer).every ** EVERY_EXPONENT
        for name, role in _present(sizing)
    }


def weight_decays(config: RunConfig, sizing: Sizing, horizon: Horizon) -> dict[str, float]:
    """Weight decay of every group that has parameters; the matrices' before its schedule."""
    by_batch = math.sqrt(horizon.total_batch_size / config.horizon.reference_batch_size)
    scaled = by_batch * horizon.reference_tokens / horizon.transfer_tokens
    return {
        name: getattr(config.optimizer, name).weight_decay * (scaled if role.decay_is_scheduled else 1.0)
        for name, role in _present(sizing)
    }


def _present(sizing: Sizing) -> list[tuple[str, Role]]:
    present = {weight.role for weight in sizing.weights}
    return [(name, role) for name, role in ROLES.items() if name in present]
