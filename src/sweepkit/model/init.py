"""Initial values: one fixed order, one CPU generator, fp32, then copied to where the model lives.

So the values depend on the seed and the shapes only, never on the device, the compute dtype or what
the tensors held before: a model re-initialised in place equals one built in a fresh process, bit for bit.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from sweepkit.model.gpt import GPT


@torch.no_grad()
def initialize(gpt: GPT, seed: int) -> None:
    """Fill every parameter of ``gpt`` in place (baseline model, "Init")."""
    config = gpt.config
    generator = torch.Generator().manual_seed(seed)
    bound = math.sqrt(3.0 / gpt.width)  # uniform ±√3/√D has a standard deviation of 1/√D

    def uniform(target: Tensor, low: float, high: float) -> None:
        _copy(target, torch.empty(target.shape).uniform_(low, high, generator=generator))

    def normal(target: Tensor, std: float) -> None:
        _copy(target, torch.empty(target.shape).normal_(0.0, std, generator=generator))

    normal(gpt.wte.weight, config.embedding_init_std)
    normal(gpt.lm_head.weight, config.unembedding_init_std)
    for block in gpt.layers():
        for projection in (block.attention.q, block.attention.k, block.attention.v):
            uniform(projection.weight, -bound, bound)
        block.attention.out.weight.zero_()
        uniform(block.mlp.up.weight, -config.mlp_init_scale * bound, config.mlp_init_scale * bound)
        block.mlp.down.weight.zero_()
        if block.attention.value_gate is not None:
            uniform(block.attention.value_gate.weight, 0.0, config.gate_init_max)
    for table in gpt.value_tables():
        uniform(table.weight, -bound, bound)
    depth = gpt.depth
    _copy(gpt.resid_lambdas, _linear(config.resid_lambda_first, config.resid_lambda_last, depth))
    _copy(gpt.x0_lambdas, _linear(config.x0_lambda_first, config.x0_lambda_last, depth))
    if gpt.smear_gate is not None and gpt.smear_lambda is not None:
        uniform(gpt.smear_gate.weight, 0.0, config.gate_init_max)
        gpt.smear_lambda.fill_(config.smear_lambda_init)
    if gpt.backout_lambda is not None:
        gpt.backout_lambda.fill_(config.backout_lambda_init)
    if config.init_moved_by:
        for parameter in gpt.parameters():
            share = torch.empty(parameter.shape).normal_(0.0, config.init_moved_by, generator=generator)
            _copy(parameter, parameter.float().cpu() * (1 + share))


def _copy(target: Tensor, value: Tensor) -> None:
    """Round to the target's dtype on the CPU, so that every device gets the same bits."""
    target.copy_(value.to(target.dtype))


def _linear(first: float, last: float, depth: int) -> Tensor:
    """[depth] values from ``first`` to ``last``; ``first`` alone for one layer."""
    return torch.tensor([first + (last - first) * i / max(depth - 1, 1) for i in range(depth)])
