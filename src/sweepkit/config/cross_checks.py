"""What a configuration must hold beyond names and types: every field's range, then rules across fields.

Rules that need the horizon worked out (an automatic batch, a run without steps) are the plan's.
"""

from __future__ import annotations

from sweepkit import errors
from sweepkit.config import dimensions, holdout
from sweepkit.config.choices import DatasetKind, Dtype, LauncherKind, MatrixOptimizer
from sweepkit.config.facts import check_ranges
from sweepkit.config.schema import (
    DatasetConfig,
    ExpertsConfig,
    HorizonConfig,
    LauncherConfig,
    MatrixGroupConfig,
    ModelConfig,
    RunConfig,
    ScheduleConfig,
)

#: Texts of a dataset that a run can be evaluated on: its held-out split, and the embedded probe.
EVALUATION_STREAMS = ("validation", "probe")
#: Where ``val_bpb`` comes from.
VALIDATION = "validation"
#: Sources of the embedded corpus that can be trained on.
EMBEDDED_SOURCES = ("books", "encyclopedia", "factbook", "speeches")
#: Fields that say which text, each read by one kind only; the option to choose for it.
_OWN_FIELDS = {
    "sources": (DatasetKind.embedded, "dataset=embedded"),
    "path": (DatasetKind.files, "dataset=files"),
    "repo": (DatasetKind.hub, "dataset.kind=hub"),
    "revision": (DatasetKind.hub, "a hub dataset, as dataset=climbmix"),
    "shard_pattern": (DatasetKind.hub, "a hub dataset, as dataset=climbmix"),
    "num_train_shards": (DatasetKind.hub, "a hub dataset, as dataset=climbmix"),
}
#: FP8 hardware multiplies matrices whose sizes are multiples of this.
FP8_MULTIPLE = 16
MIN_BIGRAM_ROWS = 2
_LENGTHS = ("target_flops", "num_steps", "target_tokens")


def check(config: RunConfig) -> None:
    """Raises ConfigError for the first range, or else the first rule across fields, that is broken."""
    check_ranges(config)
    _check_model(config.model)
    _check_backout(config.model)
    _check_bigrams(config)
    _check_experts(config.model.experts)
    _check_further_tokens(config)
    _check_dataset(config.dataset)
    _check_streams(config.evaluation.streams)
    _check_holdouts(config)
    _check_lengths(config.horizon)
    _check_batch(config.horizon)
    _check_matrix(config.optimizer.matrix)
    _check_schedule(config.schedule)
    _check_processes(config.launcher)
    _check_fp8(config)


def _check_model(model: ModelConfig) -> None:
    width, heads = dimensions.width(model), dimensions.num_heads(model)
    kv_heads = model.num_kv_heads
    if kv_heads is not None and heads % kv_heads:
        fitting = [n for n in range(1, heads + 1) if heads % n == 0]
        raise errors.invalid(
            "model.num_kv_heads",
            kv_heads,
            f"divide the {heads} query heads (depth {model.depth} gives width {width} = {heads} × head_dim "
            f"{model.head_dim})",
            f"use one of {fitting}, or null for one per query head",
        )
    for field, switch in (("value_gate_channels", model.value_embeddings), ("smear_channels", model.smear)):
        channels = getattr(model, field)
        if switch and channels > width:
            raise errors.invalid(
                f"model.{field}",
                channels,
                f"be at most the width, {width} (it reads the first channels)",
                f"use model.{field}={width} or a deeper model",
            )


def _check_backout(model: ModelConfig) -> None:
    if model.backout and model.depth < dimensions.MIN_BACKOUT_DEPTH:
        raise errors.invalid(
            "model.backout",
            model.backout,
            f"be left out below depth {dimensions.MIN_BACKOUT_DEPTH} (depth {model.depth} keeps the last "
            "block's residual, and the final norm undoes what is subtracted of it)",
            f"leave it out, or use model.depth={dimensions.MIN_BACKOUT_DEPTH} or more",
        )
    first = ModelConfig.backout_lambda_init
    if not dimensions.has_backout(model) and model.backout_lambda_init != first:
        why = "model.backout=false" if model.backout is False else f"at depth {model.depth}"
        raise errors.invalid(
            "model.backout_lambda_init",
            model.backout_lambda_init,
            f"be left out where there is no backout ({why})",
            "leave it out, or use a model of depth "
            f"{dimensions.MIN_BACKOUT_DEPTH} or more with model.backout=null",
        )


