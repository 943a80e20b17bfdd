"""Checks of the GPU proof that run what a user runs: the doctor, steps, training, a promotion."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gpu_rows import NO_TIME, Bench

from sweepkit import fsio
from sweepkit.config.compose import compose
from sweepkit.training import step_speed, throughput
from sweepkit.training.low_mfu import LOW

#: What is timed, by its name; a further one is not begun unless it would have ended in time.
STEPS = {
    "bf16": ["precision=bf16"],
    "FP8, tensorwise": ["precision=fp8"],
    "FP8, rowwise": ["precision=fp8", "precision.fp8.scaling=rowwise"],
    "bf16, attention=banded": ["precision=bf16", "trainer.attention=banded"],
    "bf16, attention=sdpa": ["precision=bf16", "trainer.attention=sdpa"],
}
SMALL_STEP = [
    "model=d2",
    "tokenizer.vocab_size=512",
    "horizon.sequence_len=64",
    "horizon.num_steps=10",
    "horizon.device_batch_size=2",
    "horizon.total_batch_size=256",
    "precision=fp32",
    "trainer=eager",
]
#: Rows at once of an eager d12, whose memory the estimate is of.
MEMORY = (2, 8)
#: An estimate is of the eager program; a run is refused where it is more than twice of what there is.
_ESTIMATE_LOW, _ESTIMATE_HIGH = 0.5, 2.0
LOSSES = [
    "experiment=mini",
    "model=d4",
    "trainer=eager",
    "horizon.num_steps=50",
    "evaluation.max_bytes=20000",
]
SMALL_LOSSES = [
    "model=d2",
    "horizon.num_steps=5",
    "horizon.total_batch_size=512",
    "horizon.device_batch_size=4",
]
#: Nats; rounding grows from step to step, and a wrong kernel shows at once.
_FIRST_STEPS, _FIRST_LIMIT, _LIMIT = 10, 1e-3, 0.02
_GOOD, _BAD = {"unembedding_4x", "unembedding_2x"}, "unembedding_0.1x"  # of sweeps/demo.yaml
SMALL_PROMOTION = [
    "horizon.num_steps=4",
    "horizon.total_batch_size=256",
    "horizon.device_batch_size=2",
    "evaluation.max_bytes=2000",
    "evaluation.sample_tokens=0",
    "tokenizer.vocab_size=512",
]


def doctor(bench: Bench) -> None:
    """``sweepkit doctor``, its steps apart: they have a check of their own."""
    eager = [] if bench.has_gpu else ["trainer=eager"]
    done = _sweepkit(bench, "doctor", "--no-steps", "--format", "json", *_on(bench), *eager)
    found = json.loads(done.stdout)
    for about, facts in (found["machine"] | found["choices"]).items():
        if about != "host" and not about.startswith(("disk", "wandb")):  # a committed table is nobody's own
            bench.measured(about, facts)
    for check in found["checks"]:
        name, limit = f"{check['name']} ({check['reference']})", check["limit"]
        if check["error"] is None:
            bench.judged(name, check["problem"], f"at most {limit:.2g}", False)
        else:
            bench.error(name, check["error"], limit, seconds=check["seconds"])
    if not bench.has_gpu:
        bench.not_run("compiled model, Muon compiled, FP8 native, ranks over NCCL")


def steps(bench: Bench) -> None:
    """Time, MFU and memory of d12's step, compiled, as it comes and in FP8."""
    if not bench.has_gpu:
        for name in STEPS:
            bench.not_run(f"d12 in {name}")
        _step(bench, "d2 in fp32, eager, a stand-in", SMALL_STEP, {})
        return
    longest, seen = 0.0, dict[tuple[object, ...], float]()
    for name, overrides in STEPS.items():
        if longest > bench.left_s:
            bench.not_run(f"d12 in {name}", NO_TIME)
            continue
        started = time.monotonic()
        try:
            _step(bench, f"d12 in {name}", ["model=d12", *overrides], seen)
        except Exception as error:
            bench.failed(f"d12 in {name}", error)
        longest = max(longest, time.monotonic() - started)


def _step(bench: Bench, name: str, overrides: list[str], seen: dict[tuple[object, ...], float]) -> None:
    """``seen``: tokens a second of what has been timed already, the plain one first."""
    plan, key, precision = step_speed.prepare(compose([*overrides, *_on(bench)]), bench.device)
    what = precision.dtype, plan.config.precision.fp8.scaling, key.attention  # auto is one of the kernels
    if what in seen:
        bench.measured(name, f"is what runs anyway ({key.attention.name})")
        return
    used = throughput.utilisation(plan, precision, bench.device)
    speed = step_speed.measure(plan, key, used)
    is_first = not seen
    seen[what] = speed.tokens_per_s
    times = speed.tokens_per_s / next(iter(seen.values()))
    words = (
        f"{speed.step_time_s:.4g} s, {speed.tokens_per_s:,.0f} tokens/s"
        f"{'' if is_first else f' ({times:.2f}× the first)'}, {speed.device_batch_size} rows at once, "
        f"{key.attention.name}, {speed.peak_memory_gib:.2f} GiB ({plan.estimated_peak_memory_gib:.2f} "
        f"estimated); compiled in {speed.compile_time_s:.0f} s"
    )
    numbers = {
        "step_time_s": speed.step_time_s,
        "tokens_per_s": speed.tokens_per_s,
        "compile_time_s": speed.compile_time_s,
        "peak_memory_gib": speed.peak_memory_gib,
        "estimated_peak_memory_gib": plan.estimated_peak_memory_gib,
        **speed.mfu,
    }
    bench.measured(name, words, **numbers)
    mfu = speed.mfu["mfu"]
    if is_first and bench.has_gpu and mfu is not None:
        bench.judged(f"{name}: MFU", speed.shown, f"at least {LOW:.0%}", mfu >= LOW, mfu=mfu)
    else:
        bench.measured(f"{name}: MFU", speed.shown or "no maker's figure for this device", mfu=mfu)


