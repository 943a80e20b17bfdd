"""Depth to sizes: width, heads, windows, parameters by group, FLOPs per token.

Everything is counted from the architecture, never from module classes (a count that missed the FP8
layers once understated a model twelvefold); tests compare with models built on the meta device.
Sources: methodology §3 (counting, FLOPs), the baseline model's specification (layers, windows).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from sweepkit.config import dimensions
from sweepkit.config.choices import ParameterCount
from sweepkit.config.schema import ModelConfig, RunConfig

#: short_window "auto": a quarter of T, rounded up to a multiple of this.
WINDOW_MULTIPLE = 128
#: Training costs 2 FLOPs a parameter forward and 4 backward.
FLOPS_PER_PARAM = 6
#: Scores and weighted values: 2 × 2 FLOPs forward, twice that backward, a channel and visible position.
FLOPS_PER_ATTENTION_CHANNEL = 12


@dataclass(frozen=True)
class Sizing:
    """Sizes of one model.

    Attributes:
        windows: per layer, in tokens; a key is visible when 0 ≤ query − key ≤ window.
        param_groups: wte, value_embeds, lm_head, transformer_matrices (gates included), scalars (with the
            smear gate, which is a Linear and costs FLOPs all the same).
    """

    depth: int
    width: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    padded_vocab_size: int
    windows: tuple[int, ...]
    value_embedding_layers: tuple[int, ...]
    param_groups: dict[str, int]
    flops_per_token: int

    @property
    def total_params(self) -> int:
        return sum(self.param_groups.values())

    def scaling_params(self, count: ParameterCount) -> int:
        """The parameters that the tokens:params ratio counts."""
        groups = self.param_groups
        if count is ParameterCount.chinchilla:
            return self.total_params
        if count is ParameterCount.transformer_only:
            return groups["transformer_matrices"]
        return groups["transformer_matrices"] + groups["lm_head"]


def reference(config: RunConfig) -> Sizing:
    """Sizes of the model that batch, rates and decay are scaled from: at ``horizon.reference_depth``.

    It has one key/value head per query head, as the model has that they were tuned on: a number of heads
    that fits the configured width may divide no other.
    """
    model = dataclasses.replace(config.model, depth=config.horizon.reference_depth, num_kv_heads=None)
    return size(dataclasses.replace(config, model=model))


def size(config: RunConfig) -> Sizing:
    """Sizes of the configured model."""
    model = config.model
    depth, width, num_heads = model.depth, dimensions.width(model), dimensions.num_heads(model)
    num_kv_heads = dimensions.num_kv_heads(model)
    kv_width = num_kv_heads * model.head_dim
    rows = dimensions.padded_vocab_size(config.tokenizer.vocab_size)
    value_layers = tuple(i for i in range(depth) if model.value_embeddings and i % 2 == (depth - 1) % 2)
    smear_gate = model.smear_channels if model.smear else 0
    groups = {
        "wte": rows * width,
        "value_embeds": len(value_layers) * rows * kv_width,
        "lm_head": rows * width,
        "transformer_matrices": depth * (2 * width**2 + 2 * width * kv_width + 2 * model.mlp_ratio * width**2)
        + len(value_layers) * model.value_gate_channels * num_kv_heads,
        # λ of residual and x0 a layer; smear: its gate and λ; backout: its λ
        "scalars": 2 * depth
        + (smear_gate + 1 if model.smear else 0)
        + (1 if dimensions.has_backout(model, depth) else 0),
    }
    visible = windows(model, depth, config.horizon.sequence_len)
    linear = groups["transformer_matrices"] + groups["lm_head"] + smear_gate
    attention = FLOPS_PER_ATTENTION_CHANNEL * width * sum(visible)
    return Sizing(
        depth=depth,
        width=width,
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        head_dim=model.head_dim,
        padded_vocab_size=rows,
        windows=visible,
        value_embedding_layers=value_layers,
        param_groups=groups,
        flops_per_token=FLOPS_PER_PARAM * linear + attention,
    )


def windows(model: ModelConfig, depth: int, sequence_len: int) -> tuple[int, ...]:
    """Window of every layer in tokens, at most T; the last layer always sees everything."""
    short = min(short_window(model, sequence_len), sequence_len)
    pattern = [model.window_pattern[i % len(model.window_pattern)] for i in range(depth)]
    pattern[-1] = "L"
    return tuple(sequence_len if letter == "L" else short for letter in pattern)


def short_window(model: ModelConfig, sequence_len: int) -> int:
    """Tokens that an S layer looks back."""
    if isinstance(model.short_window, int):
        return model.short_window
    return -(-sequence_len // (4 * WINDOW_MULTIPLE)) * WINDOW_MULTIPLE
