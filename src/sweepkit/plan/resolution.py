"""What fields come out as: what stands in a run's identity instead of the words it was asked for in.

A name is a field's where that field comes out as one value, else one that the facts of the fields behind it
give (``comes_out_as``).
"""

from __future__ import annotations

from collections.abc import Mapping

from sweepkit.config import dimensions, holdout
from sweepkit.config.choices import DatasetKind, TokenizerCorpus
from sweepkit.config.cross_checks import EMBEDDED_SOURCES
from sweepkit.config.schema import RunConfig
from sweepkit.plan import core_bundle, folder_split, parts, text
from sweepkit.plan.horizon import Horizon
from sweepkit.plan.sizing import Sizing


def resolved(
    config: RunConfig,
    sizes: Sizing,
    horizon: Horizon,
    rates: Mapping[str, float],
    decays: Mapping[str, float],
    steps: Mapping[str, int],
    texts: Mapping[str, str | None],
) -> dict[str, object]:
    """Dotted name → value.

    Args:
        config: as ``text.pinned`` gives it.
        rates, decays: of every group, after scaling.
        steps: of warm-ups and warm-down.
        texts: as ``text.texts`` gives them.
    """
    tasks, num_items = core_bundle.asked(config.evaluation.core)
    return {
        "model.width": sizes.width,
        "model.num_kv_heads": sizes.num_kv_heads,
        "model.bigram.num_layers": dimensions.bigram_layers(config.model),
        "model.mlp.hidden": parts.mlp_hidden(config.model),
        "model.windows": sizes.windows,
        "model.value_embedding_layers": sizes.value_embedding_layers,
        "model.backout": dimensions.has_backout(config.model),
        "evaluation.streams": sorted(config.evaluation.streams),
        "evaluation.max_bytes": scored_bytes(config),
        "evaluation.core.bundle": texts.get(text.CORE),
        "evaluation.core.tasks": tasks,
        "evaluation.core.max_per_task": num_items,
        "horizon.num_steps": horizon.num_steps,
        "horizon.total_batch_size": horizon.total_batch_size,
        "horizon.device_batch_size": horizon.device_batch_size,
        **{f"optimizer.{group}.lr": rate for group, rate in rates.items()},
        **{f"optimizer.{group}.weight_decay": decay for group, decay in decays.items()},
        **{f"schedule.{name}": number for name, number in steps.items()},
        **_data(config, texts),
    }


def scored_bytes(config: RunConfig) -> int:
    """At most the longest text that is scored, where that is known: above its size, all of it is."""
    streams = {holdout.usual(stream) for stream in config.evaluation.streams}
    sizes = [holdout.num_bytes(config, stream) for stream in streams]
    known = [size for size in sizes if size is not None]
    limit = config.evaluation.max_bytes
    return min(limit, max(known)) if known and len(known) == len(sizes) else limit


def _data(config: RunConfig, texts: Mapping[str, str | None]) -> dict[str, object]:
    """Of all embedded sources, naming them says nothing, and the embedded corpus is the run's own dataset."""
    sources, corpus = sorted(set(config.dataset.sources)), config.tokenizer.corpus
    kept = dict(texts)
    if config.dataset.kind is DatasetKind.embedded and sources in ([], sorted(EMBEDDED_SOURCES)):
        sources, corpus = [], TokenizerCorpus.dataset
        kept.pop(text.TOKENIZER, None)
    limit, size = config.tokenizer.max_train_bytes, text.tokenizer_bytes(config)
    return {
        "dataset.sources": sources,
        **folder_split.resolved(config.dataset),
        "dataset.revision": config.dataset.revision,
        "tokenizer.corpus": corpus,
        "tokenizer.max_train_bytes": limit if size is None else min(limit, size),
        **{f"texts.{name}": content for name, content in kept.items()},
    }
