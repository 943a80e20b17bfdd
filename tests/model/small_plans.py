"""Plans of tiny models, and such models with every parameter moved off its initial value."""

from __future__ import annotations

import torch

from sweepkit.config.compose import compose
from sweepkit.model.gpt import GPT, build_model
from sweepkit.plan.build import build
from sweepkit.plan.run_plan import RunPlan

TINY = (
    "experiment=mini",
    "model.aspect_ratio=16",
    "model.head_dim=16",
    "model.short_window=3",
    "model.window_pattern=SL",
    "tokenizer.vocab_size=300",
    "horizon.sequence_len=12",
    "horizon.device_batch_size=2",
    "horizon.total_batch_size=48",
)


def tiny_plan(*overrides: str, depth: int = 4) -> RunPlan:
    """A plan of width 16 × depth and 12 tokens a row."""
    return build(compose([*TINY, f"model.depth={depth}", *overrides]))


def moved_model(plan: RunPlan, dtype: torch.dtype = torch.float32) -> GPT:
    """Initialised, then every parameter perturbed: zeros would hide mistakes."""
    model = build_model(plan, dtype, "cpu")
    model.initialize(1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_((0.1 * noise).to(parameter.dtype))
    return model


def tokens(plan: RunPlan, rows: int = 2, seed: int = 3) -> torch.Tensor:
    """Random tokens [rows, T]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 300, (rows, plan.sequence_len), generator=generator)
