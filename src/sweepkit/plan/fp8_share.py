"""Which matrix products run in FP8, and their FLOPs: from the architecture, never from modules."""

from __future__ import annotations

from sweepkit.config.choices import Dtype
from sweepkit.config.schema import Fp8Config, RunConfig
from sweepkit.plan.sizing import FLOPS_PER_PARAM, Sizing


def in_fp8(rows: int, columns: int, rule: Fp8Config) -> bool:
    """Whether a Linear with a weight [rows, columns] multiplies in FP8."""
    return (
        min(rows, columns) >= rule.min_size and rows % rule.size_multiple == columns % rule.size_multiple == 0
    )


def linear_shapes(config: RunConfig, sizes: Sizing) -> list[tuple[int, int, int]]:
    """Every kind of Linear that training multiplies by: rows and columns of its weight, and how many."""
    model, depth, width = config.model, sizes.depth, sizes.width
    kv_width = sizes.num_kv_heads * model.head_dim
    return [
        (width, width, 2 * depth),  # queries, output
        (kv_width, width, 2 * depth),  # keys, values
        (model.mlp_ratio * width, width, 2 * depth),  # MLP up and, transposed, down
        (sizes.num_kv_heads, model.value_gate_channels, len(sizes.value_embedding_layers)),
        (config.tokenizer.vocab_size, width, 1),  # without the rows that only pad it
    ]


def fp8_flops_per_token(config: RunConfig, sizes: Sizing) -> int:
    """Training FLOPs a token that FP8 carries: those of the Linear layers that are large enough.

    0 unless ``precision.dtype`` is fp8. Attention's own products, gates and what is no matrix product stay in
    the compute dtype.
    """
    if config.precision.dtype is not Dtype.fp8:
        return 0
    rule = config.precision.fp8
    return FLOPS_PER_PARAM * sum(
        rows * columns * count
        for rows, columns, count in linear_shapes(config, sizes)
        if in_fp8(rows, columns, rule)
    )
