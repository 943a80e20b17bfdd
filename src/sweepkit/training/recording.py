"""What a run records: how it was computed, and what came out."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from sweepkit import fsio
from sweepkit.config import typed
from sweepkit.data.prepare import PreparedData
from sweepkit.distributed.ranks import Ranks
from sweepkit.errors import ConfigError
from sweepkit.plan import text
from sweepkit.plan.run_plan import RunPlan
from sweepkit.results.conditions import Fp8
from sweepkit.results.record import Measured, RunRecord
from sweepkit.training import environment
from sweepkit.training.bench import Chosen
from sweepkit.training.checkpoint import TrainState
from sweepkit.training.clock import Clock
from sweepkit.training.engine import Engine
from sweepkit.training.peak_memory import PeakMemory
from sweepkit.training.throughput import Utilisation


def note_resolved(
    record: RunRecord, engine: Engine, chosen: Chosen, no_compile_reason: str | None, ranks: Ranks
) -> None:
    """What the node made of the plan, where that was, and the fingerprint of both.

    Raises:
        ConfigError: the ranks would not compute the same.
    """
    precision, found = chosen.precision, record.resolved
    found.dtype, found.dtype_reason = precision.dtype.name, precision.reason
    found.device, found.num_threads = engine.device.type, engine.key.num_threads
    found.attention, found.attention_reason = engine.key.attention.name, chosen.attention_reason
    found.is_compiled, found.eager_reason = engine.key.compile, no_compile_reason
    if precision.fp8 is not None:
        found.fp8 = Fp8(precision.fp8.name, precision.fp8_reason, engine.num_fp8_layers)
    if ranks.size > 1:
        found.num_ranks, found.hosts = ranks.size, _alike(ranks, record)
    record.environment_fingerprint = environment.fingerprint(record.environment, found)


def note_speed(record: RunRecord, utilisation: Utilisation, memory: PeakMemory) -> None:
    """What speed and memory of a training are held against."""
    note_peak(record, utilisation)
    record.resolved.peak_memory_source = memory.source
    if utilisation.fp8_peak is not None and (fp8 := record.resolved.fp8) is not None:
        fp8.flops_share = utilisation.fp8_flops_per_token / utilisation.flops_per_token
        fp8.peak_flops, fp8.peak_flops_source = utilisation.fp8_peak.flops, utilisation.fp8_peak.source


def note_peak(record: RunRecord, utilisation: Utilisation) -> None:
    """What MFU is held against; when it was measured, where it was."""
    found, peak = record.resolved, utilisation.peak
    found.peak_flops, found.peak_flops_source = peak.flops, peak.source
    found.peak_flops_measured_at = peak.measured_at


def note_data(record: RunRecord, data: PreparedData) -> None:
    """Which text the run is trained on and measured on, and how full its rows are."""
    record.evaluation_fingerprints = {stream.name: stream.fingerprint for stream in data.streams}
    record.measured_on = {stream.name: stream.measured_on for stream in data.streams}
    if data.core is not None:
        record.measured_on[text.CORE] = data.core.measured_on(data.config.horizon.sequence_len)
        record.evaluation_fingerprints[text.CORE] = fsio.digest(typed.dump(record.measured_on[text.CORE]))
    record.texts = data.texts
    record.packing = dict(data.packing_stats)


def describe(record: RunRecord, clock: Clock) -> str:
    """The line of the run's log that says how it is computed."""
    resolved = record.resolved
    compiled_in = f"compiled in {clock.compile_time_s:.1f} s"
    how = compiled_in if resolved.is_compiled else f"eager ({resolved.eager_reason})"
    fp8 = resolved.fp8
    layers = f", {fp8.num_layers} layers {fp8.backend} ({fp8.reason})" if fp8 else ""
    ranks = f"{resolved.num_ranks} ranks on {', '.join(resolved.hosts)}, each: " if resolved.num_ranks else ""
    return (
        f"{ranks}{record.environment.hardware}, {resolved.device}, {resolved.num_threads} threads; "
        f"{resolved.dtype} ({resolved.dtype_reason}{layers}); attention {resolved.attention} "
        f"({resolved.attention_reason}); {how}; set up in {clock.setup_time_s:.1f} s"
    )


def _alike(ranks: Ranks, record: RunRecord) -> list[str]:
    """The hosts of the ranks, which all compute the same."""
    resolved, here = record.resolved, record.environment
    mine = [here.hardware, here.versions["torch"], here.sources, resolved.dtype, resolved.attention]
    mine += [f"fp8 {resolved.fp8.backend}"] if resolved.fp8 else []
    others = ranks.words([here.host, *mine])
    if len({tuple(other[1:]) for other in others}) > 1:
        shown = "; ".join(f"rank {rank}: {', '.join(other)}" for rank, other in enumerate(others))
        raise ConfigError(
            f"the ranks of this run are unlike ({shown}), but must have one hardware, torch, code, dtype "
            "and attention; choose like nodes (launcher.slurm.constraint)"
        )
    return list(dict.fromkeys(other[0] for other in others))


def of_rank(memory: PeakMemory, state: TrainState) -> list[float]:
    """What every rank measures for itself: its peak memory, and how long it waited for others."""
    return [memory.gib(), state.clock.communication_time_s]


def results(
    plan: RunPlan,
    state: TrainState,
    utilisation: Utilisation,
    by_rank: Sequence[Sequence[float]],
    data: PreparedData,
) -> Measured:
    """The record's results; a number that was not measured is None, one that cannot be is left out.

    Args:
        by_rank: what ``of_rank`` gives, of as many ranks as are still there.
        data: its packed rows are an epoch.
    """
    clock = state.clock
    mean, rate = clock.mean_step_time_s, tokens_per_s(plan, state)
    total_tokens = state.step * plan.total_batch_size
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
        "total_tokens": total_tokens,
        "epochs": total_tokens / (data.packing(plan.sequence_len).num_rows * plan.sequence_len),
        "total_params": plan.total_params,
        "active_params": plan.active_params,
    }


def tokens_per_s(plan: RunPlan, state: TrainState) -> float | None:
    """Of the steps that were timed; None where there are none."""
    mean = state.clock.mean_step_time_s
    return plan.total_batch_size / mean if mean else None
