"""Model FLOPs utilisation: what a run does with its device.

MFU = FLOPs per token × tokens/s ÷ peak FLOP/s of the dtype that ran. The peak of a GPU is the maker's
figure for its name and the dtype (``plan.cost.PEAK_FLOPS``). A CPU has no such figure: there it is the best
rate of matrix products that was ever measured on it (``gemm_rate``). No known peak, no MFU.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch

from sweepkit.config.choices import Fp8Backend
from sweepkit.plan import cost, fp8_share, sizing
from sweepkit.plan.run_plan import RunPlan
from sweepkit.precision.policy import Precision
from sweepkit.training import device as devices
from sweepkit.training import gemm_rate


@dataclass(frozen=True)
class Peak:
    """What a device could do at most, FLOP/s, and how we know; None when we do not.

    Attributes:
        measured_at: ISO 8601, where it was measured.
    """

    flops: float | None
    source: str
    measured_at: str | None = None


@dataclass(frozen=True)
class Utilisation:
    """The model's FLOPs, and the peaks they are held against.

    Attributes:
        flops_per_token: from the architecture, whatever carries them.
        peak: of the compute dtype.
        fp8_flops_per_token: the part of them that FP8 units carry; 0 where there are none.
        fp8_peak: of those units.
        num_ranks: devices that share the work; the peaks are of one.
    """

    flops_per_token: int
    peak: Peak
    fp8_flops_per_token: int = 0
    fp8_peak: Peak | None = None
    num_ranks: int = 1

    def mfu(self, tokens_per_s: float | None) -> dict[str, float | None]:
        """``mfu``; with FP8 units also its two parts, each against the peak of what carried it.

        The parts add up to ``mfu``: the share of the time in which both units could have done the work. All
        FLOPs against the smaller peak would be an inflated number, and is never given.
        """
        tokens_per_s = tokens_per_s and tokens_per_s / self.num_ranks
        if self.fp8_peak is None:
            return {"mfu": _share(self.flops_per_token, tokens_per_s, self.peak)}
        in_fp8 = _share(self.fp8_flops_per_token, tokens_per_s, self.fp8_peak)
        rest = _share(self.flops_per_token - self.fp8_flops_per_token, tokens_per_s, self.peak)
        whole = None if in_fp8 is None or rest is None else in_fp8 + rest
        return {"mfu": whole, "mfu_fp8": in_fp8, "mfu_rest": rest}

    def shown(self, tokens_per_s: float | None) -> str:
        """``MFU 41.0% of H100 bf16``, or the split; "" where it is not known."""
        parts = self.mfu(tokens_per_s)
        if parts["mfu"] is None:
            return ""
        if self.fp8_peak is None:
            return f"MFU {parts['mfu']:.1%} of {self.peak.source}"
        share = self.fp8_flops_per_token / self.flops_per_token
        return (
            f"MFU {parts['mfu']:.1%}: {share:.0%} of the FLOPs in FP8 at {parts['mfu_fp8']:.1%} of "
            f"{self.fp8_peak.source}, the rest at {parts['mfu_rest']:.1%} of {self.peak.source}"
        )


def _share(flops_per_token: float, tokens_per_s: float | None, peak: Peak) -> float | None:
    return flops_per_token * tokens_per_s / peak.flops if peak.flops and tokens_per_s else None


def utilisation(plan: RunPlan, precision: Precision, device: torch.device, num_ranks: int = 1) -> Utilisation:
    """What the MFU of ``plan`` is measured against on ``device``."""
    main = peak(device, precision.compute_dtype)
    if precision.fp8 is not Fp8Backend.native:
        return Utilisation(plan.flops_per_token, main, num_ranks=num_ranks)
    in_fp8 = fp8_share.fp8_flops_per_token(plan.config, sizing.size(plan.config))
    return Utilisation(plan.flops_per_token, main, in_fp8, _figure(device, "fp8"), num_ranks)


def plausible(
    utilisation: Utilisation, tokens_per_s: float | None, device: torch.device, dtype: torch.dtype
) -> Utilisation:
    """``utilisation``; a measured peak that a run has exceeded is measured again."""
    if utilisation.peak.measured_at is None or (utilisation.mfu(tokens_per_s)["mfu"] or 0) <= 1:
        return utilisation
    return dataclasses.replace(utilisation, peak=peak(device, dtype, again=True))


def peak(device: torch.device, dtype: torch.dtype, again: bool = False) -> Peak:
    """Peak of ``device`` in ``dtype``; ``again``: measure anew what is measured."""
    short = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32"}[dtype]
    if device.type == "cpu":
        rate = gemm_rate.best_known(dtype, again)
        threads = torch.get_num_threads()
        return Peak(rate.flops_per_s, f"GEMM, {short}, {threads} threads, measured", rate.measured_at)
    return _figure(device, short)


def _figure(device: torch.device, short: str) -> Peak:
    name = devices.name(device)
    flops = cost.peak_flops(name, short) if device.type == "cuda" else None
    return Peak(flops, f"{name} {short}, maker's figure" if flops else f"no figure for {name} {short}")
