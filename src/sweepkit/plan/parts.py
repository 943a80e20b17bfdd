"""The parts of the model, each described once and without torch: weights, products, activations.

A part says which weights it has: shape, role, how tokens use them and what they begin as. All that is known
of a model before it is built follows from that: parameters, FLOPs, what FP8 carries, memory. So does what is
built: modules in ``model/`` take their shapes from here, and initial values and optimizer groups go by the
names that parameters have here. Sources: methodology §3 (FLOPs), the baseline model's specification.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

from sweepkit.config import dimensions
from sweepkit.config.choices import FurtherHeads, MlpKind, MlpMatch
from sweepkit.config.schema import ModelConfig, RunConfig
from sweepkit.plan.part_weights import ZERO, Constant, Init, Line, Normal, Part, Uniform, Weight

#: Scores and weighted values: 2 × 2 FLOPs forward, twice that backward, a channel and visible position.
FLOPS_PER_ATTENTION_CHANNEL = 12
#: Of the hidden layer, where it is not a multiple of the width: what FP8 and matrix units take unpadded.
HIDDEN_MULTIPLE = 16


class Mlp(NamedTuple):
    """A kind of MLP.

    Attributes:
        inputs: its matrices from the stream to the hidden layer.
        num_kept: arrays of the hidden layer's size that its backward pass needs.
    """

    inputs: tuple[str, ...]
    num_kept: int


MLPS: dict[MlpKind, Mlp] = {
    MlpKind.relu2: Mlp(("up",), 2),
    MlpKind.swiglu: Mlp(("gate", "up"), 4),
    MlpKind.geglu: Mlp(("gate", "up"), 4),
    MlpKind.gelu: Mlp(("up",), 2),
    MlpKind.leaky_relu2: Mlp(("up",), 3),
}


def describe(config: RunConfig) -> tuple[Part, ...]:
    """The parts of the configured model, in the order in which initial values are drawn."""
    return (
        _embedding(config),
        _head(config),
        _attention(config),
        _mlp(config),
        _value_embeddings(config),
        _lambdas(config),
        _smear(config),
        _backout(config),
        _further_heads(config),
        _bigrams(config),
    )


def _bound(width: int) -> float:
    """Of a uniform distribution with standard deviation 1/√width."""
    return math.sqrt(3.0 / width)


def _embedding(config: RunConfig) -> Part:
    shape = dimensions.padded_vocab_size(config.tokenizer.vocab_size), dimensions.width(config.model)
    init = Normal(config.model.embedding_init_std)
    return Part((Weight("wte.weight", shape, "embedding", init, "lookup"),))


def _head(config: RunConfig, name: str = "lm_head.weight", layers: tuple[int, ...] | None = None) -> Part:
    vocab_size = config.tokenizer.vocab_size
    rows = dimensions.padded_vocab_size(vocab_size)
    init, shape = Normal(config.model.unembedding_init_std), (rows, dimensions.width(config.model))
    padding = rows - vocab_size
    return Part((Weight(name, shape, "unembedding", init, layers=layers, padding=padding),))


def _further_heads(config: RunConfig) -> Part:
    """One for each further token, or none: the head of the next token makes its logits once for all."""
    block = config.model.multi_token
    if block.heads is FurtherHeads.shared or not block.num_further:
        return Part(())
    return _head(config, "further_heads.*.weight", tuple(range(block.num_further)))


def _attention(config: RunConfig) -> Part:
    """Activations: the normed input, q and k before and after rotary and norm, v, the output."""
    model = config.model
    width, kv_width = dimensions.width(model), dimensions.kv_width(model)
    drawn = Uniform(-_bound(width), _bound(width))
    layers = tuple(range(model.depth))
    visible = dimensions.windows(model, config.horizon.sequence_len)
    return Part(
        tuple(
            Weight(f"blocks.*.attention.{name}.weight", (rows, width), "matrix", init, layers=layers)
            for name, rows, init in (
                ("q", width, drawn), ("k", kv_width, drawn), ("v", kv_width, drawn), ("out", width, ZERO),
            )
        ),
        channels=model.depth * (4 * width + 3 * kv_width),
        product_flops=FLOPS_PER_ATTENTION_CHANNEL * width * sum(visible),
    )  # fmt: skip


def mlp_hidden(model: ModelConfig) -> int:
    """Hidden width of the MLP, or of each expert: what costs as much as a ReLU² MLP does.

    To the nearest multiple of 16. With experts, parameters are those of all, FLOPs those of the ones that a
    token passes.
    """
    experts, wanted = model.experts, 2 * model.mlp.ratio * dimensions.width(model)
    num_matrices = len(MLPS[model.mlp.kind].inputs) + 1
    if experts.num_routed:
        is_flops = model.mlp.match is MlpMatch.flops
        num_matrices *= experts.num_shared + (experts.num_chosen if is_flops else experts.num_routed)
    if num_matrices == 2:
        return wanted // 2
    return max(1, round(wanted / (num_matrices * HIDDEN_MULTIPLE))) * HIDDEN_MULTIPLE


def _mlp(config: RunConfig) -> Part:
    """Activations: the block's middle, its norm, the hidden layer before and after what is done to it."""
    if config.model.experts.num_routed:
        return _experts(config)
    model = config.model
    width, hidden, kind = dimensions.width(model), mlp_hidden(model), MLPS[model.mlp.kind]
    bound = model.mlp.init_scale * _bound(width)
    layers = tuple(range(model.depth))
    inputs = (
        Weight(
            f"blocks.*.mlp.{name}.weight", (hidden, width), "matrix", Uniform(-bound, bound), layers=layers
        )
        for name in kind.inputs
    )
    down = Weight("blocks.*.mlp.down.weight", (width, hidden), "matrix", ZERO, layers=layers)
    return Part((*inputs, down), channels=model.depth * (2 * width + kind.num_kept * hidden))


