"""Depth to width and heads: the sizes that rules across fields need before anything is planned."""

from __future__ import annotations

from sweepkit.config.schema import ModelConfig

#: Rows of the embedding tables are padded to a multiple of this.
VOCAB_MULTIPLE = 64


def width(model: ModelConfig, depth: int | None = None) -> int:
    """D = depth × aspect_ratio, rounded up to a multiple of head_dim."""
    wanted = (model.depth if depth is None else depth) * model.aspect_ratio
    return -(-wanted // model.head_dim) * model.head_dim


def num_heads(model: ModelConfig) -> int:
    """Query heads."""
    return width(model) // model.head_dim


def num_kv_heads(model: ModelConfig, depth: int | None = None) -> int:
    """Key/value heads: one per query head unless set."""
    return width(model, depth) // model.head_dim if model.num_kv_heads is None else model.num_kv_heads


def padded_vocab_size(vocab_size: int) -> int:
    """Rows of the tables; logits are cropped back to ``vocab_size``."""
    return -(-vocab_size // VOCAB_MULTIPLE) * VOCAB_MULTIPLE
