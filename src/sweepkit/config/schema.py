"""The one structured schema: every field, its type, its default and its facts.

What stands together is in a file of its own (``schema_data.py``, ``schema_model.py``,
``schema_optimizer.py``, ``schema_launch.py``); horizon and evaluation are here, with the RunConfig that
holds all.

Hydra composes ``conf/`` into a ``RunConfig``; OmegaConf checks names and types against these dataclasses,
``cross_checks.py`` ranges and rules across fields. Defaults live here and nowhere else: a file in ``conf/``
states only what differs. "auto" is resolved by the plan, or, for what only the node can tell (dtype, device),
by the run, which records what it chose. What can be said of a field is said of it here (``facts.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional, Union  # OmegaConf reads these at run time

from sweepkit.config.choices import PackingAlgorithm, ParameterCount
from sweepkit.config.facts import Field, Identity, block, fact, fields_of, unless
from sweepkit.config.ranges import (
    Range,
    at_least,
    auto_or_at_least_one,
    between,
    more_than_zero,
)
from sweepkit.config.schema_core import CoreConfig
from sweepkit.config.schema_data import DatasetConfig, PackingConfig, TokenizerConfig
from sweepkit.config.schema_launch import (
    LadderConfig,
    LauncherConfig,
    LoggingConfig,
    RungConfig,
    SlurmConfig,
    TrainerConfig,
)
from sweepkit.config.schema_model import (
    BigramConfig,
    ExpertsConfig,
    Fp8Config,
    MlpConfig,
    ModelConfig,
    MultiTokenConfig,
    PrecisionConfig,
)
from sweepkit.config.schema_optimizer import (
    AdamGroupConfig,
    MatrixGroupConfig,
    OptimizerConfig,
    ScheduleConfig,
)

__all__ = [
    "AdamGroupConfig",
    "BigramConfig",
    "CoreConfig",
    "DatasetConfig",
    "EvaluationConfig",
    "ExpertsConfig",
    "Fp8Config",
    "HorizonConfig",
    "LadderConfig",
    "LauncherConfig",
    "LoggingConfig",
    "MatrixGroupConfig",
    "MlpConfig",
    "ModelConfig",
    "MultiTokenConfig",
    "OptimizerConfig",
    "PackingConfig",
    "PrecisionConfig",
    "RunConfig",
    "RungConfig",
    "ScheduleConfig",
    "SlurmConfig",
    "TokenizerConfig",
    "TrainerConfig",
    "field_at",
    "kinds",
]

_RESOLVED, _NONE = Identity.resolved, Identity.none


@dataclass
class HorizonConfig:
    target_param_data_ratio: float = fact(
        12.0,
        "training tokens per counted parameter; batch, rates and weight decay follow from it in any case",
        more_than_zero(1e6),
        identity=_RESOLVED,
    )
    count: ParameterCount = fact(
        ParameterCount.kaplan, "which parameters that ratio counts", identity=_RESOLVED
    )
    target_flops: Optional[float] = fact(
        None,
        "length of the run as a budget, instead of the ratio",
        more_than_zero(),
        unit="FLOPs",
        example="1e18",
        identity=_RESOLVED,
    )
    num_steps: Optional[int] = fact(
        None,
        "length of the run, instead of the ratio",
        at_least(1),
        unit="steps",
        example="1000",
        identity=_RESOLVED,
    )
    target_tokens: Optional[int] = fact(
        None,
        "length of the run, instead of the ratio",
        at_least(1),
        unit="tokens",
        example="1000000000",
        identity=_RESOLVED,
    )
    total_batch_size: Union[int, str] = fact(
        "auto",
        "batch of one step; auto: a power of two that follows from the ratio",
        auto_or_at_least_one(),
        unit="tokens",
        example="524288",
        identity=_RESOLVED,
        data=True,
    )
    device_batch_size: int = fact(
        32,
        "rows of a micro-batch on one device; fewer where a step has fewer",
        at_least(1),
        unit="rows",
        identity=_RESOLVED,
        traced=True,
        same_training=True,  # sums in another order
    )
    sequence_len: int = fact(
        2048, "length of a row", between(2, 2**20), unit="tokens", traced=True, data=True, measured="every"
    )
    reference_depth: int = fact(
        12,
        "depth of the model that batch, rates and weight decay are given for",
        between(1, 1000),
        identity=_RESOLVED,
    )
    reference_batch_size: int = fact(
        524_288,
        "batch that rates and weight decay are given for",
        at_least(1),
        unit="tokens",
        identity=_RESOLVED,
    )
    batch_exponent: float = fact(
        0.383, "power of the tokens with which an automatic batch grows", between(0, 1), identity=_RESOLVED
    )


@dataclass
class EvaluationConfig:
    streams: list[str] = fact(
        ["validation", "probe"],
        "texts that the loss is measured on: validation, probe, and what is held out behind them",
        comes_out_as=("texts.probe",),
    )
    every_steps: int = fact(
        250,
        "between evaluations; 0: only at the end",
        at_least(0),
        unit="steps",
        example="250 (0: only at the end)",
        identity=Identity.configured,  # it costs the run's time
        same_training=True,
    )
    max_bytes: int = fact(
        201_326_592,  # 80 × 2^19 tokens at 4.8 bytes a token
        "most text that is scored of every stream",
        at_least(1),
        unit="bytes",
        measured="every",
    )
    rows: PackingAlgorithm = fact(
        PackingAlgorithm.stream,
        "how a stream's documents are put into rows; stream scores every byte, the others what they do not "
        "crop",
        measured="every",
    )
    sample_tokens: int = fact(
        64,
        "length of the sample that ends up in the record; 0: none",
        at_least(0),
        unit="tokens",
        example="64 (0: no sample)",
        identity=_NONE,
        why="for reading",
    )
    sample_prompt: str = fact("The capital of", "beginning of that sample", identity=_NONE, why="for reading")
    core: CoreConfig = block(CoreConfig, "tasks that the finished model is to solve (docs/core.md)")


@dataclass
class RunConfig:
    seed: int = fact(
        1,
        "seed of the data order, and of the initial weights where init_seed is null",
        between(0, 2**31 - 1),
        identity=Identity.replicate,
        data=True,
    )
    init_seed: Optional[int] = fact(
        None,
        "seed of the initial weights; null: seed",
        between(0, 2**31 - 1),
        example="2",
        identity=Identity.replicate,
    )
    code: Optional[str] = fact(
        None,
        "the code that plans and carries out the run: a git ref, a patch, a folder or worktree, and then the "
        "tree that it was frozen as (docs/ideas_are_code.md)",
        Range(
            lambda text: text.startswith("tree_"),
            "be the name of a tree, which train, plan, sweep and promote make of it",
            "name it to one of those",
        ),
        example="tree_0123456789abcdef",
        traced=True,
        when=unless("code", None),  # runs of no code of their own keep their names
    )
    model: ModelConfig = block(ModelConfig, "the transformer (docs/baseline_model.md)", traced=True)
    dataset: DatasetConfig = block(DatasetConfig, "what is trained on", data=True)
    tokenizer: TokenizerConfig = block(TokenizerConfig, "the byte-pair encoding", data=True)
    packing: PackingConfig = block(PackingConfig, "documents put into rows", data=True)
    optimizer: OptimizerConfig = block(OptimizerConfig, "the update of every group of parameters")
    schedule: ScheduleConfig = block(ScheduleConfig, "learning rates, momentum and weight decay over the run")
    precision: PrecisionConfig = block(PrecisionConfig, "what numbers are computed in", traced=True)
    horizon: HorizonConfig = block(
        HorizonConfig, "how long a run is, in which batches (docs/methodology.md §3)"
    )
    evaluation: EvaluationConfig = block(
        EvaluationConfig, "what is measured of the model", identity=Identity.evaluation
    )
    trainer: TrainerConfig = block(
        TrainerConfig, "how a run is carried out", identity=_NONE, why="the record says what it came to"
    )
    launcher: LauncherConfig = block(
        LauncherConfig, "where runs are carried out", identity=_NONE, why="where, and in which order"
    )
    logging: LoggingConfig = block(LoggingConfig, "what is shown", identity=_NONE, why="for display")
    ladder: LadderConfig = block(
        LadderConfig, "the rungs of a sweep", identity=_NONE, why="a run is one of a single rung"
    )


def field_at(key: str) -> Field | None:
    """The field of a dotted name; None for a block, and where there is no such field."""
    return fields_of(RunConfig).get(key)


def kinds(key: str) -> tuple[Any, ...]:
    """The types that a field takes, null apart; none where there is no such field.

    ``optimizer.matrix.lr`` gives ``(float,)``, ``horizon.total_batch_size`` ``(int, str)``.
    """
    field = field_at(key)
    return field.kinds if field else ()