def _experts(config: RunConfig) -> Part:
    """Stacks of routed experts, shared ones as one MLP, and the router.

    Activations besides those of the experts that a token passes: its rows before and after them.
    """
    model = config.model
    experts, width, hidden, kind = (
        model.experts,
        dimensions.width(model),
        mlp_hidden(model),
        MLPS[model.mlp.kind],
    )
    num, chosen, layers = experts.num_routed, experts.num_chosen, tuple(range(model.depth))
    drawn = Uniform(-model.mlp.init_scale * _bound(width), model.mlp.init_scale * _bound(width))

    def routed(name: str, shape: tuple[int, int], init: Init) -> Weight:
        share = Fraction(chosen, num)
        name = f"blocks.*.mlp.{name}"
        return Weight(name, (num, *shape), "matrix", init, layers=layers, share=share, exact=True)

    def always(name: str, shape: tuple[int, int], init: Init, exact: bool = False) -> Weight:
        return Weight(f"blocks.*.mlp.{name}.weight", shape, "matrix", init, layers=layers, exact=exact)

    weights = [routed(name, (hidden, width), drawn) for name in kind.inputs]
    weights.append(routed("down", (width, hidden), ZERO))
    together = experts.num_shared * hidden
    if together:
        weights += [always(f"shared.{name}", (together, width), drawn) for name in kind.inputs]
        weights.append(always("shared.down", (width, together), ZERO))
    router = Uniform(-_bound(width), _bound(width))
    weights.append(always("router", (num, width), router, exact=True))
    passed = experts.num_chosen + experts.num_shared
    channels = 2 * width + kind.num_kept * passed * hidden + 2 * chosen * width
    return Part(tuple(weights), channels=model.depth * channels)


def _value_embeddings(config: RunConfig) -> Part:
    """A gate per key/value head and a table, on alternating layers."""
    model = config.model
    layers = dimensions.value_embedding_layers(model)
    if not layers:
        return Part(())
    bound = _bound(dimensions.width(model))
    gate = (dimensions.num_kv_heads(model), model.value_gate_channels)
    table = (dimensions.padded_vocab_size(config.tokenizer.vocab_size), dimensions.kv_width(model))
    drawn = Uniform(0.0, model.gate_init_max)
    return Part(
        (
            Weight("blocks.*.attention.value_gate.weight", gate, "matrix", drawn, layers=layers),
            Weight(
                "value_embeds.*.weight", table, "value_embedding", Uniform(-bound, bound), "lookup", layers
            ),
        )
    )


def _bigrams(config: RunConfig) -> Part:
    """A table of hashed bigrams, which begins at 0, and a λ in each layer that it is added in."""
    model = config.model
    rows = dimensions.bigram_rows(model, config.tokenizer.vocab_size)
    if not rows:
        return Part(())
    shape, num_layers = (rows, dimensions.width(model)), dimensions.bigram_layers(model)
    return Part(
        (
            Weight("bigram_embeds.weight", shape, "bigram", ZERO, "lookup"),
            Weight("bigram_lambdas", (num_layers,), "x0", Constant(model.bigram.lambda_init), "factor"),
        )
    )


def _lambdas(config: RunConfig) -> Part:
    """λ of the residual and of x0, one a layer."""
    model = config.model
    resid = Line(model.resid_lambda_first, model.resid_lambda_last)
    x0 = Line(model.x0_lambda_first, model.x0_lambda_last)
    return Part(
        (
            Weight("resid_lambdas", (model.depth,), "resid", resid, "factor"),
            Weight("x0_lambdas", (model.depth,), "x0", x0, "factor"),
        )
    )


def _smear(config: RunConfig) -> Part:
    model = config.model
    if not model.smear:
        return Part(())
    gate = Uniform(0.0, model.gate_init_max)
    return Part(
        (
            Weight("smear_gate.weight", (1, model.smear_channels), "smear", gate),
            Weight("smear_lambda", (), "smear", Constant(model.smear_lambda_init), "factor"),
        )
    )


def _backout(config: RunConfig) -> Part:
    if not dimensions.has_backout(config.model):
        return Part(())
    init = Constant(config.model.backout_lambda_init)
    return Part((Weight("backout_lambda", (), "smear", init, "factor"),))
