"""What a run costs: peak memory on one device, and GPU-hours on a named device at a stated MFU.

Estimates, made before anything runs; the record holds what was measured. Memory counts parameters,
gradients, optimizer state and the activations kept for the backward pass without recomputation; it leaves out
the allocator's fragmentation and what the compiler saves outside the loss.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

from sweepkit.config import holdout
from sweepkit.config.choices import Dtype, Fp8Scaling
from sweepkit.config.schema import RunConfig
from sweepkit.plan import core_bundle
from sweepkit.plan.fp8_share import in_fp8
from sweepkit.plan.part_weights import Weight
from sweepkit.plan.roles import UpdateRule, update_rule
from sweepkit.plan.run_plan import RunPlan
from sweepkit.plan.sizing import Sizing

_T = 1e12
GIB = 2**30
_SLACK = 2.0  # estimates are of the eager program; the compiler keeps fewer activations
_CHUNK_LOGITS = 2**27  # ``model/loss.py`` on a GPU

#: Dense (no sparsity) peak FLOP/s by device and dtype, from the makers' data sheets. fp32 is without TF32,
#: which the trainer does not use.
PEAK_FLOPS: dict[str, dict[str, float]] = {
    # NVIDIA B200 / B300 data sheets (HGX, per GPU)
    "b300": {"bf16": 2250 * _T, "fp32": 75 * _T},
    "b200": {"bf16": 2250 * _T, "fp8": 4500 * _T, "fp32": 75 * _T},
    # NVIDIA H100 data sheet: SXM5, PCIe, NVL
    "h100_pcie": {"bf16": 756 * _T, "fp8": 1513 * _T, "fp32": 51.2 * _T},
    "h100_nvl": {"bf16": 835 * _T, "fp8": 1671 * _T, "fp32": 60 * _T},
    "h100": {"bf16": 989.4 * _T, "fp8": 1978.9 * _T, "fp32": 66.9 * _T},
    # NVIDIA H200 and GH200 data sheets: the H100 SXM's compute
    "h200": {"bf16": 989.4 * _T, "fp8": 1978.9 * _T, "fp32": 66.9 * _T},
    "gh200": {"bf16": 989.4 * _T, "fp8": 1978.9 * _T, "fp32": 66.9 * _T},
    "h20": {"bf16": 148 * _T, "fp8": 296 * _T, "fp32": 44 * _T},
    "h800": {"bf16": 989.4 * _T, "fp8": 1978.9 * _T, "fp32": 66.9 * _T},
    # NVIDIA A100 / A800 data sheet, any form factor
    "a100": {"bf16": 312 * _T, "fp32": 19.5 * _T},
    "a800": {"bf16": 312 * _T, "fp32": 19.5 * _T},
    # NVIDIA Ampere and Ada data-centre cards, data sheets (half of "with sparsity")
    "a40": {"bf16": 149.7 * _T, "fp32": 37.4 * _T},
    "a30": {"bf16": 165 * _T, "fp32": 10.3 * _T},
    "a10g": {"bf16": 70 * _T, "fp32": 35 * _T},
    "a10": {"bf16": 125 * _T, "fp32": 31.2 * _T},
    "l40s": {"bf16": 362 * _T, "fp8": 733 * _T, "fp32": 91.6 * _T},
    "l40": {"bf16": 181 * _T, "fp8": 362 * _T, "fp32": 90.5 * _T},
    "l4": {"bf16": 121 * _T, "fp8": 242.5 * _T, "fp32": 30.3 * _T},
    # Volta (SXM2) and Turing have no bf16
    "v100": {"fp16": 125 * _T, "fp32": 15.7 * _T},
    "t4": {"fp16": 65 * _T, "fp32": 8.1 * _T},
    # GeForce architecture white papers: bf16 with fp32 accumulation
    "rtx_5090": {"bf16": 209.5 * _T, "fp32": 104.8 * _T},
    "rtx_4090": {"bf16": 165.2 * _T, "fp8": 330.3 * _T, "fp32": 82.6 * _T},
    "rtx_3090": {"bf16": 71 * _T, "fp32": 35.6 * _T},
    "rtx_a6000": {"bf16": 154.8 * _T, "fp32": 38.7 * _T},
    # AMD Instinct data sheets (fp32: vector)
    "mi355x": {"bf16": 2500 * _T, "fp8": 5000 * _T, "fp32": 157.3 * _T},
    "mi325x": {"bf16": 1307.4 * _T, "fp8": 2614.9 * _T, "fp32": 163.4 * _T},
    "mi300x": {"bf16": 1307.4 * _T, "fp8": 2614.9 * _T, "fp32": 163.4 * _T},
    "mi250x": {"bf16": 383 * _T, "fp32": 47.9 * _T},
}


def device_key(name: str) -> str | None:
    """The key in ``PEAK_FLOPS`` of a device as its maker (or a user) writes it; None when not listed.

    ``NVIDIA H100 80GB HBM3`` → ``h100``, ``NVIDIA H100 PCIe`` → ``h100_pcie``, ``h100`` → ``h100``.
    """
    words = name.lower().replace("-", " ").replace("_", " ").split()
    if "mig" in words:  # a slice of a GPU
        return None
    # most words first: H100 PCIe is no H100; whole words only: an L4 is no L40S
    for key in sorted(PEAK_FLOPS, key=lambda key: -key.count("_")):
        if all(word in words for word in key.split("_")):
            return key
    return None


def peak_flops(device: str, dtype: str) -> float | None:
    """Peak FLOP/s of one device in ``bf16``, ``fp16``, ``fp8`` or ``fp32``; None when unknown."""
    key = device_key(device)
    if key is None:
        return None
    peaks = PEAK_FLOPS[key]
    # every listed device that multiplies bf16 multiplies fp16 at the same rate
    return peaks.get(dtype, peaks.get("bf16") if dtype == "fp16" else None)


def gpu_hours(
    total_flops: float, device: str, dtype: Dtype, mfu: float, fp8_share: float = 0.0
) -> float | None:
    """Hours on one named device at ``mfu``, training FLOPs only; None when its peak is unknown.

    An automatic dtype counts as bf16 where the device has it. Under fp8 the share ``fp8_share`` of the FLOPs
    goes at the FP8 peak (where the device has FP8) and the rest at the bf16 peak.
    """
    peak = peak_flops(device, "bf16" if dtype in (Dtype.auto, Dtype.fp8) else dtype.name)
    if peak is None and dtype is Dtype.auto:
        peak = peak_flops(device, "fp32")
    if peak is None:
        return None
    fp8_peak = peak_flops(device, "fp8") or peak
    return total_flops * (fp8_share / fp8_peak + (1 - fp8_share) / peak) / mfu / 3600


def peak_memory_gib(config: RunConfig, sizing: Sizing, device_batch_size: int) -> float:
    """Peak bytes of one training process / 2^30.

    Args:
        config: gives dtype, optimizer, and whether the loss is compiled.
        sizing: the model.
        device_batch_size: rows in flight.
    """
    compute = 4 if config.precision.dtype is Dtype.fp32 else 2
    activations = _activation_bytes(config, sizing, device_batch_size, compute)
    return (_state_bytes(config, sizing, compute) + activations) / GIB


def _state_bytes(config: RunConfig, sizing: Sizing, compute: int) -> int:
    """Parameters, gradients and what their update rules keep and hold; averages are in fp32."""
    state, stacks = 0, Counter[tuple[UpdateRule, tuple[int, ...]]]()
    for weight in sizing.weights:
        rule = update_rule(weight.role, config.optimizer)
        state += 2 * weight.num_params * bytes_each(config, weight) + kept_bytes(config, weight)
        stacks[rule, weight.shape] += weight.num_params
    return state + max(
        size * (4 * rule.held[0] + compute * rule.held[1]) for (rule, _), size in stacks.items()
    )


def evaluated_alone(plan: RunPlan) -> RunPlan:
    """``plan`` with what evaluating its kept weights costs in the place of training."""
    flops = min(plan.total_flops, evaluation_flops(plan)) + core_flops(plan)
    hours = plan.estimated_gpu_hours
    hours = None if hours is None else hours * flops / plan.total_flops
    return replace(plan, total_flops=flops, estimated_gpu_hours=hours)


def evaluation_flops(plan: RunPlan) -> int:
    """Of one evaluation: a forward pass over every stream, whole where the package has its text."""
    config = plan.config
    num_bytes = 0
    for stream in config.evaluation.streams:
        most = config.evaluation.max_bytes
        num_bytes += min(most, holdout.num_bytes(config, holdout.usual(stream)) or most)
    return round(num_bytes / bytes_a_token(config.tokenizer.vocab_size) * plan.flops_per_token / 3)


def core_flops(plan: RunPlan) -> int:
    """What asking a finished model a bundle's tasks takes: a forward pass over items and what is before them.

    What the choices of an item share is computed once; sequences are cropped to T.
    """
    core, tokens = plan.config.evaluation.core, 0.0
    if core.bundle is None:
        return 0
    for num_items, bytes_each in core_bundle.sizes(core):
        each = bytes_each / bytes_a_token(plan.config.tokenizer.vocab_size)
        tokens += num_items * min(each, plan.sequence_len)
    return round(tokens * plan.flops_per_token / 3)


def bytes_a_token(vocab_size: int) -> float:
    """Of English prose, as the embedded corpus measured it: 2.0, 3.0, 4.0, 4.7 for 2^9, 2^11, 2^13, 2^15."""
    return max(1.2, 2.03 + 0.45 * (math.log2(vocab_size) - 9))


def bytes_each(config: RunConfig, weight: Weight) -> int:
    """Of one parameter, gradient or moment: of tables in the compute dtype (under fp16 fp32), else fp32."""
    is_wide = config.precision.dtype in (Dtype.fp16, Dtype.fp32)
    return 2 if weight.use == "lookup" and not is_wide else 4


def kept_bytes(config: RunConfig, weight: Weight) -> int:
    """What is kept of a weight from step to step: by its update rule, and its average."""
    kept = update_rule(weight.role, config.optimizer).state(weight.shape).values()
    average = 0 if config.optimizer.ema_decay is None else 4 * weight.num_params
    return weight.num_alike * sum(map(math.prod, kept)) * bytes_each(config, weight) + average


def _activation_bytes(config: RunConfig, sizing: Sizing, rows: int, compute: int) -> int:
    """What one micro-batch keeps for its backward pass.

    Logits exist for a chunk of tokens at a time (``model/loss.py``): in the compute dtype, and in fp32 what
    softcap and softmax keep, two arrays when compiled and five when not.
    """
    tokens = rows * config.horizon.sequence_len
    channels = sum(part.channels for part in sizing.parts)
    logit = compute + 4 * (2 if config.trainer.compile else 5)
    logits = min(tokens * sizing.padded_vocab_size, _CHUNK_LOGITS)
    return tokens * channels * compute + logits * logit + _fp8_bytes(config, sizing, tokens, logits)


def _fp8_bytes(config: RunConfig, sizing: Sizing, tokens: int, logits: int) -> int:
    """What FP8 keeps besides: weights as they were rounded; of one head at a time, what its loss multiplies.

    That is the stream and the gradient of a chunk of logits, rowwise twice each, and the weight by rows and
    by columns. Inputs of other layers are kept in FP8 instead of the compute dtype, which is not taken off.
    """
    rule = config.precision.fp8
    if config.precision.dtype is not Dtype.fp8:
        return 0
    rounded = [weight for weight in sizing.weights if in_fp8(weight, rule)]
    heads = [weight for weight in rounded if weight.role == "unembedding"]
    kept = sum(weight.num_params for weight in rounded if weight not in heads)
    if not heads:
        return kept
    times, (rows, columns) = 2 if rule.scaling is Fp8Scaling.rowwise else 1, heads[0].shape
    return kept + 2 * rows * columns + times * (tokens * columns + logits)


def check_memory(plan: RunPlan, num_ranks: int, device: str, there_gib: float | None) -> None:
    """Refuse what cannot fit before anything is computed: the kernel would kill it, others perhaps too.

    Args:
        num_ranks: several share the optimizer's state, and the estimate is of one: they are let through.
        device: its name, for the message.
        there_gib: all the memory that ``device`` has; None where it is not known.

    Raises:
        MemoryError: the run would need far more.
    """
    needed_gib = plan.estimated_peak_memory_gib
    if num_ranks == 1 and there_gib is not None and needed_gib > _SLACK * there_gib:
        raise MemoryError(f"the run needs about {needed_gib:.1f} GiB, {device} has {there_gib:.1f} GiB")
