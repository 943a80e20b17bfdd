"""Identity is content: what makes two runs the same run, the same data order, the same compiled code.

``variant_id`` hashes everything that training and evaluation depend on *after* resolution (the width that
depth gives, the scaled learning rates), so that two ways of asking for the same run find each other.
Seeds, launcher, logging, ladder, paths and what the trainer does stay out, but for the ratio of losses at
which a run ends as diverged: what can end a run names it. A text is what is in it (``plan/text.py``). Code is
no part of it: records say which sources made them (``config/sources.py``). Floats are hashed to 12
significant digits: the last bit of a power differs between C libraries.

All functions take the configuration as plain JSON (``codec.to_json``), as a plan holds it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sweepkit import fsio
from sweepkit.config.choices import DatasetKind, Dtype, MatrixOptimizer, PackingAlgorithm
from sweepkit.config.cross_checks import EMBEDDED_SOURCES

_ID_DIGITS = 12
#: Fields that stand in the identity as what they come out as.
_RESOLVED_MODEL = ("depth", "aspect_ratio", "num_kv_heads", "window_pattern", "short_window", "backout")
_RESOLVED_SCHEDULE = (
    "warmup_steps",
    "warmup_ratio",
    "warmdown_ratio",
    "momentum_warmup_steps",
    "momentum_warmup_ratio",
)
#: Model fields that set initial values and nothing that is traced.
_INIT_FIELDS = (
    "embedding_init_std",
    "unembedding_init_std",
    "mlp_init_scale",
    "gate_init_max",
    "resid_lambda_first",
    "resid_lambda_last",
    "x0_lambda_first",
    "x0_lambda_last",
    "smear_lambda_init",
    "backout_lambda_init",
    "init_moved_by",
)
_SAMPLE_FIELDS = ("sample_tokens", "sample_prompt")
_MATRIX_SWITCHES = ("kind", "num_iterations", "row_equilibration", "frobenius_reset", "cautious_weight_decay")
_DATASET_FIELDS = {
    DatasetKind.embedded: ("sources",),
    DatasetKind.parquet_folder: ("text_column", "validation_shards"),
    DatasetKind.hub: (
        "repo",
        "revision",
        "shard_pattern",
        "num_train_shards",
        "validation_shards",
        "text_column",
    ),
}
#: The text that only evaluation reads (``plan/text.py``).
_PROBE = "probe"
#: Switch of the model, what its other fields begin with, and the parameter group that comes with it.
_SWITCHES = (
    ("smear", "smear_", "smear"),
    ("value_embeddings", "value_gate_", "value_embedding"),
)
_OF_BOTH = ("kind", "lr", "weight_decay", "beta2")
_OF_MUON = (*_OF_BOTH, "momentum_start", "momentum", "momentum_end", *_MATRIX_SWITCHES[1:])
_OF_ADAMW = (*_OF_BOTH, "beta1", "eps")
Json = dict[str, Any]
#: Which text → its digest or commit; None where it is not known.
Texts = Mapping[str, str | None]


def run_id(depth: int, variant: str, seed: int, init_seed: int | None = None) -> str:
    """The name of a run's folder; an ``init_seed`` that is the seed, or None, is not told."""
    own_init = "" if init_seed in (None, seed) else f"-i{init_seed}"
    return f"d{depth}-{variant}-s{seed}{own_init}"


def variant_id(
    config: Json,
    *,
    texts: Texts,
    shape: Json,
    horizon: Json,
    learning_rates: dict[str, float],
    weight_decays: dict[str, float],
    schedule: Json,
) -> str:
    """12 hex digits that name a run up to its seed.

    Args:
        config: the configuration.
        texts: what its texts come out as.
        shape: depth, width, heads, windows per layer, ...: what sizes come out as.
        horizon: steps, batch, sequence length: what the horizon comes out as.
        learning_rates: per group, after scaling.
        weight_decays: per group, after scaling.
        schedule: warm-ups and warm-down in steps.
    """
    trained = _training(config, texts, shape, horizon, learning_rates, weight_decays, schedule)
    measured = _without(config["evaluation"], _SAMPLE_FIELDS) | {"probe": texts.get(_PROBE)}
    ends = {"max_loss_ratio": config["trainer"]["max_loss_ratio"]}
    return _short_hash(trained | {"evaluation": measured, "ends": ends})


def training_id(
    config: Json,
    *,
    texts: Texts,
    shape: Json,
    horizon: Json,
    learning_rates: dict[str, float],
    weight_decays: dict[str, float],
    schedule: Json,
) -> str:
    """12 hex digits of the training alone: equal where runs of one seed come out alike but for rounding.

    How a run is evaluated, when it counts as diverged, how a step is cut into micro-batches and what nothing
    reads stay out, so that whoever has seen one of these runs has seen the others: a field that changes no
    number makes no run unseen. Arguments as for ``variant_id``.
    """
    steps = _without(horizon, ("device_batch_size",))
    content = _training(config, texts, shape, steps, learning_rates, weight_decays, schedule)
    return _short_hash(_as_read(content))


