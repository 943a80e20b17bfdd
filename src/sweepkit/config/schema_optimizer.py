"""The part of the schema that says how a model is trained: an optimizer for every group, and schedules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional  # OmegaConf reads it at run time

from sweepkit.config.choices import MatrixOptimizer, WeightDecaySchedule
from sweepkit.config.facts import Identity, block, either, fact, unless, when
from sweepkit.config.ranges import Range, at_least, below_one, between, more_than_zero
from sweepkit.config.schema_model import BACKOUT, BIGRAM, SMEAR, VALUES

_RESOLVED = Identity.resolved
_MUON = when("optimizer.matrix.kind", MatrixOptimizer.muon)
_ADAMW = when("optimizer.matrix.kind", MatrixOptimizer.adamw)
_WITH_MEAN = when("optimizer.matrix.kind", MatrixOptimizer.adamw, MatrixOptimizer.lion)


@dataclass
class AdamGroupConfig:
    lr: float = fact(
        0.0,
        "peak learning rate at the reference width and batch; the plan scales it",
        at_least(0),
        example="0.1",
        identity=_RESOLVED,
    )
    beta1: float = fact(0.8, "decay rate of the first moment", below_one())
    beta2: float = fact(0.95, "decay rate of the second moment", below_one())
    eps: float = fact(1e-10, "added to the root of the second moment", more_than_zero())
    weight_decay: float = fact(
        0.0,
        "weight decay × learning rate; neither scaled nor scheduled",
        at_least(0),
        example="0.01",
        identity=_RESOLVED,
    )


@dataclass
class MatrixGroupConfig:
    kind: MatrixOptimizer = fact(MatrixOptimizer.muon, "update rule of the block matrices", traced=True)
    lr: float = fact(
        0.02, "peak learning rate at the reference batch; the plan scales it", at_least(0), identity=_RESOLVED
    )
    weight_decay: float = fact(
        0.28,
        "weight decay at the reference batch and horizon; the plan scales it",
        at_least(0),
        identity=_RESOLVED,
    )
    momentum_start: float = fact(
        0.85, "momentum at step 0", below_one(), when=_MUON + unless("schedule.momentum_warmup_steps", 0)
    )
    momentum: float = fact(0.97, "momentum after its warm-up", below_one(), when=_MUON)
    momentum_end: float = fact(
        0.90,
        "momentum at the end of the warm-down",
        below_one(),
        example="0.9",
        when=_MUON + unless("schedule.warmdown_ratio", 0),
    )
    num_iterations: int = fact(
        5, "iterations of Polar Express, which orthogonalises", between(1, 5), traced=True, when=_MUON
    )
    row_equilibration: bool = fact(
        True, "rescale rows to one norm before orthogonalisation", traced=True, when=_MUON
    )
    frobenius_reset: bool = fact(
        True, "rescale to a Frobenius norm of √min(m, n) after orthogonalisation", traced=True, when=_MUON
    )
    cautious_weight_decay: bool = fact(
        True, "decay a weight only where its update has the same sign", traced=True, when=_MUON
    )
    beta1: float = fact(
        0.8, "decay rate of AdamW's first moment, and in Lion's step", below_one(), when=_WITH_MEAN
    )
    beta2: float = fact(
        0.9, "decay rate of the second moment (NorMuon's, AdamW's), of Lion's mean", below_one()
    )
    eps: float = fact(1e-10, "added to the root of AdamW's second moment", more_than_zero(), when=_ADAMW)


def _embedding() -> AdamGroupConfig:
    return AdamGroupConfig(lr=0.3, beta2=0.995, weight_decay=0.001)


def _unembedding() -> AdamGroupConfig:
    return AdamGroupConfig(lr=0.008, beta2=0.96, weight_decay=0.01)


def _value_embedding() -> AdamGroupConfig:
    return AdamGroupConfig(lr=0.15, beta2=0.995, weight_decay=0.01)


@dataclass
class OptimizerConfig:
    reference_width: int = fact(
        768,
        "width that the rates of embeddings and vocabulary projection are given for",
        at_least(1),
        identity=_RESOLVED,
    )
    matrix: MatrixGroupConfig = block(MatrixGroupConfig, "block matrices, gates included")
    embedding: AdamGroupConfig = block(_embedding, "token embeddings")
    unembedding: AdamGroupConfig = block(_unembedding, "the vocabulary projection")
    value_embedding: AdamGroupConfig = block(_value_embedding, "value embeddings", when=VALUES)
    bigram: AdamGroupConfig = block(_embedding, "hashed pairs of tokens", when=BIGRAM)
    resid: AdamGroupConfig = block(
        lambda: AdamGroupConfig(lr=0.005, weight_decay=0.05), "factors on the residual stream"
    )
    x0: AdamGroupConfig = block(
        lambda: AdamGroupConfig(lr=0.5, beta1=0.96), "factors on the embeddings added before each block"
    )
    smear: AdamGroupConfig = block(
        lambda: AdamGroupConfig(lr=0.2),
        "the smear gate and its λ, and backout's λ",
        when=either(SMEAR, BACKOUT),
    )
    grad_clip: Optional[float] = fact(
        None, "largest L2 norm of the whole gradient; null: not clipped", more_than_zero(), example="1"
    )
    adam_every_steps: int = fact(
        1,
        "k: AdamW's groups are updated every k-th step, by k steps' mean gradient, at LR × k^-0.5",
        between(1, 1000),
        unit="steps",
    )
    ema_decay: Optional[float] = fact(
        None, "an update, of averaged weights that are evaluated at the end; null: none", below_one(),
        example="0.999",
    )  # fmt: skip


@dataclass
class ScheduleConfig:
    warmup_steps: int = fact(
        40,
        "linear warm-up of the learning rates",
        at_least(0),
        unit="steps",
        identity=_RESOLVED,
        when=when("schedule.warmup_ratio", None),
    )
    warmup_ratio: Optional[float] = fact(
        None,
        "the same as a fraction of the run, instead of warmup_steps",
        between(0, 1),
        example="0.02",
        identity=_RESOLVED,
        comes_out_as=("schedule.warmup_steps",),
    )
    warmdown_ratio: float = fact(
        0.65,
        "fraction of the run, at its end, in which learning rates fall linearly",
        between(0, 1),
        identity=_RESOLVED,
        comes_out_as=("schedule.warmdown_steps",),
    )
    final_lr_frac: float = fact(
        0.05,
        "learning rate after the warm-down, as a fraction of the peak",
        between(0, 1),
        when=unless("schedule.warmdown_ratio", 0),
    )
    momentum_warmup_steps: int = fact(
        400,
        "linear warm-up of Muon's momentum",
        at_least(0),
        unit="steps",
        identity=_RESOLVED,
        when=_MUON + when("schedule.momentum_warmup_ratio", None),
    )
    momentum_warmup_ratio: Optional[float] = fact(
        None,
        "the same as a fraction of the run, instead of momentum_warmup_steps",
        between(0, 1),
        example="0.2",
        identity=_RESOLVED,
        comes_out_as=("schedule.momentum_warmup_steps",),
        when=_MUON,
    )
    weight_decay: WeightDecaySchedule = fact(
        WeightDecaySchedule.cosine,
        "of the block matrices' weight decay: to 0 along half a cosine, or constant",
        when=unless("optimizer.matrix.weight_decay", 0),
    )
    batch_ramp: list[int] = fact(
        [1],
        "n of equal parts of the run: a step's batch makes n updates of 1/n of it, at rates × n^-0.5",
        Range(lambda ns: len(ns) > 0 and min(ns) >= 1, "hold whole numbers of at least 1"),
        example="[8,4,2,1]",
    )
