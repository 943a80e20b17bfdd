"""Whoever has seen a run has seen its twins: fields that nothing reads make no training unseen."""

from __future__ import annotations

import pytest

from sweepkit.config.compose import compose
from sweepkit.plan.build import build

BASE = ["experiment=mini", "model=d4", "horizon.num_steps=8"]


def training(*overrides: str) -> str:
    return build(compose([*BASE, *overrides])).training_id


@pytest.mark.parametrize(
    ("switch", "unread"),
    [
        ([], "model.init_moved_by=1e-9"),
        ([], "tokenizer.max_train_bytes=3000000000"),
        ([], "evaluation.max_bytes=100000"),
        (["model.smear=false"], "optimizer.smear.lr=0.5"),
        (["model.smear=false"], "model.smear_channels=12"),
        (["model.value_embeddings=false"], "optimizer.value_embedding.lr=0.5"),
        (["model.value_embeddings=false"], "model.value_gate_scale=2.0"),
        (["optimizer.matrix.kind=adamw"], "optimizer.matrix.num_iterations=3"),
        (["optimizer.matrix.kind=adamw"], "optimizer.matrix.momentum=0.5"),
    ],
)
def test_what_nothing_reads_is_the_same_training(switch: list[str], unread: str) -> None:
    assert training(*switch, unread) == training(*switch)


@pytest.mark.parametrize(
    "read",
    ["optimizer.smear.lr=0.5", "model.smear_channels=12", "optimizer.matrix.num_iterations=3",
     "optimizer.matrix.momentum=0.5", "optimizer.matrix.kind=adamw", "model.smear=false",
     "optimizer.value_embedding.lr=0.5"],
)  # fmt: skip
def test_what_is_read_is_another_training(read: str) -> None:
    assert training(read) != training()