def _as_read(content: Json) -> Json:
    """What is trained without the fields that nothing reads under its switches."""
    model, optimizer = dict(content["model"]), dict(content["optimizer"])
    model.pop("init_moved_by")  # by rounding, as two machines differ
    for switch, prefix, group in _SWITCHES:
        if not model[switch]:
            model = {name: value for name, value in model.items() if not name.startswith(prefix)}
            optimizer.pop(group)
    read = _OF_MUON if optimizer["matrix"]["kind"] == MatrixOptimizer.muon.name else _OF_ADAMW
    optimizer["matrix"] = {name: optimizer["matrix"][name] for name in read}
    data = content["data"]
    # a limit above the text's size reads all of it; one below is left out too, on the safe side
    data = data | {"tokenizer": _without(data["tokenizer"], ("max_train_bytes",))}
    return content | {"model": model, "optimizer": optimizer, "data": data}


def _training(
    config: Json,
    texts: Texts,
    shape: Json,
    horizon: Json,
    learning_rates: dict[str, float],
    weight_decays: dict[str, float],
    schedule: Json,
) -> Json:
    optimizer = {
        group: block | {"lr": learning_rates[group], "weight_decay": weight_decays[group]}
        for group, block in config["optimizer"].items()
        if isinstance(block, dict)
    }
    return {
        "model": _without(config["model"], _RESOLVED_MODEL) | shape,
        "data": data_recipe(config, texts),
        "optimizer": optimizer,
        "schedule": _without(config["schedule"], _RESOLVED_SCHEDULE) | schedule,
        "precision": _precision(config),
        "horizon": horizon,
    }


def pair_key(config: Json, texts: Texts, total_batch_size: int) -> str:
    """Equal for runs that see the same tokens in the same order."""
    content = data_recipe(config, texts) | {
        "seed": config["seed"],
        "total_batch_size": total_batch_size,
        "sequence_len": config["horizon"]["sequence_len"],
    }
    return _short_hash(content)


def compile_key(config: Json, *, shape: Json, device_batch_size: int) -> str:
    """Equal for runs that one compiled program serves: shapes, dtypes, switches, traced Python scalars.

    Learning rates, betas, momentum, weight decay, schedules and the number of steps reach compiled code as
    tensors, and initial values are no code, so all of them stay out.
    """
    matrix = config["optimizer"]["matrix"]
    content = {
        "model": _without(config["model"], (*_RESOLVED_MODEL, *_INIT_FIELDS)) | shape,
        "vocab_size": config["tokenizer"]["vocab_size"],
        "device_batch_size": device_batch_size,
        "sequence_len": config["horizon"]["sequence_len"],
        **_precision(config),
        "matrix": {name: matrix[name] for name in _MATRIX_SWITCHES},
        "compile": config["trainer"]["compile"],
        "device": config["trainer"]["device"],
        "attention": config["trainer"]["attention"],
    }
    return _short_hash(content)


def _precision(config: Json) -> Json:
    """The dtype, and for FP8 how; other dtypes do not read that block, and a permission computes nothing."""
    precision = _without(config["precision"], ("fp8",))
    if precision["dtype"] != Dtype.fp8.name:
        return precision
    return precision | {"fp8": _without(config["precision"]["fp8"], ("allow_eager",))}


def data_recipe(config: Json, texts: Texts) -> Json:
    """Which text, tokenizer and packing: what the order of tokens depends on besides seed and batch."""
    packing = config["packing"]
    if packing["algorithm"] != PackingAlgorithm.best_fit.name:
        packing = _without(packing, ("buffer_docs",))
    return {
        "dataset": _dataset_recipe(config["dataset"]),
        "texts": _without(dict(texts), (_PROBE,)),
        "tokenizer": _without(config["tokenizer"], ("name",)),
        "packing": packing,
    }


def _dataset_recipe(dataset: Json) -> Json:
    """Which part of its text a dataset of this kind is, and no path."""
    kind = DatasetKind[dataset["kind"]]
    kept = {name: dataset[name] for name in _DATASET_FIELDS[kind]}
    if kind is DatasetKind.embedded:
        sources = set(dataset["sources"])
        kept["sources"] = (
            sorted(sources) if sources != set(EMBEDDED_SOURCES) else []
        )  # as if none were named: all
    return kept | {"kind": kind.name}


def _without(block: Json, names: Sequence[str]) -> Json:
    return {name: value for name, value in block.items() if name not in names}


def _short_hash(content: Json) -> str:
    return fsio.digest(_rounded(content))[:_ID_DIGITS]


def _rounded(value: Any) -> Any:
    """Floats to 12 significant digits; a whole float is the integer, so that 1 and 1.0 are one value."""
    if isinstance(value, float):
        short = float(f"{value:.12g}")
        return int(short) if short.is_integer() and abs(short) < 2**53 else short
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value