def memory(bench: Bench) -> None:
    """What ``sweepkit plan`` estimates against what the allocator counted, for the eager program."""
    if not bench.has_gpu:
        bench.not_run("d12's estimate against the allocator")
        _estimate(bench, "d2, fp32, a stand-in", SMALL_STEP)
        return
    for rows in MEMORY:
        for precision in ("bf16", "fp32"):
            name = f"d12, eager, {precision}, {rows} rows at once"
            shape = [f"horizon.device_batch_size={rows}", f"horizon.total_batch_size={rows * 2048}"]
            try:
                _estimate(bench, name, ["model=d12", "trainer=eager", f"precision={precision}", *shape])
            except Exception as error:
                bench.failed(name, error)


def _estimate(bench: Bench, name: str, overrides: list[str]) -> None:
    plan, key, precision = step_speed.prepare(compose([*overrides, *_on(bench)]), bench.device)
    speed = step_speed.measure(plan, key, throughput.utilisation(plan, precision, bench.device))
    estimated, found = plan.estimated_peak_memory_gib, speed.peak_memory_gib
    words = f"{estimated:.3g} GiB estimated, {found:.3g} GiB found: {estimated / found:.2f}×"
    numbers = {"estimated_peak_memory_gib": estimated, "peak_memory_gib": found}
    if not bench.has_gpu:  # a process's memory is not the allocator's
        bench.measured(name, words, **numbers)
        return
    is_right = _ESTIMATE_LOW <= estimated / found <= _ESTIMATE_HIGH
    bench.judged(name, words, f"{_ESTIMATE_LOW}× to {_ESTIMATE_HIGH}×", is_right, **numbers)


def losses(bench: Bench) -> None:
    """The same run on the CPU and on the GPU, in fp32; on the GPU in bf16 too."""
    steps_ = LOSSES if bench.has_gpu else [*LOSSES, *SMALL_LOSSES]
    on_cpu = _losses(bench, *steps_, "trainer.device=cpu")
    on_device = _losses(bench, *steps_, *_on(bench))
    apart = [abs(a - b) for a, b in zip(on_cpu, on_device, strict=True)]
    name = "CPU against GPU, fp32" if bench.has_gpu else "CPU against itself, fp32, a stand-in"
    bench.error(
        f"{name}: furthest losses of the first {_FIRST_STEPS} steps", max(apart[:_FIRST_STEPS]), _FIRST_LIMIT
    )
    last = f"; last losses {on_cpu[-1]:.4f}, {on_device[-1]:.4f}"
    bench.error(f"{name}: of all {len(apart)}", max(apart), _LIMIT, last)
    if not bench.has_gpu:
        bench.not_run("50 steps, CPU against GPU")
        return
    in_bf16 = _losses(bench, *steps_, *_on(bench), "precision=bf16")
    furthest = max(abs(a - b) for a, b in zip(on_device, in_bf16, strict=True))
    bench.measured("bf16 against fp32 on the GPU: furthest losses", f"{furthest:.2g}", error=furthest)


def _losses(bench: Bench, *overrides: str) -> list[float]:
    """Every step's loss of a run that is trained anew."""
    with tempfile.TemporaryDirectory() as folder:
        _sweepkit(bench, "train", *overrides, results=Path(folder))
        (metrics,) = Path(folder).rglob("metrics.jsonl")
        rows = fsio.read_lines(metrics)
    return [row["loss"] for row in rows if "loss" in row]


def promotion(bench: Bench) -> None:
    """``sweepkit promote demo``: what is known to help is adopted, and what is known to hurt is not."""
    small = [] if bench.has_gpu else SMALL_PROMOTION
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        name = "demo"
        asked = ["trainer=eager", *_on(bench), *small]
        power = [] if bench.has_gpu else ["--underpowered"]
        _sweepkit(bench, "promote", name, *asked, *power, results=Path(folder))
        found = fsio.read_json(Path(folder) / name / "promotion.json")
        num_runs = len(list(Path(folder).rglob("record.json")))
    ended = {final["variant"]: final["outcome"] for final in found["finals"]}
    words = f"{found['message']} {num_runs} runs, {time.monotonic() - started:.0f} s"
    adopted = {variant.removeprefix("change=") for variant, outcome in ended.items() if outcome == "adopted"}
    bound = "finished; adopts one of what helps, and not what hurts"
    if bench.has_gpu:
        is_right = bool(found["finished"]) and bool(adopted & _GOOD) and _BAD not in adopted
        bench.judged("promote demo", words, bound, is_right, num_runs=num_runs)
        return
    bench.judged("promote demo, 4 steps a run, a stand-in", words, "finished", bool(found["finished"]))
    bench.not_run("promote demo on a GPU")


def _on(bench: Bench) -> list[str]:
    return [f"trainer.device={bench.device.type}"]


def _sweepkit(bench: Bench, *words: str, results: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Carry out one command line; its error output goes where this process's goes.

    Raises:
        RuntimeError: it failed, and not by a wrong check of the doctor.
    """
    environment = dict(os.environ)
    if results is not None:
        environment["SWEEPKIT_RESULTS_DIR"] = str(results)
    command = [sys.executable, "-m", "sweepkit", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=False)
    if words[0] != "doctor":
        sys.stderr.write(done.stdout)
    if done.returncode and not (words[0] == "doctor" and done.stdout.startswith("{")):
        raise RuntimeError(f"sweepkit {words[0]} ended with {done.returncode}")
    return done