def _check_bigrams(config: RunConfig) -> None:
    ratio, vocab_size = config.model.bigram.table_ratio, config.tokenizer.vocab_size
    if ratio and dimensions.bigram_rows(config.model, vocab_size) < MIN_BIGRAM_ROWS:
        raise errors.invalid(
            "model.bigram.table_ratio",
            ratio,
            f"give at least {MIN_BIGRAM_ROWS} rows of a vocabulary of {vocab_size}",
            "use 5, or 0 for no table",
        )


def _check_experts(experts: ExpertsConfig) -> None:
    if 0 < experts.num_routed < experts.num_chosen:
        raise errors.invalid(
            "model.experts.num_chosen",
            experts.num_chosen,
            f"be at most the number of routed experts, {experts.num_routed}",
            f"use model.experts.num_chosen={experts.num_routed} or less",
        )


def _check_further_tokens(config: RunConfig) -> None:
    num, length = config.model.multi_token.num_further, config.horizon.sequence_len
    if num >= length:
        raise errors.invalid(
            "model.multi_token.num_further",
            num,
            f"be less than horizon.sequence_len ({length}), for no row holds a token so far ahead",
            f"use {length - 1} or less, or longer rows",
        )


def _check_dataset(dataset: DatasetConfig) -> None:
    for field, (kind, choice) in _OWN_FIELDS.items():
        value = getattr(dataset, field)
        if value and dataset.kind is not kind:
            raise errors.invalid(
                f"dataset.{field}",
                value,
                f"be left out for dataset {dataset.name} (kind {dataset.kind.name} does not read it)",
                f"add {choice}, or leave it out",
            )
    if dataset.kind is DatasetKind.files and not dataset.path:
        raise errors.ConfigError(
            "dataset.path is not set, but must name a file or a folder of text; add dataset.path=PATH"
        )
    if dataset.kind is DatasetKind.hub:
        if not dataset.repo or dataset.repo.count("/") != 1:
            raise errors.invalid(
                "dataset.repo",
                dataset.repo,
                "be the owner/name of a hub repository",
                "add dataset.repo=OWNER/NAME",
            )
        if not dataset.shard_pattern:
            raise errors.invalid(
                "dataset.shard_pattern",
                dataset.shard_pattern,
                "name the shards",
                "add 'dataset.shard_pattern=\"data/*.parquet\"'",
            )
    for source in dataset.sources if dataset.kind is DatasetKind.embedded else ():
        if source not in EMBEDDED_SOURCES:
            raise errors.invalid(
                "dataset.sources",
                source,
                f"be among [{', '.join(EMBEDDED_SOURCES)}]",
                errors.did_you_mean(source, EMBEDDED_SOURCES),
            )
    if len(set(dataset.sources)) < len(dataset.sources):
        raise errors.invalid(
            "dataset.sources", dataset.sources, "hold nothing twice", "name every source once"
        )


def _check_streams(streams: list[str]) -> None:
    known = [*EVALUATION_STREAMS, *map(holdout.of, EVALUATION_STREAMS)]
    for stream in streams:
        if stream not in known:
            raise errors.invalid(
                "evaluation.streams",
                stream,
                f"be among [{', '.join(known)}]",
                errors.did_you_mean(stream, known),
            )
    if len(set(streams)) < len(streams) or VALIDATION not in streams:
        raise errors.invalid(
            "evaluation.streams",
            streams,
            "hold validation (val_bpb comes from it) and nothing twice",
            "try 'evaluation.streams=[validation,probe]'",
        )


