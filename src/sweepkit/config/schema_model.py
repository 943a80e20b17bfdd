"""The part of the schema that says which model is trained, and in which numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Union  # OmegaConf reads these at run time

from sweepkit.config.choices import Dtype, Fp8Backend
from sweepkit.config.facts import Identity, block, either, fact, unless, when
from sweepkit.config.ranges import Range, at_least, auto_or_at_least_one, between, finite, more_than_zero

_RESOLVED = Identity.resolved
SMEAR, VALUES = when("model.smear", True), when("model.value_embeddings", True)
BACKOUT = when("model.backout", True)


@dataclass
class ModelConfig:
    depth: int = fact(12, "blocks; width, heads, batch and rates follow from it", between(1, 1000))
    aspect_ratio: int = fact(
        64,
        "width / depth, before rounding up to a multiple of head_dim",
        at_least(1),
        identity=_RESOLVED,
        comes_out_as=("model.width",),
    )
    head_dim: int = fact(
        128,
        "channels of a head",
        Range(
            lambda value: value >= 2 and value % 2 == 0,
            "be an even number of at least 2 (rotary embedding turns pairs)",
        ),
    )
    num_kv_heads: Optional[int] = fact(
        None, "key/value heads; null: one per query head", at_least(1), example="2", identity=_RESOLVED
    )
    mlp_ratio: int = fact(4, "hidden width of the MLP / width", at_least(1))
    window_pattern: str = fact(
        "SSSL",
        "tiled over the layers: S looks back short_window tokens, L at all; the last layer is L",
        Range(
            lambda value: value != "" and set(value) <= {"S", "L"},
            "be made of the letters S (short window) and L (full context)",
        ),
        identity=_RESOLVED,
        comes_out_as=("model.windows",),
    )
    short_window: Union[int, str] = fact(
        "auto",
        "that an S layer looks back; auto: T/4 rounded up to a multiple of 128",
        auto_or_at_least_one(),
        unit="tokens",
        example="512",
        identity=_RESOLVED,
        comes_out_as=("model.windows",),
    )
    value_embeddings: bool = fact(
        True,
        "tables added to the values of every other layer",
        comes_out_as=("model.value_embedding_layers",),
    )
    value_gate_channels: int = fact(12, "first channels that the gate reads", at_least(1), when=VALUES)
    value_gate_scale: float = fact(3.0, "× the gate's sigmoid", finite(), when=VALUES)
    smear: bool = fact(True, "every token takes a gated share of the one before it")
    smear_channels: int = fact(24, "first channels that the gate reads", at_least(1), when=SMEAR)
    backout: Optional[bool] = fact(
        None,
        "subtract λ × the middle block's residual before the final norm; null: from depth 3 on",
        identity=_RESOLVED,
    )
    rope_base: float = fact(100_000.0, "of the rotary embedding", more_than_zero())
    qk_scale: float = fact(1.2, "× queries and keys after their norm", more_than_zero())
    logit_softcap: float = fact(15.0, "c of c·tanh(logits / c)", more_than_zero())
    embedding_init_std: float = fact(0.8, "of the token embeddings", at_least(0), initial=True)
    unembedding_init_std: float = fact(0.001, "of the head", at_least(0), initial=True)
    mlp_init_scale: float = fact(0.4, "× ±√3/√width: the MLP's first matrix", at_least(0), initial=True)
    gate_init_max: float = fact(
        0.02,
        "gates are uniform from 0 to this",
        at_least(0),
        initial=True,
        when=either(VALUES, SMEAR),
    )
    resid_lambda_first: float = fact(1.15, "× the stream, first block", finite(), initial=True)
    resid_lambda_last: float = fact(
        1.05, "last block; linear between", finite(), initial=True, when=unless("model.depth", 1)
    )
    x0_lambda_first: float = fact(0.20, "× the embeddings, first block", finite(), initial=True)
    x0_lambda_last: float = fact(
        0.05, "last block; linear between", finite(), initial=True, when=unless("model.depth", 1)
    )
    smear_lambda_init: float = fact(0.0, "× the smear gate", finite(), initial=True, when=SMEAR)
    backout_lambda_init: float = fact(0.2, "what backout subtracts", finite(), initial=True, when=BACKOUT)
    init_moved_by: float = fact(
        0.0,
        "share by which all initial weights are moved at random (analysis/rounding.py)",
        at_least(0),
        example="1e-7",
        initial=True,
        same_training=True,  # as rounding on another machine would
    )


@dataclass
class Fp8Config:
    """Which Linear layers multiply in FP8, and how."""

    min_size: int = fact(128, "both sizes of the weight are at least this", at_least(1))
    size_multiple: int = fact(
        16,
        "and divisible by this",
        Range(
            lambda value: value >= 16 and value % 16 == 0,
            "be a multiple of 16 (what FP8 hardware multiplies)",
        ),
    )
    backend: Fp8Backend = fact(
        Fp8Backend.auto, "the device's own units, or fp32 after rounding to FP8 (same errors, no speed)"
    )
    allow_eager: bool = fact(
        False,
        "native without torch.compile, although scaling then costs more than FP8 gains",
        identity=Identity.none,
        why="a permission",
        traced=False,
    )


@dataclass
class PrecisionConfig:
    dtype: Dtype = fact(Dtype.auto, "auto: bf16 where the device has it natively, else fp32")
    fp8: Fp8Config = block(Fp8Config, "FP8 products", when=when("precision.dtype", Dtype.fp8))
