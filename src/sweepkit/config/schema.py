"""The one structured schema: every field, its type and its default.

Hydra composes ``conf/`` into a ``RunConfig``; OmegaConf checks names and types against these
dataclasses, ``checks.py`` checks ranges and rules across fields. Defaults live here and nowhere
else: a file in ``conf/`` states only what differs. "auto" is resolved by the plan, or, for what only
the node can tell (dtype, device), by the run, which records what it chose. Other facts of a field stand
in its metadata (``marks.py``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional, Union  # OmegaConf reads these at run time

from sweepkit.config.choices import (
    AttentionBackend,
    DatasetKind,
    Device,
    Dtype,
    Fp8Backend,
    LauncherKind,
    MatrixOptimizer,
    PackingAlgorithm,
    ParameterCount,
    TokenizerCorpus,
    WandbMode,
    WeightDecaySchedule,
)
from sweepkit.config.marks import (
    EVERY_TEXT,
    HOLDS_OVERRIDES,
    INSIDE,
    LIMIT,
    NAMES_VARIABLES,
    OUTSIDE,
    OWN_TEXT,
    SHELL,
    SLURM_TIME,
)


@dataclass
class ModelConfig:
    depth: int = 12
    aspect_ratio: int = 64
    head_dim: int = 128
    num_kv_heads: Optional[int] = None  # None: one per query head
    mlp_ratio: int = 4
    window_pattern: str = "SSSL"
    short_window: Union[int, str] = "auto"  # tokens; auto: T/4 rounded up to a multiple of 128
    value_embeddings: bool = True
    value_gate_channels: int = 12
    value_gate_scale: float = 3.0
    smear: bool = True
    smear_channels: int = 24
    backout: Optional[bool] = None  # None: from depth 3 on; below, the final norm undoes it
    rope_base: float = 100_000.0
    qk_scale: float = 1.2
    logit_softcap: float = 15.0
    embedding_init_std: float = 0.8
    unembedding_init_std: float = 0.001
    mlp_init_scale: float = 0.4
    gate_init_max: float = 0.02
    resid_lambda_first: float = 1.15
    resid_lambda_last: float = 1.05
    x0_lambda_first: float = 0.20
    x0_lambda_last: float = 0.05
    smear_lambda_init: float = 0.0
    backout_lambda_init: float = 0.2
    init_moved_by: float = (
        0.0  # share by which all initial weights are moved at random (analysis/rounding.py)
    )


@dataclass
class DatasetConfig:
    name: str = "embedded"
    kind: DatasetKind = field(default=DatasetKind.embedded, metadata=OWN_TEXT)
    sources: list[str] = field(default_factory=list)  # embedded: which sources; empty: all
    path: Optional[str] = field(
        default=None, metadata=NAMES_VARIABLES | OWN_TEXT
    )  # parquet_folder: the folder
    text_column: str = field(default="text", metadata=OWN_TEXT)
    repo: Optional[str] = field(default=None, metadata=OWN_TEXT)  # hub: owner/name of a dataset repository
    revision: Optional[str] = field(default=None, metadata=OWN_TEXT)  # hub: a commit
    shard_pattern: Optional[str] = field(
        default=None, metadata=OWN_TEXT
    )  # hub: file name with {index}, or a glob
    num_train_shards: Optional[int] = None  # hub: how many shards to train on; None: all
    validation_shards: int = field(default=1, metadata=OWN_TEXT)  # hub and folder: the last shards, held out


@dataclass
class TokenizerConfig:
    name: str = "bpe"
    vocab_size: int = 32_768
    corpus: TokenizerCorpus = TokenizerCorpus.dataset
    max_train_bytes: int = 2_000_000_000
    max_digits: int = 2  # longest run of digits in one token (methodology §4)


@dataclass
class PackingConfig:
    algorithm: PackingAlgorithm = PackingAlgorithm.best_fit
    buffer_docs: int = 100_000  # best_fit: documents to choose from


@dataclass
class AdamGroupConfig:
    lr: float = 0.0
    beta1: float = 0.8
    beta2: float = 0.95
    eps: float = 1e-10
    weight_decay: float = 0.0


@dataclass
class MatrixGroupConfig:
    kind: MatrixOptimizer = MatrixOptimizer.muon
    lr: float = 0.02
    weight_decay: float = 0.28  # at the reference batch and horizon; the plan scales it
    momentum_start: float = 0.85
    momentum: float = 0.97
    momentum_end: float = 0.90
    num_iterations: int = 5  # Polar Express
    row_equilibration: bool = True
    frobenius_reset: bool = True
    cautious_weight_decay: bool = True
    beta1: float = 0.8  # adamw only
    beta2: float = 0.9  # muon: NorMuon's second moment
    eps: float = 1e-10  # adamw only


@dataclass
class OptimizerConfig:
    reference_width: int = 768
    matrix: MatrixGroupConfig = field(default_factory=MatrixGroupConfig)
    embedding: AdamGroupConfig = field(
        default_factory=lambda: AdamGroupConfig(lr=0.3, beta2=0.995, weight_decay=0.001)
    )
    unembedding: AdamGroupConfig = field(
        default_factory=lambda: AdamGroupConfig(lr=0.008, beta2=0.96, weight_decay=0.01)
    )
    value_embedding: AdamGroupConfig = field(
        default_factory=lambda: AdamGroupConfig(lr=0.15, beta2=0.995, weight_decay=0.01)
    )
    resid: AdamGroupConfig = field(default_factory=lambda: AdamGroupConfig(lr=0.005, weight_decay=0.05))
    x0: AdamGroupConfig = field(default_factory=lambda: AdamGroupConfig(lr=0.5, beta1=0.96))
    smear: AdamGroupConfig = field(default_factory=lambda: AdamGroupConfig(lr=0.2))


@dataclass
class ScheduleConfig:
    warmup_steps: int = 40
    warmup_ratio: Optional[float] = None  # of the run; replaces warmup_steps
    warmdown_ratio: float = 0.65
    final_lr_frac: float = 0.05
    momentum_warmup_steps: int = 400
    momentum_warmup_ratio: Optional[float] = None  # of the run; replaces momentum_warmup_steps
    weight_decay: WeightDecaySchedule = WeightDecaySchedule.cosine


@dataclass
class Fp8Config:
    """Read when ``precision.dtype`` is fp8: which Linear layers multiply in FP8, and how."""

    min_size: int = 128  # both sizes of the weight are at least this
    size_multiple: int = 16  # and divisible by this; the hardware asks for 16
    backend: Fp8Backend = Fp8Backend.auto
    allow_eager: bool = False  # native without torch.compile, although scaling then costs more than FP8 gains


@dataclass
class PrecisionConfig:
    dtype: Dtype = Dtype.auto
    fp8: Fp8Config = field(default_factory=Fp8Config)


@dataclass
class HorizonConfig:
    target_param_data_ratio: float = 12.0
    count: ParameterCount = ParameterCount.kaplan
    target_flops: Optional[float] = None
    num_steps: Optional[int] = None
    target_tokens: Optional[int] = None
    total_batch_size: Union[int, str] = "auto"  # tokens
    device_batch_size: int = 32  # rows
    sequence_len: int = field(default=2048, metadata=EVERY_TEXT)
    reference_depth: int = 12
    reference_batch_size: int = 524_288  # tokens
    batch_exponent: float = 0.383


@dataclass
class EvaluationConfig:
    streams: list[str] = field(default_factory=lambda: ["validation", "probe"])
    every_steps: int = 250  # 0: only at the end
    max_bytes: int = field(default=201_326_592, metadata=EVERY_TEXT)  # 80 × 2^19 tokens at 4.8 bytes a token
    sample_tokens: int = field(default=64, metadata=OUTSIDE)  # 0: no sample
    sample_prompt: str = field(default="The capital of", metadata=OUTSIDE)


@dataclass
class TrainerConfig:
    """How a run is carried out."""

    device: Device = Device.auto
    compile: bool = True
    attention: AttentionBackend = AttentionBackend.auto
    checkpoint_every_steps: int = 1_000  # 0: never
    checkpoint_every_min: float = 15.0  # and whenever so many minutes have passed; 0: never
    keep_checkpoints: bool = False
    gc_every_steps: int = 5_000
    max_loss_ratio: float = field(default=1.5, metadata=INSIDE)  # × the loss at step 0: more is divergence


@dataclass
class SlurmConfig:
    """What array tasks ask for, and how runs are put into them (docs/slurm.md explains every field)."""

    partition: Optional[str] = field(default=None, metadata=NAMES_VARIABLES)
    account: Optional[str] = field(default=None, metadata=NAMES_VARIABLES)
    qos: Optional[str] = field(default=None, metadata=NAMES_VARIABLES)
    constraint: Optional[str] = field(default=None, metadata=NAMES_VARIABLES)
    setup: list[str] = field(default_factory=list, metadata=SHELL)  # before the task: module load, ...
    sbatch: list[str] = field(default_factory=list, metadata=NAMES_VARIABLES)  # others: reservation=x
    gpus: int = 1  # of one array task on one node; 0: CPU nodes
    cpus: int = 8  # of one array task; of each process, where several train one run
    mem_gib: Union[int, str] = field(default="auto", metadata=LIMIT)  # host memory of one array task
    time_min: Union[int, str] = field(default="auto", metadata=SLURM_TIME)  # auto: estimate × time_margin
    time_margin: float = field(default=2.0, metadata=LIMIT)
    runs_per_task: Union[int, str] = "auto"  # auto: short runs of one compiled shape, up to task_min
    task_min: int = 60  # minutes
    nodes: int = 1  # over which launcher.processes_per_run are spread
    workers_per_task: int = 1  # runs side by side, where a cluster gives out whole nodes
    max_parallel: int = 64  # array tasks that run at once
    signal_delay_s: int = 120  # between the signal to checkpoint and the end of the time limit
    max_requeues: int = field(default=50, metadata=LIMIT)  # of one task, for preemption and time limits
    snapshot: bool = True  # queued runs use a copy of the package as it is now


@dataclass
class LauncherConfig:
    kind: LauncherKind = LauncherKind.inline
    num_workers: Union[int, str] = "auto"  # local: runs at a time; auto: one per core or GPU
    processes_per_run: int = 1  # that train one run together, each on its own GPU
    max_attempts: int = field(default=3, metadata=LIMIT)  # for a run whose process died
    plan_device: str = "h100"  # what GPU-hours are estimated for
    plan_mfu: float = 0.4
    slurm: SlurmConfig = field(default_factory=SlurmConfig)


@dataclass
class LoggingConfig:
    wandb: WandbMode = WandbMode.disabled
    project: str = field(default="sweepkit", metadata=NAMES_VARIABLES)
    entity: Optional[str] = field(default=None, metadata=NAMES_VARIABLES)
    every_steps: int = 1
    diagnostics_every_steps: int = 50  # 0: never


@dataclass
class RungConfig:
    name: str = ""
    overrides: list[str] = field(default_factory=list)
    num_seeds: Optional[int] = None  # None: all seeds of the sweep
    max_promoted: Optional[int] = None  # None: every variant the rule lets through


@dataclass
class LadderConfig:
    name: str = "none"
    base: list[str] = field(default_factory=list, metadata=HOLDS_OVERRIDES)
    rungs: list[RungConfig] = field(default_factory=list, metadata=HOLDS_OVERRIDES)
    reference_horizons: list[float] = field(default_factory=list)  # multiples at which it is run as well
    reference_replicates: Union[int, str] = 1  # its runs a seed; auto: about the root of the variants


@dataclass
class RunConfig:
    seed: int = field(default=1, metadata=OUTSIDE)  # data order, and weights where init_seed is not set
    init_seed: Optional[int] = field(default=None, metadata=OUTSIDE)  # of the weights alone; None: seed
    model: ModelConfig = field(default_factory=ModelConfig)
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    packing: PackingConfig = field(default_factory=PackingConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    precision: PrecisionConfig = field(default_factory=PrecisionConfig)
    horizon: HorizonConfig = field(default_factory=HorizonConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig, metadata=OUTSIDE)
    launcher: LauncherConfig = field(default_factory=LauncherConfig, metadata=OUTSIDE)
    logging: LoggingConfig = field(default_factory=LoggingConfig, metadata=OUTSIDE)
    ladder: LadderConfig = field(default_factory=LadderConfig, metadata=OUTSIDE)
