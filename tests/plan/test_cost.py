"""Costs: peaks by device name, hours by hand, memory in the right places."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweepkit.config.compose import compose
from sweepkit.plan.build import build
from sweepkit.plan.cost import (
    PEAK_FLOPS,
    bytes_a_token,
    core_flops,
    device_key,
    evaluated_alone,
    peak_flops,
)
from sweepkit.plan.run_plan import RunPlan


def plan(*overrides: str) -> RunPlan:
    return build(compose(overrides))


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA H100 PCIe", "h100_pcie"),
        ("NVIDIA H100 NVL", "h100_nvl"),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None),
        ("NVIDIA H200", "h200"),
        ("NVIDIA GH200 480GB", "gh200"),
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("NVIDIA L4", "l4"),
        ("NVIDIA L40S", "l40s"),
        ("NVIDIA A10G", "a10g"),
        ("Tesla V100-SXM2-32GB", "v100"),
        ("NVIDIA GeForce RTX 4090", "rtx_4090"),
        ("NVIDIA RTX A6000", "rtx_a6000"),
        ("AMD Instinct MI300X", "mi300x"),
        ("Apple M3 Max", None),
        ("some card", None),
    ],
)
def test_device_names_as_drivers_report_them(name: str, key: str | None) -> None:
    assert device_key(name) == key


def test_every_key_finds_itself() -> None:
    assert {key: device_key(key) for key in PEAK_FLOPS} == {key: key for key in PEAK_FLOPS}


def test_unknown_dtype_has_no_peak() -> None:
    assert peak_flops("v100", "bf16") is None
    assert peak_flops("h100", "bf16") == pytest.approx(989.4e12)


def test_gpu_hours_by_hand() -> None:
    found = plan("launcher.plan_mfu=0.5")
    assert found.estimated_gpu_hours == pytest.approx(found.total_flops / (0.5 * 989.4e12) / 3600)
    fp32 = plan("precision=fp32", "launcher.plan_mfu=0.5")
    assert fp32.estimated_gpu_hours == pytest.approx(fp32.total_flops / (0.5 * 66.9e12) / 3600)
    # a device without bf16 runs an automatic dtype in fp32
    assert plan("launcher.plan_device=v100").estimated_gpu_hours is not None
    assert plan("launcher.plan_device=v100", "precision=bf16").estimated_gpu_hours is None
    assert plan("launcher.plan_device=cpu").estimated_gpu_hours is None


def test_memory_of_published_sizes() -> None:
    """The order of magnitude, until somebody has measured it: 80 GB take d20 with 32 rows, d26 with 16."""
    assert 20 < plan("model=d12").estimated_peak_memory_gib < 60
    assert 60 < plan("model=d20").estimated_peak_memory_gib < 80
    for model in ("model=d24", "model=d26"):
        assert plan(model).estimated_peak_memory_gib > 80
        assert 50 < plan(model, "horizon.device_batch_size=16").estimated_peak_memory_gib < 80


def test_memory_of_the_loss_is_that_of_a_chunk() -> None:
    """128 Mi logits at a time, with five fp32 arrays beside them instead of two when not compiled."""
    eager, compiled = (plan(f"trainer.compile={switch}") for switch in ("false", "true"))
    assert eager.run_id == compiled.run_id
    assert eager.estimated_peak_memory_gib - compiled.estimated_peak_memory_gib == pytest.approx(
        2**27 * 4 * (5 - 2) / 2**30
    )


def test_memory_of_fp8_is_what_was_rounded() -> None:
    """By hand for d12: 12 layers of 12 times 768², of the head twice its weight, the stream, a chunk."""
    bf16 = plan("precision=bf16").estimated_peak_memory_gib
    matrices, head, stream, chunk = 12 * 12 * 768**2, 32_768 * 768, 32 * 2048 * 768, 2**27
    for overrides, num_bytes in (
        ([], matrices + 2 * head + stream + chunk),
        (["precision.fp8.scaling=rowwise"], matrices + 2 * head + 2 * (stream + chunk)),
        (["precision.fp8.layers=projection"], 2 * head + stream + chunk),
    ):
        found = plan("precision=fp8", *overrides).estimated_peak_memory_gib
        assert found - bf16 == pytest.approx(num_bytes / 2**30), overrides


def test_memory_grows_with_what_takes_memory() -> None:
    here = plan("model=d4").estimated_peak_memory_gib
    assert plan("model=d4", "horizon.device_batch_size=16").estimated_peak_memory_gib < here
    assert plan("model=d4", "precision=fp32").estimated_peak_memory_gib > here
    assert plan("model=d6").estimated_peak_memory_gib > here
    no_tables = plan("model=d4", "model.value_embeddings=false").estimated_peak_memory_gib
    tables = plan("model=d4").param_groups["value_embeds"]
    assert here - no_tables == pytest.approx(8 * tables / 2**30, rel=1e-3)


def test_tasks_cost_a_forward_pass_over_their_items_and_what_stands_before_them(tmp_path: Path) -> None:
    (tmp_path / "eval_data").mkdir()
    items = "".join(f'{{"context": "{"a" * size}", "continuation": "b"}}\n' for size in (10, 30, 2_000))
    (tmp_path / "eval_data/one.jsonl").write_text(items)
    (tmp_path / "eval_meta_data.csv").write_text("Eval Task,Random baseline\none,0\n")
    task = "label: one, dataset_uri: one.jsonl, icl_task_type: language_modeling, num_fewshot: 1"
    (tmp_path / "core.yaml").write_text(f"icl_tasks: [{{{task}}}]\n")
    bundle = f"evaluation.core.bundle={tmp_path}"
    asked, plain = plan("model=d4", bundle), plan("model=d4")
    each = 2 * (len(items) - 3) / 3 / bytes_a_token(asked.config.tokenizer.vocab_size)
    assert each < asked.sequence_len
    assert core_flops(asked) == pytest.approx(3 * each * asked.flops_per_token / 3, rel=1e-9)
    assert core_flops(plan("model=d4", bundle, "evaluation.core.max_per_task=2")) == pytest.approx(
        core_flops(asked) * 2 / 3, rel=1e-6
    )
    cropped = plan("model=d4", bundle, "horizon.sequence_len=128")
    assert core_flops(cropped) == 128 * cropped.flops_per_token
    assert core_flops(plain) == 0 and core_flops(plan("model=d4", "evaluation=core")) > 0
    more = evaluated_alone(asked).total_flops - evaluated_alone(plain).total_flops
    assert more == core_flops(asked)


def test_an_evaluation_alone_is_a_forward_pass_over_its_bytes_and_no_more_than_the_training() -> None:
    large = ["model=d12", "dataset=climbmix", "evaluation.max_bytes=200000000"]
    training = plan(*large, "evaluation.streams=[validation]")
    alone = evaluated_alone(training)
    tokens = 2e8 / bytes_a_token(32_768)
    assert alone.total_flops == pytest.approx(tokens * training.flops_per_token / 3, rel=1e-9)
    with_probe = evaluated_alone(plan(*large)).total_flops - alone.total_flops
    assert with_probe == pytest.approx(alone.total_flops * 387_398 / 2e8, rel=1e-6)  # all there is of it
    assert alone.estimated_gpu_hours is not None and training.estimated_gpu_hours is not None
    share = alone.total_flops / training.total_flops
    assert alone.estimated_gpu_hours == pytest.approx(share * training.estimated_gpu_hours)
    short = plan(*large, "horizon.num_steps=1")
    assert evaluated_alone(short).estimated_gpu_hours == short.estimated_gpu_hours
