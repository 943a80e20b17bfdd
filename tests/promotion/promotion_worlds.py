"""Made-up ladders: frozen for real, run by a fake that writes real records, with a known truth."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from sweepkit import fsio
from sweepkit.config import identity, typed
from sweepkit.config.schema import EvaluationConfig, RunConfig, RungConfig
from sweepkit.plan.run_plan import RunPlan
from sweepkit.promotion import ladder
from sweepkit.promotion.verdict_record import Promotion
from sweepkit.results import flatten, store
from sweepkit.results.columns import PLANNED, RUN_COLUMNS
from sweepkit.results.conditions import Environment, Resolved
from sweepkit.results.record import FailureClass, RunDir, RunRecord, RunState
from sweepkit.sweep.cell import Cell
from sweepkit.sweep.decision import DecisionRule
from sweepkit.sweep.file import SweepFile
from sweepkit.sweep.frozen import Frozen, freeze_cells

HOLDOUT = "validation_holdout"
RULE = DecisionRule(alpha=0.1, min_effect=0.001)


class Killed(BaseException):
    """Stands in for SIGKILL: nothing catches it."""


def plan(depth: int, variant: str, seed: int, init_seed: int | None = None, **changes: Any) -> RunPlan:
    """A plan with plausible numbers."""
    variant_id = fsio.digest([variant, depth])[:12]
    values: dict[str, Any] = {
        "run_id": identity.run_id(depth, variant_id, seed, init_seed),
        "variant_id": variant_id,
        "seed": seed,
        "pair_key": f"order-{seed}",
        "compile_key": f"program-{depth}",
        "depth": depth,
        "width": 32 * depth,
        "num_heads": depth,
        "num_kv_heads": depth,
        "head_dim": 32,
        "padded_vocab_size": 2048,
        "windows": (128, 256),
        "value_embedding_layers": (1,),
        "scaling_params": 1000 * depth,
        "total_params": 2000 * depth,
        "active_params": 2000 * depth,
        "param_groups": {"wte": 1000},
        "flops_per_token": 6000 * depth,
        "target_tokens": 40960,
        "transfer_tokens": 40960,
        "total_batch_size": 4096,
        "device_batch_size": 16,
        "sequence_len": 256,
        "num_steps": 10,
        "total_tokens": 40960,
        "total_flops": 6000 * depth * 40960,
        "learning_rates": {"matrix": 0.02},
        "weight_decay": 0.28,
        "weight_decays": {"matrix": 0.28},
        "warmup_steps": 1,
        "warmdown_steps": 6,
        "momentum_warmup_steps": 4,
        "plan_device": "h100",
        "plan_mfu": 0.4,
        "estimated_peak_memory_gib": 0.5,
        "estimated_gpu_hours": 0.01,
        "config": RunConfig(seed=seed, init_seed=init_seed),
    }
    return RunPlan(**(values | changes))


def freeze(
    results_dir: Path,
    variants: list[str],
    depths: tuple[int, ...] = (2, 4, 6),
    seeds: int = 5,  # one survivor alone has four degrees of freedom
    rule: DecisionRule = RULE,
    max_promoted: int | None = None,
    plan_changes: Callable[[str, int, int], dict[str, Any]] = lambda variant, depth, seed: {},
    name: str = "made_up",
    replicates: int = 1,
    horizons: tuple[float, ...] = (),
) -> Frozen:
    """Freeze a ladder of made-up plans; rung names are d2, d4, ...; the reference at other horizons too."""
    content = {
        "name": name,
        "question": "Which one helps?",
        "axes": {"change": {variant: [f"made_up.field={variant}"] for variant in variants}},
        "seeds": list(range(1, seeds + 1)),
        "decision": typed.dump(rule),
    }
    cells = [
        Cell(
            variant=variant,
            variant_key=fsio.digest(variant)[:12],
            role="reference" if variant == "reference" else "variant",
            rung=f"d{depth}",
            plan=plan(
                depth,
                variant,
                seed,
                (int(fsio.digest([variant, depth, seed, number])[:7], 16) if replicates > 1 else None),
                **plan_changes(variant, depth, seed),
            ),
            number=number,
        )
        for depth in depths
        for variant in ["reference", *variants]
        for number in range(replicates if variant == "reference" else 1)
        for seed in range(1, seeds + 1)
    ]
    for cell in [cell for cell in cells if cell.variant == "reference"]:
        for multiple in horizons:
            label, steps = f"reference@{multiple:g}x", round(multiple * cell.plan.num_steps)
            tokens = steps * cell.plan.total_batch_size
            longer = replace(
                plan(cell.plan.depth, label, cell.plan.seed),
                num_steps=steps, total_tokens=tokens, total_flops=tokens * cell.plan.flops_per_token,
                config=cell.plan.config,
            )  # fmt: skip
            cells.append(Cell(label, label, "horizon", cell.rung, longer))
    rungs = [RungConfig(name=f"d{depth}", max_promoted=max_promoted) for depth in depths]
    return freeze_cells(SweepFile.from_json(content), rungs, cells, results_dir)


def with_holdout(variant: str, depth: int, seed: int, last: int = 6) -> dict[str, Any]:
    """``plan_changes`` of a ladder whose last rung is evaluated on text held back for it."""
    streams = ["validation", HOLDOUT] if depth == last else ["validation"]
    return {"config": RunConfig(seed=seed, evaluation=EvaluationConfig(streams=streams))}


def with_seed(made_up: RunPlan, seed: int, number: int, trees: object = None) -> RunPlan:
    """Another replicate of a made-up plan, in place of ``amendments.with_seed``."""
    return replace(
        made_up,
        seed=seed,
        run_id=f"d{made_up.depth}-{made_up.variant_id}-s{seed}",
        pair_key=f"order-{seed}",
        config=replace(made_up.config, seed=seed),
    )


@dataclass
class World:
    """What would come out if a run were run, whoever asks and however often.

    Attributes:
        effects: (variant, depth) or variant -> true effect in bits per byte.
        held_back: the same on the holdout text, where a plan asks for it; what is left out is as in effects.
        fates: (variant, depth, seed) -> state and failure class of a run that does not complete.
        kill_after: raise ``Killed`` when this many more runs were done.
        done: run_id -> record, when it is kept in memory.
    """

    frozen: Frozen
    effects: Mapping[Any, float]
    fates: Mapping[tuple[str, int, int], tuple[RunState, FailureClass | None]] = field(default_factory=dict)
    noise: float = 0.002
    seed: int = 0
    clock: int = 0  # seeds of what is timed: changes from run to run of the same plan
    kill_after: int | None = None
    on_disk: bool = False
    done: dict[str, RunRecord] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)  # (rung, run_id) in the order they were run
    held_back: Mapping[str, float] = field(default_factory=dict)

    def record(self, cell: Cell) -> RunRecord:
        """The same record for the same plan; only its clock differs between worlds."""
        run = cell.plan
        effect = self.effects.get((cell.variant, run.depth), self.effects.get(cell.variant, 0.0))
        effect -= 0.1 * math.log(run.num_steps / 10)  # the reference at other horizons
        luck = random.Random(f"{self.seed} {run.pair_key} {run.depth}").gauss(0.0, 0.02)
        own = random.Random(f"{self.seed} {run.run_id}").gauss(0.0, self.noise)
        time = 0.1 * (1 + 0.3 * random.Random(f"{self.clock} {run.run_id}").random())
        state, failure = self.fates.get((cell.variant, run.depth, run.seed), (RunState.complete, None))
        complete = state is RunState.complete
        results = {"val_bpb": 2.5 - 0.1 * run.depth + effect + luck + own, "median_step_time_s": time}
        if HOLDOUT in run.config.evaluation.streams:
            other = random.Random(f"{self.seed} {run.run_id} holdout").gauss(0.0, self.noise)
            held_back = self.held_back.get(cell.variant, effect)
            results[f"bpb_{HOLDOUT}"] = 2.6 - 0.1 * run.depth + held_back + luck + other
        return RunRecord(
            run_id=run.run_id,
            variant_id=run.variant_id,
            evaluation_key=run.evaluation_key,
            seed=run.seed,
            state=state,
            failure_class=failure,
            step=run.num_steps if complete else 3,
            num_steps=run.num_steps,
            resolved=Resolved(dtype="bf16", device="cpu"),
            environment=Environment(hardware="a processor", git_commit="0123abc"),
            environment_fingerprint="e" * 12,
            evaluation_fingerprints={"validation": "f" * 12, HOLDOUT: "a" * 12},
            results=results if complete else {},
        )

    def run_cells(self, rung: str, cells: list[Cell]) -> None:
        """Run what is not done, one cell after the other."""
        for cell in cells:
            assert cell.rung == rung
            if cell.plan.run_id in self.done:
                continue
            if self.kill_after is not None:
                if self.kill_after == 0:
                    raise Killed
                self.kill_after -= 1
            self.asked.append((rung, cell.plan.run_id))
            self.done[cell.plan.run_id] = record = self.record(cell)
            if self.on_disk:
                RunDir.of(self.frozen.sweep_dir.parent, cell.plan.run_id).write_record(record)

    def load(self) -> pd.DataFrame:
        """The runs table; through the store when the records are on disk."""
        if self.on_disk:
            return store.load(self.frozen.name, self.frozen.sweep_dir.parent)
        rows = [
            {"state": PLANNED}
            | (
                flatten.record_row(self.done[cell.plan.run_id]) | _RETRIED
                if cell.plan.run_id in self.done
                else {}
            )
            | flatten.cell_row(cell)
            for cell in self.frozen.cells
        ]
        return store.typed(pd.DataFrame(rows), RUN_COLUMNS)


EFFECTS: dict[Any, float] = {
    "holds": -0.03,
    ("fades", 2): -0.03, ("fades", 4): 0.03, ("fades", 6): 0.03,
    "hurts": 0.08,
    "nothing": 0.0,
}  # fmt: skip
_RETRIED = {"failed_attempts": 2, "failed_hosts": 1}  # counts for what ran out of memory or time alone
VARIANTS = ["holds", "fades", "hurts", "nothing"]
FATES = {("nothing", 4, 1): (RunState.failed, FailureClass.crash)}


def climb(world: World, **options: Any) -> Promotion:
    return ladder.promote(world.frozen, world.run_cells, world.load, **options)


def settled(promotion: Promotion) -> dict[str, Any]:
    """All of a promotion that no clock touches."""
    content = typed.dump(promotion)
    for rung in content["rungs"]:
        rung.pop("inputs_sha256")
        for verdict in rung["verdicts"]:
            verdict["evidence"]["axes"].pop("wall_clock")
            for sentences in ("reasons", "notes"):
                verdict[sentences] = [text for text in verdict[sentences] if "wall clock" not in text]
    for final in content["finals"]:
        final["reasons"] = [reason for reason in final["reasons"] if "wall clock" not in reason]
    return content


def files(frozen: Frozen) -> dict[str, str]:
    return {
        name: (frozen.sweep_dir / name).read_text()
        for name in ("promotion.json", "verdicts.json", "effects.csv", "costs.csv", "runs.csv")
    }
