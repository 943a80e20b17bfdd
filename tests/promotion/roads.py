"""Roads to a second sweep over runs that were seen, played by the real code on made-up records.

    python tests/promotion/roads.py --worlds 400     # how often each road adopts something useless

A first sweep of variants that do nothing is frozen, run and judged; a second one is made of what it left
open, as somebody would who hopes: fewer variants, one seed dropped, another level, another name. What a run
measures follows from its training and its seed alone, so that asking again in other words gives it again.
"""

from __future__ import annotations

import argparse
import copy
import random
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sweepkit import fsio
from sweepkit.config import compose, typed
from sweepkit.config.schema import RunConfig
from sweepkit.plan.run_plan import RunPlan
from sweepkit.promotion import ladder
from sweepkit.promotion.verdict_record import Final, Promotion
from sweepkit.results import store
from sweepkit.results.conditions import Environment, Resolved
from sweepkit.results.record import RunDir, RunRecord, RunState
from sweepkit.sweep import frozen as freezing
from sweepkit.sweep.cell import Cell
from sweepkit.sweep.file import SweepFile
from sweepkit.sweep.frozen import Frozen

LR = "optimizer.matrix.lr"
RATES = [0.02, 0.021, 0.022, 0.023, 0.024, 0.025, 0.026, 0.027, 0.028]  # the first is the reference's
ALPHA = 0.05
NOISE, LUCK = 0.001, 0.02
START = datetime(2026, 1, 1, tzinfo=UTC)


def sweep(name: str = "first", rates: list[float] = RATES, **given: object) -> SweepFile:
    """Learning rates beside the first of them, on one rung."""
    return SweepFile.from_json(
        {
            "name": name,
            "base": ["experiment=mini", "model=d2"],
            "axes": {LR: rates},
            "reference": {LR: str(rates[0])},
            "seeds": [1, 2, 3],
            "decision": {
                "alpha": ALPHA,
                "min_effect": 0.0003,
                # seconds are the same in all worlds; judging them takes half of the time
                "axes": {"steps": "superior"},
            },
        }
        | given
    )


@dataclass
class World:
    """What runs measure in one results folder; ``clock`` counts minutes."""

    results_dir: Path
    effects: Mapping[float, float]  # learning rate → true effect
    seed: int = 0
    clock: int = 0

    def measured(self, plan: RunPlan) -> float:
        luck = random.Random(f"{self.seed} {plan.pair_key}").gauss(0.0, LUCK)
        own = random.Random(f"{self.seed} {plan.training_id} {plan.seed}").gauss(0.0, NOISE)
        return 2.5 + self.effects.get(plan.config.optimizer.matrix.lr, 0.0) + luck + own

    def run(self, plan: RunPlan, state: RunState = RunState.complete) -> None:
        """As a launcher does: what has ended is not run again."""
        run_dir = RunDir.of(self.results_dir, plan.run_id)
        if run_dir.record_path.exists():
            return
        self.clock += 1
        value = self.measured(plan)
        streams = plan.config.evaluation.streams
        results = {f"bpb_{stream}": value for stream in streams}
        results |= {"val_bpb": value, "median_step_time_s": 0.1}
        ended = (START + timedelta(minutes=self.clock)).isoformat()
        fsio.write_json(run_dir.plan_path, typed.dump(plan))
        record = RunRecord(
            run_id=plan.run_id,
            evaluation_key=plan.evaluation_key,
            variant_id=plan.variant_id,
            seed=plan.seed,
            state=state,
            step=plan.num_steps,
            num_steps=plan.num_steps,
            ended_at=ended,
            resolved=Resolved(dtype="fp32", device="cpu"),
            environment=Environment(hardware="a processor", host="here"),
            environment_fingerprint="e" * 12,
            evaluation_fingerprints=dict.fromkeys(streams, "f" * 12),
            results=results if state is RunState.complete else {},
        )
        fsio.write_json(run_dir.record_path, typed.dump(record))

    def climb(self, frozen: Frozen) -> Promotion:
        def run_cells(rung: str, cells: list[Cell]) -> None:
            for cell in cells:
                self.run(cell.plan)

        return ladder.promote(frozen, run_cells, lambda: store.load(frozen.name, self.results_dir))

    def promote(self, wanted: SweepFile, **options: bool) -> Promotion:
        return self.climb(freezing.freeze(wanted, self.results_dir, **options))


