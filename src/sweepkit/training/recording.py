"""What a run records: how it was computed, and what came out."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from sweepkit.data.prepare import PreparedData
from sweepkit.distributed.ranks import Ranks
from sweepkit.errors import ConfigError
from sweepkit.plan.run_plan import RunPlan
from sweepkit.results.record import RunRecord
from sweepkit.training.bench import Chosen
from sweepkit.training.checkpoint import TrainState
from sweepkit.training.clock import Clock
from sweepkit.training.engine import Engine
from sweepkit.training.peak_memory import PeakMemory
from sweepkit.training.throughput import Utilisation


def resolved(engine: Engine, chosen: Chosen, no_compile_reason: str | None) -> dict[str, Any]:
    """What the node made of the plan."""
    precision = chosen.precision
    value: dict[str, Any] = {
        "dtype": precision.dtype.name,
        "dtype_reason": precision.reason,
        "device": engine.device.type,
        "attention": engine.key.attention.name,
        "attention_reason": chosen.attention_reason,
        "compile": {"used": engine.key.compile, "reason": no_compile_reason},
        "num_threads": engine.key.num_threads,
    }
    if precision.fp8 is not None:
        value["fp8"] = {
            "backend": precision.fp8.name,
            "reason": precision.fp8_reason,
            "num_layers": engine.num_fp8_layers,
        }
    return value


def note_speed(record: RunRecord, utilisation: Utilisation, memory: PeakMemory) -> None:
    """What speed and memory of a training are held against."""
    record.resolved |= peak(utilisation) | {"peak_memory_source": memory.source}
    if utilisation.fp8_peak is not None:
        record.resolved["fp8"] |= {
            "flops_share": utilisation.fp8_flops_per_token / utilisation.flops_per_token,
            "peak_flops": utilisation.fp8_peak.flops,
            "peak_flops_source": utilisation.fp8_peak.source,
        }


def peak(utilisation: Utilisation) -> dict[str, Any]:
    """What MFU is held against; when it was measured, where it was."""
    found = utilisation.peak
    when = {} if found.measured_at is None else {"peak_flops_measured_at": found.measured_at}
    return {"peak_flops": found.flops, "peak_flops_source": found.source, **when}


def note_data(record: RunRecord, data: PreparedData) -> None:
    """Which text the run is trained on and measured on, and how full its rows are."""
    record.evaluation_fingerprints = {stream.name: stream.fingerprint for stream in data.streams}
    record.measured_on = {stream.name: stream.measured_on for stream in data.streams}
    record.texts = data.texts
    record.packing = dict(data.packing_stats)


def describe(record: RunRecord, clock: Clock) -> str:
    """The line of the run's log that says how it is computed."""
    resolved = record.resolved
    compiled = resolved["compile"]
    how = f"compiled in {clock.compile_time_s:.1f} s" if compiled["used"] else f"eager ({compiled['reason']})"
    fp8 = resolved.get("fp8")
    layers = f", {fp8['num_layers']} layers {fp8['backend']} ({fp8['reason']})" if fp8 else ""
    return (
        f"{_ranks_in_words(resolved)}{record.environment['hardware']}, {resolved['device']}, "
        f"{resolved['num_threads']} threads; "
        f"{resolved['dtype']} ({resolved['dtype_reason']}{layers}); attention {resolved['attention']} "
        f"({resolved['attention_reason']}); {how}; set up in {clock.setup_time_s:.1f} s"
    )


def _ranks_in_words(resolved: dict[str, Any]) -> str:
    if "num_ranks" not in resolved:
        return ""
    return f"{resolved['num_ranks']} ranks on {', '.join(resolved['hosts'])}, each: "


def alike(ranks: Ranks, record: RunRecord) -> dict[str, Any]:
    """How many ranks there are, and where; nothing for a process alone.

    Raises:
        ConfigError: they would not compute the same.
    """
    if ranks.size == 1:
        return {}
    resolved, environment = record.resolved, record.environment
    mine = [
        environment["hardware"],
        environment["versions"]["torch"],
        environment["sources"],
        resolved["dtype"],
        resolved["attention"],
    ]
    mine += [f"fp8 {resolved['fp8']['backend']}"] if "fp8" in resolved else []
    others = ranks.words([environment["host"], *mine])
    if len({tuple(other[1:]) for other in others}) > 1:
        shown = "; ".join(f"rank {rank}: {', '.join(other)}" for rank, other in enumerate(others))
        raise ConfigError(
            f"the ranks of this run are unlike ({shown}), but must have one hardware, torch, code, dtype "
            "and attention; choose like nodes (launcher.slurm.constraint)"
        )
    return {"num_ranks": ranks.size, "hosts": list(dict.fromkeys(other[0] for other in others))}


def of_rank(memory: PeakMemory, state: TrainState) -> list[float]:
    """What every rank measures for itself: its peak memory, and how long it waited for others."""
    return [memory.gib(), state.clock.communication_time_s]


def results(
    plan: RunPlan, state: TrainState, utilisation: Utilisation, by_rank: Sequence[Sequence[float]]
) -> dict[str, Any]:
    """The record's results; a number that was not measured is None, one that cannot be is left out.

    Args:
        by_rank: what ``of_rank`` gives, of as many ranks as are still there.
    """
    clock = state.clock
    mean, rate = clock.mean_step_time_s, tokens_per_s(plan, state)
    done = state.evaluated_step == plan.num_steps
    bpb: dict[str, float | None] = dict(state.bpb) if done else {"val_bpb": None}
    peaks_gib, communication_s = zip(*by_rank, strict=True)
    communication: dict[str, float | None] = {}
    if utilisation.num_ranks > 1:
        share = statistics.mean(communication_s) / clock.train_time_s if mean else None
        communication["communication_frac"] = share
    return bpb | {
        "final_train_loss": state.last_loss,
        "train_time_s": clock.train_time_s if mean else None,
        "median_step_time_s": clock.median_step_time_s,
        "num_timed_steps": len(clock.step_times_s),
        "setup_time_s": clock.setup_time_s,
        "compile_time_s": clock.compile_time_s,
        "eval_time_s": clock.eval_time_s,
        "checkpoint_time_s": clock.checkpoint_time_s,
        "tokens_per_s": rate,
        **utilisation.mfu(rate),
        **communication,
        "num_skipped_steps": state.num_skipped_steps,
        "peak_memory_gib": max(peaks_gib),
        "total_flops": state.step * plan.total_batch_size * plan.flops_per_token,
        "total_tokens": state.step * plan.total_batch_size,
        "total_params": plan.total_params,
        "active_params": plan.active_params,
    }


def tokens_per_s(plan: RunPlan, state: TrainState) -> float | None:
    """Of the steps that were timed; None where there are none."""
    mean = state.clock.mean_step_time_s
    return plan.total_batch_size / mean if mean else None
