"""Depth to sizes: width, heads, windows, parameters by group, FLOPs per token.

Everything is counted from the parts' descriptions, never from module classes (a count that missed the FP8
layers once understated a model twelvefold); tests compare with models built on the meta device.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property

from sweepkit.config import dimensions
from sweepkit.config.choices import ParameterCount
from sweepkit.config.schema import RunConfig
from sweepkit.plan import parts
from sweepkit.plan.part_weights import Part, Weight

#: First word of a parameter's name → the sum that it is in.
_SUM_OF = {"blocks": "transformer_matrices"} | {
    name: name for name in ("wte", "value_embeds", "lm_head", "further_heads", "bigram_embeds")
}


@dataclass(frozen=True)
class Sizing:
    """Sizes of one model.

    Attributes:
        windows: per layer, in tokens; a key is visible when 0 ≤ query − key ≤ window.
    """

    depth: int
    width: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    padded_vocab_size: int
    windows: tuple[int, ...]
    value_embedding_layers: tuple[int, ...]
    parts: tuple[Part, ...]

    @cached_property
    def weights(self) -> tuple[Weight, ...]:
        """Of all parts."""
        return tuple(weight for part in self.parts for weight in part.weights)

    @cached_property
    def param_groups(self) -> dict[str, int]:
        """wte, value_embeds, lm_head, transformer_matrices (gates included), scalars; others where there are.

        The smear gate is among the scalars; it is a Linear and costs FLOPs all the same.
        """
        sums = dict.fromkeys(("wte", "value_embeds", "lm_head", "transformer_matrices", "scalars"), 0)
        for weight in self.weights:
            group = _SUM_OF.get(weight.name.partition(".")[0], "scalars")
            sums[group] = sums.get(group, 0) + weight.num_params
        return sums

    @cached_property
    def flops_per_token(self) -> int:
        """Of training: forward and backward."""
        return sum(weight.flops_per_token for weight in self.weights) + sum(
            part.product_flops for part in self.parts
        )

    @property
    def total_params(self) -> int:
        return sum(self.param_groups.values())

    @property
    def active_params(self) -> int:
        """Those that a token passes: of routed experts the chosen ones alone."""
        return sum(weight.num_active for weight in self.weights)

    def scaling_params(self, count: ParameterCount) -> int:
        """The parameters that the tokens:params ratio counts."""
        groups = self.param_groups
        if count is ParameterCount.chinchilla:
            return self.total_params
        if count is ParameterCount.transformer_only:
            return groups["transformer_matrices"]
        counted = groups["transformer_matrices"] + groups["lm_head"]
        return counted - (self.total_params - self.active_params) * (count is ParameterCount.kaplan_active)


def reference(config: RunConfig) -> Sizing:
    """Sizes of the model that batch, rates and decay are scaled from: at ``horizon.reference_depth``.

    It has one key/value head per query head, as the model has that they were tuned on: a number of heads
    that fits the configured width may divide no other. Bigrams are in all of its layers.
    """
    model = dataclasses.replace(
        config.model,
        depth=config.horizon.reference_depth,
        num_kv_heads=None,
        bigram=dataclasses.replace(config.model.bigram, num_layers=None),
    )
    return size(dataclasses.replace(config, model=model))


def size(config: RunConfig) -> Sizing:
    """Sizes of the configured model."""
    model = config.model
    return Sizing(
        depth=model.depth,
        width=dimensions.width(model),
        num_heads=dimensions.num_heads(model),
        num_kv_heads=dimensions.num_kv_heads(model),
        head_dim=model.head_dim,
        padded_vocab_size=dimensions.padded_vocab_size(config.tokenizer.vocab_size),
        windows=dimensions.windows(model, config.horizon.sequence_len),
        value_embedding_layers=dimensions.value_embedding_layers(model),
        parts=parts.describe(config),
    )
