"""Depth to width and heads, batch to rows: sizes that rules across fields need before anything is planned."""

from __future__ import annotations

from sweepkit.config.schema import HorizonConfig, ModelConfig

#: Rows of the embedding tables are padded to a multiple of this.
VOCAB_MULTIPLE = 64
#: short_window "auto": a quarter of T, rounded up to a multiple of this.
WINDOW_MULTIPLE = 128
#: Below, the residual that backout keeps is the last block's: x − λx is x to the final norm, whatever λ is.
MIN_BACKOUT_DEPTH = 3


def width(model: ModelConfig) -> int:
    """D = depth × aspect_ratio, rounded up to a multiple of head_dim."""
    wanted = model.depth * model.aspect_ratio
    return -(-wanted // model.head_dim) * model.head_dim


def num_heads(model: ModelConfig) -> int:
    """Query heads."""
    return width(model) // model.head_dim


def num_kv_heads(model: ModelConfig) -> int:
    """Key/value heads: one per query head unless set."""
    return num_heads(model) if model.num_kv_heads is None else model.num_kv_heads


def kv_width(model: ModelConfig) -> int:
    """Channels of all key/value heads."""
    return num_kv_heads(model) * model.head_dim


def value_embedding_layers(model: ModelConfig) -> tuple[int, ...]:
    """Every second layer, the last among them; none where they are switched off."""
    return tuple(i for i in range(model.depth) if i % 2 == (model.depth - 1) % 2 and model.value_embeddings)


def bigram_rows(model: ModelConfig, vocab_size: int) -> int:
    """Rows of the table of hashed bigrams; 0 where there is none."""
    return round(model.bigram.table_ratio * vocab_size)


def bigram_layers(model: ModelConfig) -> int:
    """In how many layers bigrams are added, from the first on."""
    return min(model.depth, model.bigram.num_layers or model.depth)


def windows(model: ModelConfig, sequence_len: int) -> tuple[int, ...]:
    """Window of every layer in tokens, at most T; the last layer always sees everything."""
    short = model.short_window
    if not isinstance(short, int):
        short = -(-sequence_len // (4 * WINDOW_MULTIPLE)) * WINDOW_MULTIPLE
    pattern = [model.window_pattern[i % len(model.window_pattern)] for i in range(model.depth)]
    pattern[-1] = "L"
    return tuple(sequence_len if letter == "L" else min(short, sequence_len) for letter in pattern)


def device_rows(horizon: HorizonConfig, batch: int) -> int:
    """Rows of a micro-batch: ``device_batch_size``, or all of a batch of ``batch`` tokens that has fewer."""
    return min(horizon.device_batch_size, max(1, batch // horizon.sequence_len))


def has_backout(model: ModelConfig) -> bool:
    """Whether there is backout: unless switched off, from ``MIN_BACKOUT_DEPTH`` on."""
    return model.backout is not False and model.depth >= MIN_BACKOUT_DEPTH


def padded_vocab_size(vocab_size: int) -> int:
    """Rows of the tables; logits are cropped back to ``vocab_size``."""
    return -(-vocab_size // VOCAB_MULTIPLE) * VOCAB_MULTIPLE
