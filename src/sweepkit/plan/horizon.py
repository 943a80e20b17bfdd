"""How long, in which batches: tokens, batch and steps (methodology §3).

The batch always follows the ratio-derived horizon D = ⌊ratio × scaling params⌋, also where steps, tokens
or a FLOPs budget set the length of the run: B = 2^round(log2(B_ref × (D / D_ref)^0.383)), D_ref the same
ratio and counting at the reference depth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from sweepkit import errors
from sweepkit.config import dimensions
from sweepkit.config.schema import RunConfig
from sweepkit.plan.sizing import Sizing

#: Tokens of a run that still count in 64 bits.
MAX_TOKENS = 2**62


@dataclass(frozen=True)
class Horizon:
    """Attributes: see the fields of the same names in ``RunPlan``."""

    target_tokens: int
    transfer_tokens: int
    reference_tokens: int  # transfer_tokens of the model at the reference depth
    total_batch_size: int
    device_batch_size: int
    num_steps: int


def plan_horizon(config: RunConfig, sizing: Sizing, reference: Sizing) -> Horizon:
    """Resolve the horizon.

    Raises:
        ConfigError: the run would have no step, or the automatic batch is no whole number of rows.
    """
    horizon = config.horizon
    ratio_tokens = tokens_for_ratio(config, sizing)
    reference_tokens = tokens_for_ratio(config, reference)
    if ratio_tokens < 1 or reference_tokens < 1:
        raise errors.invalid(
            "horizon.target_param_data_ratio",
            horizon.target_param_data_ratio,
            "give at least one token",
            "raise it; 12 is the default",
        )
    if isinstance(horizon.total_batch_size, int):
        batch = horizon.total_batch_size
    else:
        batch = automatic_batch(config, ratio_tokens / reference_tokens)
        _check_automatic(config, batch)
    rows = dimensions.device_rows(horizon, batch)
    target = ratio_tokens if horizon.target_tokens is None else horizon.target_tokens
    if horizon.num_steps is not None:
        steps = horizon.num_steps
    elif horizon.target_flops is not None:
        steps = round(horizon.target_flops / (sizing.flops_per_token * batch))
    else:
        steps = target // batch
    if steps < 1:
        raise _no_step(config, sizing, batch, target)
    if steps * batch > MAX_TOKENS:
        raise errors.ConfigError(
            f"horizon gives {steps:.3g} steps of {batch} tokens, but must be at most {MAX_TOKENS:.3g} tokens "
            "in all; lower horizon.num_steps, target_tokens, target_flops or target_param_data_ratio"
        )
    return Horizon(target, ratio_tokens, reference_tokens, batch, rows, steps)


def tokens_for_ratio(config: RunConfig, sizing: Sizing) -> int:
    """D = ⌊ratio × scaling params⌋."""
    return math.floor(config.horizon.target_param_data_ratio * sizing.scaling_params(config.horizon.count))


def automatic_batch(config: RunConfig, relative_tokens: float) -> int:
    """Tokens a step for D / D_ref = ``relative_tokens``: the nearest power of two in the logarithm."""
    horizon = config.horizon
    ideal = horizon.reference_batch_size * relative_tokens**horizon.batch_exponent
    return int(2 ** round(math.log2(ideal)))


def _check_automatic(config: RunConfig, batch: int) -> None:
    length, rows = config.horizon.sequence_len, dimensions.device_rows(config.horizon, batch)
    if batch % (rows * length):
        fitting = [n for n in range(1, batch // length + 1) if batch % (n * length) == 0 and n <= rows]
        remedy = (
            f"nearest: horizon.device_batch_size={fitting[-1]}"
            if fitting
            else "set horizon.total_batch_size, or a horizon.sequence_len that is a power of two"
        )
        raise errors.ConfigError(
            f"horizon.total_batch_size=auto gives {batch} tokens, but must be a multiple of "
            f"{rows * length} (device_batch_size {rows} × sequence_len {length} × 1 device); "
            f"{remedy}"
        )


def _no_step(config: RunConfig, sizing: Sizing, batch: int, target: int) -> errors.ConfigError:
    horizon = config.horizon
    if horizon.target_flops is not None:
        step = sizing.flops_per_token * batch
        return errors.invalid(
            "horizon.target_flops",
            horizon.target_flops,
            f"pay for at least one step ({step:.3g} FLOPs: {batch} tokens × {sizing.flops_per_token})",
            f"raise it, or lower horizon.total_batch_size ({batch} tokens)",
        )
    field = (
        "horizon.target_tokens" if horizon.target_tokens is not None else "horizon.target_param_data_ratio"
    )
    value = horizon.target_param_data_ratio if horizon.target_tokens is None else target
    return errors.invalid(
        field,
        value,
        f"give at least one step ({target} tokens are less than one batch of {batch})",
        "raise it, or lower horizon.total_batch_size",
    )
