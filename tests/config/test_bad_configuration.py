"""Bad input of every kind: the message names the field, the value, what must hold and what to do."""

from __future__ import annotations

import pytest

from sweepkit.config.compose import compose
from sweepkit.errors import ConfigError
from sweepkit.plan.build import build


def message(*overrides: str) -> str:
    with pytest.raises(ConfigError) as error:
        compose(overrides)
    return str(error.value)


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        # names
        ("modle=d12", ["modle", "did you mean 'model'"]),
        ("optimiser.x0.lr=1", ["optimiser", "did you mean 'optimizer'"]),
        ("optimizer.x0.rl=1", ["optimizer.x0.rl", "did you mean 'optimizer.x0.lr'"]),
        ("x0.beta1=0.9", ["x0", "did you mean 'optimizer.x0.beta1'"]),
        ("beta2=0.9", ["beta2", "'optimizer.x0.beta2'"]),
        ("model.depth.x=3", ["model.depth.x", "model.depth=VALUE"]),
        ("optimizer.matrix=3", ["optimizer.matrix", "3", "optimizer.matrix.lr"]),
        # options
        ("model=d13", ["model", "'d13'", "[d2, d4, d6, d8, d12, d16, d20, d24, d26]", "model.depth=VALUE"]),
        ("precision=int3", ["precision", "'int3'", "[auto, bf16, fp8, fp16, fp32]"]),
        ("optimizer=0.02", ["optimizer", "'0.02'", "[adamw, lion, muon]"]),
        # types
        ("model.depth=1.5", ["model.depth", "1.5", "whole number"]),
        ("model.depth=deep", ["model.depth", "'deep'", "whole number"]),
        ("model.depth=true", ["model.depth", "True", "whole number"]),
        ("model.depth=", ["model.depth", "whole number"]),
        ("seed=null", ["seed", "None", "whole number"]),
        ("horizon.num_steps=1e3", ["horizon.num_steps", "whole number or null", "horizon.num_steps=1000"]),
        ("optimizer.x0.lr=high", ["optimizer.x0.lr", "'high'", "a number"]),
        ("model.smear=maybe", ["model.smear", "'maybe'", "true or false"]),
        ("precision.dtype=bf61", ["precision.dtype", "'bf61'", "[auto, bf16, fp16, fp32, fp8]", "'bf16'"]),
        ("optimizer.matrix.kind=sgd", ["optimizer.matrix.kind", "[muon, adamw, lion]"]),
        ("precision.dtype=int3", ["precision.dtype is 'int3'", "; write precision.dtype=auto"]),
        ("model.mlp.kind=SwiGLU", ["'SwiGLU'", "did you mean 'swiglu'"]),
        ("optimizer=Lion", ["'Lion'", "did you mean 'lion'"]),
        ("Model.depth=2", ["Model", "did you mean 'model'"]),
        # the remedy is what the field would be
        ("seed=one", ["write seed=1"]),
        ("horizon.total_batch_size=true", ["write horizon.total_batch_size=auto"]),
        ("model.backout=on_off", ["write model.backout=true"]),
        ("evaluation.streams=validation", ["evaluation.streams", "be a list", "[a,b]"]),
        ("ladder.reference_horizons=[half]", ["['half']", "be a list of numbers"]),
        ("ladder.rungs=[{nme: a}]", ["list of blocks with fields among [name, overrides, num_seeds,"]),
        ("model.short_window=1.5", ["model.short_window", "1.5", "a whole number or auto"]),
        # grammar
        ("model", ["model", "key=value"]),
        ("evaluation.streams=[a", ["key=value"]),
        ("~model", ["~model", "can be added or deleted"]),
        ("+model.depth=1", ["+model.depth=1", "can be added or deleted"]),
        ("model@x=d2", ["name no package"]),
        ("model.depth=1,2", ["one value", "add -m to train"]),
        ("model.depth=range(1,3)", ["one value", "add -m to train"]),
        # ranges
        ("model.depth=0", ["model.depth", "0", "between 1 and 1000"]),
        ("model.head_dim=33", ["model.head_dim", "33", "even"]),
        ("model.window_pattern=SSX", ["model.window_pattern", "'SSX'", "letters S"]),
        ("model.window_pattern=''", ["model.window_pattern", "letters S"]),
        ("model.short_window=long", ["model.short_window", "'long'", "auto or a whole number"]),
        ("horizon.total_batch_size=big", ["horizon.total_batch_size", "'big'", "auto or a whole number"]),
        ("horizon.total_batch_size=0", ["horizon.total_batch_size", "0", "auto or a whole number"]),
        ("optimizer.matrix.lr=-0.1", ["optimizer.matrix.lr", "-0.1", "at least 0"]),
        ("optimizer.matrix.lr=nan", ["optimizer.matrix.lr", "nan", "at least 0"]),
        ("optimizer.embedding.lr=inf", ["optimizer.embedding.lr", "inf", "at least 0"]),
        ("model.mlp.init_scale=inf", ["model.mlp.init_scale", "inf", "be finite and at least 0"]),
        ("optimizer.grad_clip=inf", ["optimizer.grad_clip", "inf", "be finite and more than 0"]),
        ("schedule.warmdown_ratio=nan", ["schedule.warmdown_ratio", "be finite and lie between 0 and 1"]),
        ("optimizer.x0.beta1=1", ["optimizer.x0.beta1", "less than 1"]),
        ("tokenizer.vocab_size=200", ["tokenizer.vocab_size", "200", "257"]),
        ("launcher.plan_mfu=40", ["launcher.plan_mfu", "40", "at most 1"]),
        ("horizon.target_param_data_ratio=0", ["horizon.target_param_data_ratio", "more than 0"]),
        ("seed=-1", ["seed", "-1"]),
        ("trainer.max_loss_ratio=inf", ["trainer.max_loss_ratio", "inf", "finite number of more than 1"]),
        ("horizon.target_param_data_ratio=1e308", ["at most 1000000"]),
        (f"evaluation.every_steps={10**400}", ["evaluation.every_steps", "fit in 64 bits"]),
        ("horizon.sequence_len=2000000", ["horizon.sequence_len", "between 2 and 1048576"]),
        # across fields
        ("model.num_kv_heads=4", ["model.num_kv_heads", "4", "6 query heads", "[1, 2, 3, 6]"]),
        ("model.value_gate_channels=4096", ["model.value_gate_channels", "4096", "768"]),
        ("model.smear_channels=4096", ["model.smear_channels", "4096", "768"]),
        ("dataset=files", ["dataset.path", "folder of text", "dataset.path=PATH"]),
        ("dataset.kind=hub", ["dataset.repo", "owner/name"]),
        ("dataset.sources=[boks]", ["dataset.sources", "'boks'", "did you mean 'books'"]),
        ("dataset.sources=[books,books]", ["dataset.sources", "nothing twice"]),
        (
            "dataset.path=/my/text",
            ["dataset.path", "kind embedded does not read it", "dataset=files"],
        ),
        ("dataset.repo=me/mine", ["dataset.repo", "does not read it", "dataset.kind=hub"]),
        (
            "dataset.num_train_shards=8",
            ["kind embedded does not read it", "dataset=climbmix, or leave it out"],
        ),
        ("dataset.revision=abc", ["dataset.revision", "kind embedded does not read it"]),
        ("evaluation.streams=[validaton]", ["evaluation.streams", "did you mean 'validation'"]),
        ("evaluation.streams=[probe]", ["evaluation.streams", "val_bpb"]),
        ("evaluation.streams=[validation,validation]", ["evaluation.streams", "twice"]),
        ("optimizer.matrix.beta1=0.9", ["optimizer.matrix.beta1", "0.9", "Muon, which does not read it"]),
        ("schedule.warmup_ratio=0.5", ["schedule.warmup_ratio", "0.5", "0.65", "0.35"]),
    ],
)
def test_message(override: str, parts: list[str]) -> None:
    text = message(override)
    for part in parts:
        assert part in text


