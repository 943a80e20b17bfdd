"""RunPlan: one run with nothing left to decide but what only the node can tell.

A frozen value that survives JSON unchanged: it is what a worker reads, what a claim names and what a
frozen sweep lists. ``plan/build.py`` makes it from a RunConfig; nothing else does. It is one of the RunSpecs
(``plan/run_spec.py``); a run of any other trainer is a ``CommandPlan``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from sweepkit.config import typed
from sweepkit.config.choices import Device
from sweepkit.config.schema import LauncherConfig, RunConfig

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """A RunSpec with all that this package's trainer needs beside it."""

    run_id: str  # d{depth}-{variant_id}-s{seed}, and -i{init_seed} where that is another: the run's folder
    variant_id: str  # 12 hex digits of the SHA-256 of all that is trained and can end it
    seed: int
    pair_key: str  # hash of the data order; equal keys saw the same tokens in the same order
    compile_key: str  # hash of all that torch.compile traces; equal keys share compiled code
    # hash of the training alone: runs of one seed and training come out alike, however they are evaluated
    training_id: str = ""
    # hash of what its final weights are measured on; no part of run_id
    evaluation_key: str = ""
    depth: int
    num_steps: int
    total_tokens: int  # num_steps × total_batch_size
    total_flops: int
    # an estimate for a named device
    estimated_peak_memory_gib: float
    estimated_gpu_hours: float | None  # None: no peak known for that device
    # model
    width: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    padded_vocab_size: int
    windows: tuple[int, ...]  # per layer, tokens; a key is visible when 0 <= query - key <= window
    value_embedding_layers: tuple[int, ...]
    scaling_params: int  # by horizon.count
    total_params: int
    active_params: int  # that a token passes: of routed experts the chosen ones alone
    param_groups: dict[str, int]  # wte, value_embeds, lm_head, transformer_matrices, scalars
    # horizon
    flops_per_token: int
    target_tokens: int  # horizon.target_tokens, else transfer_tokens; steps or a FLOPs budget may differ
    transfer_tokens: int  # ratio × scaling_params: what batch, LR and weight decay follow
    total_batch_size: int  # tokens
    device_batch_size: int  # rows
    sequence_len: int  # tokens
    # optimizer, after scaling
    learning_rates: dict[str, float]  # matrix, embedding, unembedding, value_embedding, resid, x0, smear
    weight_decay: float  # of the matrix group
    weight_decays: dict[str, float]  # of every group
    warmup_steps: int
    warmdown_steps: int
    momentum_warmup_steps: int
    plan_device: str  # that the estimates are for
    plan_mfu: float
    config: RunConfig  # shared by many plans: nobody changes it
    # which text → its digest or commit (plan/text.py); None: not known yet
    texts: dict[str, str | None] = field(default_factory=dict)
    # the frozen code that carries it out (code/tree.py); None: what is there. In no key, as config.code is
    tree: str | None = None
    schema_version: int = SCHEMA_VERSION

    @property
    def init_seed(self) -> int:
        """What the initial weights are drawn from: ``seed``, where nothing else was asked for."""
        return self.seed if self.config.init_seed is None else self.config.init_seed

    @property
    def device(self) -> Device:
        """What it is to be trained on."""
        return self.config.trainer.device

    @property
    def keep_checkpoints(self) -> bool:
        """Whether its checkpoints stay when it has ended."""
        return self.config.trainer.keep_checkpoints

    @property
    def launcher(self) -> LauncherConfig:
        """How it is carried out, as it was planned."""
        return self.config.launcher

    @property
    def settings(self) -> dict[str, Any]:
        """All that was configured: dotted name → plain value."""
        return typed.flatten(self.config)

    def evaluated_as(self, other: RunPlan) -> RunPlan:
        """This run, evaluated as another plan of the same training asks for."""
        if self.evaluation_key == other.evaluation_key:
            return self
        config = replace(self.config, evaluation=other.config.evaluation)
        return replace(self, config=config, texts=other.texts, evaluation_key=other.evaluation_key)
