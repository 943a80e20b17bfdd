"""The part of the schema that says which model is trained, and in which numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Union  # OmegaConf reads these at run time

from sweepkit.config.choices import (
    Dtype,
    ExpertBalance,
    Fp8Backend,
    Fp8Layers,
    Fp8Scaling,
    FurtherHeads,
    FurtherSchedule,
    MlpKind,
    MlpMatch,
)
from sweepkit.config.facts import Identity, block, either, fact, unless, when
from sweepkit.config.ranges import Range, at_least, auto_or_at_least_one, between, finite, more_than_zero

_RESOLVED = Identity.resolved
SMEAR, VALUES = when("model.smear", True), when("model.value_embeddings", True)
BACKOUT = when("model.backout", True)
BIGRAM = unless("model.bigram.table_ratio", 0)
EXPERTS = unless("model.experts.num_routed", 0)
FURTHER = unless("model.multi_token.num_further", 0)


@dataclass
class MlpConfig:
    kind: MlpKind = fact(MlpKind.relu2, "what is done to the hidden layer")
    ratio: int = fact(
        4,
        "hidden width of a ReLU² MLP / width; other kinds are as wide as costs the same",
        at_least(1),
        identity=_RESOLVED,
        comes_out_as=("model.mlp.hidden",),
    )
    match: MlpMatch = fact(
        MlpMatch.flops,
        "in what it costs the same; the two part where there are experts",
        identity=_RESOLVED,
        comes_out_as=("model.mlp.hidden",),
    )
    init_scale: float = fact(0.4, "× ±√3/√width: its first matrices", at_least(0), initial=True)


@dataclass
class ExpertsConfig:
    num_routed: int = fact(0, "experts of which each token passes a few; 0: an MLP", at_least(0), example="8")
    num_chosen: int = fact(2, "routed experts that a token passes", at_least(1), when=EXPERTS)
    num_shared: int = fact(1, "experts that all tokens pass", at_least(0), when=EXPERTS)
    balance: ExpertBalance = fact(
        ExpertBalance.bias, "what keeps the load even: a bias of the choice, a loss, or nothing", when=EXPERTS
    )
    bias_step: float = fact(
        0.001,
        "by which the bias of an expert moves after every step",
        at_least(0),
        traced=False,
        when=EXPERTS + when("model.experts.balance", ExpertBalance.bias),
    )
    loss_weight: float = fact(
        0.01,
        "of the loss of an uneven load",
        at_least(0),
        traced=False,
        when=EXPERTS + when("model.experts.balance", ExpertBalance.loss),
    )


@dataclass
class BigramConfig:
    table_ratio: float = fact(
        0.0, "rows of the table / vocabulary; 0: no table", between(0, 100), example="5"
    )
    num_layers: Optional[int] = fact(
        None,
        "that it is added in, from the first on; null: all",
        at_least(1),
        example="1",
        identity=_RESOLVED,
        when=BIGRAM,
    )
    lambda_init: float = fact(0.1, "× what is added", finite(), initial=True, when=BIGRAM)


@dataclass
class MultiTokenConfig:
    """Multi-token prediction, while training; evaluation is of the next token alone."""

    num_further: int = fact(0, "tokens that are predicted after the next", between(0, 16), example="2")
    heads: FurtherHeads = fact(
        FurtherHeads.shared, "the head of the next token predicts them too, or each has its own", when=FURTHER
    )
    weight: float = fact(
        0.5, "in the loss, × that of the token before", between(0, 1), traced=False, when=FURTHER
    )
    schedule: FurtherSchedule = fact(
        FurtherSchedule.staged,
        "weights stay, or fade one after the other, the furthest first; then the next token is all",
        traced=False,
        when=FURTHER,
    )


@dataclass
class ModelConfig:
    depth: int = fact(
        12, "transformer blocks; width, heads, batch and learning rates follow from it", between(1, 1000)
    )
    aspect_ratio: int = fact(
        64,
        "width per block: width is depth × this, rounded up to a multiple of head_dim",
        at_least(1),
        identity=_RESOLVED,
        comes_out_as=("model.width",),
    )
    head_dim: int = fact(
        128,
        "channels of an attention head",
        Range(
            lambda value: value >= 2 and value % 2 == 0,
            "be an even number of at least 2 (rotary embedding turns pairs)",
        ),
    )
    num_kv_heads: Optional[int] = fact(
        None, "key/value heads; null: one per query head", at_least(1), example="2", identity=_RESOLVED
    )
    window_pattern: str = fact(
        "SSSL",
        "attention windows, tiled over the layers: S short_window tokens, L the full context; the last is L",
        Range(
            lambda value: value != "" and set(value) <= {"S", "L"},
            "be made of the letters S (short window) and L (full context)",
        ),
        identity=_RESOLVED,
        comes_out_as=("model.windows",),
    )
    short_window: Union[int, str] = fact(
        "auto",
        "window of an S layer; auto: a quarter of sequence_len, rounded up to a multiple of 128",
        auto_or_at_least_one(),
        unit="tokens",
        example="512",
        identity=_RESOLVED,
        comes_out_as=("model.windows",),
    )
    value_embeddings: bool = fact(
        True,
        "add an embedding of the token to the attention values of every other layer",
        comes_out_as=("model.value_embedding_layers",),
    )
    value_gate_channels: int = fact(
        12, "channels that the value embeddings' gate reads", at_least(1), when=VALUES
    )
    value_gate_scale: float = fact(
        3.0, "factor on the value embeddings' gate, a sigmoid", finite(), when=VALUES
    )
    smear: bool = fact(True, "add a gated share of the previous token's embedding to each token's")
    smear_channels: int = fact(24, "channels that smear's gate reads", at_least(1), when=SMEAR)
    backout: Optional[bool] = fact(
        None,
        "subtract λ × the middle block's residual before the final norm; null: where depth is 3 or more",
        identity=_RESOLVED,
    )
    rope_base: float = fact(100_000.0, "base of the rotary embedding's wavelengths", more_than_zero())
    qk_scale: float = fact(1.2, "factor on queries and keys after their norm", more_than_zero())
    logit_softcap: float = fact(15.0, "c of the logits' soft cap, c·tanh(logits / c)", more_than_zero())
    embedding_init_std: float = fact(
        0.8, "initial standard deviation of the token embeddings", at_least(0), initial=True
    )
    unembedding_init_std: float = fact(
        0.001, "initial standard deviation of the vocabulary projection", at_least(0), initial=True
    )
    gate_init_max: float = fact(
        0.02,
        "weights of gates begin uniform between 0 and this",
        at_least(0),
        initial=True,
        when=either(VALUES, SMEAR),
    )
    resid_lambda_first: float = fact(
        1.15, "initial factor on the residual stream, first block", finite(), initial=True
    )
    resid_lambda_last: float = fact(
        1.05,
        "the same in the last block; linear between",
        finite(),
        initial=True,
        when=unless("model.depth", 1),
    )
    x0_lambda_first: float = fact(
        0.20, "initial factor on the embeddings added before each block, first block", finite(), initial=True
    )
    x0_lambda_last: float = fact(
        0.05,
        "the same in the last block; linear between",
        finite(),
        initial=True,
        when=unless("model.depth", 1),
    )
    smear_lambda_init: float = fact(0.0, "initial factor on smear's gate", finite(), initial=True, when=SMEAR)
    backout_lambda_init: float = fact(0.2, "initial λ of backout", finite(), initial=True, when=BACKOUT)
    init_moved_by: float = fact(
        0.0,
        "relative standard deviation by which all initial weights are moved, to measure rounding",
        at_least(0),
        example="1e-7",
        initial=True,
        same_training=True,  # as rounding on another machine would
    )
    mlp: MlpConfig = block(MlpConfig, "the feed-forward half of a block")
    experts: ExpertsConfig = block(ExpertsConfig, "mixture of experts in place of the MLP, dropless")
    bigram: BigramConfig = block(BigramConfig, "embeddings of hashed pairs of tokens, added to the stream")
    multi_token: MultiTokenConfig = block(
        MultiTokenConfig, "multi-token prediction: of tokens after the next"
    )


@dataclass
class Fp8Config:
    """Which Linear layers multiply in FP8, and how."""

    layers: Fp8Layers = fact(
        Fp8Layers.all, "which multiply in FP8: all that are large enough, or the vocabulary projection alone"
    )
    scaling: Fp8Scaling = fact(
        Fp8Scaling.tensorwise,
        "an operand has one scale, or one a row (a column, where columns are multiplied)",
    )
    min_size: int = fact(
        128, "layers whose weight is at least this in both sizes multiply in FP8", at_least(1)
    )
    size_multiple: int = fact(
        16,
        "and is divisible by this in both sizes",
        Range(
            lambda value: value >= 16 and value % 16 == 0,
            "be a multiple of 16 (what FP8 hardware multiplies)",
        ),
    )
    backend: Fp8Backend = fact(
        Fp8Backend.auto,
        "native: the device's FP8 units; emulated: fp32 products of values rounded to FP8, no faster",
    )
    allow_eager: bool = fact(
        False,
        "allow native FP8 without torch.compile, where scaling costs more than FP8 gains",
        identity=Identity.none,
        why="a permission",
        traced=False,
    )


@dataclass
class PrecisionConfig:
    dtype: Dtype = fact(
        Dtype.auto,
        "dtype of activations and products; auto: bf16 where the device has it natively, else fp32",
    )
    fp8: Fp8Config = block(
        Fp8Config, "which layers multiply in FP8, and how", when=when("precision.dtype", Dtype.fp8)
    )