def test_every_kind_of_dataset_keeps_its_own_fields() -> None:
    assert compose(["dataset=files", "dataset.path=/my/text"]).dataset.path == "/my/text"
    assert "does not read it" in message("dataset=climbmix", "dataset.sources=[books]")
    assert "does not read it" in message("dataset=files", "dataset.path=x", "dataset.repo=me/mine")


def test_a_warmup_in_steps_that_a_ratio_replaces_is_not_ignored() -> None:
    with pytest.raises(ConfigError) as error:
        build(compose(["schedule.warmup_ratio=0.02", "horizon.num_steps=500", "schedule.warmup_steps=11"]))
    assert str(error.value) == (
        "schedule.warmup_steps is 11, but must be left out beside schedule.warmup_ratio=0.02, which makes it "
        "10; set schedule.warmup_ratio, or add schedule.warmup_ratio=null"
    )
    with pytest.raises(ConfigError, match="momentum_warmup_ratio=null"):
        build(compose(["schedule=short", "schedule.momentum_warmup_steps=10"]))
    given = compose(["experiment=mini", "schedule.warmup_steps=11", "schedule.warmup_ratio=null"])
    assert build(given).warmup_steps == 11


@pytest.mark.parametrize("depth", [1, 2])
def test_backout_is_refused_where_the_final_norm_undoes_it(depth: int) -> None:
    at = f"model.depth={depth}"
    assert message(at, "model.backout=true") == (
        f"model.backout is True, but must be left out below depth 3 (depth {depth} keeps the last block's "
        "residual, and the final norm undoes what is subtracted of it); leave it out, or use model.depth=3 "
        "or more"
    )
    assert f"there is no backout (at depth {depth})" in message(at, "model.backout_lambda_init=0.3")
    assert "model.backout=false" in message("model.backout=false", "model.backout_lambda_init=0.3")
    assert compose(["model.depth=3", "model.backout=true", "model.backout_lambda_init=0.3"]).model.backout