def _check_holdouts(config: RunConfig) -> None:
    streams = config.evaluation.streams
    for place, stream in enumerate(streams):
        base = holdout.base(stream)
        if base is None:
            continue
        if base not in streams[:place]:
            raise errors.invalid(
                "evaluation.streams",
                streams,
                f"hold {base} before {stream}, which is the text behind it",
                f"add {base}, or drop {stream}",
            )
        if holdout.is_known_to_be_empty(config, base):
            raise errors.invalid(
                "evaluation.max_bytes",
                config.evaluation.max_bytes,
                f"be at most {holdout.room(config, base)} for {stream}: the {base} text has "
                f"{holdout.EMBEDDED_BYTES[base]} bytes, and behind what is scored of it must lie a quarter "
                "as much again",
                f"lower it, or drop {stream}",
            )


def _check_lengths(horizon: HorizonConfig) -> None:
    given = {name: getattr(horizon, name) for name in _LENGTHS if getattr(horizon, name) is not None}
    if len(given) > 1:
        shown = " and ".join(f"{name}={value:g}" for name, value in given.items())
        raise errors.ConfigError(
            f"horizon is {shown}, but must have one length (with none of these, target_param_data_ratio sets "
            f"it); keep one and set the others to null, as horizon.{next(iter(given))}=null"
        )


def _check_batch(horizon: HorizonConfig) -> None:
    batch, length = horizon.total_batch_size, horizon.sequence_len
    if not isinstance(batch, int):
        return
    rows = dimensions.device_rows(horizon, batch)
    unit = rows * length
    if batch % unit:
        below = batch // unit * unit
        nearest = below if below and batch - below <= below + unit - batch else below + unit
        raise errors.ConfigError(
            f"horizon.total_batch_size is {batch} tokens, but must be a multiple of {unit} "
            f"(device_batch_size {rows} × sequence_len {length} × 1 device); nearest: {nearest}"
        )


def _check_matrix(matrix: MatrixGroupConfig) -> None:
    for field in ("beta1", "eps"):
        value = getattr(matrix, field)
        if matrix.kind is MatrixOptimizer.muon and value != getattr(MatrixGroupConfig, field):
            raise errors.invalid(
                f"optimizer.matrix.{field}",
                value,
                "be left out under Muon, which does not read it",
                "add optimizer=adamw, or set another field (Muon has momentum and beta2)",
            )


def _check_schedule(schedule: ScheduleConfig) -> None:
    warmup = schedule.warmup_ratio
    if warmup is not None and warmup + schedule.warmdown_ratio > 1:
        raise errors.invalid(
            "schedule.warmup_ratio",
            warmup,
            f"leave room for the warm-down (schedule.warmdown_ratio={schedule.warmdown_ratio:g}; together at "
            "most 1)",
            f"use schedule.warmup_ratio={round(1 - schedule.warmdown_ratio, 6):g} or less",
        )


def _check_processes(launcher: LauncherConfig) -> None:
    processes, slurm = launcher.processes_per_run, launcher.slurm
    if processes % slurm.nodes:
        raise errors.invalid(
            "launcher.processes_per_run", processes, f"be a multiple of launcher.slurm.nodes ({slurm.nodes})",
            f"nearest: {max(1, round(processes / slurm.nodes)) * slurm.nodes}",
        )  # fmt: skip
    if processes == 1 or launcher.kind is not LauncherKind.slurm:
        return
    if slurm.workers_per_task > 1:
        raise errors.invalid(
            "launcher.slurm.workers_per_task", slurm.workers_per_task,
            f"be 1 with launcher.processes_per_run={processes}", "leave it out",
        )  # fmt: skip
    per_node = processes // slurm.nodes
    if slurm.gpus not in (0, per_node):
        raise errors.invalid(
            "launcher.slurm.gpus", slurm.gpus,
            f"be one for each of the {per_node} processes on a node (launcher.processes_per_run={processes}, "
            f"launcher.slurm.nodes={slurm.nodes})", f"use launcher.slurm.gpus={per_node}",
        )  # fmt: skip


def _check_fp8(config: RunConfig) -> None:
    rows, length = config.horizon.device_batch_size, config.horizon.sequence_len
    if config.precision.dtype is Dtype.fp8 and rows * length % FP8_MULTIPLE:
        raise errors.ConfigError(
            f"horizon.device_batch_size × sequence_len is {rows * length} tokens, but must be a multiple of "
            f"{FP8_MULTIPLE} for precision=fp8 (weight gradients sum over them); change one of them"
        )
