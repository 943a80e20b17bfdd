"""Sizes against the published ones (methodology §3)."""

from __future__ import annotations

import pytest

from sweepkit.config.choices import ParameterCount
from sweepkit.config.compose import compose
from sweepkit.plan.sizing import Sizing, size


def sizing(*overrides: str) -> Sizing:
    return size(compose(overrides))


@pytest.mark.parametrize(("gate_channels", "matrices"), [(12, 84_935_088), (32, 84_935_808)])
def test_groups_of_d12(gate_channels: int, matrices: int) -> None:
    found = sizing("model=d12", f"model.value_gate_channels={gate_channels}")
    assert found.param_groups == {
        "wte": 25_165_824,
        "value_embeds": 150_994_944,
        "lm_head": 25_165_824,
        "transformer_matrices": matrices,
        "scalars": 12 + 12 + 24 + 1 + 1,
    }
    assert found.total_params == sum(found.param_groups.values())


def test_matrices_of_d12_without_gates() -> None:
    assert sizing("model.value_embeddings=false").param_groups["transformer_matrices"] == 84_934_656
    assert sizing("model.value_embeddings=false").param_groups["value_embeds"] == 0


def test_counts() -> None:
    found = sizing()
    assert found.scaling_params(ParameterCount.kaplan) == 84_935_088 + 25_165_824
    assert found.scaling_params(ParameterCount.transformer_only) == 84_935_088
    assert found.scaling_params(ParameterCount.chinchilla) == found.total_params


@pytest.mark.parametrize(
    ("depth", "width"), [(8, 512), (12, 768), (16, 1024), (20, 1280), (24, 1536), (26, 1664), (13, 896)]
)
def test_width(depth: int, width: int) -> None:
    """depth × 64, up to the next multiple of 128."""
    found = sizing(f"model.depth={depth}")
    assert (found.width, found.num_heads) == (width, width // 128)


def test_vocabulary_is_padded_to_64() -> None:
    found = sizing("tokenizer.vocab_size=1001")
    assert found.padded_vocab_size == 1024
    assert found.param_groups["wte"] == found.param_groups["lm_head"] == 1024 * 768


def test_flops_of_d12_by_hand() -> None:
    """6 × every Linear (the smear gate's 24 too) + 12 × D × visible tokens: 9 short layers, 3 long."""
    linear = 84_935_088 + 25_165_824 + 24
    assert sizing().flops_per_token == 6 * linear + 12 * 768 * (9 * 512 + 3 * 2048)
    assert sizing("model.smear=false").flops_per_token == sizing().flops_per_token - 6 * 24


def test_windows() -> None:
    assert sizing("model.depth=6").windows == (512, 512, 512, 2048, 512, 2048)  # the last is always L
    assert sizing("model.depth=3", "model.window_pattern=L").windows == (2048,) * 3
    assert sizing("model.depth=3", "model.short_window=1024").windows == (1024, 1024, 2048)
    # auto: T/4 up to a multiple of 128; never more than T
    assert sizing("model.depth=2", "horizon.sequence_len=1024").windows == (256, 1024)
    assert sizing("model.depth=2", "horizon.sequence_len=768").windows == (256, 768)
    assert sizing("model.depth=2", "horizon.sequence_len=64").windows == (64, 64)


def test_value_embeddings_alternate_and_include_the_last_layer() -> None:
    assert sizing("model.depth=5").value_embedding_layers == (0, 2, 4)
    assert sizing("model.depth=6").value_embedding_layers == (1, 3, 5)


def test_grouped_query_attention() -> None:
    found = sizing("model.num_kv_heads=2")
    kv_width = 2 * 128
    assert found.param_groups["value_embeds"] == 6 * 32768 * kv_width
    assert found.param_groups["transformer_matrices"] == 12 * (
        2 * 768**2 + 2 * 768 * kv_width + 8 * 768**2
    ) + (6 * 12 * 2)