def best(promotion: Promotion, count: int) -> list[float]:
    """The learning rates that looked best, of those that are open; the reference's first."""
    here = [item for item in promotion.rungs[-1].verdicts if item.effect.effect is not None]
    here.sort(key=lambda item: item.effect.effect or 0.0)
    return [RATES[0], *(float(item.variant.partition("=")[2]) for item in here[:count])]


def without_worst_seed(world: World, rates: list[float]) -> list[int]:
    """The two seeds on which the best one looks better."""
    frozen = freezing.load_frozen(world.results_dir, "first")
    values = {
        (cell.plan.config.optimizer.matrix.lr, cell.plan.seed): world.measured(cell.plan)
        for cell in frozen.cells
    }
    gains = sorted([1, 2, 3], key=lambda seed: values[rates[1], seed] - values[rates[0], seed])
    return sorted(gains[:2])


Road = Callable[[World, Promotion], SweepFile]

ROADS: dict[str, Road] = {
    "the best two": lambda world, first: sweep("second", best(first, 2)),
    "one seed dropped": lambda world, first: sweep("second", seeds=without_worst_seed(world, best(first, 1))),
    "both": lambda world, first: sweep(
        "second", best(first, 2), seeds=without_worst_seed(world, best(first, 1))
    ),
}


def play(number: int, folder: Path) -> dict[str, tuple[bool, bool, bool]]:
    """One world without any effect: road → what the second sweep finds.

    Whether it adopts on fresh seeds, whether it adopts with ``--reuse-runs``, and whether the same losses
    would have been adopted had nobody known that they were seen.
    """
    with tempfile.TemporaryDirectory(dir=folder) as name:
        world = World(Path(name) / "first", {}, seed=number)
        first = world.promote(sweep())
        if first.of(Final.adopted):  # nobody goes on looking
            return dict.fromkeys(ROADS, (False, False, False))
        found = {}
        for place, (road, make) in enumerate(ROADS.items()):
            wanted = make(world, first)
            seconds = []
            for reuse_runs in (False, True):
                results_dir = Path(name) / f"{place}-{reuse_runs}"
                shutil.copytree(world.results_dir, results_dir)
                seconds.append(replace(world, results_dir=results_dir).promote(wanted, reuse_runs=reuse_runs))
            fresh, reused = seconds
            would = [item for item in reused.rungs[-1].verdicts if "this shows nothing" in item.reasons[0]]
            found[road] = (bool(fresh.of(Final.adopted)), bool(reused.of(Final.adopted)), bool(would))
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=400)
    parser.add_argument("--folder", type=Path, help="a fast folder for the made-up records")
    args = parser.parse_args()
    remembered: dict[tuple[str, ...], RunConfig] = {}

    def remembering(overrides: Sequence[str] = ()) -> RunConfig:
        """Composing is most of the work, and always the same."""
        key = tuple(overrides)
        if key not in remembered:
            remembered[key] = composed(key)
        return copy.deepcopy(remembered[key])

    composed, compose.compose = compose.compose, remembering
    counts = {road: [0, 0, 0] for road in ROADS}
    for number in range(args.worlds):
        for road, found in play(number, args.folder).items():
            counts[road] = [before + now for before, now in zip(counts[road], found, strict=True)]
    print(f"{args.worlds} worlds without any effect, {len(RATES) - 1} variants, 3 seeds, alpha = {ALPHA}")
    for road, totals in counts.items():
        fresh, reused, unknown = (f"{total / args.worlds:.1%}" for total in totals)
        print(f"{road}: {fresh} on fresh seeds, {reused} with --reuse-runs, {unknown} had nobody known")


if __name__ == "__main__":
    main()
