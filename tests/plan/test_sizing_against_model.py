"""Parameters and FLOPs of the plan against models actually built, on the meta device."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from sweepkit.config import cross_checks
from sweepkit.config.choices import Dtype, Fp8Backend, FurtherHeads, MlpKind
from sweepkit.config.schema import (
    BigramConfig,
    ExpertsConfig,
    Fp8Config,
    HorizonConfig,
    MlpConfig,
    ModelConfig,
    MultiTokenConfig,
    PrecisionConfig,
    RunConfig,
    TokenizerConfig,
)
from sweepkit.errors import ConfigError
from sweepkit.model.gpt import GPT, build_model
from sweepkit.model.layers import Linear
from sweepkit.plan.build import build
from sweepkit.plan.fp8_share import fp8_flops_per_token
from sweepkit.plan.run_plan import RunPlan
from sweepkit.plan.sizing import size
from sweepkit.training.engine import Engine, EngineKey

#: First word of a parameter's name → the sum of the plan that it is in; all others are scalars.
SUM_OF = {"blocks": "transformer_matrices"} | {
    name: name for name in ("wte", "lm_head", "value_embeds", "further_heads", "bigram_embeds")
}


@st.composite
def configs(draw: st.DrawFn) -> RunConfig:
    """Small models of every switch; rules that a draw breaks make it another draw."""
    model = ModelConfig(
        depth=draw(st.integers(1, 9)),
        aspect_ratio=draw(st.sampled_from([24, 32, 48, 64])),
        head_dim=draw(st.sampled_from([16, 32, 64])),
        num_kv_heads=draw(st.sampled_from([None, None, 1, 2])),
        mlp=MlpConfig(kind=draw(st.sampled_from(MlpKind)), ratio=draw(st.integers(1, 4))),
        window_pattern=draw(st.text("SL", min_size=1, max_size=5)),
        short_window=draw(st.sampled_from(["auto", 16, 100])),
        value_embeddings=draw(st.booleans()),
        value_gate_channels=draw(st.sampled_from([4, 12, 32])),
        smear=draw(st.booleans()),
        experts=ExpertsConfig(
            num_routed=draw(st.sampled_from([0, 0, 4, 8])),
            num_chosen=draw(st.integers(1, 4)),
            num_shared=draw(st.integers(0, 2)),
        ),
        bigram=BigramConfig(draw(st.sampled_from([0.0, 0.0, 0.5, 5.0])), draw(st.sampled_from([None, 1, 3]))),
        multi_token=MultiTokenConfig(draw(st.integers(0, 2)), draw(st.sampled_from(FurtherHeads))),
        smear_channels=draw(st.sampled_from([8, 24])),
        backout=draw(st.sampled_from([None, None, True, False])),
    )
    config = RunConfig(
        model=model,
        tokenizer=TokenizerConfig(vocab_size=draw(st.integers(257, 1000))),
        horizon=HorizonConfig(num_steps=3, total_batch_size=2 * 64, device_batch_size=2, sequence_len=64),
    )
    try:
        cross_checks.check(config)
    except ConfigError:
        return draw(configs())
    return config


def on_meta(plan: RunPlan) -> GPT:
    return build_model(plan, torch.bfloat16, "meta")


@settings(deadline=None, max_examples=60)
@given(configs())
def test_parameters(config: RunConfig) -> None:
    plan = build(config)
    found: Counter[str] = Counter(dict.fromkeys(plan.param_groups, 0))
    model = on_meta(plan)
    for name, parameter in model.named_parameters():
        found[SUM_OF.get(name.partition(".")[0], "scalars")] += parameter.numel()
    assert dict(found) == plan.param_groups
    assert plan.total_params == sum(parameter.numel() for parameter in model.parameters())


@settings(deadline=None, max_examples=25)
@given(configs())
def test_every_parameter_is_described_once_by_its_name(config: RunConfig) -> None:
    """A module that the description lacks, or the other way round, would be trained and not counted."""
    model = on_meta(build(config))
    built = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    assert built == {name: weight.shape for name, weight in model.weights.items()}
    assert sum(len(named) for named in model.parameter_roles().values()) == len(built)


@pytest.mark.slow
@settings(deadline=None, max_examples=25)
@given(configs())
def test_flops(config: RunConfig) -> None:
    """torch counts the multiplications that a forward pass makes; training costs three times as much.

    Its attention counts every position, so here all layers see everything; smear skips the first token.
    """
    config.model.window_pattern = "L"
    config.model.experts.num_routed = 0  # whose products torch does not count
    config.model.multi_token.num_further = 0  # which is predicted while training alone
    plan = build(config)
    rows, length = plan.device_batch_size, plan.sequence_len
    tokens = torch.zeros(rows, length, dtype=torch.int32, device="meta")
    with FlopCounterMode(display=False) as counter:
        on_meta(plan)(tokens)
    skipped = 6 * config.model.smear_channels * rows if config.model.smear else 0
    assert 3 * counter.get_total_flops() == plan.flops_per_token * rows * length - skipped


@pytest.mark.parametrize("depth", [12, 20])
def test_published_depths(depth: int) -> None:
    plan = build(RunConfig(model=ModelConfig(depth=depth)))
    assert plan.total_params == sum(parameter.numel() for parameter in on_meta(plan).parameters())
    assert plan.config.model.depth == depth


@settings(deadline=None, max_examples=40)
@given(configs(), st.sampled_from([16, 64, 128]), st.sampled_from([16, 32]))
def test_fp8_flops_are_those_of_the_layers_that_multiply_in_fp8(
    config: RunConfig, min_size: int, multiple: int
) -> None:
    config.precision = PrecisionConfig(Dtype.fp8, Fp8Config(min_size=min_size, size_multiple=multiple))
    if not fp8_flops_per_token(config, size(config)):
        with pytest.raises(ConfigError, match="must leave some product to FP8"):
            build(config)
        return
    plan = build(config)
    key = EngineKey("", torch.device("meta"), torch.bfloat16, 1, False, Fp8Backend.emulated)
    model = Engine(plan, key).model
    weights = [
        module.weight
        for module in model.modules()
        if isinstance(module, Linear) and module.training_product is not None
    ]
    if model.training_project is not None:
        heads = (model.lm_head, *model.further_heads)
        weights += [head.weight[: model.vocab_size] for head in heads if isinstance(head, Linear)]
    assert fp8_flops_per_token(config, size(config)) == 6 * sum(weight.numel() for weight in weights)
    assert all(min(w.shape) >= min_size and all(n % multiple == 0 for n in w.shape) for w in weights)
    bf16 = RunConfig(**(vars(config) | {"precision": PrecisionConfig(Dtype.bf16)}))
    assert build(bf16).flops_per_token == plan.flops_per_token  # whatever carries them
    assert fp8_flops_per_token(bf16, size(bf16)) == 0
