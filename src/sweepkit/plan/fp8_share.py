"""Which matrix products run in FP8, and their FLOPs: from the architecture, never from modules."""

from __future__ import annotations

from sweepkit import errors
from sweepkit.config.choices import Dtype, Fp8Layers
from sweepkit.config.schema import Fp8Config, RunConfig
from sweepkit.plan.part_weights import FLOPS_PER_PARAM, Weight
from sweepkit.plan.sizing import Sizing


def in_fp8(weight: Weight, rule: Fp8Config) -> bool:
    """Whether a weight is multiplied in FP8: chosen, and large enough in both sizes, padding left out."""
    if weight.use != "product" or weight.exact:
        return False
    if rule.layers is Fp8Layers.projection and weight.role != "unembedding":
        return False
    rows, columns = weight.shape[0] - weight.padding, weight.shape[1]
    return (
        min(rows, columns) >= rule.min_size and rows % rule.size_multiple == columns % rule.size_multiple == 0
    )


def fp8_flops_per_token(config: RunConfig, sizes: Sizing) -> int:
    """Training FLOPs a token that FP8 carries: those of the layers that ``in_fp8`` names.

    0 unless ``precision.dtype`` is fp8. Attention's own products, gates and what is no matrix product stay in
    the compute dtype.
    """
    if config.precision.dtype is not Dtype.fp8:
        return 0
    return sum(
        weight.flops_per_token - FLOPS_PER_PARAM * weight.padding * weight.shape[1] * weight.num_alike
        for weight in sizes.weights
        if in_fp8(weight, config.precision.fp8)
    )


def check(config: RunConfig, sizes: Sizing) -> None:
    """Refuse FP8 where no product would be in it: such a run is one in bf16 under another name.

    Raises:
        ConfigError: says how large a layer must be, and how small the rule may be.
    """
    if config.precision.dtype is not Dtype.fp8 or fp8_flops_per_token(config, sizes):
        return
    rule = config.precision.fp8
    products = [weight for weight in sizes.weights if weight.use == "product" and not weight.exact]
    largest = max(min(weight.shape[0] - weight.padding, weight.shape[1]) for weight in products)
    raise errors.invalid(
        "precision.fp8.min_size",
        rule.min_size,
        f"leave some product to FP8: no layer of this model has {rule.min_size} rows and columns, multiples "
        f"of {rule.size_multiple}, so that it would be a run in bf16",
        f"use a larger model, or lower it (at most {largest} here)",
    )