@pytest.mark.parametrize("length", [2, 3, 8, 16])
def test_no_token_is_predicted_that_no_row_holds(length: int) -> None:
    rows = f"horizon.sequence_len={length}"
    refused = message(rows, f"model.multi_token.num_further={length}")
    assert refused == (
        f"model.multi_token.num_further is {length}, but must be less than horizon.sequence_len ({length}), "
        f"for no row holds a token so far ahead; use {length - 1} or less, or longer rows"
    )
    assert compose([rows, f"model.multi_token.num_further={length - 1}"]).horizon.sequence_len == length


@pytest.mark.parametrize("num_steps", [1, 4, 9])
def test_the_groups_of_adamw_are_updated_at_all(num_steps: int) -> None:
    steps = f"horizon.num_steps={num_steps}"
    with pytest.raises(ConfigError) as error:
        build(compose([steps, f"optimizer.adam_every_steps={num_steps + 1}"]))
    assert str(error.value) == (
        f"optimizer.adam_every_steps is {num_steps + 1}, but must be at most the run's {num_steps} steps, or "
        f"AdamW's groups are never updated; use {num_steps} or less, or a longer run"
    )
    assert build(compose([steps, f"optimizer.adam_every_steps={num_steps}"])).num_steps == num_steps


def test_what_muon_does_not_read_adamw_does() -> None:
    assert compose(["optimizer=adamw", "optimizer.matrix.beta1=0.9"]).optimizer.matrix.beta1 == 0.9


def test_impossible_batch_as_documented() -> None:
    assert message("horizon.total_batch_size=500000", "horizon.device_batch_size=16") == (
        "horizon.total_batch_size is 500000 tokens, but must be a multiple of 32768 "
        "(device_batch_size 16 × sequence_len 2048 × 1 device); nearest: 491520"
    )


def test_nearest_batch_is_never_zero() -> None:
    assert message("horizon.total_batch_size=10").endswith("nearest: 2048")


def test_two_lengths() -> None:
    text = message("horizon=num_steps", "horizon.target_flops=1e18")
    assert "target_flops=1e+18 and num_steps=1000" in text
    assert "horizon.target_flops=null" in text


def test_a_value_that_is_no_text_is_refused() -> None:
    with pytest.raises(ConfigError, match="key=value"):
        compose([3])  # type: ignore[list-item]
